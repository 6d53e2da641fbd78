"""Clients of simulators that are made of sockets and serial lines alone, without the library under test."""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cnx.testing import PATIENCE


class Client:
    """One end of a stream, over a socket or a serial line, whose every wait has a deadline."""

    def __init__(self, fd: int, close: Callable[[], None], sock: socket.socket | None = None) -> None:
        self._fd = fd
        self._sock = sock
        self.close = close

    def send(self, data: bytes) -> None:
        """Send all."""
        while data:
            data = data[self._sock.send(data) if self._sock else os.write(self._fd, data) :]

    def receive(self, size: int = 65536) -> bytes:
        """Return what comes next, ``b""`` at the end."""
        if self._sock is not None:
            return self._sock.recv(size)
        readable, _, _ = select.select([self._fd], [], [], PATIENCE)
        if not readable:
            raise TimeoutError("nothing came")
        return os.read(self._fd, size)

    def receive_exactly(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer if the end comes first."""
        data = b""
        while len(data) < size and (chunk := self.receive(size - len(data))):
            data += chunk
        return data

    def receive_all(self) -> bytes:
        """Return everything up to the end."""
        return self.receive_exactly(1 << 30)

    def silent(self, seconds: float = 0.2) -> bool:
        """Tell whether nothing comes for a while: no bytes, no end."""
        return not select.select([self._fd], [], [], seconds)[0]

    def hung_up(self) -> bool:
        """Tell whether the next thing is the end of a serial line, which systems tell by an error or by no bytes."""
        try:
            return self.receive() == b""
        except OSError:
            return True

    def end(self) -> None:
        """Send no more, and read on."""
        assert self._sock is not None
        self._sock.shutdown(socket.SHUT_WR)

    def fills_up(self) -> bool:
        """Send until nothing more is taken for a while, and tell whether that came."""
        for _ in range(1000):
            if not select.select([], [self._fd], [], 0.2)[1]:
                return True
            assert self._sock is not None
            self._sock.send(bytes(65536), socket.MSG_DONTWAIT)
        return False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def dial(url: str, context: ssl.SSLContext | None = None) -> Client:
    """Return a client of ``url``; raises OSError."""
    parts = urlsplit(url)
    if parts.scheme == "serial":
        fd = os.open(parts.path, os.O_RDWR | os.O_NOCTTY)
        return Client(fd, lambda: os.close(fd))
    sock = socket.socket(
        socket.AF_UNIX if parts.scheme == "unix" else socket.AF_INET6 if "[" in url else socket.AF_INET
    )
    try:
        sock.settimeout(PATIENCE)
        sock.connect(parts.path if parts.scheme == "unix" else (parts.hostname, parts.port))
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname="localhost")
    except BaseException:
        sock.close()
        raise
    return Client(sock.fileno(), sock.close, sock)


def reachable(url: str) -> bool:
    """Tell whether somebody is there."""
    try:
        dial(url).close()
    except OSError:
        return False
    return True


@contextmanager
def datagrams(url: str) -> Iterator[socket.socket]:
    """Give a UDP socket that is connected to ``url``."""
    parts = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((parts.hostname, parts.port))
        yield sock
