"""Link: one life of a transport, from open to closed, and who may touch it when.

Three roles, each held by at most one thread:

* the *reader* reads the transport. It is the listener when somebody is subscribed, or a caller of a reading method,
  who then needs no other thread to hand it the bytes. Other callers wait until the reader has something.
* the *writer* writes, one whole message after the other.
* the *settler* closes the transport and tells the end, when the link has ended and both other roles are free. It
  is the listener, so the end comes after everything that the link brought.

The lock only guards who has which role, and the bytes that wait; nobody reads, writes, waits for the network or
calls a handler under it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, Protocol, TypeVar

from cnx.errors import CnxError, ConnectionLost, NotConnected, TimedOut
from cnx.transports.transport import CHUNK, Transport
from cnx.watch import HANGUP, INPUT, NOTHING

__all__ = ["Attendant", "Inbox", "Link", "Sink"]

T = TypeVar("T")

_LOOK_AGAIN = 0.25
"""Seconds after which unread input that nobody wants is offered again: PyDispatcher does not tell of new subscribers."""

_PAUSE = 0.05
"""Seconds without a reading call after which the attendant is told of input again."""


class Inbox(Protocol):
    """Where bytes wait for the reading methods."""

    def __len__(self) -> int: ...
    def append(self, data: bytes) -> None: ...
    def take_all(self) -> Any: ...


class Sink(Protocol):
    """What a link tells its connection, without keeping it alive."""

    limit: int
    keeping: bool  # bytes are kept for the reading methods, whoever else gets them

    def wanted(self) -> bool: ...
    def deliver(self, data: Any) -> None: ...
    def stop(self) -> None: ...
    def on_end(self, reason: BaseException) -> None: ...


class Attendant(Protocol):
    """The thread that attends to links: a listener or a pump."""

    def add(self, link: Link) -> None: ...
    def arm(self, link: Link, interest: int) -> None: ...
    def poke(self, link: Link) -> None: ...
    def remove(self, link: Link) -> None: ...
    def rest(self, link: Link, delay: float) -> None: ...
    def schedule(self, timer: Any) -> None: ...
    def is_current(self) -> bool: ...
    def join(self, timeout: float) -> None: ...


class Link:
    """One life of a transport. Thread-safe.

    Attributes:
        reason: why it ended; ``None`` while it is up.
        live: CONNECTED was told, so subscribers may be.
        received: bytes that came in.
        sent: bytes that went out.
    """

    def __init__(self, transport: Transport, inbox: Inbox, sink: Sink) -> None:
        self.transport = transport
        self.reason: BaseException | None = None
        self.live = False
        self.received = self.sent = 0
        self.fd = transport.fileno()
        self._inbox = inbox
        self._sink = sink
        self._attendant: Attendant | None = None
        self._changed = threading.Condition()
        self._waiting = 0
        self._reader = self._writer = 0  # idents of the threads that have these roles
        self._writing = threading.Lock()
        self._interest = NOTHING  # what the attendant was asked to report
        self._blocked = self._gone = False  # input is left unread; the peer is known to be gone
        self._resting, self._last_read = False, 0.0  # callers read, so the attendant need not be told of input
        self._settling = self._settled = False
        _links.add(self)

    # -- for callers of reading methods ----------------------------------------------------------------------------

    def take(self, extract: Callable[[], T | None], timeout: float | None) -> T:
        """Return what ``extract`` finds in the inbox, reading until it finds something.

        Raises:
            TimedOut: it found nothing in time; what came is kept.
            ConnectionLost: the link ended, and what came before is not enough.
        """
        end = None if timeout is None else monotonic() + timeout
        left = timeout
        while True:
            with self._changed:
                found = extract()
                if found is not None:
                    if self._blocked:
                        self._make_room()
                    return found
                if self.reason is not None:
                    raise ConnectionLost(str(self.reason)) from self.reason
                leads = self._lead_or_wait(left)
            if leads:
                self._pull(left)
            if end is not None:
                left = end - monotonic()
                if left <= 0:
                    left = 0.0

    def read_waiting(self) -> None:
        """Move what waits into the inbox, without waiting for more; other threads that read keep their turn."""
        with self._changed:
            if self.reason is not None or self._reader:
                return
            self._reader = get_ident()
        try:
            data = self._read_now()
            if data is not None:
                self._accept(data, True)
        except CnxError as error:
            self.end(error)
        finally:
            self._step_down(INPUT)

    def _lead_or_wait(self, left: float | None) -> bool:
        """Become the reader, or wait until the reader has something; the lock is held."""
        me = get_ident()
        if not self._reader:
            self._reader = me
            return True
        if self._reader == me:
            raise RuntimeError(
                "a handler must not read from the connection whose data it is being told; read on another thread"
            )
        self._waiting += 1
        try:
            if left == 0 or not self._changed.wait(left):
                raise TimedOut(f"nothing came from {self.transport.address} in time")
        finally:
            self._waiting -= 1
        return False

    def _pull(self, timeout: float | None) -> None:
        """Read once as the reader."""
        try:
            if self._interest == INPUT:
                self._ask(NOTHING)
            self._accept(self.transport.read(CHUNK, timeout), True)
        except TimedOut:
            raise
        except CnxError as error:
            self.end(error)
        finally:
            self._step_down(INPUT if self._sink.wanted() else HANGUP)
            if self._interest == HANGUP:
                self._rest()

    def _rest(self) -> None:
        """Leave the reading to the callers until they pause."""
        self._last_read = monotonic()
        if not self._resting and self._attendant is not None:
            self._resting = True
            self._attendant.rest(self, _PAUSE)

    def _make_room(self) -> None:
        """Let the attendant go on if it stopped because the inbox was full; the lock is held."""
        if len(self._inbox) < self._sink.limit:
            self._blocked = False
            self._changed.notify_all()
            if not self._reader:
                self._ask(INPUT)

    # -- for the attendant -----------------------------------------------------------------------------------------

    def start(self, attendant: Attendant) -> None:
        """Become live: from now on the attendant tells subscribers what comes."""
        with self._changed:
            self._attendant = attendant
            self.live = True
        attendant.add(self)
        attendant.poke(self)

    def attend(self, *, told: bool = False, gone: bool = False) -> None:
        """Tell subscribers what came, or settle a link that ended; called on the attendant's thread.

        Args:
            told: the attendant knows that there is news, rather than that somebody asked to look.
            gone: the peer may be gone.
        """
        with self._changed:
            self._interest = NOTHING
            self._gone = self._gone or gone
            if self._reader:
                return  # whoever has the role asks again when giving it back
            if self.reason is None:
                self._reader = get_ident()
        if self.reason is not None:
            self.settle()
            return
        try:
            self._blocked = not self._pass_on(told)
        except CnxError as error:
            self.end(error)
        finally:
            self._step_down((NOTHING if self._gone else HANGUP) if self._blocked else INPUT)
            if self._blocked and self._attendant is not None:
                self._attendant.rest(self, _LOOK_AGAIN)

    def pump(self, timeout: float | None) -> None:
        """Read once, blocking, from a transport that has no descriptor; called on the attendant's thread."""
        with self._changed:
            self._reader = get_ident()
            self._blocked = self._leaves_unread()
            if self._blocked:
                self._changed.wait(timeout)
                return
        try:
            self._deliver_kept()
            self._accept(self.transport.read(CHUNK, timeout), False)
        except TimedOut:
            return
        except CnxError as error:
            self.end(error)

    def _pass_on(self, told: bool) -> bool:
        """Read and tell; return whether nothing more waits, as against being left to the readers or to the peer."""
        while self.reason is None:
            self._deliver_kept()
            if self._leaves_unread():
                return not told
            data = self._read_now()
            if data is None:
                break
            self._accept(data, False)
            if len(data) < CHUNK and not self._gone and not self.transport.datagrams:
                break
        return True

    def _leaves_unread(self) -> bool:
        """Whether what comes has to stay with the peer: nobody is subscribed, or the readers are behind."""
        sink = self._sink
        wanted = sink.wanted()
        if wanted and not sink.keeping:
            return False
        return len(self._inbox) >= sink.limit or not (wanted or self._gone or self.fd < 0)

    def _deliver_kept(self) -> None:
        """Tell subscribers what came while nobody was subscribed, unless it is kept for the reading methods."""
        if not len(self._inbox) or self._sink.keeping or not self._sink.wanted():
            return
        with self._changed:
            data = self._inbox.take_all()
        self._sink.deliver(data)

    def _read_now(self) -> bytes | None:
        if self.fd < 0:
            try:
                return self.transport.read(CHUNK, 0.0)
            except TimedOut:
                return None
        return self.transport.read_now(CHUNK)

    # -- for the reader, whoever it is -----------------------------------------------------------------------------

    def _accept(self, data: bytes, keep: bool) -> None:
        self.received += len(data)
        tell = self.live and self._sink.wanted()
        if keep or not tell or self._sink.keeping:
            with self._changed:
                self._inbox.append(data)
                if self._waiting:
                    self._changed.notify_all()
        if tell:
            self._sink.deliver(data)

    def _step_down(self, interest: int) -> None:
        """Give the role back and ask the attendant for what the next reader needs to know."""
        with self._changed:
            self._reader = 0
            if self._waiting:
                self._changed.notify_all()
            if self._attendant is None:
                return
            if self.reason is not None:
                self._attendant.poke(self)
                return
            if interest != self._interest:
                self._ask(interest)

    def _ask(self, interest: int) -> None:
        self._interest = interest
        if self._attendant is not None:
            self._attendant.arm(self, interest)

    def look_again(self) -> None:
        """Let the attendant find out anew who wants what comes, unless callers are reading. Any thread."""
        attendant = self._attendant
        if attendant is None:
            return
        if self._resting and monotonic() < self._last_read + _PAUSE and not self._sink.wanted():
            attendant.rest(self, _PAUSE)
            return
        self._resting = False
        attendant.poke(self)

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> None:
        """Send the whole of ``data``, not mixed with what other threads send.

        Raises:
            TimedOut: time was up. Where nothing was sent yet the link goes on; a message that was cut ends it.
            ConnectionLost: it ended.
        """
        if self._writer == get_ident():
            raise RuntimeError(
                "a signal handler must not write to the connection that the interrupted code is writing to"
            )
        if not self._writing.acquire(timeout=-1 if timeout is None else timeout):
            raise TimedOut(
                f"another write to {self.transport.address} did not end within {timeout:g} s; nothing was sent"
            )
        self._writer = get_ident()
        try:
            if self.reason is not None:
                raise ConnectionLost(str(self.reason)) from self.reason
            sent = self.transport.write(data, timeout)
            self.sent += max(sent, 0)
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

    def _cut(self, sent: int, size: int, timeout: float | None) -> None:
        """Report a write that took too long."""
        address = self.transport.address
        if self.reason is not None:
            raise ConnectionLost(str(self.reason)) from self.reason
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
        with self._changed:
            if self.reason is not None:
                return False
            self.reason = reason
            self._changed.notify_all()
        self._sink.stop()
        self.transport.shutdown()
        self._ask_to_settle()
        return True

    def settle(self) -> None:
        """Close the transport and tell the end, if the link has ended and the other roles are free."""
        with self._changed:
            if self.reason is None or self._settling or self._writer or self._reader not in (0, get_ident()):
                return
            self._settling = True
        attendant, reason = self._attendant, self.reason
        if attendant is not None:
            attendant.remove(self)
        self.transport.close()
        try:
            if self.live:
                self._sink.on_end(reason)
        finally:
            with self._changed:
                self._settled = True
                self._changed.notify_all()

    def wait_settled(self, timeout: float) -> bool:
        """Wait until the end was told and the thread is gone; a thread that has a role in that does not wait for itself."""
        attendant = self._attendant
        me = get_ident()
        end = monotonic() + timeout
        with self._changed:
            if me in (self._reader, self._writer) or (attendant is not None and attendant.is_current()):
                return self._settled
            self._changed.wait_for(lambda: self._settled, timeout)
        if attendant is not None and self._settled:
            attendant.join(max(0.0, end - monotonic()))
        return self._settled

    def _ask_to_settle(self) -> None:
        if self._attendant is not None:
            self._attendant.poke(self)
        else:
            self.settle()

    def abandon(self) -> None:
        """Forget the link in a forked child process, where its threads do not exist; the parent keeps it."""
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._reader = self._writer = 0
        self._attendant = None
        self._settling = self._settled = True
        if self.reason is None:
            self.reason = NotConnected("this link belongs to the parent process; connect anew after a fork")
            self.transport.abandon()


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _abandon_all() -> None:
    for link in list(_links):
        link.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
