"""Fakes and fixtures for tests of device code; also a pytest plugin.

::

    def test_identity():
        with connection_pair() as (connection, peer), scripted_peer(peer, [(b"*IDN?\\r\\n", b"ACME,1\\r\\n")]):
            assert identify(connection) == "ACME"

The peers are real: one end of a socketpair, or the master side of a pty. The plugin brings the fixtures
``no_leaks``, which fails a test that leaves a thread or a descriptor behind, ``cnx_pair`` and ``cnx_serial_pair``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

import pytest
from typing_extensions import Unpack

from cnx.connections.serial_port import SerialConnection, SerialSettings
from cnx.connections.sockets import SocketConnection, SocketSettings
from cnx.link.selector import new_selector
from cnx.threads.starting import start_thread

__all__ = ["Peer", "PtyPeer", "connection_pair", "scripted_peer", "serial_pair"]

PATIENCE = 10.0
"""Seconds that a fake waits for something that a test causes; far more than needed, for loaded machines."""


class Peer(Protocol):
    """The other side of a connection; a ``socket.socket`` is one."""

    def recv(self, size: int, /) -> bytes:
        """Return from 1 to ``size`` bytes, or ``b""`` when the connection was closed."""

    def sendall(self, data: bytes, /) -> None:
        """Send ``data``."""

    def close(self) -> None:
        """Close the connection."""


class PtyPeer:
    """The device on the other side of a serial port: the master side of a pty.

    Attributes:
        port: the device file that a serial connection opens.
    """

    def __init__(self) -> None:
        import tty  # POSIX only, as ptys are

        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave  # kept open, so that the port can be closed and opened again

    def recv(self, size: int, /) -> bytes:
        """Return from 1 to ``size`` bytes that were written to the port; ``b""`` when :meth:`close` was called."""
        if not select.select([self._master], [], [], PATIENCE)[0]:
            raise TimeoutError(f"nothing was written to {self.port} within {PATIENCE:g} s")
        try:
            return os.read(self._master, size)
        except OSError:  # the other side is closed
            return b""

    def sendall(self, data: bytes, /) -> None:
        """Send ``data`` to the port."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._master, view) :]

    def close(self) -> None:
        """Unplug the device."""
        for name in ("_master", "_slave"):
            descriptor, self.__dict__[name] = self.__dict__[name], -1
            if descriptor >= 0:
                os.close(descriptor)


@contextmanager
def connection_pair(**settings: Unpack[SocketSettings]) -> Iterator[tuple[SocketConnection, socket.socket]]:
    """Yield a connected connection and its peer, over a socketpair.

    Args:
        **settings: of the :class:`~cnx.connections.sockets.SocketConnection`.
    """
    near, far = socket.socketpair()
    far.settimeout(PATIENCE)
    connection = SocketConnection.from_socket(near, **settings)
    with far:
        try:
            yield connection.connect(), far
        finally:
            connection.teardown()


@contextmanager
def serial_pair(**settings: Unpack[SerialSettings]) -> Iterator[tuple[SerialConnection, PtyPeer]]:
    """Yield a connected serial connection and its peer, over a pty.

    Args:
        **settings: of the :class:`~cnx.connections.serial_port.SerialConnection`.
    """
    peer = PtyPeer()
    connection = SerialConnection(peer.port, **settings)
    try:
        yield connection.connect(), peer
    finally:
        connection.teardown()
        peer.close()


@contextmanager
def scripted_peer(peer: Peer, script: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    """Play the peer while the block runs: for each (expected, answer), wait for the first and send the second.

    Raises:
        AssertionError: when the block ends, if something else arrived, or if the script was not played to its end.
    """
    trouble: list[str] = []
    thread = start_thread(_play, "cnx scripted peer", peer, list(script), trouble)
    yield
    thread.join(PATIENCE)
    if thread.is_alive():
        trouble.append("the script was not played to its end")
    if trouble:
        raise AssertionError("; ".join(trouble))


def _play(peer: Peer, script: list[tuple[bytes, bytes]], trouble: list[str]) -> None:
    for number, (expected, answer) in enumerate(script, 1):
        got = b""
        try:
            while len(got) < len(expected) and expected.startswith(got):
                data = peer.recv(len(expected) - len(got))
                if not data:
                    break
                got += data
        except OSError as error:
            trouble.append(f"step {number}: {error}")
        if got != expected:
            trouble.append(f"step {number}: expected {expected!r}, got {got!r}")
            return
        peer.sendall(answer)


def open_descriptors() -> Counter[str]:
    """Return what the descriptors of this process refer to, if the system reports it."""
    found: Counter[str] = Counter()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found[os.readlink(f"/proc/self/fd/{name}").split(":")[0]] += 1
    return found


def eventually(condition: Callable[[], object], patience: float | None = None) -> bool:
    """Wait until ``condition`` holds, at most ``patience`` seconds (default: ``PATIENCE``); return whether it does.

    A loaded machine may run neither this thread nor the others until the time is over. So the condition is checked
    three more times after that, with pauses in which other threads can run.
    """
    expiry = monotonic() + (PATIENCE if patience is None else patience)
    pause = threading.Event()
    late_looks = 0
    while late_looks < 3:
        late_looks += monotonic() >= expiry
        if condition():
            return True
        pause.wait(0.005)
    return False


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that no event announces; fail if it takes longer than ``PATIENCE``."""
    if not eventually(condition):
        raise AssertionError(f"{what}: not within {PATIENCE:g} s")


class NewThreads:
    """The threads that were started since this object was made and still run.

    Earlier threads do not count, so that a leak of one test does not fail the next one.
    """

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def __call__(self, prefix: str = "cnx ") -> list[threading.Thread]:
        """Return those whose names begin with ``prefix``: by default the threads of the library."""
        return [
            thread for thread in threading.enumerate() if thread not in self._before and thread.name.startswith(prefix)
        ]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread or a descriptor behind; those from before the test do not count."""
    new_selector().close()  # has a descriptor that the process keeps
    new_threads, descriptors = NewThreads(), open_descriptors()
    left: list[str] = []

    def is_clean() -> bool:
        left[:] = [*(thread.name for thread in new_threads("")), *(open_descriptors() - descriptors)]
        return not left

    yield
    if not is_clean():
        gc.collect()  # an object kept only by a reference cycle is not a leak; collecting takes long, so only if needed
    if not eventually(is_clean):
        raise AssertionError(f"the test left behind: {', '.join(left)}")


@pytest.fixture
def cnx_pair() -> Iterator[tuple[SocketConnection, socket.socket]]:
    """Yield a connected connection and its peer, over a socketpair."""
    with connection_pair() as pair:
        yield pair


@pytest.fixture
def cnx_serial_pair() -> Iterator[tuple[SerialConnection, PtyPeer]]:
    """Yield a connected serial connection and its peer, over a pty."""
    with serial_pair() as pair:
        yield pair
