"""The threads that attend to links."""

from __future__ import annotations

import contextlib
import heapq
import inspect
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any

from cnx.errors import ConnectError, ConnectionLost
from cnx.link import Link
from cnx.monitor import Monitor
from cnx.watch import Watch, new_watch

__all__ = ["Listener", "Pump", "Timer"]

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25
"""Seconds after which a thread that cannot be woken looks for new subscribers and timers."""


class Timer:
    """Something that a link's thread does after a time, and again and again if it is periodic, while the link is up."""

    def __init__(self, link: Link, delay: float, callback: Callable[[], Any], *, periodic: bool = True) -> None:
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


class _Timers:
    """Timers by the time when they are due. Any thread may add; the rest is for the thread that runs them."""

    def __init__(self) -> None:
        self._added: deque[tuple[float, int, Timer]] = deque()
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._untidy = False

    def add(self, timer: Timer) -> None:
        self._added.append((monotonic() + timer.delay, next(self._count), timer))

    def tidy(self) -> None:
        """Drop the timers of links that have ended, soon. Any thread."""
        self._untidy = True

    def remaining(self) -> float | None:
        """Return the seconds until the next one is due."""
        while self._added:
            heapq.heappush(self._heap, self._added.popleft())
        if self._untidy:
            self._untidy = False
            self._heap = [entry for entry in self._heap if entry[2].link.reason is None]
            heapq.heapify(self._heap)
        return max(0.0, self._heap[0][0] - monotonic()) if self._heap else None

    def run_due(self) -> None:
        now = monotonic()  # what is due again after that has to wait for others
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.run():
                self.add(timer)


class _Attendant:
    """What both kinds of threads share: a name, timers, and a thread that is there while it has work.

    Attributes:
        ident: of the thread while it runs, else 0.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None  # that has work
        self._last: threading.Thread | None = None  # that had, and may be at its very end
        self.ident = 0
        self._begin()

    def _begin(self) -> None:
        self._changed = Monitor()
        self._lock = self._changed.lock
        self._timers = _Timers()

    def schedule(self, timer: Timer) -> None:
        """Run ``timer`` on this thread."""
        self._timers.add(timer)

    def abandon(self) -> None:
        """Forget thread and timers in a forked child process."""
        self._thread, self.ident = None, 0
        self._begin()

    def _start(self, run: Callable[[], None]) -> None:
        self._thread = self._last = threading.Thread(target=run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = self._last = None
            raise ConnectError(f"cannot start {self._name}: {error}") from error


class Listener(_Attendant):
    """A thread that waits for input on links and tells their subscribers. Thread-safe.

    A connection makes one for each link, unless it is given one to share with other connections. The thread starts
    with the first link and ends with the last; it never wakes up without a reason.

    Args:
        name: what the thread is called, after ``cnx listener``.
    """

    def __init__(self, name: str = "shared") -> None:
        super().__init__(f"cnx listener {name}")
        self._links: dict[int, Link] = {}
        self._poked: set[Link] = set()
        self._watch: Watch | None = None

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self._links)} links>"

    def add(self, link: Link) -> None:
        """Attend to ``link``."""
        with self._lock:
            watch = self._watch or new_watch()
            try:
                watch.add(link.fd)
                self._links[link.fd] = link
                if self._watch is None:
                    self._watch = watch
                    self._start(partial(self._run, watch))
            except BaseException:
                self.remove(link)
                if self._thread is None:
                    self._watch = None
                    watch.close()
                raise
        self._changed.notify()  # who waits for the end of the thread need not wait for that of this link

    def arm(self, link: Link, interest: int) -> None:
        """Ask to be told of ``interest``, once."""
        watch = self._watch
        if watch is not None:
            try:  # not suppress(): this runs for every message
                watch.arm(link.fd, interest)
            except (OSError, ValueError) as error:
                log.debug("%s is closed at this moment: %s", link.transport.address, error)

    def poke(self, link: Link) -> None:
        """Have the thread look at ``link``."""
        if self._links.get(link.fd) is link:
            self._poked.add(link)
            self._with_watch(lambda watch: watch.poke())

    def rest(self, link: Link, delay: float) -> None:
        """Look at ``link`` again after ``delay`` seconds."""
        self.schedule(Timer(link, delay, link.on_rested, periodic=False))

    def schedule(self, timer: Timer) -> None:
        """Run ``timer`` on this thread."""
        super().schedule(timer)
        if self.ident != get_ident():
            self._with_watch(lambda watch: watch.poke())

    def remove(self, link: Link) -> None:
        """Attend to ``link`` no more."""
        self._timers.tidy()
        with self._lock:
            if self._links.get(link.fd) is link:
                del self._links[link.fd]
                self._with_watch(lambda watch: watch.remove(link.fd))
                self._with_watch(lambda watch: watch.poke())

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread if it has no links left."""
        thread = self._last
        if thread is not None and thread is not threading.current_thread():
            end = monotonic() + timeout
            self._changed.wait_for(lambda: self._links or self._thread is not thread, timeout)
            if self._thread is not thread:
                thread.join(max(0.0, end - monotonic()))

    def abandon(self) -> None:
        super().abandon()
        self._links.clear()
        self._with_watch(lambda watch: watch.close())
        self._watch = None

    def _with_watch(self, action: Callable[[Watch], object]) -> None:
        watch = self._watch
        if watch is not None:
            with contextlib.suppress(OSError, ValueError):  # closed at this moment: its links are settled
                action(watch)

    def _run(self, watch: Watch) -> None:
        self.ident = get_ident()
        while self._links or not self._may_end():
            due = self._timers.remaining()
            for fd, gone in watch.wait(due):
                link = self._links.get(fd)
                if link is not None:
                    try:
                        link.attend(True, gone)
                    except BaseException as error:
                        _give_up(link, error)
            for _ in range(len(self._poked)):
                poked = self._poked.pop()
                try:
                    poked.attend()
                except BaseException as error:
                    _give_up(poked, error)
            if due is not None:
                self._timers.run_due()
        self._changed.notify()
        watch.close()

    def _may_end(self) -> bool:
        """Whether there are no links; then new ones get a new thread."""
        with self._lock:
            if not self._links:
                self._poked.clear()
                self._watch, self._thread, self.ident = None, None, 0
            return not self._links


class Pump(_Attendant):
    """A thread that reads one link whose transport has no descriptor, and therefore blocks in its ``read``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"cnx listener {name}")
        self._link: Link | None = None

    def add(self, link: Link) -> None:
        """Read ``link`` until it ends."""
        self._link = link
        self._start(self._run)

    def arm(self, link: Link, interest: int) -> None:
        """Do nothing: the thread reads all the time."""

    def poke(self, link: Link) -> None:
        """Wake the thread if it waits for others; ``shutdown`` of the transport wakes it from reading."""
        link.notify()

    def rest(self, link: Link, delay: float) -> None:
        """Do nothing: the thread is the only reader."""

    def remove(self, link: Link) -> None:
        """Read no more."""
        self._link = None

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None and self.ident != get_ident():
            self._thread.join(timeout)

    def _run(self) -> None:
        self.ident = get_ident()
        while (link := self._link) is not None:
            due = self._timers.remaining()
            try:
                link.pump(_LOOK_AGAIN if due is None else min(due, _LOOK_AGAIN))
            except BaseException as error:
                _give_up(link, error)
            self._timers.run_due()
        self.ident = 0


def _give_up(link: Link, error: BaseException) -> None:
    """End a link whose handler raised what no handler must raise, such as ``SystemExit``; the thread goes on."""
    log.exception("%s: the link ends, as a handler raised %r", link.transport.address, error)
    link.end(ConnectionLost(f"a handler of {link.transport.address} raised {error!r}"))
