"""Turns at a line that only one may use at a time, given fairly."""

from __future__ import annotations

from itertools import count
from threading import get_ident

from cnx.errors import TimedOut
from cnx.threads.condition import Gate
from cnx.threads.locks import Lock

__all__ = ["Turn", "Turns"]


class Turn:
    """One thread's use of the line: waited for, had, and over as soon as ``over`` is set.

    Attributes:
        key: whom it is for; turns are fair between keys.
        over: set it in a ``finally``, as a single step that no interrupt can prevent, then call
            :meth:`Turns.pass_on`.
    """

    __slots__ = ("gate", "key", "over", "thread")

    def __init__(self, key: int) -> None:
        self.key = key
        self.over = False
        self.thread = get_ident()
        self.gate: Gate | None = None


class Turns:
    """Gives the turn to whoever waits for the key that was served longest ago. Thread-safe.

    Many threads that ask for one key cannot keep away a single one that asks for another.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # so that it cannot lock out a signal handler
        self._waiting: list[Turn] = []
        self._served: dict[int, int] = {}
        self._count = count(1)
        self._owner = Turn(0)
        self._owner.over = True

    def claim(self, turn: Turn) -> bool:
        """Begin this turn if the line is free and nobody waits; return whether it was."""
        with self._lock:
            if not self._owner.over or self._waiting:
                return False
            self._owner = turn
            self._served[turn.key] = next(self._count)
            return True

    def wait(self, turn: Turn, timeout: float) -> None:
        """Wait until it is this turn, at most ``timeout`` seconds.

        Raises:
            TimedOut: it did not come.
            RuntimeError: the calling thread has one already, or waits for one.
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
        """Give the turn to the next who waits, if the last one is over."""
        if not self._waiting:  # who begins to wait looks by itself whether it is free
            return
        with self._lock:
            while self._owner.over and self._waiting:
                following = min(self._waiting, key=lambda turn: self._served.get(turn.key, 0))
                self._owner = following
                self._served[following.key] = next(self._count)
                self._waiting.remove(following)
                if following.gate is not None:
                    following.gate.open()
