"""Situations in which a connection can be when it is to stop; each gives a manager and a way to make data come."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cnx import Backoff, CnxError, ConnectionManager, SerialConnection, SocketConnection, StreamConnection
from cnx.testing import PtyPeer, wait_until
from tests.helpers.dead_ports import closed_port, full_backlog
from tests.helpers.inside import is_reading, is_writing

__all__ = ["SITUATIONS", "Scene"]

LONG = 3600.0
"""Seconds; more than a test waits for anything, so that a stop which waits for this is a failure."""


@dataclass
class Scene:
    """A managed connection in some situation; ``prod`` makes something happen on a thread of cnx."""

    manager: ConnectionManager
    prod: Callable[[], object]


@contextmanager
def _peer() -> Iterator[tuple[int, list[socket.socket]]]:
    """Give a port on which clients are taken, and what was taken."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):  # the end
                while True:
                    taken.append(listening.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1]), taken
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for sock in taken:
            sock.close()


@contextmanager
def _in_thread(action: Callable[[], object]) -> Iterator[None]:
    """Run something that blocks, and that the end of the connection ends."""

    def run() -> None:
        with suppress(CnxError):
            action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


def _inside(connection: StreamConnection, role: str) -> Callable[[], bool]:
    return lambda: is_reading(connection) if role == "reader" else is_writing(connection)


@contextmanager
def silent() -> Iterator[Scene]:
    """The peer says nothing."""
    with _peer() as (port, taken):
        manager = ConnectionManager(SocketConnection("127.0.0.1", port))
        manager.connect(10)
        wait_until(lambda: bool(taken), "the peer")
        yield Scene(manager, lambda: taken[0].sendall(b"!"))


@contextmanager
def unread() -> Iterator[Scene]:
    """The peer does not read, while 100 MB are being written."""
    with _peer() as (port, taken):
        connection = SocketConnection("127.0.0.1", port)
        manager = ConnectionManager(connection)
        manager.connect(10)
        wait_until(lambda: bool(taken), "the peer")
        with _in_thread(lambda: connection.write(b"x" * 100_000_000)):
            wait_until(_inside(connection, "writer"), "the writer")
            yield Scene(manager, lambda: taken[0].sendall(b"!"))


@contextmanager
def refused() -> Iterator[Scene]:
    """Nobody listens, and attempts follow each other quickly."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=Backoff(first=0.001, cap=0.01))
    manager.connect(wait=False)
    manager.wait_until("recovering", 10)
    yield Scene(manager, lambda: None)


@contextmanager
def hanging() -> Iterator[Scene]:
    """The connection attempt gets no answer."""
    with full_backlog() as port:
        manager = ConnectionManager(SocketConnection("127.0.0.1", port, connect_timeout=LONG))
        manager.connect(wait=False)
        yield Scene(manager, lambda: None)


@contextmanager
def handshake() -> Iterator[Scene]:
    """The peer does not answer the TLS handshake."""
    with _peer() as (port, taken):
        context = ssl.create_default_context()
        manager = ConnectionManager(SocketConnection("127.0.0.1", port, tls=context, connect_timeout=LONG))
        manager.connect(wait=False)
        wait_until(lambda: bool(taken), "the peer")
        yield Scene(manager, lambda: None)


@contextmanager
def backoff() -> Iterator[Scene]:
    """The next attempt is far away."""
    waits = Backoff(first=LONG, cap=LONG, jitter=0)
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=waits)
    manager.connect(wait=False)
    manager.wait_until("recovering", 10)
    yield Scene(manager, lambda: None)


@contextmanager
def serial() -> Iterator[Scene]:
    """A read waits on a serial port on which nothing comes."""
    peer = PtyPeer()
    connection = SerialConnection(peer.port)
    manager = ConnectionManager(connection)
    manager.connect(10)
    with _in_thread(lambda: connection.read(2)):
        wait_until(_inside(connection, "reader"), "the reader")
        yield Scene(manager, lambda: peer.sendall(b"!"))
    peer.close()


SITUATIONS = {made.__name__: made for made in (silent, unread, refused, hanging, handshake, backoff, serial)}
