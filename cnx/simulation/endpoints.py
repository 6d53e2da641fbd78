"""Endpoints: where clients connect to a simulator: a TCP port, a unix socket, a pseudo terminal, a UDP port.

An endpoint keeps its address when it is closed and opened again.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import ssl
import tempfile
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from cnx.simulation.addresses import abandoned, bind, resolve, show
from cnx.simulation.channels import (
    READ,
    DatagramLink,
    Link,
    PtyLink,
    SocketLink,
    Wake,
    wait_ready,
)

__all__ = ["Endpoint", "PtyEndpoint", "TcpEndpoint", "UdpEndpoint", "UnixEndpoint"]

REPLUG = 0.1
"""Seconds from the end of a single link to the next one, so that repeated ends do not cause a busy loop."""


class Endpoint(ABC):
    """One address of a simulator, which can be opened and closed any number of times.

    Attributes:
        url: the address; it never changes.
        context: the TLS context for every link; ``None`` for no TLS.
    """

    url: str
    context: ssl.SSLContext | None = None

    @abstractmethod
    def open(self) -> None:
        """Bind the address, unless that was done. Raises OSError."""

    @abstractmethod
    def accept(self) -> Link | None:
        """Wait for the next link; ``None`` once the endpoint was woken. Raises OSError."""

    @abstractmethod
    def wake(self) -> None:
        """Make ``accept()`` return ``None``, until the endpoint is opened again."""

    @abstractmethod
    def close(self) -> None:
        """Release the address, when ``accept()`` is no longer in progress."""


class ListeningEndpoint(Endpoint):
    """A listening stream socket: any number of links at a time."""

    def __init__(self) -> None:
        self._open: tuple[socket.socket, Wake] | None = None

    def open(self) -> None:
        """Bind and listen."""
        if self._open is None:
            sock = self._listen()
            sock.setblocking(False)
            self._open = sock, Wake()

    def accept(self) -> Link | None:
        """Wait for the next client."""
        assert self._open is not None
        sock, wake = self._open
        while not wake.is_set:
            wait_ready(sock.fileno(), READ, wake, None)
            try:
                return self._link(*sock.accept())
            except (BlockingIOError, ConnectionError):
                continue
            except OSError:
                if not wake.is_set:
                    raise
        return None

    def wake(self) -> None:
        """Make ``accept()`` return, and refuse new clients from now on, even before the address is released."""
        opened = self._open
        if opened is not None:
            sock, wake = opened
            wake.set()
            with suppress(OSError):  # it is just being closed, or the system supports this only on connected sockets
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening; clients that were not accepted yet are reset."""
        if self._open is not None:
            for opened in self._open:
                opened.close()
            self._open = None

    @abstractmethod
    def _listen(self) -> socket.socket: ...

    @abstractmethod
    def _link(self, sock: socket.socket, peer: Any) -> Link: ...


class TcpEndpoint(ListeningEndpoint):
    """A TCP port, with TLS if there is a ``context``."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self.context = context
        self._address = resolve(host, port, socket.SOCK_STREAM)
        self.open()
        self.url = f"{'tls' if context else 'tcp'}://{show(self._address[1])}"

    def _listen(self) -> socket.socket:
        sock = bind(self._address, socket.SOCK_STREAM)
        self._address = self._address[0], sock.getsockname()
        return sock

    def _link(self, sock: socket.socket, peer: Any) -> Link:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return SocketLink(sock, show(peer))


class UnixEndpoint(ListeningEndpoint):
    """A unix stream socket at a path."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = os.path.abspath(path)
        self._clients = itertools.count(1)
        self.url = f"unix://{self._path}"
        self.open()

    def close(self) -> None:
        """Stop listening and remove the path."""
        if self._open is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        super().close()

    def _listen(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if abandoned(self._path):
                os.unlink(self._path)
            sock.bind(self._path)
            sock.listen()
        except BaseException:
            sock.close()
            raise
        return sock

    def _link(self, sock: socket.socket, peer: Any) -> Link:
        return SocketLink(sock, f"client {next(self._clients)} of {self._path}")


class SingleEndpoint(Endpoint):
    """An address with one link at a time, which is made again after its end."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._fresh: Link | None = None
        self._given: Link | None = None

    def open(self) -> None:
        """Make the link."""
        self._refresh()
        self._woken.clear()

    def accept(self) -> Link | None:
        """Wait until the last link is closed, and make the next."""
        if self._given is not None:
            self._given.closed.wait()
        if self._woken.wait(REPLUG if self._given is not None else 0):
            return None
        self._refresh()
        self._given, self._fresh = self._fresh, None
        return self._given

    def wake(self) -> None:
        """Make ``accept()`` return as soon as its link is closed."""
        self._woken.set()

    def close(self) -> None:
        """Close a link that ``accept()`` has not returned yet."""
        if self._fresh is not None:
            self._fresh.close()
            self._fresh = None

    def _refresh(self) -> None:
        if self._fresh is None and (self._given is None or self._given.closed.is_set()):
            self._fresh = self._make()

    @abstractmethod
    def _make(self) -> Link: ...


class PtyEndpoint(SingleEndpoint):
    """A pseudo terminal behind a symbolic link, so that its name stays the same when it is opened again."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.mkdtemp(prefix="cnx-pty-")
        self._path = os.path.join(self._folder, "tty")
        self.url = f"serial://{self._path}"
        self.open()

    def close(self) -> None:
        """Remove the symbolic link, too."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self) -> Link:
        import pty
        import tty

        master, slave = pty.openpty()
        tty.setraw(slave)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        os.symlink(os.ttyname(slave), self._path)
        return PtyLink(master, slave, self._path)


class UdpEndpoint(SingleEndpoint):
    """A UDP port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address = resolve(host, port, socket.SOCK_DGRAM)
        self.open()

    def _make(self) -> Link:
        sock = bind(self._address, socket.SOCK_DGRAM)
        self._address = self._address[0], sock.getsockname()
        self.url = f"udp://{show(self._address[1])}"
        return DatagramLink(sock, show(self._address[1]))
