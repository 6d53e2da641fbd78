"""A bare end of a link for tests: a socket and the protocol, nothing that helps."""

from __future__ import annotations

import socket
from types import TracebackType

from cnx.buffer import ReceiveBuffer
from cnx.clients.smartbus.protocol.codes import CmdType, InternalCmd
from cnx.clients.smartbus.protocol.messages import Register, RegisterAck
from cnx.clients.smartbus.protocol.packets import Address, Packet, PacketFraming

NOBODY = Address(0, 0, 0)
US = Address(19, 5, 9)
SERVER = Address(3, 0, 1)
PATIENCE = 10.0


def endpoint(url: str) -> tuple[str, int]:
    """Return host and port of a ``tcp://`` URL."""
    host, _, port = url.rpartition("://")[2].rpartition(":")
    return host, int(port)


class Listening:
    """A server of which the test plays every part."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)
        self.port: int = self.socket.getsockname()[1]

    def accept(self) -> Peer:
        """Return the server's end of the next link."""
        return Peer(self.socket.accept()[0], SERVER)

    def admit(self, result: int = 0) -> Peer:
        """Accept the next link and answer its registration."""
        peer = self.accept()
        request = peer.expect(CmdType.INTERNAL, InternalCmd.REGISTER)
        peer.send(RegisterAck(result).packet(SERVER, request.source))
        return peer

    def __enter__(self) -> Listening:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


class Peer:
    """One link, and what came over it.

    Attributes:
        address: who this end says it is.
        size: bytes of the last packet that was received, with header and padding.
    """

    def __init__(self, url: str | socket.socket, address: Address = US) -> None:
        self.address = address
        self.socket = url if isinstance(url, socket.socket) else socket.create_connection(endpoint(url), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.size = self._waiting = 0
        self._framing = PacketFraming()
        self._buffer = ReceiveBuffer()

    def register(self, **fields: object) -> int:
        """Register and return the result."""
        self.send(Register(**fields).packet(self.address, NOBODY))  # type: ignore[arg-type]
        return RegisterAck.parse(self.expect(CmdType.INTERNAL, InternalCmd.REGISTER_ACK).data).result

    def send(self, packet: Packet | bytes) -> None:
        """Send one packet, or any bytes."""
        self.socket.sendall(bytes(packet))

    def receive(self) -> Packet:
        """Return the next packet; an error if none comes in time."""
        while (packet := self._framing.take(self._buffer)) is None:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the other side closed the link")
            self._buffer.append(data)
            self._waiting = len(self._buffer)
        self.size, self._waiting = self._waiting - len(self._buffer), len(self._buffer)
        return packet

    def expect(self, cmd_type: int, cmd: int) -> Packet:
        """Return the next packet of this command; others before it are dropped."""
        while True:
            packet = self.receive()
            if (packet.cmd_type, packet.cmd) == (cmd_type, cmd):
                return packet

    def closed(self) -> bool:
        """Wait until the server closes the link."""
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            return True

    def close(self) -> None:
        """Go."""
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
