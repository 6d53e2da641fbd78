"""Connections, counters and stopwatches that several cases use."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import cnx

__all__ = ["QUESTION", "SIGNALS", "Countdown", "ask", "bare_socket", "connected", "per_second", "times_of"]

SIGNALS = cnx.Connection.Signals
QUESTION = b"q" * 48 + b"\r\n"

BUFFER = 512 * 1024
"""Size of the receive buffer of every socket, in bytes.

Left to the system, the buffer grows to many megabytes wherever the sender on the same core is slightly faster. The
measurement is then dominated by cache misses: a way that takes a tenth longer gets half of the speed.
"""


def ask(write: Callable[[bytes], Any], count: int) -> None:
    """Ask the other side for ``count`` pieces."""
    write(count.to_bytes(8, "big"))


@contextmanager
def bare_socket(port: int) -> Iterator[socket.socket]:
    """Yield a plain connected socket."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        yield sock


@contextmanager
def connected(port: int, **settings: Any) -> Iterator[cnx.SocketConnection]:
    """Yield a cnx connection."""
    with bare_socket(port) as sock, cnx.SocketConnection.from_socket(sock, **settings) as connection:
        yield connection


class Countdown:
    """A subscriber that waits for a number of bytes or messages."""

    def __init__(self, total: int = 0) -> None:
        self.begin(total)

    def begin(self, total: int) -> None:
        """Start counting from ``total`` again."""
        self.left = total
        self.done = threading.Event()

    def data(self, data: bytes) -> None:
        """Count bytes."""
        self.left -= len(data)
        if self.left <= 0:
            self.done.set()

    def message(self, message: Any) -> None:
        """Count a message."""
        self.left -= 1
        if not self.left:
            self.done.set()


def per_second(take: Callable[[int], object], pieces: int, amount: float) -> Callable[[], float]:
    """Return a function that receives ``pieces`` pieces of ``amount`` each and returns the amount per second."""

    def run() -> float:
        began = perf_counter()
        take(pieces)
        return pieces * amount / (perf_counter() - began)

    return run


def times_of(once: Callable[[], object], count: int) -> Callable[[], list[float]]:
    """Return a function that calls ``once`` ``count`` times and returns the microseconds of each call.

    A fifth as many calls are made first, uncounted, because other ways have filled the caches with their own data.
    """
    return partial(_times_of, once, count)


def _times_of(once: Callable[[], object], count: int) -> list[float]:
    for _ in range(count // 5):
        once()
    times = []
    for _ in range(count):
        began = perf_counter()
        once()
        times.append((perf_counter() - began) * 1e6)
    return times
