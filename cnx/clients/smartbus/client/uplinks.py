"""The registered links of a client, and which of its signals were emitted."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from cnx.clients.smartbus.client.link import BusLink
from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.threads.condition import Condition

__all__ = ["Uplinks"]


class Uplinks:
    """The links that are registered, from the first one up to the last one down. Thread-safe.

    A client is connected from ``CONNECTED``, emitted for the first link, to ``DISCONNECTED``, emitted for the last one.
    That is one session. Links come and go meanwhile. As soon as there is a reason to end, no more links are taken. The
    next session begins when the end of the last one was emitted.

    Attributes:
        up: the links that are registered; the first one is the active link.
        reason: why the session ends, or ended; ``None`` while links may come.
        changed: notified of every change.
    """

    def __init__(self) -> None:
        self.changed = Condition()
        self.up: tuple[BusLink, ...] = ()
        self.reason: BaseException | None = None
        self._announced = False  # CONNECTED was emitted
        self._ender = 0  # ident of the thread that emits the end

    @property
    def usable(self) -> bool:
        """Whether a link is up, and nothing is known of an end."""
        return self.reason is None and any(link.connected for link in self.up)

    @property
    def announced(self) -> bool:
        """Whether ``CONNECTED`` was emitted, and nothing is known of an end."""
        return self._announced and self.reason is None

    def begin(self, deadline: Deadline, name: str, is_thread_of_link: Callable[[], bool]) -> None:
        """Wait until the end of the last session was emitted, and take links from now on.

        Raises:
            ConnectError: the end has to wait for the calling thread.
            TimedOut, Cancelled: the deadline ended.
        """
        if not self._is_over() and (self._ender == get_ident() or is_thread_of_link()):
            raise ConnectError(
                f"a handler of {name} is still busy with its last link; connect after that, on another thread, or "
                "leave it to a ConnectionManager"
            )
        with deadline.waking(self.changed.notify):
            self.changed.wait_for(lambda: self._is_over() or deadline.cancelled, deadline.remaining())
        deadline.check(f"waiting for the end of the last link of {name}")
        with self.changed.lock:
            self.reason, self._announced = None, False

    def add(self, link: BusLink) -> bool | None:
        """Add a link that is up; return whether it is the first one, or ``None`` if it comes too late."""
        with self.changed.lock:
            if self.reason is not None:
                return None
            self.up = (*self.up, link)
            first = len(self.up) == 1
        self.changed.notify()
        return first

    def announce(self, emit_connected: Callable[[], None]) -> None:
        """Emit ``CONNECTED`` for the first link."""
        try:
            emit_connected()
        finally:
            self._announced = True
            self.changed.notify()

    def wait_announced(self) -> None:
        """Wait until ``CONNECTED`` was emitted, so that no data of a second link is emitted before."""
        self.changed.wait_for(lambda: self._announced, None)

    def close(self, reason: BaseException) -> None:
        """Take no more links; the first reason counts."""
        with self.changed.lock:
            self.reason = self.reason or reason
        self.changed.notify()

    def remove(self, link: BusLink, reason: BaseException) -> bool:
        """Remove a link; return whether it was the last one, so that :meth:`end` has to be called."""
        with self.changed.lock:
            last = self.up == (link,)
            self.up = tuple(other for other in self.up if other is not link)
            if last:
                self.reason = self.reason or reason
                self._ender = get_ident()
        self.changed.notify()
        return last

    def end(self, emit_end: Callable[[], None]) -> None:
        """Emit the end of the last link."""
        try:
            emit_end()
        finally:
            self._ender = 0
            self.changed.notify()

    def _is_over(self) -> bool:
        return not self.up and not self._ender
