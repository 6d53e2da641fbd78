"""What no connection of this kind can be faster than: a prototype with its contract's bare bones, and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import time

__all__ = ["FLOOR", "Floor"]

FLOOR = "floor: roles, counters, record"
"""What the way of a :class:`Floor` is called."""


class Floor:
    """Reads and writes with what any connection has to do that several threads may use and that keeps a record.

    It has no timeouts, no subscribers, no end, no errors of its own, and only one kind of transport. So nobody could
    use it; what it takes is what Python takes for the rest.

    Args:
        send: writes bytes, and returns how many.
        receive: returns up to so many bytes.
    """

    def __init__(self, send: Callable[[bytes], int], receive: Callable[[int], bytes]) -> None:
        self._send, self._receive = send, receive
        self._vacant = {"reader": True, "writer": True}
        self._reader = self._writer = 0
        self._note = deque[tuple[float, str, bytes, int]](maxlen=200).append
        self.sent = self.received = self.writes = 0

    def write(self, data: bytes) -> None:
        """Send bytes."""
        del self._vacant["writer"]
        self._writer = get_ident()
        try:
            self._note((time(), ">", data[:256], len(data)))
            self.sent += self._send(data)
            self.writes += 1
        finally:
            self._writer = 0
            self._vacant["writer"] = True

    def read(self, size: int) -> bytes:
        """Receive bytes."""
        del self._vacant["reader"]
        self._reader = get_ident()
        try:
            data = self._receive(size)
            self.received += len(data)
            self._note((time(), "<", data[:256], len(data)))
            return data
        finally:
            self._reader = 0
            self._vacant["reader"] = True
