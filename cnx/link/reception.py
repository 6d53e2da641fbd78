"""What comes in on a link: how the thread that attends to it passes it on."""

from __future__ import annotations

import logging
from threading import get_ident
from time import time
from typing import Any

from cnx.errors import CnxError, ConnectionLost, TimedOut
from cnx.link.life import READER, Life
from cnx.link.parties import Sink
from cnx.link.selector import HANGUP, INPUT, NOTHING
from cnx.recording.recorder import PIECE, Recorder
from cnx.transports.transport import CHUNK, Transport

__all__ = ["PAUSE", "Reception"]

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25
"""Seconds after which unread input that nobody wants is offered again, as PyDispatcher tells nobody of subscribers."""

_TURN = range(64)
"""Reads before other links and timers of the same thread have their turn."""

_SMALL, _FEW = 4096, 32
"""What may wait to be moved into the inbox: pieces of so many bytes, and so many of them."""

PAUSE = {False: 0.05, True: 0.005}
"""Seconds without a reading call after which the attendant takes over, by whether anybody is subscribed."""


class Reception(Life):
    """The reading of a link by the thread that attends to it, on top of its ``Life``. Thread-safe."""

    __slots__ = ("_blocked", "_full", "_gone", "_heard", "_kept", "_received_then", "_resting", "_warned")

    def __init__(self, transport: Transport, inbox: Any, sink: Sink, recorder: Recorder) -> None:
        super().__init__(transport, inbox, sink, recorder)
        self._blocked = self._gone = False  # input is left unread; the peer may be gone
        self._warned = False  # that unread bytes hold up the signals
        self._resting = False  # the attendant will look again after a while
        self._received_then = 0  # when the attendant was told to rest
        self._heard = False  # what came last was told, and no reading method wants it
        self._full = transport.full
        self._kept = False  # there may be something in the inbox

    # -- for the attendant -----------------------------------------------------------------------------------------

    def attend(self, told: bool = False, gone: int = 0) -> None:
        """Tell subscribers what came, or settle a link that ended; called on the attendant's thread.

        Args:
            told: the attendant knows that there is news, rather than that somebody asked to look.
            gone: not 0 if the peer may be gone.
        """
        if gone:
            self._gone, self._full = True, 0
        if self.reason is not None or not self.live:  # data comes after CONNECTED; whoever tells that pokes
            self.settle()
            return
        try:
            del self.vacant[READER]
        except KeyError:
            if self._leave_to_reader():
                return
        self._reader = get_ident()
        try:
            self._blocked = not self._pass_on(told)
        except Exception as error:
            self._fail(error)
        finally:
            self._reader = 0
            self.vacant[READER] = True
            if self._blocked or self._interest != INPUT or self.gates or self.reason is not None:
                self._after_turn((NOTHING if self._gone else HANGUP) if self._blocked else INPUT)
                if self._blocked:
                    self._rest(_LOOK_AGAIN)

    def _leave_to_reader(self) -> bool:
        """Ask for nothing while somebody else reads, who asks again after that; or take the role, and return False."""
        with self._lock:
            try:
                del self.vacant[READER]
                return False
            except KeyError:
                if self._interest != NOTHING:
                    self._ask(NOTHING)
                return True

    def pump(self, timeout: float) -> None:
        """Read once, blocking, from a transport without a descriptor, or settle; called on the attendant's thread."""
        if not self._changed.wait_for(self._claim_or_end, timeout):
            return
        if self._reader == get_ident():
            try:
                if self._sink.wanted():
                    self._deliver_kept()
                data = self.transport.read(CHUNK, timeout)
                self._accept(data, False, self._sink.wanted())
            except TimedOut:
                pass
            except Exception as error:
                self._fail(error)
            finally:
                self._reader = 0
                self.vacant[READER] = True
                self._after_turn(NOTHING)
        self.settle()

    def _claim_or_end(self) -> bool:
        """Become the reader if there is something to do; return whether there is, or the link can be settled."""
        if self.reason is not None:
            return len(self.vacant) == 2 and not (self._announcer or self._ender)
        if not self.live or self._leaves_unread(self._sink.wanted()):
            return False
        me = get_ident()
        try:
            del self.vacant[READER]
            self._reader = me
        except KeyError:
            return False
        return True

    def _fail(self, error: Exception) -> None:
        """End the link because of what reading it raised; a transport that users write may raise anything."""
        if isinstance(error, CnxError):
            self.end(error)
            return
        lost = ConnectionLost(f"the connection with {self.transport.address} broke while reading: {error!r}")
        lost.__cause__ = error
        self.end(lost)

    def _pass_on(self, told: bool) -> bool:
        """Read and tell; return whether nothing more waits, as against being left to the readers or to the peer."""
        sink = self._sink
        for _ in _TURN:
            if not (told and self._heard) and self._holds_up():
                return not told
            data = self.transport.read_now(CHUNK)
            if data is None:
                break
            wanted = sink.wanted()
            self._heard = wanted and (sink.provisional or not sink.keeping)
            self._accept(data, False, wanted)
            if len(data) < self._full or self.reason is not None:
                break
        return True

    def _holds_up(self) -> bool:
        """Tell what nobody was told yet; return whether what comes has to stay with the peer."""
        wanted = self._sink.wanted()
        if wanted and self._untold:
            self._deliver_kept()
        return self._leaves_unread(wanted)

    def _leaves_unread(self, wanted: bool) -> bool:
        """Whether what comes has to stay with the peer: nobody is subscribed, or the readers are behind."""
        sink = self._sink
        if wanted and (sink.provisional or not sink.keeping):
            return False
        unread = self.unread()
        if unread < sink.limit:
            return not (wanted or self._gone or self.fd < 0)
        if wanted and not self._warned:
            self._warned = True
            log.warning(
                "%s: signals wait until somebody reads: %d bytes are unread, and reading methods were used",
                self.transport.address,
                unread,
            )
        return True

    def _deliver_kept(self) -> None:
        """Tell those who are subscribed what came while nobody was and was not read since."""
        sink = self._sink
        with self._lock:
            self.gather()
            untold = self.inbox.tail(self._untold)
            self._untold = 0
            if not sink.keeping:
                self.inbox.clear()
        for data in untold:
            sink.deliver(data)

    def _read_now(self) -> bytes | None:
        if self.fd < 0:
            try:
                return self.transport.read(CHUNK, 0.0)
            except TimedOut:
                return None
        return self.transport.read_now(CHUNK)

    # -- for the reader, whoever it is -----------------------------------------------------------------------------

    def _accept(self, data: bytes, keep: bool, wanted: bool) -> None:
        """Put what was read where it belongs: into the inbox, to the subscribers if it is ``wanted``, or both."""
        came = len(data)
        note = self._note
        note((time(), "<", data if came <= PIECE else data[:PIECE], came))
        self.received += came
        if not wanted:
            self._keep(data, False)
            return
        sink = self._sink
        if self._untold:
            self._deliver_kept()  # which came before
        if keep or sink.keeping:
            self._put(data)
        sink.deliver(data)

    def _keep(self, data: bytes, told: bool) -> None:
        """Put bytes aside; those before them were told if these were."""
        self._untold = 0 if told else self._untold + max(1, len(data))
        self._put(data)

    def _put(self, data: bytes) -> None:
        """Put aside what goes into the inbox as soon as somebody looks there."""
        self._arrived.append(data)
        self._kept = True
        if len(data) > _SMALL or len(self._arrived) > _FEW:
            self._tidy()
        if self.gates:
            self._changed.notify()

    def _tidy(self) -> None:
        """Move what was put aside into the inbox, and forget all if it is too much and was told already."""
        sink = self._sink
        with self._lock:
            self.gather()
            if sink.provisional and not self._untold and len(self.inbox) > sink.limit:
                self.inbox.clear()  # whoever reads now begins with what comes next
                sink.keeping = False

    def _after_turn(self, interest: int) -> None:
        """Ask the attendant for what the next reader needs to know, after the role was given back."""
        if self.gates:
            self._changed.notify()
        if self.reason is not None:
            self._ask_to_settle()
        elif interest != self._interest:
            with self._lock:
                if self.live and self.reason is None and READER in self.vacant:
                    self._ask(interest)

    def _ask(self, interest: int) -> None:
        self._interest = interest
        if self.attendant is not None:
            self.attendant.arm(self, interest)

    def _rest(self, delay: float) -> None:
        """Have the attendant look again after ``delay`` seconds, unless it will anyway."""
        with self._lock:
            if self._resting or not self.live or self.attendant is None:
                return
            self._resting, self._received_then = True, self.received
        self.attendant.rest(self, delay)

    def on_rested(self) -> None:
        """Look again, unless callers are reading; called on the attendant's thread."""
        self._resting = False
        if self.received != self._received_then:
            self._rest(PAUSE[self._sink.wanted()])
        else:
            self.attend()

    def look_again(self) -> None:
        """Let the attendant find out anew who wants what comes. Any thread."""
        if self.attendant is not None:
            self.attendant.poke(self)
