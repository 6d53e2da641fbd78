"""Link: one life of a transport, from open to closed, for all the threads that use it.

Theory of operation
-------------------

**Roles.** The *reader* reads the transport, the *writer* writes to it, the *announcer* emits ``CONNECTED``. At most one
thread plays each role at a time. Any thread can be the reader: a caller of a reading method reads the transport itself,
so that no other thread has to wake up and hand it the bytes. Other callers wait until the reader has put something
into the inbox. Nobody else may call the transport, except for ``shutdown()``.

**The attendant** is the thread that serves the link: a listener, or a pump for a transport without a descriptor. It is
the reader when there are subscribers and no caller is reading, and it emits the end. Timers have a thread of their own.

**What the reader does with a chunk of bytes** is the same for every reader, see ``_accept``: record it, put it into the
inbox, emit it if there are subscribers. Before CONNECTED was emitted nothing else is emitted; such bytes wait in the
inbox as *unemitted*, and so do bytes that arrive while nobody subscribes. The inbox states its own invariant. A chunk
that is just what the reader was looking for, as most replies are, goes straight to it and not through the inbox.
Messages are emitted in *steps* of some hundred, because a chunk may have 100,000: after each step the reader looks at
its deadline, and the attendant at other links and timers. Nothing else is read while some messages are *pending*.

**Who is woken.** The listener waits for input on a descriptor only while it is *armed* for it. A caller that starts to
read disarms it, and leaves it disarmed when it has finished, because the next request is likely to follow soon. A timer
looks after a short pause whether callers are still reading; if not, the listener takes over again. Input that nobody
wants stays in the transport for a quarter of a second; meanwhile the listener is armed for the end alone. After that it
is read ahead, up to a bound, to find an end that may be behind it. Beyond the bound TCP holds the peer back.

**How a link ends.** The first call of ``end`` sets the reason. It shuts the transport down, which wakes the reader and
the writer. When no thread plays a role any more, the attendant *settles* the link: it closes the transport and emits
the end. So a descriptor is never closed under a call that uses it, and the end follows everything that has arrived.

**No lock is held** while a thread reads, writes, waits or calls a handler. The lock guards the inbox and the beginning
and end of the link.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any, Protocol, TypeVar

from cnx.deadline import Deadline, left_of
from cnx.errors import Cancelled, CnxError, ConnectionLost, NotConnected, TimedOut, with_text
from cnx.link.inbox import Inbox
from cnx.link.selector import HANGUP, INPUT, NOTHING
from cnx.link.timers import Timer, TimerThread, watchdog
from cnx.recording.recorder import Recorder
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.condition import Condition, Gate
from cnx.threads.hook import report_error
from cnx.threads.steps import run_each
from cnx.transports.transport import CHUNK, Transport

__all__ = ["Attendant", "Link", "Piece", "Receiver", "Role"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

READS_PER_TURN = 64
"""Reads of the attendant before other links and timers of the same thread have their turn."""

LOOK_AGAIN = 0.25
"""Seconds after which input that nobody wanted is offered again, as PyDispatcher does not report new subscribers. If
nobody wants it then, it is read ahead."""

READ_AHEAD = 8 * 1024 * 1024
"""Bytes that are read ahead although nobody wants them, as the end of the stream may be behind them."""

PAUSE = {False: 0.05, True: 0.005}
"""Seconds without a reading call after which the listener takes over, by whether there are subscribers."""

LAST_WORDS = 0.1
"""Seconds that a failed write waits for another thread to read what the peer sent before it went."""


class Receiver(Protocol):
    """Where a link delivers what arrives, without keeping the connection alive. See ``Delivery``.

    Attributes:
        pending: something was not delivered yet.
    """

    pending: bool

    def wanted(self) -> bool:
        """Return whether there is anybody to deliver to."""

    def add(self, data: bytes) -> None:
        """Have a piece of bytes delivered by the next steps."""

    def deliver_more(self) -> None:
        """Take one step: emit the next piece of bytes, or some of the messages that it completes.

        Raises:
            CnxError: the bytes break the rules of the protocol.
        """

    def stop(self) -> None:
        """Deliver nothing after the message that is being delivered."""

    def note_loss(self, reason: BaseException) -> None:
        """Note why the link ends, before a reader hears of it; called under the lock."""

    def on_end(self, reason: BaseException) -> None:
        """Emit the end."""


class Piece(Protocol[T_co]):
    """What a reading call looks for in the bytes that arrive: a line, a number of bytes, a message, a datagram."""

    def made_of(self, data: bytes) -> T_co | None:
        """Return the piece if ``data``, which arrived with nothing in front of it, is just that, as a whole."""

    def take_from(self, inbox: Inbox) -> T_co | None:
        """Take the piece out of the inbox if it is there as a whole."""


class Attendant(Protocol):
    """The thread that serves links: a listener or a pump.

    Attributes:
        ident: of the thread while it runs, else 0.
    """

    ident: int

    def add(self, link: Link) -> None: ...
    def arm(self, link: Link, interest: int) -> None: ...
    def poke(self, link: Link) -> None: ...
    def remove(self, link: Link) -> None: ...
    def rest(self, link: Link, delay: float) -> None: ...
    def join(self, timeout: float) -> None: ...
    def abandon(self) -> None: ...


class Role:
    """A part that at most one thread plays at a time.

    It is taken and given back for every message, and a signal handler such as that of Ctrl-C may raise between any two
    calls. So it is taken by ``del`` on a dict, which is a single step: either the role was free and is taken, or
    ``KeyError`` is raised. No call, and so no signal handler, comes between that step and the ``try`` whose ``finally``
    gives it back.

    A thread that takes a role looks at ``reason`` of the link afterwards; a thread that sets ``reason`` looks at the
    roles afterwards. So one of the two notices the other.

    Attributes:
        holder: ident of the thread that plays it; 0 if none does.
    """

    __slots__ = ("_free", "holder")

    TAKEN = object()
    """What :meth:`perform` returns if another thread plays the role."""

    def __init__(self) -> None:
        self._free = {"role": True}
        self.holder = 0

    def is_free(self) -> bool:
        """Return whether nobody plays it."""
        return bool(self._free)

    def perform(self, me: int, action: Callable[..., T], *arguments: Any) -> T | object:
        """Play the role for one call of ``action``, and return what that returns; :data:`TAKEN` if it is taken.

        Args:
            me: ident of the calling thread; asking for it here would give a signal handler a place to come in.
            action: what to do.
            *arguments: of the action.
        """
        try:
            del self._free["role"]
        except KeyError:
            return Role.TAKEN
        try:
            self.holder = me
            return action(*arguments)
        finally:
            self.holder = 0
            self._free["role"] = True


class Link:
    """One life of a transport, see the head of this file. Thread-safe.

    Args:
        transport: open; it belongs to the link from now on.
        receiver: where to deliver what arrives.
        recorder: keeps the last of what came in and went out.
        limit: bytes that may wait for readers.

    Attributes:
        reason: why the link ended; ``None`` while it is up.
        announced: CONNECTED was emitted, so data may be emitted, and the end will be.
        attendant: the thread that serves it.
        deadline: bounds every call while the link is being prepared; ``None`` after that.
        reader, writer: the roles.
        wrote_eof: the end of the stream was sent, so nothing can be written any more.
        raw_reads: reading methods of the user have taken bytes from it, and none has reported its end yet.
        received, sent: bytes that came in and went out.
        writes: whole messages that went out.
    """

    def __init__(self, transport: Transport, receiver: Receiver, recorder: Recorder, limit: int) -> None:
        self.transport = transport
        self.address = transport.address
        self.fd = transport.fileno()
        self.reason: BaseException | None = None
        self.announced = False
        self.attendant: Attendant | None = None
        self.deadline: Deadline | None = None
        self.wrote_eof = False
        self.raw_reads = False
        self.received = self.sent = self.writes = 0
        self._receiver = receiver
        self._recorder = recorder
        self._begin(limit)
        self._interest = NOTHING  # what the listener is armed for
        self._left_unread = False  # input waits in the transport, as nobody wants it
        self._peer_gone = False  # it sends nothing more: read all that waits, which the system bounds, and then the end
        self._full = transport.full  # a read of fewer bytes has left none behind
        self._resting = False  # a timer will look whether callers are still reading
        self._received_then = 0  # by the last look
        self._broken: BaseException | None = None  # what the writer met, and is about to end the link with
        _links.add(self)

    def _begin(self, limit: int) -> None:
        """Start without threads; also in a forked child process."""
        self._changed = Condition()
        self._lock = self._changed.lock
        self.reader, self.writer = Role(), Role()
        self._announcer = self._ender = self._settler = 0  # idents of threads
        self._settled = False  # the transport is closed and the end was emitted
        self._timers: TimerThread | None = None  # runs what was scheduled; made when something is
        self._scheduled: list[Timer] = []  # not started yet, as CONNECTED was not emitted
        self._watched = False
        self._followers: list[Gate] = []  # of the threads that wait for another one to fill the inbox for them
        self.inbox = Inbox(self._lock, limit)

    # -- begin -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the attendant serve the link from now on, unless it has ended."""
        me = get_ident()
        try:
            with self._lock:
                self._announcer = me  # so that the link is not closed meanwhile
                up = self.reason is None
            if up and self.attendant is not None:
                self.attendant.add(self)
        finally:
            self._announcer = 0
            if self.reason is not None:
                self.settle()

    def announce(self, emit_connected: Callable[[], None]) -> bool:
        """Emit CONNECTED, and after that let the attendant emit what arrives; return whether it was emitted.

        It is not if the link has ended before, and then its end is not emitted either.
        """
        me = get_ident()
        announced = False
        try:
            with self._lock:
                self._announcer = me  # an end waits until CONNECTED was emitted
                announced = self.reason is None
            if announced:
                emit_connected()
        finally:
            self.announced = announced
            self._announcer = 0
            self._changed.notify()
            if self._scheduled:
                self._start_scheduled()
            if announced and self.attendant is not None:
                self.attendant.poke(self)
            elif self.reason is not None:
                self.settle()
        return announced

    # -- read ------------------------------------------------------------------------------------------------------

    def take(self, piece: Piece[T], timeout: float | None) -> T:
        """Return the next piece of what arrives, as soon as it is there; the calling thread reads meanwhile.

        Args:
            piece: what to look for.
            timeout: seconds; ``None`` for ever.

        Raises:
            TimedOut: it is not there in time; what arrived is kept.
            NotConnected, ConnectionLost: the link ended, and what arrived before is not enough.
            RuntimeError: the calling thread emits the data of this link, or has interrupted a thread that uses it.
        """
        me = get_ident()
        if self.reader.holder == me:
            self.refuse_to_read()
        if self.deadline is not None:
            timeout = self._bounded(timeout)
        end = None if timeout is None else monotonic() + timeout
        handed_over = False
        try:
            while True:
                result: Any = self.reader.perform(me, self._read_piece, piece, timeout, end)
                if result is not Role.TAKEN:
                    return result  # type: ignore[no-any-return]
                handed_over = True
                result = self._wait_for_reader(lambda: piece.take_from(self.inbox), end, self._followers, timeout)
                if end is not None:
                    timeout = max(0.0, end - monotonic())
                if result is not None:
                    return result  # type: ignore[no-any-return]
        finally:
            quiet = self._resting and not (handed_over or self._changed.gates or self._receiver.pending)
            if not quiet or self.reason is not None:
                try:
                    self._leave_to_callers(handed_over)
                except BaseException:  # Ctrl-C may have come before it did anything; without it nobody would read
                    self._leave_to_callers(handed_over)
                    raise

    def _read_piece(self, piece: Piece[T], timeout: float | None, end: float | None) -> T:
        """Read, as the reader, until the next piece is there."""
        inbox = self.inbox
        late = False  # a look follows the last read; a peer that never pauses does not put the end off
        while True:
            ended = self.reason is not None  # before looking: what arrived before the end is found
            if inbox.size:
                result = piece.take_from(inbox)
                if result is not None:
                    return result
            if ended:
                self._raise_reason()
            if late:
                raise TimedOut(f"what arrived from {self.address} in time is not enough")
            data = self._read(timeout)
            if data is not None:
                if not inbox.size:
                    result = piece.made_of(data)
                    if result is not None:  # the most frequent case: a reply arrives alone and in one piece
                        self._accept(data, keep=False, keep_all=True)
                        return result
                self._accept(data, keep=True, keep_all=True)
            if end is not None:
                timeout = max(0.0, end - monotonic())
                late = not timeout

    def wait_for_message(self, found: Callable[[], T | None], timeout: float | None) -> T:
        """Let messages arrive until ``found()`` returns something, and return that; the calling thread reads meanwhile.

        Args:
            found: looks for something that ``on_message`` or a handler has stored; called again after every piece.
            timeout: seconds; ``None`` for ever.

        Raises:
            TimedOut: it found nothing in time.
            NotConnected, ConnectionLost: the link ended, and it found nothing in what had arrived before.
            RuntimeError: the calling thread is the one that emits messages, or the link is being prepared.
        """
        if self.is_current_thread():
            raise RuntimeError(f"a handler of {self.address} must not wait for messages, which come on its own thread")
        if self.deadline is not None:
            raise RuntimeError("no messages are emitted before CONNECTED; use the reading methods in prepare()")
        asked = timeout
        end = None if timeout is None else monotonic() + timeout
        if not self.announced:  # no messages are emitted yet, and reading would only hold up the attendant later
            self._changed.wait_for(lambda: self.announced or self.reason is not None or found() is not None, timeout)
            timeout = None if end is None else max(0.0, end - monotonic())
        me, handed_over = get_ident(), False
        try:
            while True:
                result: Any = self.reader.perform(me, self._read_messages, found, timeout, end, asked)
                if result is Role.TAKEN:
                    handed_over = True
                    result = self._wait_for_reader(found, end, [], asked)
                    if end is not None:
                        timeout = max(0.0, end - monotonic())
                if result is not None:
                    return result  # type: ignore[no-any-return]  # it is what found() returned
        finally:
            quiet = self._resting and not (handed_over or self._changed.gates or self._receiver.pending)
            if not quiet or self.reason is not None:
                try:
                    self._leave_to_callers(handed_over)
                except BaseException:  # as in take()
                    self._leave_to_callers(handed_over)
                    raise

    def _read_messages(
        self, found: Callable[[], T | None], timeout: float | None, end: float | None, asked: float | None
    ) -> T:
        """Read, as the reader, until ``found`` finds something; ``asked`` is the whole timeout, for the message."""
        late = False  # as in _read_piece()
        while True:
            # Before looking: what arrived before the end is found.
            ended = self.reason is not None and not self._receiver.pending
            result = found()
            if result is not None:
                return result
            if ended:
                self._raise_reason()
            if late:
                raise TimedOut(f"nothing that was waited for arrived from {self.address} within {asked:g} s")
            try:
                data = self._read(timeout)
            except TimedOut:
                if asked is None:
                    raise
                late = True  # one more look follows
                continue
            if data is not None:
                self._accept(data, keep=True)
            if end is not None:
                timeout = max(0.0, end - monotonic())
                late = not timeout

    def _wait_for_reader(
        self, found: Callable[[], T | None], end: float | None, followers: list[Gate], asked: float | None
    ) -> T | None:
        """Wait until the reader has brought something or has left; return what ``found`` finds before.

        While its gate is in ``followers``, the thread counts as one that reads the inbox. ``asked`` is the whole
        timeout, for the message.
        """
        gate = Gate()
        try:
            followers.append(gate)
            self._changed.gates.append(gate)  # before looking, so that no change is missed
            ended = self.reason is not None and not self._receiver.pending
            result = found()
            if result is None and ended:
                self._raise_reason()
            if result is None and not self.reader.is_free():
                left = None if end is None else max(0.0, end - monotonic())
                if left == 0.0 or not gate.wait(left):
                    raise TimedOut(f"nothing that was waited for arrived from {self.address} within {asked:g} s")
            return result
        finally:
            for gates in (followers, self._changed.gates):
                try:
                    gates.remove(gate)
                except ValueError:
                    pass  # an interrupt came before it was there

    def read_waiting(self) -> None:
        """Move what waits in the transport into the inbox, without waiting for more."""
        self.refuse_to_read()
        if self.reader.perform(get_ident(), self._read_now) is not Role.TAKEN:
            self._leave_to_callers(False)

    def notify(self) -> None:
        """Let the threads that wait look again."""
        if self._changed.gates:
            self._changed.notify()

    def refuse_to_read(self) -> None:
        """Raise RuntimeError if the calling thread must not read, as it would wait for itself."""
        if self.reader.holder == get_ident():
            raise RuntimeError(
                f"a handler must not read from {self.address}, whose data it is given, and a signal handler must not "
                "read while the interrupted code does; read on another thread"
            )

    def _bounded(self, timeout: float | None) -> float | None:
        """Return ``timeout``, or what is left of the preparation if that is less."""
        left = None if self.deadline is None else self.deadline.remaining()
        return timeout if left is None or (timeout is not None and timeout < left) else left

    def _read(self, timeout: float | None) -> bytes | None:
        """Read once, as the reader, and wait for that.

        It returns ``None`` if the link has ended, or if something that arrived before had to be delivered first, of
        which it has delivered some.

        Raises:
            TimedOut: nothing arrived in time.
        """
        if self._receiver.pending:
            self._deliver_more()
            return None
        if self.reason is not None:
            return None
        if self._interest == INPUT:
            self._arm(NOTHING)
        try:
            return self.transport.read(CHUNK, timeout)
        except TimedOut:
            raise
        except Exception as error:
            self._fail(error)
            return None

    def _read_now(self) -> None:
        """Read once, as the reader, without waiting, and accept what there is."""
        while self._receiver.pending:
            self._deliver_more()
        if self.reason is not None:
            return
        try:
            data = self.transport.read_now(CHUNK) if self.fd >= 0 else self.transport.read(CHUNK, 0.0)
        except TimedOut:
            return  # nothing waits
        except Exception as error:
            self._fail(error)
            return
        if data is not None:
            self._accept(data, keep=True, keep_all=True)

    def _accept(self, data: bytes, *, keep: bool, keep_all: bool = False) -> None:
        """Take in what the reader has read: record it, put it into the inbox, and emit it if there are subscribers.

        Args:
            data: the bytes.
            keep: put them into the inbox; without it, they are already a piece for a caller.
            keep_all: the calling thread reads the inbox, so nothing in there may be dropped.
        """
        size = len(data)
        self._recorder.add("<", data, size)
        self.received += size
        emitted = self.announced and self._receiver.wanted()
        if emitted and self.inbox.unemitted:
            self._emit_unemitted()
        if keep:
            self.inbox.put(data, emitted=emitted, keep_all=keep_all or bool(self._followers))
            if self._changed.gates:
                self._changed.notify()
        if emitted:
            self._receiver.add(data)
            self._deliver_more()

    def _emit_unemitted(self) -> None:
        """Have emitted what arrived before anybody subscribed and has not been read since."""
        for data in self.inbox.take_unemitted():
            self._receiver.add(data)

    def _deliver_more(self) -> None:
        """Take one step of emitting what has arrived, as the reader."""
        try:
            self._receiver.deliver_more()
        except Exception as error:  # such as a ProtocolError
            self._fail(error)
        if self._changed.gates:
            self._changed.notify()  # threads that wait for what on_message stores

    def _fail(self, error: Exception) -> None:
        """End the link because of what reading it raised; a transport that a user wrote may raise anything."""
        if isinstance(error, CnxError):
            self.end(error)
            return
        if not isinstance(error, OSError):
            report_error(error, f"{self.address}: reading failed, so the link ends")
        lost = ConnectionLost(f"the connection with {self.address} broke while reading: {error!r}")
        lost.__cause__ = error
        self.end(lost)

    def _leave_to_callers(self, handed_over: bool) -> None:
        """Leave the reading to callers for a while longer, after one has finished, and only then to the listener.

        Args:
            handed_over: the listener had read what the caller wanted.
        """
        if handed_over and self._interest == INPUT:
            self._arm(NOTHING)  # or the listener would be the first to read the next reply as well
        if self._changed.gates:
            self._changed.notify()  # another caller becomes the reader
        if self.reason is not None:
            self._ask_to_settle()
        elif self._receiver.pending:
            self.look_again()
        elif not self._resting and self._interest != INPUT:
            self._rest(PAUSE[self._receiver.wanted()])

    # -- serve, on the thread of the attendant ---------------------------------------------------------------------

    def attend(self, readable: bool = False, gone: bool = False) -> None:
        """Read and emit what has arrived, or settle a link that has ended; called by the listener.

        Args:
            readable: there is input, as against being asked to look.
            gone: the peer sends nothing more, as it is gone.
        """
        if gone:
            self._peer_gone, self._full = True, 0
        if self.reason is not None or not self.announced:  # announce() pokes the listener when it is done
            self.settle()
            return
        if self.reader.perform(get_ident(), self._serve, readable) is Role.TAKEN:
            with self._lock:
                if self._interest != NOTHING and not self.reader.is_free():
                    self._arm(NOTHING)  # or this thread would be woken again and again
            self._rest(PAUSE[self._receiver.wanted()])  # the caller may have left before it was disarmed
            return
        if self._changed.gates:
            self._changed.notify()
        if self.reason is not None:
            self._ask_to_settle()
        elif self._receiver.pending:
            self.look_again()  # after other links and timers had their turn
        elif self._left_unread:
            self._arm_unless_reading(NOTHING if self._peer_gone else HANGUP)
            self._rest(LOOK_AGAIN)
        else:
            self._arm_unless_reading(INPUT)

    def _serve(self, readable: bool) -> None:
        """Read what waits, as the reader, as long as somebody wants it."""
        drained = False
        try:
            for _ in range(READS_PER_TURN):
                if self._receiver.pending:
                    self._deliver_more()
                    continue
                if drained:
                    break
                if self._receiver.wanted():
                    if self.inbox.unemitted:
                        self._emit_unemitted()
                        continue
                elif not (self._peer_gone or (self._left_unread and not readable and self._may_read_ahead())):
                    self._left_unread = self._left_unread or readable
                    return
                if self.reason is not None:
                    return
                data = self.transport.read_now(CHUNK)
                if data is None:
                    break
                self._accept(data, keep=True)
                drained = len(data) < self._full
            self._left_unread = False
        except Exception as error:
            self._fail(error)

    def pump(self, timeout: float) -> None:
        """Read once, waiting, from a transport without a descriptor, or settle; called by the pump."""

        def has_work() -> bool:
            if self.reason is not None:
                return self._is_unused() or (self._receiver.pending and self.reader.is_free())
            # Without a descriptor, reading is the only way to notice the end, so read ahead even if nobody wants it.
            return (
                self.announced
                and self.reader.is_free()
                and (self._receiver.pending or self._receiver.wanted() or self._may_read_ahead())
            )

        if self._changed.wait_for(has_work, timeout) and self.reason is None:
            self.reader.perform(get_ident(), self._serve_blocking, timeout)
            self._changed.notify()
        self.settle()

    def _may_read_ahead(self) -> bool:
        """Return whether to read on although nobody wants it: datagrams have no end to be found."""
        return bool(self.transport.full) and self.inbox.size < READ_AHEAD

    def _serve_blocking(self, timeout: float) -> None:
        try:
            if self.inbox.unemitted and self._receiver.wanted():
                self._emit_unemitted()
            if self._receiver.pending:
                self._deliver_more()
            elif self.reason is None:
                self._accept(self.transport.read(CHUNK, timeout), keep=True)
        except TimedOut:
            return  # the pump looks whether there is something else to do, and comes again
        except Exception as error:
            self._fail(error)

    def on_rested(self) -> None:
        """Take over from callers that have stopped reading; a timer calls it on the thread of the listener."""
        self._resting = False
        if self.received != self._received_then:
            self._rest(PAUSE[self._receiver.wanted()])
        else:
            self.attend()

    def look_again(self) -> None:
        """Let the attendant find out anew whether there are subscribers. Any thread."""
        if self.attendant is not None:
            self.attendant.poke(self)

    def schedule(self, timer: Timer) -> None:
        """Run ``timer``, once CONNECTED was emitted, on a thread that the link has for its timers."""
        self._scheduled.append(timer)
        if self.announced:
            self._start_scheduled()

    def _start_scheduled(self) -> None:
        """Start what was scheduled, after CONNECTED."""
        with self._lock:
            timers = self._timers = self._timers or TimerThread(f"cnx timers {self.address}")
        try:
            while True:
                timers.schedule(self._scheduled.pop(0))
        except IndexError:
            pass  # that was all
        except CnxError as error:  # there is no thread for it
            self.end(error)
        if self.reason is not None:
            timers.tidy()  # end() may have come before there was anything to tidy

    def watch(self, timer: Timer) -> None:
        """Run ``timer`` on the watchdog, where nothing may wait."""
        self._watched = True
        watchdog.schedule(timer)
        if self.reason is not None:
            watchdog.tidy()  # as in _start_scheduled()

    def _rest(self, delay: float) -> None:
        """Have the listener look again after ``delay`` seconds, unless it will anyway."""
        if not self.announced or self.attendant is None:
            return
        try:
            with self._lock:
                if self._resting:
                    return
                self._resting, self._received_then = True, self.received
            self.attendant.rest(self, delay)
        except BaseException:  # an interrupt before there was a timer; to set one too many does no harm
            self._resting = False
            raise

    def _arm(self, interest: int) -> None:
        with self._lock:  # so that the interest is always that of the listener, whoever changes it
            self._interest = interest
            if self.attendant is not None:
                self.attendant.arm(self, interest)

    def _arm_unless_reading(self, interest: int) -> None:
        """Arm the listener, unless a caller has become the reader, which leaves it disarmed."""
        if interest != self._interest:
            with self._lock:
                if self.reason is None and self.reader.is_free():
                    self._arm(interest)

    # -- write -----------------------------------------------------------------------------------------------------

    @property
    def writing(self) -> tuple[int, int]:
        """The thread that is writing (0: none), and how many writes were finished before."""
        return self.writer.holder, self.writes

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None, asked: float | None = None) -> None:
        """Send the whole of ``data``, not mixed with what other threads send.

        Args:
            data: bytes, with a length that is the number of bytes.
            timeout: seconds, for other writes and for this one together; ``None`` for ever.
            asked: what messages call the timeout, where ``timeout`` is only what is left of it.

        Raises:
            TimedOut: time was up. If nothing was sent the link goes on; a message that was cut ends it.
            NotConnected, ConnectionLost: the link has ended.
        """
        if asked is None:
            asked = timeout
        if self.deadline is not None:
            bounded = self._bounded(timeout)
            asked = asked if bounded == timeout else self.deadline.seconds
            timeout = bounded
        me = get_ident()
        try:
            while self.writer.perform(me, self._send, data, timeout, asked) is Role.TAKEN:
                timeout = self._wait_to_write(timeout, asked)
        finally:
            if self._changed.gates:
                self._changed.notify()
            if self.reason is not None:
                self._ask_to_settle()

    def _send(self, data: bytes | bytearray | memoryview, timeout: float | None, asked: float | None) -> None:
        """Send ``data``, as the writer."""
        if self.reason is not None:
            self._raise_reason()
        if self.wrote_eof:
            raise RuntimeError(f"write_eof() has ended what is written to {self.address}; nothing was sent")
        size = len(data)
        self._recorder.add(">", data, size)  # before there is an answer
        try:
            sent = self.transport.write(data, timeout)
        except ConnectionLost as error:
            self._broken = error
            self._read_last_words()
            if not self.end(error):
                self._raise_reason()
            raise
        except OSError as error:
            lost = ConnectionLost(f"the connection with {self.address} broke while writing: {error}")
            self.end(lost)
            raise lost from error
        except Exception as error:  # the transport could not send it, and has sent nothing
            self._recorder.say(f"that was not sent: {error!r}")
            raise
        except BaseException as error:  # such as KeyboardInterrupt
            self.end(ConnectionLost(f"a write to {self.address} was interrupted by {error!r}, maybe half-way"))
            raise
        self.writes += 1
        if sent == size:
            self.sent += sent
        else:
            self.sent += max(sent, 0)
            self._report_cut(sent, size, asked)

    def write_eof(self, timeout: float | None) -> None:
        """Send the end of the stream, after what other threads are writing; once. Raises like :meth:`write`."""
        me, asked = get_ident(), timeout
        try:
            while self.writer.perform(me, self._send_eof) is Role.TAKEN:
                timeout = self._wait_to_write(timeout, asked)
        finally:
            if self._changed.gates:
                self._changed.notify()
            if self.reason is not None:
                self._ask_to_settle()

    def _send_eof(self) -> None:
        """Send the end of the stream, as the writer."""
        if self.reason is not None:
            self._raise_reason()
        if self.wrote_eof:
            return
        try:
            self.transport.end_writing()
        except io.UnsupportedOperation:
            raise
        except OSError as error:
            lost = ConnectionLost(f"the connection with {self.address} broke while writing: {error}")
            self.end(lost)
            raise lost from error
        self.wrote_eof = True
        self._recorder.say("the end of what is written was sent")

    def _wait_to_write(self, timeout: float | None, asked: float | None) -> float | None:
        """Wait until nobody writes; return what is left of ``timeout``."""
        if self.writer.holder == get_ident():
            if self._broken is not None:  # a handler answers the last words of a peer that is gone
                raise ConnectionLost(f"{self.address} is gone: {self._broken}") from self._broken
            raise RuntimeError(
                "a signal handler must not write to the connection that the interrupted code is writing to"
            )
        began = monotonic()
        if not self._changed.wait_for(lambda: self.writer.is_free() or self.reason is not None, timeout):
            raise TimedOut(f"another write to {self.address} did not end within {asked:g} s; nothing was sent")
        if self.reason is not None:
            self._raise_reason()
        return left_of(timeout, began)

    def _read_last_words(self) -> None:
        """Take in what the peer sent before it went, if a write is the first to find that out."""
        if self.reader.holder == get_ident():
            return
        self._changed.wait_for(lambda: self.reason is not None or self.reader.is_free(), LAST_WORDS)
        received = -1
        while self.received != received and self.reason is None and not self.inbox.size >= self.inbox.limit:
            received = self.received
            self.reader.perform(get_ident(), self._read_now)

    def _report_cut(self, sent: int, size: int, asked: float | None) -> None:
        """Raise for a write that took too long; a message of which a part was sent ends the link."""
        self._recorder.say(
            f"only {sent} of these {size} bytes were sent" if sent >= 0 else "a part of that was not sent"
        )
        if self.reason is not None:
            self._raise_reason()
        if sent == 0:
            raise TimedOut(f"{self.address} took nothing of {size} bytes within {asked:g} s; nothing was sent")
        error = TimedOut(
            f"{self.address} took only a part of {size} bytes within {asked:g} s; the connection is closed, "
            "as the rest cannot follow"
        )
        self.end(error)
        raise error

    # -- end -------------------------------------------------------------------------------------------------------

    def end(self, reason: BaseException) -> bool:
        """End the link; return whether it was up. Returns at once; see :meth:`wait_settled`.

        What arrived before a loss is still emitted; what arrives after an end that was asked for is not.
        """
        reason = with_text(reason)
        me, mine, was_up = get_ident(), False, False
        try:
            with self._lock:
                if self._ender or self._settler:
                    return False
                mine = True
                self._ender = me  # so that the transport is not closed meanwhile
                was_up = self.reason is None
                if was_up:
                    self._receiver.note_loss(reason)
                self.reason = self.reason or reason
            if self._timers is not None:
                self._timers.tidy()
            if self._watched:
                watchdog.tidy()
            self._arm(NOTHING)  # or the listener would be woken again and again until nobody uses the link
            if isinstance(reason, (Cancelled, NotConnected)):
                self._receiver.stop()
            self.transport.shutdown()
        finally:
            if mine:
                self._ender = 0
                self._changed.notify()
                self._ask_to_settle()
        return was_up

    def settle(self) -> None:
        """Close the transport and emit the end, if the link has ended and no thread plays a role.

        What arrived before is emitted first, a part in each call if there is an attendant to make the next call.
        """
        while self._receiver.pending and self.reason is not None:
            if self.reader.perform(get_ident(), self._deliver_some) is Role.TAKEN:
                return  # that thread asks for this again when it leaves
            if self._receiver.pending and self.attendant is not None:
                self.attendant.poke(self)
                return
        me, mine = get_ident(), False
        try:
            with self._lock:
                if self.reason is None or self._settler or not self._is_unused():
                    return
                self._settler = me
                mine = True
                reason = self.reason
            steps: list[tuple[str, Callable[[], object]]] = [("closing", self.transport.close)]
            if self.attendant is not None:
                steps.insert(0, ("leaving the listener", partial(self.attendant.remove, self)))
            if self.announced:
                steps.append(("emitting the end", partial(self._receiver.on_end, reason)))
            run_each(lambda: self.address, steps)
        finally:
            if mine:
                self._settled = True
                self._changed.notify()

    def _deliver_some(self) -> None:
        for _ in range(READS_PER_TURN):
            if self._receiver.pending:
                self._deliver_more()

    def _is_unused(self) -> bool:
        free = self.reader.is_free() and self.writer.is_free() and not (self._announcer or self._ender)
        return free and not self._receiver.pending

    def _close(self) -> None:
        try:
            if self.attendant is not None:
                self.attendant.remove(self)
        finally:
            try:
                self.transport.close()
            except Exception as error:
                report_error(error, f"{self.address} could not be closed")

    def _ask_to_settle(self) -> None:
        """Have the end emitted by the thread that emitted what came before, or here if there is none."""
        if self.announced and self.attendant is not None:
            self.attendant.poke(self)
        else:
            self.settle()

    def is_current_thread(self) -> bool:
        """Return whether the end of the link has to wait for the calling thread, which must not wait for the end."""
        me, attendant = get_ident(), self.attendant
        if me in (self.reader.holder, self.writer.holder, self._announcer, self._ender, self._settler):
            return not self._settled
        if attendant is not None and attendant.ident == me:
            return True
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # in a signal handler

    def wait_settled(self, deadline: Deadline) -> bool:
        """Wait until the end was emitted and the thread is gone; return whether the end was emitted.

        A thread that the end has to wait for returns at once. A deadline that is cancelled ends the wait.
        """
        if not self.is_current_thread():
            with deadline.waking(self._changed.notify):
                self._changed.wait_for(lambda: self._settled or deadline.cancelled, deadline.remaining())
            if self._settled and self.attendant is not None:
                left = deadline.remaining()
                self.attendant.join(JOIN_TIMEOUT if left is None else left)
        return self._settled

    def _raise_reason(self) -> None:
        """Raise the reason of a link that has ended."""
        kind = NotConnected if isinstance(self.reason, (Cancelled, NotConnected)) else ConnectionLost
        reason = str(self.reason)
        where = "not connected" if self.address in reason else f"{self.address} is not connected"
        raise kind(f"{where}: {reason}") from self.reason

    def abandon(self) -> None:
        """Forget the link in a forked child process, where its threads do not exist; the parent keeps it."""
        was_settled = bool(self._settler)
        self._receiver.stop()  # what is pending is emitted by the parent
        self._begin(self.inbox.limit)
        if self.attendant is not None:
            self.attendant.abandon()
            self.attendant = None
        self._settled = True
        self._settler = get_ident()
        if self.reason is None:
            self.reason = NotConnected("this link belongs to the parent process; connect anew after a fork")
        if not was_settled:
            self.transport.abandon()


JOIN_TIMEOUT = 2.0
"""Seconds to wait for the end of a thread, at most, where no deadline bounds that."""


_links: CleanupRegistry[Link] = CleanupRegistry(Link.abandon)
