"""Which links of a client are up, and how far their story has been told."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from cnx.clients.smartbus.client.link import BusLink
from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.threads.condition import Monitor

__all__ = ["Uplinks"]


class Uplinks:
    """The links that are registered, from the first one up to the last one down. Thread-safe.

    One story after the other: :meth:`begin`, links come and go, the last one has gone and that was told. As soon as
    there is a reason to end, no more links are taken.

    Attributes:
        up: the links that are registered; the first is the active one.
        reason: why the story ends, or ended; ``None`` while links may come.
        changed: woken by every change.
    """

    def __init__(self) -> None:
        self.changed = Monitor()
        self.up: tuple[BusLink, ...] = ()
        self.reason: BaseException | None = None
        self._told = False  # that the first link is up
        self._teller = 0  # ident of the thread that tells the end

    @property
    def usable(self) -> bool:
        """Whether a link is up, and is going to stay so as far as is known."""
        return self.reason is None and any(link.connected for link in self.up)

    @property
    def announced(self) -> bool:
        """Whether it was told that a link is up, and nothing is known of an end."""
        return self._told and self.reason is None

    def begin(self, deadline: Deadline, name: str, is_inside: Callable[[], bool]) -> None:
        """Wait until the end of the last story has been told, and let links come.

        Raises:
            ConnectError: ``is_inside()``, so the end has to wait for the calling thread.
            TimedOut, Cancelled: the deadline ended.
        """
        if not self._is_over() and (self._teller == get_ident() or is_inside()):
            raise ConnectError(
                f"a handler of {name} is still busy with its last link; connect after that, on another thread, or "
                "leave it to a ConnectionManager"
            )
        with deadline.waking(self.changed.notify):
            self.changed.wait_for(lambda: self._is_over() or deadline.cancelled, deadline.remaining())
        deadline.check(f"waiting for the end of the last link of {name}")
        with self.changed.lock:
            self.reason, self._told = None, False

    def add(self, link: BusLink) -> bool | None:
        """Take a link that is up; return whether it is the first, or ``None`` if it comes too late."""
        with self.changed.lock:
            if self.reason is not None:
                return None
            self.up = (*self.up, link)
            first = len(self.up) == 1
        self.changed.notify()
        return first

    def tell(self, connected: Callable[[], None]) -> None:
        """Tell that the first link is up."""
        try:
            connected()
        finally:
            self._told = True
            self.changed.notify()

    def wait_told(self) -> None:
        """Wait until it was told that the first link is up, so that nothing is told before."""
        self.changed.wait_for(lambda: self._told or self.reason is not None, None)

    def close(self, reason: BaseException) -> None:
        """Take no more links; the first reason counts."""
        with self.changed.lock:
            self.reason = self.reason or reason
        self.changed.notify()

    def remove(self, link: BusLink, reason: BaseException) -> bool:
        """Let a link go; return whether it was the last, so that :meth:`tell_end` has to be called."""
        with self.changed.lock:
            last = self.up == (link,)
            self.up = tuple(other for other in self.up if other is not link)
            if last:
                self.reason = self.reason or reason
                self._teller = get_ident()
        self.changed.notify()
        return last

    def tell_end(self, disconnected: Callable[[], None]) -> None:
        """Tell that the last link is down."""
        try:
            disconnected()
        finally:
            self._teller = 0
            self.changed.notify()

    def _is_over(self) -> bool:
        return not self.up and not self._teller
