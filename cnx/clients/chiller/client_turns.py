"""Turns at a line that only one may use at a time, given fairly."""

from __future__ import annotations

import threading
from threading import get_ident

from cnx.errors import TimedOut

__all__ = ["Turns"]


class Turns:
    """Gives the turn to whoever waits for the key that was served longest ago. Thread-safe.

    Many threads that ask for one key cannot keep away a single one that asks for another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._waiting: list[tuple[int, threading.Event, int]] = []  # one for each thread that waits
        self._served: dict[int, int] = {}
        self._count = 0

    def turn(self, key: int, timeout: float) -> Turns:
        """Wait for the turn, at most ``timeout`` seconds, and return the context that ends it.

        Raises:
            TimedOut: it did not come.
            RuntimeError: the calling thread has it already.
        """
        me = get_ident()
        with self._lock:
            if self._owner == me:
                raise RuntimeError("a handler of received data must not run a command; run it on another thread")
            if not self._owner:
                self._give(key, me)
                return self
            waiter = key, threading.Event(), me
            self._waiting.append(waiter)
        self._wait(waiter, timeout)
        return self

    def __enter__(self) -> None:
        """Have the turn."""

    def __exit__(self, *exc_info: object) -> None:
        self._pass_on()

    def _wait(self, waiter: tuple[int, threading.Event, int], timeout: float) -> None:
        try:
            given = waiter[1].wait(timeout)
        except BaseException:
            if not self._leave(waiter):
                self._pass_on()
            raise
        if not given and self._leave(waiter):
            raise TimedOut(f"the line was in use for more than {timeout:g} s")

    def _leave(self, waiter: tuple[int, threading.Event, int]) -> bool:
        """Stop waiting; return whether that was in time, as against the turn being given already."""
        with self._lock:
            if waiter not in self._waiting:
                return False
            self._waiting.remove(waiter)
            return True

    def _pass_on(self) -> None:
        with self._lock:
            self._owner = 0
            if self._waiting:
                waiter = min(self._waiting, key=lambda waiting: self._served.get(waiting[0], 0))
                self._waiting.remove(waiter)
                self._give(waiter[0], waiter[2])
                waiter[1].set()

    def _give(self, key: int, owner: int) -> None:
        self._owner = owner
        self._count += 1
        self._served[key] = self._count
