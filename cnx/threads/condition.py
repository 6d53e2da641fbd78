"""Gate, Flag and Condition: wait for other threads, safely in the presence of signal handlers.

``threading.Condition`` and ``threading.Event`` are written in Python. When a signal handler interrupts them on the main
thread, it can deadlock on the lock that the interrupted code holds, its own wake-up can be lost, and a
``KeyboardInterrupt`` can leave that lock held for ever. The classes here take locks only with ``with lock:`` on a lock
of the interpreter, which is entered and left in one step, and never hold one while they wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from cnx.threads.locks import Lock

__all__ = ["Condition", "Flag", "Gate"]

T = TypeVar("T")


class Gate:
    """A wake-up for one waiting thread; any thread or signal handler may open it.

    It is a lock that is taken from the start: opening the gate releases it, and passing the gate takes it again.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Wake the waiting thread; if none waits, let the next one pass at once."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it is open already

    def wait(self, timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds (``None``: for ever); return whether it was opened."""
        return self._lock.acquire(timeout=-1 if timeout is None else timeout)


class Flag:
    """Like ``threading.Event``, but a signal handler that interrupts ``set`` or ``wait`` may call ``set``, too."""

    __slots__ = ("_gate", "_set")

    def __init__(self) -> None:
        self._gate = Gate()
        self._set = False

    def set(self) -> None:
        """Wake all waiting threads, and let later ones pass at once."""
        self._set = True
        self._gate.open()

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds (``None``: for ever); return whether it was set."""
        if not self._set and self._gate.wait(timeout):
            self._gate.open()  # for the next waiting thread
        return self._set


class Condition:
    """A condition variable: a lock, and a way to wait for changes of what the lock guards.

    Attributes:
        lock: guards the state; reentrant.
        gates: one for each waiting thread. Code that runs for every message may skip :meth:`notify` when it is empty.
    """

    __slots__ = ("gates", "lock")

    def __init__(self) -> None:
        self.lock = Lock()
        self.gates: list[Gate] = []

    def notify(self) -> None:
        """Wake all waiting threads, which then check their predicate again. The lock may be held or not."""
        for gate in tuple(self.gates):
            gate.open()

    def wait_for(self, holds: Callable[[], T], timeout: float | None) -> T:
        """Return what ``holds()`` returns as soon as that is true; its last result after ``timeout`` seconds.

        ``holds`` is called under the lock and may claim what it finds. The caller must not hold the lock.
        """
        end = None if timeout is None else monotonic() + timeout
        while True:
            gate = Gate()
            try:
                self.gates.append(gate)  # before calling holds(), so that no notify() is missed
                with self.lock:
                    found = holds()
                left = None if end is None else end - monotonic()
                if found or (left is not None and left <= 0):
                    return found
                gate.wait(left)
            finally:
                try:  # not "if gate in": without the GIL, a removal by another thread can hide the gate from the search
                    self.gates.remove(gate)
                except ValueError:
                    pass  # a KeyboardInterrupt came before the gate was added
