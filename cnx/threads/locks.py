"""Locks that an interrupt cannot leave locked.

A signal handler, such as that of Ctrl-C, runs on the main thread where a function has returned, and may raise. So what
is taken by ``acquire()`` and given back in a ``finally`` can stay locked: the handler may run between the two. CPython
enters and leaves ``with lock:`` in one step each; but 3.14 runs handlers after the lock was taken, before the block.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnx.errors import TimedOut

__all__ = ["Lock", "within"]

if TYPE_CHECKING or sys.version_info[:2] != (3, 14):
    Lock = threading.RLock  # the same thread may take it again, so that it cannot lock out a signal handler
else:
    import _thread

    class Lock(_thread.RLock):
        """A lock that the same thread may take again, and that ``with`` takes safely."""

        def __enter__(self) -> bool:
            try:
                return self.acquire()
            except BaseException:
                give_back(self)
                raise


class within:  # reads as a statement
    """Hold a lock that is had within some seconds::

        with within(lock, timeout, "nothing was sent"):
            ...

    Args:
        lock: made by :data:`Lock`.
        timeout: seconds; ``None`` for ever.
        late: what to say if it is not had in time.

    Raises:
        TimedOut: it was not had in time, and is not held.
    """

    __slots__ = ("__exit__", "_late", "_lock", "_seconds")
    __exit__: Callable[..., None]

    def __init__(self, lock: Any, timeout: float | None, late: str) -> None:
        self._lock = lock
        self._seconds = -1 if timeout is None else timeout
        self._late = late
        self.__exit__ = lock.__exit__  # that of the lock itself, which gives it back in one step

    def __enter__(self) -> None:
        try:
            if self._lock.acquire(timeout=self._seconds):
                return  # from inside, as handlers may run at a jump, too
        except BaseException:
            give_back(self._lock)
            raise
        raise TimedOut(self._late)


def give_back(lock: Any) -> None:
    """Release a lock if an interrupted ``acquire()`` took it; who has it already never waits, and has it once more."""
    try:
        lock.release()
    except RuntimeError:
        pass  # it waited for another thread
