"""What the cases share: connections, counters, stopwatches."""

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
"""Bytes that a receiving socket may hold, for all ways alike.

Left to the system, the buffer grows to many megabytes wherever the other side on the same core is a little faster, and
what is then measured is memory that is in no cache any more: a way that takes a tenth longer gets half of the speed.
"""


def ask(write: Callable[[bytes], Any], count: int) -> None:
    """Have the other side send ``count`` pieces."""
    write(count.to_bytes(8, "big"))


@contextmanager
def bare_socket(port: int) -> Iterator[socket.socket]:
    """Give a plain connected socket."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        yield sock


@contextmanager
def connected(port: int, **settings: Any) -> Iterator[cnx.SocketConnection]:
    """Give a cnx connection."""
    with bare_socket(port) as sock, cnx.SocketConnection.from_socket(sock, **settings) as connection:
        yield connection


class Countdown:
    """A subscriber that waits for a number of bytes or messages."""

    def __init__(self, total: int = 0) -> None:
        self.begin(total)

    def begin(self, total: int) -> None:
        """Count anew."""
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
    """Return what takes ``pieces`` pieces of ``amount`` each, and returns the amount per second."""

    def run() -> float:
        began = perf_counter()
        take(pieces)
        return pieces * amount / (perf_counter() - began)

    return run


def times_of(once: Callable[[], object], count: int) -> Callable[[], list[float]]:
    """Return what does something ``count`` times, and returns how long each took, in microseconds.

    Before, it is done some times more: threads that have waited while others had their turn are not at home yet.
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
