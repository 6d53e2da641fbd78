"""How a connector treats the service: the limits of a link, when the service is too slow, and how often links open."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from cnx.clients.tecoroute.client.errors import ConnectorConnectionError
from cnx.deadline import Deadline, checked_timeout
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.locks import Lock

__all__ = ["OPENINGS", "Latency", "Pace", "Rules"]


@dataclass(frozen=True)
class Rules:
    """When to send a keepalive, how many requests may be outstanding, and when the service is too slow.

    Attributes:
        latency_threshold: seconds; an answer that takes that long or longer is slow.
        latency_count: number of slow answers in a row that end the link.
        max_outstanding: number of requests that may wait for their answers.
        keepalive_interval: seconds without a request before a keepalive is sent.
        silence_limit: seconds to wait for an answer while nothing arrives at all; ``None`` for no limit.

    Raises:
        ValueError, TypeError: a value is invalid.
    """

    latency_threshold: float
    latency_count: int
    max_outstanding: int
    keepalive_interval: float
    silence_limit: float | None

    def __post_init__(self) -> None:
        for name in ("latency_count", "max_outstanding"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {getattr(self, name)!r}")
        for name in ("latency_threshold", "keepalive_interval", "silence_limit"):
            value = getattr(self, name)
            if not (value is None and name == "silence_limit") and not value > 0:
                raise ValueError(f"{name} must be a number of seconds above 0, not {value!r}")


class Latency:
    """Measures how long the service takes to answer, and decides when it is too slow. Callers pass the time.

    The rule is that of the published package ``tecoroute`` 0.1.0: an answer that takes ``threshold`` seconds or longer
    is slow, and ``count`` slow answers in a row are too many. An answer is measured from the last request before it,
    so of several requests sent together only one is measured. Unlike the package, it also measures silence: how long
    nothing at all has arrived.

    Attributes:
        value: seconds that the last measured answer took; ``None`` before the first one, and from a keepalive on until
            its answer.
        waiting_since: when the oldest request was sent that requires an answer and after which nothing has arrived.
    """

    def __init__(self, threshold: float, count: int) -> None:
        self.threshold = threshold
        self.count = count
        self.value: float | None = None
        self.waiting_since: float | None = None
        self._start: float | None = None
        self._slow = 0

    def forget(self) -> None:
        """Forget the value, because a keepalive is about to be sent."""
        self.value = None

    def sent(self, now: float, *, answered: bool) -> None:
        """Note that a request was sent; ``answered`` says whether it requires an answer."""
        self._start = now
        if answered and self.waiting_since is None:
            self.waiting_since = now

    def received(self, now: float) -> float | None:
        """Note that an answer arrived; return how long it took, or ``None`` if it is not measured."""
        self.waiting_since = None
        if self._start is None:
            return None
        self.value, self._start = now - self._start, None
        self._slow = self._slow + 1 if self.value >= self.threshold else 0
        return self.value

    @property
    def exceeded(self) -> bool:
        """Whether too many of the last answers in a row were slow."""
        return self._slow >= self.count

    def silence(self, now: float) -> float:
        """Return for how many seconds nothing has arrived although an answer is due."""
        return 0.0 if self.waiting_since is None else now - self.waiting_since


class Pace:
    """Gives out turns that are at least ``interval`` seconds apart. Thread-safe.

    The docstring of ``connector.py`` in the published package ``tecoroute`` asks for at most one opened connector per
    second and program, because otherwise the service may get stuck for all its customers.

    Args:
        interval: seconds, at least 0.
    """

    def __init__(self, interval: float) -> None:
        self.interval = checked_timeout(interval, "interval") or 0.0
        self._next = 0.0
        self._renew()
        _paces.add(self)

    def _renew(self) -> None:
        """Start with a free lock; also in a forked child process, where the thread that held it does not exist."""
        self._lock = Lock()  # which a signal handler may take, too, as it may open a connector

    def wait(self, deadline: Deadline) -> None:
        """Wait for a turn.

        Raises:
            ConnectorConnectionError: the next free turn is after the deadline; none is taken, and ``retry_after`` is
                the number of seconds until then.
            Cancelled: the deadline was cancelled.
        """
        seconds = self._take_turn(deadline.remaining())
        if seconds > 0 and not deadline.pause(seconds):
            deadline.check("waiting for a turn to open a connector")

    def _take_turn(self, patience: float | None) -> float:
        """Take the next turn and return the seconds until then."""
        with self._lock:
            now = monotonic()
            turn = max(now, self._next)
            if patience is None or turn - now <= patience:
                self._next = turn + self.interval
                return turn - now
        error = ConnectorConnectionError(
            f"this program opens at most one connector in {self.interval:g} s; the next turn is in {turn - now:.1f} s"
        )
        error.retry_after = turn - now
        raise error


_paces: CleanupRegistry[Pace] = CleanupRegistry(Pace._renew)

OPENINGS = Pace(1.0)
"""The turns of this process, shared by all connectors that are not given a pace of their own."""
