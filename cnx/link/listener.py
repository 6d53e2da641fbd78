"""The threads that attend to links."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic

from cnx.errors import ConnectError, ConnectionLost
from cnx.link.link import Link
from cnx.link.selector import Watch, new_watch
from cnx.link.timers import Timer, Timers
from cnx.threads.condition import Monitor

__all__ = ["Listener", "Pump"]

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25
"""Seconds after which a thread that cannot be woken looks for new subscribers and timers."""


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
        self._timers = Timers()

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
        wait, gone, timers, links = watch.wait, watch.gone, self._timers, self._links
        while links or not self._may_end():
            due = timers.remaining() if timers.any else None
            for fd, event in wait(due):
                link = links.get(fd)  # there is none for what only wakes
                if link is not None:
                    try:
                        link.attend(True, event & gone)
                    except BaseException as error:
                        _give_up(link, error)
            if self._poked:
                self._attend_to_poked()
            if due is not None:
                timers.run_due()
        self._changed.notify()
        watch.close()

    def _attend_to_poked(self) -> None:
        for _ in range(len(self._poked)):
            poked = self._poked.pop()
            try:
                poked.attend()
            except BaseException as error:
                _give_up(poked, error)

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
