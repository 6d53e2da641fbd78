"""A framing of one's own: netstrings, such as ``5:hello,``."""

from __future__ import annotations

import socket

import cnx
from cnx.buffer import ReceiveBuffer


class Netstring(cnx.Framing):
    """A length in decimal digits, a colon, the message, a comma."""

    limit = 1000

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove the next message."""
        colon = buffer.find(b":")
        if colon < 0 and len(buffer) <= 4:
            return None
        digits = buffer.peek(max(colon, 0))
        if not digits.isdigit() or len(digits) > 4:
            raise cnx.ProtocolError(f"no netstring: {buffer.peek(20)!r}")
        size = int(digits)
        self.refuse(size)
        if len(buffer) < colon + size + 2:
            return None
        buffer.skip(colon + 1)
        message = buffer.take(size)
        if buffer.take(1) != b",":
            raise cnx.ProtocolError(f"no comma after {message!r}")
        return message

    def encode(self, message: bytes) -> bytes:
        """Return the message as a netstring."""
        self.refuse(len(message))
        return b"%d:%s," % (len(message), message)


if __name__ == "__main__":
    near, far = socket.socketpair()
    with far, cnx.SocketConnection.from_socket(near, framing=Netstring(), timeout=5.0) as connection:
        connection.send(b"hello")
        print(far.recv(100))
        for byte in b"2:ab,0:,":
            far.send(bytes([byte]))
        print(connection.receive(), connection.receive())
        far.sendall(b"nonsense")
        try:
            connection.receive()
        except cnx.ProtocolError as error:
            print("ProtocolError:", error)
