"""Fair turns on a line that only one thread may use at a time."""

from __future__ import annotations

from itertools import count
from threading import get_ident

from cnx.errors import TimedOut
from cnx.threads.condition import Gate
from cnx.threads.locks import Lock

__all__ = ["Turn", "Turns"]


class Turn:
    """One thread's use of the line, from :meth:`Turns.claim` or :meth:`Turns.wait` until ``over`` is set.

    Attributes:
        key: which unit it is for; turns are fair between keys.
        over: set it to true in a ``finally`` block, then call :meth:`Turns.pass_on`. Setting it is a single
            step, which no interrupt can divide.
    """

    __slots__ = ("gate", "key", "over", "thread")

    def __init__(self, key: int) -> None:
        self.key = key
        self.over = False
        self.thread = get_ident()
        self.gate: Gate | None = None  # opened when the turn comes


class Turns:
    """Gives the next turn to the waiting key that was served longest ago. Thread-safe.

    Many threads that wait for one key cannot hold up a single one that waits for another key.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # which a signal handler may take in the middle of anything
        self._waiting: list[Turn] = []
        self._served: dict[int, int] = {}  # when each key had its last turn, counted in turns
        self._count = count(1)
        self._owner = Turn(0)
        self._owner.over = True

    def claim(self, turn: Turn) -> bool:
        """Start this turn if the line is free and no thread waits for it; return whether it started."""
        with self._lock:
            if not self._owner.over or self._waiting:
                return False
            self._owner = turn
            self._served[turn.key] = next(self._count)
            return True

    def wait(self, turn: Turn, timeout: float) -> None:
        """Wait until this turn starts, at most ``timeout`` seconds.

        Raises:
            TimedOut: it did not start in time.
            RuntimeError: the calling thread already has a turn, or waits for one.
        """
        with self._lock:
            others = self._owner, *self._waiting
        if any(other.thread == turn.thread and not other.over for other in others):
            raise RuntimeError("a handler that runs inside a command must not run another one; use another thread")
        turn.gate = Gate()
        try:
            self._waiting.append(turn)
            self.pass_on()
            turn.gate.wait(timeout)
            if self._owner is not turn:
                raise TimedOut(f"the line was in use for more than {timeout:g} s")
        finally:
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)

    def pass_on(self) -> None:
        """Start the next turn, if the last one is over and a thread waits."""
        if not self._waiting:  # a thread that starts to wait now calls this itself
            return
        with self._lock:
            while self._owner.over and self._waiting:
                following = min(self._waiting, key=lambda turn: self._served.get(turn.key, 0))
                self._owner = following
                self._served[following.key] = next(self._count)
                self._waiting.remove(following)
                if following.gate is not None:
                    following.gate.open()
