"""The life of a link: who is inside, why it ended, and who closes the door."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, Protocol

from cnx.errors import Cancelled, ConnectionLost, NotConnected, TimedOut
from cnx.transports.transport import Transport
from cnx.watch import NOTHING

__all__ = ["Attendant", "Inbox", "Life", "Sink"]


class Inbox(Protocol):
    """Where bytes wait for the reading methods."""

    def __len__(self) -> int: ...
    def append(self, data: bytes) -> None: ...
    def take_all(self) -> Any: ...
    def clear(self) -> None: ...
    def tail(self, size: int) -> list[bytes]: ...


class Sink(Protocol):
    """What a link tells its connection, without keeping it alive."""

    limit: int
    keeping: bool  # bytes that are told are kept for the reading methods, too
    provisional: bool  # ... up to the limit only, as nobody has read yet

    def wanted(self) -> bool: ...
    def deliver(self, data: Any) -> None: ...
    def stop(self) -> None: ...
    def on_end(self, reason: BaseException) -> None: ...


class Attendant(Protocol):
    """The thread that attends to links: a listener or a pump."""

    def add(self, link: Any) -> None: ...
    def arm(self, link: Any, interest: int) -> None: ...
    def poke(self, link: Any) -> None: ...
    def remove(self, link: Any) -> None: ...
    def rest(self, link: Any, delay: float) -> None: ...
    def schedule(self, timer: Any) -> None: ...
    def is_current(self) -> bool: ...
    def join(self, timeout: float) -> None: ...
    def abandon(self) -> None: ...


class Life:
    """One life of a transport, from open to closed: writing, and the end. Thread-safe.

    Attributes:
        transport: what is open.
        fd: its descriptor, or -1.
        inbox: what came and waits for the reading methods; its owner is whoever holds the lock.
        reason: why the link ended; ``None`` while it is up.
        live: CONNECTED was told to everybody, so data may be told.
        attendant: the thread that attends to it, once it is live.
        received, sent: bytes that came in and went out.
        writes: whole messages that went out.
    """

    def __init__(self, transport: Transport, inbox: Any, sink: Sink) -> None:
        self.transport = transport
        self.fd = transport.fileno()
        self.inbox = inbox
        self.reason: BaseException | None = None
        self.live = False
        self.attendant: Attendant | None = None
        self.received = self.sent = self.writes = 0
        self._sink = sink
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # taken as _lock where nobody waits: that is faster
        self._untold = 0  # bytes at the end of the inbox that subscribers have not been told
        self._reader = self._writer = self._announcer = 0  # idents of the threads that have these roles
        self._writing = threading.Lock()
        self._interest = NOTHING  # what the attendant was asked to report
        self._announced = self._settling = self._settled = False
        _lives.add(self)

    def schedule(self, timer: Any) -> None:
        """Run ``timer`` on the thread that attends to the link."""
        if self.attendant is not None:
            self.attendant.schedule(timer)

    def announce(self, tell: Callable[[], None]) -> None:
        """Tell that the link is there, and then let the attendant tell what comes; an end is told after that.

        A link that ended before it was told of is not told of at all.
        """
        with self._lock:
            if self.reason is not None:
                return
            self._announcer = get_ident()
            self._announced = True
        try:
            tell()
        finally:
            with self._lock:
                self._announcer = 0
                self.live = True
            if self.attendant is not None:
                self.attendant.add(self)
                self.attendant.poke(self)

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> None:
        """Send the whole of ``data``, not mixed with what other threads send.

        Raises:
            TimedOut: time was up. Where nothing was sent yet the link goes on; a message that was cut ends it.
            ConnectionLost: it ended.
        """
        me = get_ident()
        if self._writer == me:
            raise RuntimeError(
                "a signal handler must not write to the connection that the interrupted code is writing to"
            )
        if not self._writing.acquire(timeout=-1 if timeout is None else timeout):
            raise TimedOut(
                f"another write to {self.transport.address} did not end within {timeout:g} s; nothing was sent"
            )
        self._writer = me
        try:
            if self.reason is not None:
                self._check_up()
            if self._sink.provisional:
                self._forget_told()
            sent = self.transport.write(data, timeout)
            self.sent += max(sent, 0)
            self.writes += 1
            if sent != len(data):
                self._cut(sent, len(data), timeout)
        except ConnectionLost as error:
            self.end(error)
            raise
        finally:
            self._writer = 0
            self._writing.release()
            if self.reason is not None:
                self._ask_to_settle()

    def _forget_told(self) -> None:
        """Keep what comes from now on, in place of what nobody has read and everybody was told."""
        with self._lock:
            self._sink.keeping = True
            if not self._untold:
                self.inbox.clear()

    def _cut(self, sent: int, size: int, timeout: float | None) -> None:
        """Report a write that took too long."""
        address = self.transport.address
        self._check_up()
        if sent == 0:
            raise TimedOut(f"{address} took nothing of {size} bytes within {timeout:g} s; nothing was sent")
        error = TimedOut(
            f"{address} took only a part of {size} bytes within {timeout:g} s; the connection is closed, as the rest cannot follow"
        )
        self.end(error)
        raise error

    # -- the end ---------------------------------------------------------------------------------------------------

    def end(self, reason: BaseException) -> bool:
        """End the link; return whether it was up. Any thread; returns at once, see :meth:`wait_settled`."""
        with self._lock:
            if self.reason is not None:
                return False
            self.reason = reason
            self._changed.notify_all()
        self._sink.stop()
        self.transport.shutdown()
        self._ask_to_settle()
        return True

    def settle(self) -> None:
        """Close the transport and tell the end, if the link has ended and nobody is inside."""
        with self._lock:
            inside = self._writer or self._announcer or self._reader not in (0, get_ident())
            if self.reason is None or self._settling or inside:
                return
            self._settling = True
        if self.attendant is not None:
            self.attendant.remove(self)
        self.transport.close()
        try:
            if self._announced:
                self._sink.on_end(self.reason)
        finally:
            with self._lock:
                self._settled = True
                self._changed.notify_all()

    def wait_settled(self, timeout: float) -> bool:
        """Wait until the end was told and the thread is gone; who is inside does not wait for itself."""
        attendant = self.attendant
        me = get_ident()
        end = monotonic() + timeout
        with self._lock:
            inside = me in (self._reader, self._writer, self._announcer)
            if inside or (attendant is not None and attendant.is_current()):
                return self._settled
            self._changed.wait_for(lambda: self._settled, timeout)
        if attendant is not None and self._settled:
            attendant.join(max(0.0, end - monotonic()))
        return self._settled

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        with self._lock:
            self._changed.notify_all()

    def _check_up(self) -> None:
        """Raise the reason if the link has ended."""
        if self.reason is not None:
            kind = NotConnected if isinstance(self.reason, (Cancelled, NotConnected)) else ConnectionLost
            raise kind(f"{self.transport.address} is not connected: {self.reason}") from self.reason

    def _ask_to_settle(self) -> None:
        """Have the end told by the thread that told what came before, or here where there is none."""
        if self.live and self.attendant is not None:
            self.attendant.poke(self)
        else:
            self.settle()

    def abandon(self) -> None:
        """Forget the link in a forked child process, where its threads do not exist; the parent keeps it."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._writing = threading.Lock()
        self._reader = self._writer = self._announcer = 0
        if self.attendant is not None:
            self.attendant.abandon()
            self.attendant = None
        self._settling = self._settled = True
        if self.reason is None:
            self.reason = NotConnected("this link belongs to the parent process; connect anew after a fork")
            self.transport.abandon()


_lives: weakref.WeakSet[Life] = weakref.WeakSet()


def _abandon_all() -> None:
    for life in list(_lives):
        life.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
