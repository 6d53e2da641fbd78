"""A simulator that sends back what it receives."""

from __future__ import annotations

from cnx.simulation import Session, Simulator
from tests.helpers.bare_clients import Client


class Echo(Simulator):
    """Sends back what it receives, as it comes; a datagram comes back reversed."""

    def serve(self, session: Session) -> None:
        """Echo."""
        while data := session.read():
            session.write(data)

    def serve_datagram(self, data: bytes, address: tuple[str, int]) -> bytes | None:
        """Reverse; what starts with a question mark is not answered."""
        return None if data.startswith(b"?") else data[::-1]


def answered(client: Client, data: bytes = b"ping") -> bool:
    """Tell whether the simulator sends back what it is sent."""
    client.send(data)
    return client.receive_exactly(len(data)) == data
