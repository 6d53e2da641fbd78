"""Waiting for what other threads do, safe against signal handlers.

``threading.Condition`` and ``threading.Event`` are written in Python. A signal handler that interrupts them on the
main thread can be locked out by the lock that the interrupted code holds, can give a wake-up that is missed, and a
``KeyboardInterrupt`` can leave that lock held for ever. Here, locks are only held by ``with lock:`` on a lock of the
interpreter, which is entered and left in one step, and never while waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from cnx.threads.locks import Lock

__all__ = ["Flag", "Gate", "Monitor"]

T = TypeVar("T")


class Gate:
    """Closed until it is opened; one thread can wait for that. Any thread or signal handler may open it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the waiting thread go on, or the next one that waits."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it is open

    def wait(self, timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds (``None``: for ever); return whether it was opened."""
        return self._lock.acquire(timeout=-1 if timeout is None else timeout)


class Flag:
    """As ``threading.Event``, but a signal handler that interrupts its ``set`` or ``wait`` may set it, too."""

    __slots__ = ("_gate", "_set")

    def __init__(self) -> None:
        self._gate = Gate()
        self._set = False

    def set(self) -> None:
        """Let all who wait go on, now and later."""
        self._set = True
        self._gate.open()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds (``None``: for ever); return whether it was set."""
        if not self._set and self._gate.wait(timeout):
            self._gate.open()  # for the next who waits
        return self._set


class Monitor:
    """A lock, and a way to wait for a change of what it guards.

    Attributes:
        lock: guards; the same thread may take it again.
        gates: those of the threads that wait.
    """

    __slots__ = ("gates", "lock")

    def __init__(self) -> None:
        self.lock = Lock()
        self.gates: list[Gate] = []

    def notify(self) -> None:
        """Let all who wait look again. With or without the lock; doing it twice does no harm."""
        for gate in tuple(self.gates):
            gate.open()

    def wait_for(self, holds: Callable[[], T], timeout: float | None) -> T:
        """Return what ``holds`` returns as soon as that is true, or its last answer after ``timeout`` seconds.

        ``holds`` is called under the lock and may claim what it finds; the lock must not be held here.
        """
        end = None if timeout is None else monotonic() + timeout
        while True:
            gate = Gate()
            try:
                self.gates.append(gate)  # before looking, so that no change is missed
                with self.lock:
                    found = holds()
                left = None if end is None else end - monotonic()
                if found or (left is not None and left <= 0):
                    return found
                gate.wait(left)
            finally:
                try:  # not "if gate in": where threads are free, one that moves up meanwhile is overlooked
                    self.gates.remove(gate)
                except ValueError:
                    pass  # it never came there
