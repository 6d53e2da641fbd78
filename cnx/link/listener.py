"""Listener and Pump: the threads that serve links.

A listener waits for input on the descriptors of any number of links. A pump serves one link whose transport has no
descriptor, by blocking in the transport's own ``read``. The link itself decides what to do, see :mod:`cnx.link.link`.
"""

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
from cnx.link.selector import Selector, new_selector
from cnx.link.timers import Timer, Timers
from cnx.threads.condition import Condition

__all__ = ["Listener", "Pump"]

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25
"""Seconds between checks for new subscribers and timers, for a pump, which cannot be woken."""


class _Attendant:
    """What both kinds share: a name, timers, and a thread that exists while it has work.

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
        self._timers = Timers()

    def schedule(self, timer: Timer) -> None:
        """Run ``timer`` on this thread."""
        self._timers.add(timer)

    def abandon(self) -> None:
        """Forget the thread and the timers in a forked child process."""
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
    """A thread that waits for input on links and emits it to their subscribers. Thread-safe.

    A connection makes one for each link, unless it gets one to share with other connections. The thread starts with the
    first link and ends with the last one; it does not wake up periodically.

    Args:
        name: what the thread is called, after ``cnx listener``.
    """

    def __init__(self, name: str = "shared") -> None:
        super().__init__(f"cnx listener {name}")
        self._links: dict[int, Link] = {}
        self._poked: set[Link] = set()
        self._selector: Selector | None = None

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self._links)} links>"

    def add(self, link: Link) -> None:
        """Serve ``link``."""
        with self._lock:
            selector = self._selector or new_selector()
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
        """Call ``link.on_rested()`` after ``delay`` seconds."""
        self.schedule(Timer(link, delay, link.on_rested, periodic=False))

    def schedule(self, timer: Timer) -> None:
        """Run ``timer`` on this thread."""
        super().schedule(timer)
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
            for fd, event in wait(due):
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
        selector.close()

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
            due = self._timers.remaining()
            try:
                link.pump(_LOOK_AGAIN if due is None else min(due, _LOOK_AGAIN))
            except BaseException as error:
                _give_up(link, error)
            self._timers.run_due()
        self.ident = 0


def _give_up(link: Link, error: BaseException) -> None:
    """End a link whose handler raised something like ``SystemExit``; the thread goes on with other links."""
    log.exception("%s: the link ends, as a handler raised %r", link.transport.address, error)
    link.end(ConnectionLost(f"a handler of {link.transport.address} raised {error!r}"))
