"""UDP: every message is one datagram, and nothing shows whether the peer is there."""

import cnx
from cnx.simulation import Simulator


class Upper(Simulator):
    """Answers every datagram with itself in capitals."""

    def serve_datagram(self, data: bytes, address: tuple[str, int]) -> bytes:
        """Return the answer."""
        return data.upper()


with Upper() as simulator, cnx.connect(simulator.listen_udp(), cnx.UdpConnection, timeout=5.0) as upper:
    for datagram in (b"hello", b""):
        upper.send(datagram)
        print(upper.receive())
