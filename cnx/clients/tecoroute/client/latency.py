"""How long the service takes to answer: the rule by which a slow one is left. No clock: callers say what time it is."""

from __future__ import annotations

__all__ = ["Latency"]


class Latency:
    """Judges each answer by the last request before it, so of requests that are sent at once one is measured.

    The rule is that of the published package ``tecoroute``: an answer after ``threshold`` seconds or more is slow,
    and ``count`` slow ones in a row are too many. Beyond that rule it is known for how long nothing has come at all.

    Attributes:
        value: seconds that the last measured answer took; ``None`` before the first, and from a keepalive on until
            its answer.
        waiting_since: when the first request was sent that must be answered, and that nothing came after.
    """

    def __init__(self, threshold: float, count: int) -> None:
        self.threshold = threshold
        self.count = count
        self.value: float | None = None
        self.waiting_since: float | None = None
        self._start: float | None = None
        self._slow = 0

    def forget(self) -> None:
        """Note that a keepalive is about to be sent."""
        self.value = None

    def sent(self, now: float, *, answered: bool) -> None:
        """Note that a request was sent; ``answered`` says that it must be answered."""
        self._start = now
        if answered and self.waiting_since is None:
            self.waiting_since = now

    def received(self, now: float) -> float | None:
        """Note that an answer came; return how long it took if it is one that is measured."""
        self.waiting_since = None
        if self._start is None:
            return None
        self.value, self._start = now - self._start, None
        self._slow = self._slow + 1 if self.value >= self.threshold else 0
        return self.value

    @property
    def exceeded(self) -> bool:
        """Whether the last answers were slow, and too many."""
        return self._slow >= self.count

    def silence(self, now: float) -> float:
        """Return for how many seconds an answer has been missing."""
        return 0.0 if self.waiting_since is None else now - self.waiting_since
