"""Timers: actions that a thread runs after some time.

A listener has timers of its own, for what it has to do itself. Everything else runs on a :class:`TimerThread`: what is
there to notice a handler or a write that takes too long must not be held up by it.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from cnx.errors import ConnectError
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.condition import Gate
from cnx.threads.hook import report_error
from cnx.threads.locks import Lock
from cnx.threads.starting import start_thread

__all__ = ["Timer", "TimerThread", "Timers", "watchdog"]


class Life(Protocol):
    """What a timer knows of its link: why it ended, if it has, and its address."""

    reason: BaseException | None

    @property
    def address(self) -> str: ...


class Timer:
    """An action that a thread runs after ``delay`` seconds, and again and again if it is periodic.

    It ends with the link. A bound method is held weakly, so that a timer does not keep its connection alive.
    """

    def __init__(self, link: Life, delay: float, action: Callable[[], Any], *, periodic: bool = True) -> None:
        self.link = link
        self.delay = delay
        self.active = True
        self._periodic = periodic
        self._action: Callable[[], Callable[[], Any] | None]
        self._action = weakref.WeakMethod(action) if inspect.ismethod(action) else lambda: action

    def cancel(self) -> None:
        """Do not run it again. Any thread."""
        self.active = False

    def run(self) -> bool:
        """Run it once; return whether to run it again."""
        action = self._action()
        if not self.active or action is None or self.link.reason is not None:
            return False
        try:
            action()
        except BaseException as error:  # SystemExit, too: the thread has to go on
            report_error(error, f"{self.link.address}: a scheduled action failed")
        return self._periodic and self.active and self.link.reason is None


class Timers:
    """Timers, in the order in which they are due. Any thread may add one; the rest is for the thread that runs them.

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
        """Return the seconds until the next timer is due; ``None`` if there is none."""
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
        """Run the timers that are due."""
        now = monotonic()  # a timer that is due again after that waits for the others
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.run():
                self.add(timer)


class TimerThread:
    """A thread that runs timers, and exists while it has some. Thread-safe.

    Args:
        name: what the thread is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin()
        _timer_threads.add(self)

    def _begin(self) -> None:
        """Start without a thread; also in a forked child process."""
        self._timers = Timers()
        self._gate = Gate()  # opened when something has changed
        self._lock = Lock()
        self._running = False

    def schedule(self, timer: Timer) -> None:
        """Run ``timer`` after its delay.

        Raises:
            ConnectError: the system gives no thread.
        """
        self._timers.add(timer)
        with self._lock:
            if not self._running:
                try:
                    start_thread(self._run, self._name)
                except ConnectError:
                    timer.cancel()
                    raise
                self._running = True
        self._gate.open()

    def tidy(self) -> None:
        """Drop the timers of links that have ended, soon."""
        self._timers.tidy()
        self._gate.open()

    def abandon(self) -> None:
        """Forget the thread and the timers in a forked child process."""
        self._begin()

    def _run(self) -> None:
        while True:
            due = self._timers.remaining()
            if due is None:
                with self._lock:
                    if not self._timers.any:  # otherwise a timer was added just now
                        self._running = False
                        return
                continue
            self._gate.wait(due)
            self._timers.run_due()


_timer_threads: CleanupRegistry[TimerThread] = CleanupRegistry(TimerThread.abandon)

watchdog = TimerThread("cnx watchdog")
"""One for the process. It looks after links; what it does never waits."""
