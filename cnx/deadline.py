"""Deadline: when a call has to end. One object is passed through all the steps of the call, and can be cancelled."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from cnx.errors import Cancelled, TimedOut
from cnx.threads.condition import Gate
from cnx.threads.locks import Lock

__all__ = ["LONGEST", "Deadline", "checked_interval", "checked_timeout", "left_of"]

LONGEST = 2_000_000.0
"""Seconds (three weeks) above which a timeout counts as none; some systems cannot wait for more than 2 ** 31 ms."""


def checked_timeout(seconds: float | None, what: str = "timeout") -> float | None:
    """Return ``seconds`` if it is a timeout: ``None`` (no limit) or a number of at least zero.

    More than :data:`LONGEST` counts as no limit.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative or not a number (NaN).
    """
    if seconds is None or (type(seconds) is float and 0.0 <= seconds <= LONGEST):  # nearly always
        return seconds
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{what} must be a number of seconds or None, not {seconds!r}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{what} must be at least 0 seconds, not {seconds!r}")
    return None if seconds > LONGEST else seconds


def checked_interval(seconds: float | None, what: str = "interval") -> float | None:
    """Return ``seconds`` if it is an interval between repetitions; ``None`` for no repetition.

    Raises:
        TypeError, ValueError: it is not a number above 0.
    """
    checked = checked_timeout(seconds, what)
    if checked == 0:
        raise ValueError(f"{what} must be more than 0 seconds, not {seconds!r}")
    return checked


def left_of(seconds: float | None, began: float) -> float | None:
    """Return what is left of a timeout that began at ``monotonic()`` time ``began``; ``None`` for no limit.

    While less than a hundredth has passed, the number is unchanged, because setting another timeout on a socket takes a
    system call.
    """
    if seconds is None:
        return None
    gone = monotonic() - began
    return seconds if gone < seconds / 100 else max(0.0, seconds - gone)


class Deadline:
    """The end of a call: some seconds from now, or when another thread cancels it. Thread-safe.

    Args:
        seconds: time from now, at least 0; ``None`` for no limit.
    """

    __slots__ = ("_cancelled", "_end", "_lock", "_seconds", "_wakers")

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = checked_timeout(seconds)
        self._end = None if self._seconds is None else monotonic() + self._seconds
        self._cancelled: Cancelled | None = None
        self._wakers: list[Callable[[], object]] = []
        self._lock = Lock()

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else f"remaining={self.remaining()}"
        return f"<Deadline {state}>"

    @property
    def seconds(self) -> float | None:
        """The time that was given when it was made, for messages; ``None`` for no limit."""
        return self._seconds

    def remaining(self) -> float | None:
        """Return the seconds that are left, at least 0, or ``None`` for no limit."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    @property
    def expired(self) -> bool:
        """Whether time is up, or the call was cancelled."""
        return self._cancelled is not None or (self._end is not None and monotonic() >= self._end)

    @property
    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return self._cancelled is not None

    def cancel(self, reason: Cancelled | None = None) -> None:
        """End the call now, and call the functions passed to :meth:`waking`. Later calls change nothing."""
        with self._lock:
            if self._cancelled is not None:
                return
            self._cancelled = reason or Cancelled("the call was cancelled")
        for wake in tuple(self._wakers):
            wake()

    def check(self, doing: str) -> None:
        """Raise if the call has to end.

        Args:
            doing: the present step, for the message, such as ``"connecting to host:1"``.

        Raises:
            Cancelled: it was cancelled.
            TimedOut: time is up.
        """
        if self._cancelled is not None:
            raise type(self._cancelled)(f"{doing}: {self._cancelled}")
        if self._end is not None and monotonic() >= self._end:
            raise TimedOut(f"{doing} took longer than {self._seconds:g} s")

    def pause(self, seconds: float) -> bool:
        """Wait, but not past the deadline; return whether the call may go on."""
        limits = [limit for limit in (self.remaining(), checked_timeout(seconds)) if limit is not None]
        over = Gate()
        with self.waking(over.open):
            over.wait(min(limits, default=None))
        return not self.expired

    def waking(self, wake: Callable[[], object]) -> Waking:
        """Call ``wake`` if the deadline is cancelled while the block runs, or was cancelled before.

        ``wake`` may run on the thread that cancels, and may run twice; it must be quick and must not fail.
        """
        return Waking(self, self._wakers, wake)


class Waking:
    """A block during which cancelling a deadline wakes a thread; see :meth:`Deadline.waking`."""

    __slots__ = ("_deadline", "_wake", "_wakers")

    def __init__(self, deadline: Deadline, wakers: list[Callable[[], object]], wake: Callable[[], object]) -> None:
        self._deadline, self._wakers, self._wake = deadline, wakers, wake

    def __enter__(self) -> None:
        self._wakers.append(self._wake)
        try:
            if self._deadline.cancelled:
                self._wake()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._wakers.remove(self._wake)
