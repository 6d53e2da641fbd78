"""Not more than one opening per second: the service asks for it, as it may get stuck for all of its customers."""

from __future__ import annotations

from time import monotonic

from cnx.clients.tecoroute.client.errors import ConnectorConnectionError
from cnx.deadline import Deadline, checked_timeout
from cnx.threads.cleanup import Registry
from cnx.threads.locks import Lock

__all__ = ["OPENINGS", "Pace"]


class Pace:
    """Gives out turns, at least ``interval`` seconds apart. Thread-safe.

    Args:
        interval: seconds, at least 0.
    """

    def __init__(self, interval: float) -> None:
        self.interval = checked_timeout(interval, "interval") or 0.0
        self._next = 0.0
        self._renew()
        _paces.add(self)

    def _renew(self) -> None:
        """Begin with a free lock, also in a forked child process, where its owner does not exist."""
        self._lock = Lock()  # for a signal handler that opens a connector, too

    def wait(self, deadline: Deadline) -> None:
        """Wait for a turn.

        Raises:
            ConnectorConnectionError: the next free turn is after the deadline; none is taken, and ``retry_after``
                tells the seconds until then.
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


def _renew(paces: list[Pace]) -> None:
    for pace in paces:
        pace._renew()


_paces: Registry[Pace] = Registry(_renew)

OPENINGS = Pace(1.0)
"""The turns of this process, for all connectors that are not given others."""
