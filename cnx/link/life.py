"""The life of a link: who is inside, why it ended, and who closes the door."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any

from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectionLost, NotConnected
from cnx.link.parties import Attendant, Sink
from cnx.link.selector import AWAY, NOTHING
from cnx.recording.recorder import Recorder
from cnx.threads.cleanup import Registry
from cnx.threads.condition import Monitor
from cnx.transports.transport import Transport

__all__ = ["READER", "WRITER", "Life"]

log = logging.getLogger(__name__)


READER, WRITER = "reader", "writer"
"""The roles that are taken for every message, so without a lock: see :attr:`Life.vacant`."""


class Life:
    """One life of a transport, from open to closed. Thread-safe.

    Attributes:
        transport: what is open.
        fd: its descriptor, or -1.
        inbox: what came and waits for the reading methods; its owner is whoever holds the lock, and has called
            :meth:`gather`.
        reason: why the link ended; ``None`` while it is up.
        live: CONNECTED was told to everybody, so data may be told.
        attendant: the thread that attends to it.
        patience: what bounds every call while the link is being prepared.
        received, sent: bytes that came in and went out.
        writes: whole messages that went out.
        gates: those of the threads that wait for a change.
        vacant: the roles that nobody has. ``del vacant[READER]`` takes one and ``vacant[READER] = True`` gives it back,
            in one step each, which neither another thread nor a signal handler can divide; a lock takes several times
            as long. Who takes a role looks at ``reason`` after that; who set a reason looks at the roles after that.
        recorder: keeps the last of what came in and went out.
    """

    __slots__ = (  # more than an instance with a __dict__ can have and be quick
        "__weakref__",
        "_announced",
        "_announcer",
        "_arrived",
        "_broken",
        "_changed",
        "_ender",
        "_interest",
        "_lock",
        "_note",
        "_reader",
        "_settled",
        "_settler",
        "_sink",
        "_untold",
        "_writer",
        "attendant",
        "fd",
        "gates",
        "inbox",
        "live",
        "patience",
        "reason",
        "received",
        "recorder",
        "sent",
        "transport",
        "vacant",
        "writes",
    )

    def __init__(self, transport: Transport, inbox: Any, sink: Sink, recorder: Recorder) -> None:
        self.transport = transport
        self.fd = transport.fileno()
        self.inbox = inbox
        self.reason: BaseException | None = None
        self.live = False
        self.attendant: Attendant | None = None
        self.patience: Deadline | None = None
        self.received = self.sent = self.writes = 0
        self.recorder = recorder
        self._note = recorder.append
        self._sink = sink
        self._broken: BaseException | None = None  # what the writer met, and is about to end the link with
        self._changed = Monitor()
        self._lock, self.gates = self._changed.lock, self._changed.gates
        self._arrived: list[Any] = []  # goes into the inbox as soon as somebody looks there
        self._untold = 0  # bytes at the end of the inbox that subscribers have not been told
        self.vacant = {READER: True, WRITER: True}
        # idents of the threads that have these roles; the settler keeps his
        self._reader = self._writer = self._announcer = self._ender = self._settler = 0
        self._interest = NOTHING  # what the attendant was asked to report
        self._announced = self._settled = False
        _lives.add(self)

    def _within(self, timeout: float | None) -> float | None:
        """Return ``timeout``, or what is left of the preparation if that is less."""
        left = None if self.patience is None else self.patience.remaining()
        return timeout if left is None or (timeout is not None and timeout < left) else left

    def schedule(self, timer: Any) -> None:
        """Run ``timer`` on the thread that attends to the link."""
        if self.attendant is not None:
            self.attendant.schedule(timer)

    def start(self) -> None:
        """Have the attendant look after the link from now on, unless it has ended."""
        me = get_ident()
        try:
            with self._lock:
                self._announcer = me  # so that it is not closed meanwhile
                up = self.reason is None
            if up and self.attendant is not None:
                self.attendant.add(self)
        finally:
            self._announcer = 0
            if self.reason is not None:
                self.settle()

    def announce(self, tell: Callable[[], None]) -> None:
        """Tell that the link is there, and then let the attendant tell what comes; an end is told after that.

        A link that ended before it was told of is not told of at all.
        """
        me = get_ident()  # before the lock: a signal handler may run where a function has returned
        try:
            with self._lock:
                self._announcer = me
                self._announced = self.reason is None
            if self._announced:
                tell()
        finally:
            self.live = self._announced
            self._announcer = 0
            if self.live and self.attendant is not None:
                self.attendant.poke(self)
            elif self.reason is not None:
                self.settle()

    def end(self, reason: BaseException) -> bool:
        """End the link; return whether it was up. Any thread; returns at once, see :meth:`wait_settled`.

        What came before a loss is still told; what comes after an end that was asked for is not.
        """
        me, mine = get_ident(), False
        try:  # from here on, as an interrupt may come as soon as the lock is free
            with self._lock:
                if self._ender or self._settler:
                    return False
                self._ender = me  # so that it is not closed meanwhile
                mine, first = True, self.reason is None
                self.reason = self.reason or reason
            if self.attendant is not None:
                self._interest = AWAY  # or its thread would be told again and again, until all are out
                self.attendant.arm(self, AWAY)
            if isinstance(reason, (Cancelled, NotConnected)):
                self._sink.stop()
            self.transport.shutdown()
        finally:
            if mine:
                self._ender = 0
                self._changed.notify()
                self._ask_to_settle()
        return first

    def settle(self) -> None:
        """Close the transport and tell the end, if the link has ended and nobody is inside."""
        me, mine = get_ident(), False
        try:
            with self._lock:
                inside = len(self.vacant) < 2 or self._announcer or self._ender
                if self.reason is None or self._settler or inside:
                    return
                self._settler = me
                mine = True
            self._close()
            if self._announced:
                self._sink.on_end(self.reason)
        finally:
            if mine:
                self._settled = True
                self._changed.notify()

    def _close(self) -> None:
        try:
            if self.attendant is not None:
                self.attendant.remove(self)
        finally:
            try:
                self.transport.close()
            except Exception:
                log.exception("%s could not be closed", self.transport.address)

    def is_inside(self) -> bool:
        """Whether the end of the link has to wait for the calling thread, which therefore must not wait for that."""
        me, attendant = get_ident(), self.attendant
        if me in (self._reader, self._writer, self._announcer, self._ender, self._settler):
            return not self._settled
        if attendant is not None and attendant.ident == me:
            return True
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # this is a signal handler, then

    def wait_settled(self, timeout: float, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the end was told and the thread is gone; return whether the end was told.

        It returns early where ``is_over()`` at a :meth:`notify`, and at once for who :meth:`is_inside`.
        """
        end = monotonic() + timeout
        if not self.is_inside():
            self._changed.wait_for(lambda: self._settled or is_over(), timeout)
            if self._settled and self.attendant is not None:
                self.attendant.join(max(0.0, end - monotonic()))
        return self._settled

    def gather(self) -> None:
        """Move what the reader has put aside into the inbox; the lock is held.

        The reader needs no lock to put something aside, as nothing is taken out of the middle of a list here.
        """
        arrived = self._arrived
        while arrived:
            self.inbox.append(arrived.pop(0))

    def unread(self) -> int:
        """Return how many bytes wait for the reading methods."""
        with self._lock:
            self.gather()
            return len(self.inbox)

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.notify()

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
        self._changed = Monitor()
        self._lock, self.gates = self._changed.lock, self._changed.gates
        self._reader = self._writer = self._announcer = self._ender = 0
        self.vacant = {READER: True, WRITER: True}
        if self.attendant is not None:
            self.attendant.abandon()
            self.attendant = None
        self._settled = True
        if self.reason is None:
            self.reason = NotConnected("this link belongs to the parent process; connect anew after a fork")
        if not self._settler:
            self._settler = get_ident()
            self.transport.abandon()


def _abandon(lives: list[Life]) -> None:
    for life in lives:
        life.abandon()


_lives: Registry[Life] = Registry(_abandon)
