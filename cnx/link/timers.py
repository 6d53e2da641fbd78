"""What a link's thread does after a time."""

from __future__ import annotations

import heapq
import inspect
import itertools
import logging
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnx.link.life import Life

__all__ = ["Timer", "Timers"]

log = logging.getLogger(__name__)


class Timer:
    """Something that a link's thread does after a time, and again and again if it is periodic, while the link is up."""

    def __init__(self, link: Life, delay: float, callback: Callable[[], Any], *, periodic: bool = True) -> None:
        self.link = link
        self.delay = delay
        self.active = True
        self._periodic = periodic
        self._callback: Callable[[], Callable[[], Any] | None]
        # the thread must not keep a connection alive that nobody else uses
        self._callback = weakref.WeakMethod(callback) if inspect.ismethod(callback) else lambda: callback

    def cancel(self) -> None:
        """Do it no more. Any thread."""
        self.active = False

    def run(self) -> bool:
        """Do it once; return whether to do it again."""
        callback = self._callback()
        if not self.active or callback is None or self.link.reason is not None:
            return False
        try:
            callback()
        except BaseException:  # SystemExit, too: the thread has to go on
            log.exception("%s: a scheduled action failed", self.link.transport.address)
        return self._periodic and self.active and self.link.reason is None


class Timers:
    """Timers by the time when they are due. Any thread may add; the rest is for the thread that runs them.

    Attributes:
        any: there are some.
    """

    def __init__(self) -> None:
        self._added: deque[tuple[float, int, Timer]] = deque()
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._untidy = False
        self.any = False

    def add(self, timer: Timer) -> None:
        """Run ``timer`` after its delay."""
        self._added.append((monotonic() + timer.delay, next(self._count), timer))
        self.any = True

    def tidy(self) -> None:
        """Drop the timers of links that have ended, soon. Any thread."""
        self._untidy = True

    def remaining(self) -> float | None:
        """Return the seconds until the next one is due."""
        self.any = False  # before looking, so that no addition is missed
        while self._added:
            heapq.heappush(self._heap, self._added.popleft())
        if self._untidy:
            self._untidy = False
            self._heap = [entry for entry in self._heap if entry[2].link.reason is None]
            heapq.heapify(self._heap)
        if not self._heap:
            return None
        self.any = True
        return max(0.0, self._heap[0][0] - monotonic())

    def run_due(self) -> None:
        """Run those whose time has come."""
        now = monotonic()  # what is due again after that has to wait for others
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.run():
                self.add(timer)
