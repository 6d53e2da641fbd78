"""Listener and Pump: the threads that serve links.

A listener waits for input on the descriptors of any number of links. A pump serves one link whose transport has no
descriptor, by blocking in the transport's own ``read``. The link itself decides what to do, see :mod:`cnx.link.link`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic

from cnx.deadline import Deadline
from cnx.errors import ConnectError, ConnectionLost
from cnx.link.link import Link
from cnx.link.selector import Selector, new_selector
from cnx.link.timers import Timer, Timers
from cnx.logs import logger
from cnx.threads.condition import Condition
from cnx.threads.hook import report_error
from cnx.threads.starting import RETRY, new_thread, start, start_waiting, waiting

__all__ = ["Listener", "Pump"]

log = logger(__name__)

_LOOK_AGAIN = 0.25
"""Seconds between checks for new subscribers, for a pump, which cannot be woken."""


class _Attendant:
    """What both kinds share: a name, and a thread that exists while it has work.

    Attributes:
        ident: of the thread while it runs, else 0.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None  # the one that has work
        self._last: threading.Thread | None = None  # the last one that had work; it may still be about to end
        self.ident = 0
        self._begin()

    def _begin(self) -> None:
        self._changed = Condition()
        self._lock = self._changed.lock

    def abandon(self) -> None:
        """Forget the thread in a forked child process."""
        self._thread, self.ident = None, 0
        self._begin()

    def _start(self, run: Callable[[], None]) -> None:
        thread = self._thread = self._last = new_thread(run, self._name)
        try:
            start(thread)
        except BaseException:
            self._thread = self._last = None
            raise


class Listener(_Attendant):
    """A thread that waits for input on links and emits it to their subscribers. Thread-safe.

    A connection makes one for each link, unless it gets one to share with other connections. The thread starts with the
    first link and ends with the last one; it does not wake up periodically.

    Args:
        name: what the thread is called, after ``cnx listener``.
    """

    def __init__(self, name: str = "shared") -> None:
        super().__init__(f"cnx listener {name}")
        self._timers = Timers()
        self._links: dict[int, Link] = {}
        self._poked: set[Link] = set()
        self._selector: Selector | None = None

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self._links)} links>"

    def add(self, link: Link) -> None:
        """Serve ``link``."""
        with self._lock:
            try:
                selector = self._selector or new_selector()
            except OSError as error:  # no more descriptors
                raise ConnectError(f"cannot listen to {link.address}: {error}") from error
            try:
                selector.add(link.fd)
                self._links[link.fd] = link
                if self._selector is None:
                    self._selector = selector
                    self._start(partial(self._run, selector))
            except BaseException:
                self.remove(link)
                if self._thread is None:
                    self._selector = None
                    selector.close()
                raise
        self._changed.notify()  # join() returns, as the thread goes on with this link

    def arm(self, link: Link, interest: int) -> None:
        """Wait for ``interest`` on the descriptor of ``link``: ``NOTHING``, ``HANGUP`` or ``INPUT``."""
        selector = self._selector
        if selector is not None:
            try:  # not suppress(): this runs for every message
                selector.arm(link.fd, interest)
            except (OSError, ValueError) as error:
                log.debug("%s is just being closed: %s", link.transport.address, error)

    def poke(self, link: Link) -> None:
        """Wake the thread to call ``link.attend()``."""
        if self._links.get(link.fd) is link:
            self._poked.add(link)
            self._with_selector(lambda selector: selector.poke())

    def rest(self, link: Link, delay: float) -> None:
        """Call ``link.on_rested()`` after ``delay`` seconds, on this thread."""
        self._timers.add(Timer(link, delay, link.on_rested, periodic=False))
        if self.ident != get_ident():
            self._with_selector(lambda selector: selector.poke())

    def remove(self, link: Link) -> None:
        """Stop serving ``link``."""
        self._timers.tidy()
        with self._lock:
            if self._links.get(link.fd) is link:
                del self._links[link.fd]
                self._with_selector(lambda selector: selector.remove(link.fd))
                self._with_selector(lambda selector: selector.poke())

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, if it has no links left."""
        thread = self._last
        if thread is not None and thread is not threading.current_thread():
            end = monotonic() + timeout
            self._changed.wait_for(lambda: self._links or self._thread is not thread, timeout)
            if self._thread is not thread:
                thread.join(max(0.0, end - monotonic()))

    def abandon(self) -> None:
        super().abandon()
        self._timers = Timers()
        self._links.clear()
        self._with_selector(lambda selector: selector.close())
        self._selector = None

    def _with_selector(self, action: Callable[[Selector], object]) -> None:
        selector = self._selector
        if selector is not None:
            with contextlib.suppress(OSError, ValueError):  # just being closed: all links are settled
                action(selector)

    def _run(self, selector: Selector) -> None:
        self.ident = get_ident()
        wait, gone, timers, links = selector.wait, selector.gone, self._timers, self._links
        while links or not self._may_end():
            due = timers.remaining() if timers.any else None
            if waiting and start_waiting():  # such as the recovery of a link that this thread has lost
                due = RETRY if due is None else min(due, RETRY)
            try:
                ready = wait(due)
            except BaseException as error:
                self._end_all(error)
                break
            for fd, event in ready:
                link = links.get(fd)  # None for a descriptor that only wakes the thread
                if link is not None:
                    try:
                        link.attend(readable=True, gone=bool(event & gone))
                    except BaseException as error:
                        _give_up(link, error)
            if self._poked:
                self._attend_to_poked()
            if due is not None:
                timers.run_due()
        self._changed.notify()
        with contextlib.suppress(OSError):
            selector.close()

    def _end_all(self, error: BaseException) -> None:
        """End all links, as this thread cannot wait for input any more; the next link gets another thread."""
        with self._lock:
            links = list(self._links.values())
            self._links.clear()
            self._poked.clear()
            self._selector, self._thread, self.ident = None, None, 0
        for link in links:
            lost = ConnectionLost(f"cannot wait for input from {link.address}: {error!r}")
            lost.__cause__ = error
            link.end(lost)
        log.error("%s cannot wait for input, so its links have ended", self._name, exc_info=error)
        while links:  # until no other thread is in a call of the link, which its end has woken
            for link in links:
                link.settle()
            links = [link for link in links if not link.wait_settled(Deadline(_LOOK_AGAIN))]

    def _attend_to_poked(self) -> None:
        for _ in range(len(self._poked)):
            poked = self._poked.pop()
            try:
                poked.attend()
            except BaseException as error:
                _give_up(poked, error)

    def _may_end(self) -> bool:
        """Return whether there are no links; if so, the next link starts a new thread."""
        with self._lock:
            if not self._links:
                self._poked.clear()
                self._selector, self._thread, self.ident = None, None, 0
            return not self._links


class Pump(_Attendant):
    """A thread that reads one link whose transport has no descriptor, and therefore blocks in its ``read``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"cnx listener {name}")
        self._link: Link | None = None

    def add(self, link: Link) -> None:
        """Serve ``link`` until it ends."""
        self._link = link
        self._start(self._run)

    def arm(self, link: Link, interest: int) -> None:
        """Do nothing: the thread reads all the time."""

    def poke(self, link: Link) -> None:
        """Wake the thread if it waits for other threads; ``shutdown`` of the transport wakes it from a read."""
        link.notify()

    def rest(self, link: Link, delay: float) -> None:
        """Do nothing: the thread is the only reader."""

    def remove(self, link: Link) -> None:
        """Stop serving the link."""
        self._link = None

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None and self.ident != get_ident():
            self._thread.join(timeout)

    def _run(self) -> None:
        self.ident = get_ident()
        while (link := self._link) is not None:
            try:
                link.pump(_LOOK_AGAIN)
            except BaseException as error:
                _give_up(link, error)
        self.ident = 0


def _give_up(link: Link, error: BaseException) -> None:
    """End a link whose handler raised something like ``SystemExit``; the thread goes on with other links."""
    report_error(error, f"{link.transport.address}: the link ends, as a handler raised {type(error).__name__}")
    link.end(ConnectionLost(f"a handler of {link.transport.address} raised {error!r}"))
