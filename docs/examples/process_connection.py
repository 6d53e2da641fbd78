"""Connect to something else: here to a program, by its standard input and output."""

from __future__ import annotations

import socket
import subprocess
import sys

from typing_extensions import Unpack

import cnx
from cnx.connections.stream import StreamSettings
from cnx.transports.sockets import SocketTransport


class ProcessConnection(cnx.StreamConnection):
    """A connection to a program, which is started by connecting."""

    def __init__(self, *command: str, **settings: Unpack[StreamSettings]) -> None:
        super().__init__(**settings)
        self.command = command

    @property
    def address(self) -> str:
        """The program."""
        return self.command[0]

    def open_transport(self, deadline: cnx.Deadline) -> cnx.Transport:
        """Start the program with one end of a socketpair, and keep the other."""
        near, far = socket.socketpair()
        with far:
            try:
                self.process = subprocess.Popen(self.command, stdin=far, stdout=far)
            except OSError as error:
                near.close()
                raise cnx.ConnectError(f"cannot start {self.address}: {error}") from error
        return SocketTransport(near, self.address)

    def on_disconnected(self, reason: BaseException) -> None:
        """See the program end; it has lost its standard input."""
        self.process.wait()


if __name__ == "__main__":
    program = "import sys; [print(line.upper(), end='', flush=True) for line in sys.stdin]"
    with ProcessConnection(sys.executable, "-c", program, timeout=10.0) as upper:
        print(upper.request(b"hello\n", b"\n"))
