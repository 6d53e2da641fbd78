"""Every kind of address."""

from __future__ import annotations

import threading
from pathlib import Path

from cnx.simulation import Session, Simulator
from tests.helpers.bare_clients import Client, dial
from tests.helpers.certificates import certificates

KINDS = ["tcp", "tls", "unix", "serial"]
SERVER_CONTEXT, CLIENT_CONTEXT = certificates()


def listen(simulator: Simulator, kind: str, folder: Path) -> str:
    """Let the simulator listen on an address of that kind."""
    if kind == "unix":
        return simulator.listen_unix(str(folder / "socket"))
    if kind == "serial":
        return simulator.listen_pty()
    return simulator.listen_tcp(tls=SERVER_CONTEXT if kind == "tls" else None)


def connect(url: str) -> Client:
    """Return a client, with TLS where the URL says so."""
    return dial(url, CLIENT_CONTEXT if url.startswith("tls:") else None)


class Flood(Simulator):
    """Writes far more than any buffer holds to a client that sent something."""

    def __init__(self) -> None:
        super().__init__("flood")
        self.writing = threading.Event()

    def serve(self, session: Session) -> None:
        """Write."""
        session.read()
        self.writing.set()
        session.write(bytes(1 << 26), timeout=None)


def served(url: str) -> bool:
    """Tell whether a new client gets its echo."""
    try:
        with dial(url) as client:
            client.send(b"x")
            return client.receive() == b"x"
    except OSError:
        return False
