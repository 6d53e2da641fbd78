"""Locks that an interrupt cannot leave locked.

A signal handler, such as that of Ctrl-C, runs on the main thread between two instructions, and may raise. If it runs
after ``acquire()`` and before the ``try`` whose ``finally`` releases the lock, the lock stays locked for ever. CPython
enters and leaves ``with lock:`` in one step each, so there is no such gap, except in CPython 3.14, which runs handlers
after the lock was taken and before the block begins.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from cnx.errors import TimedOut

__all__ = ["Lock", "within"]

if TYPE_CHECKING or sys.version_info[:2] != (3, 14):
    Lock = threading.RLock  # reentrant, so that a signal handler does not deadlock on the code that it interrupts
else:
    import _thread

    class Lock(_thread.RLock):
        """A reentrant lock that closes the gap of ``with lock:`` in CPython 3.14."""

        def __enter__(self) -> bool:
            try:
                return self.acquire()
            except BaseException:
                give_back(self)
                raise


class within:  # reads as a statement
    """Hold a lock during a block, if it can be taken within some seconds::

        with within(lock, timeout, "nothing was sent"):
            ...

    Args:
        lock: made by :data:`Lock`.
        timeout: seconds; ``None`` for ever.
        late: the message of ``TimedOut``.

    Raises:
        TimedOut: it could not be taken in time; it is not held.
    """

    __slots__ = ("__exit__", "_late", "_lock", "_seconds")
    __exit__: Callable[..., None]

    def __init__(self, lock: Lock, timeout: float | None, late: str) -> None:
        self._lock = lock
        self._seconds = -1 if timeout is None else timeout
        self._late = late
        self.__exit__ = lock.__exit__  # the method of the lock itself, which releases it in one step

    def __enter__(self) -> None:
        try:
            if self._lock.acquire(timeout=self._seconds):
                return  # inside the try, as signal handlers may also run at a jump
        except BaseException:
            give_back(self._lock)
            raise
        raise TimedOut(self._late)


def give_back(lock: Lock) -> None:
    """Release a lock if an interrupted ``acquire()`` has taken it.

    A thread that held the lock before never waited in ``acquire()``, so there the call did take it once more.
    """
    try:
        lock.release()
    except RuntimeError:
        pass  # another thread holds it: acquire() was interrupted while it waited
