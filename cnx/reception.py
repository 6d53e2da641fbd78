"""What comes in on a link: how the thread that attends to it passes it on."""

from __future__ import annotations

import logging
from threading import get_ident
from typing import Any

from cnx.errors import CnxError, ConnectionLost, TimedOut
from cnx.life import READER, Life
from cnx.parties import Sink
from cnx.recorder import Recorder
from cnx.transports.transport import CHUNK, Transport
from cnx.watch import HANGUP, INPUT, NOTHING

__all__ = ["PAUSE", "Reception"]

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25
"""Seconds after which unread input that nobody wants is offered again, as PyDispatcher tells nobody of subscribers."""

_TURN = 64
"""Reads before other links and timers of the same thread have their turn."""

PAUSE = {False: 0.05, True: 0.005}
"""Seconds without a reading call after which the attendant takes over, by whether anybody is subscribed."""


class Reception(Life):
    """The reading of a link by the thread that attends to it, on top of its :class:`~cnx.life.Life`. Thread-safe."""

    __slots__ = ("_blocked", "_gone", "_kept", "_resting", "_turns", "_turns_then", "_warned")

    def __init__(self, transport: Transport, inbox: Any, sink: Sink, recorder: Recorder) -> None:
        super().__init__(transport, inbox, sink, recorder)
        self._blocked = self._gone = False  # input is left unread; the peer may be gone
        self._warned = False  # that unread bytes hold up the signals
        self._resting = False  # the attendant will look again after a while
        self._turns = self._turns_then = 0  # of callers that read: so far, and when the attendant was told to rest
        self._kept = False  # there may be something in the inbox

    # -- for the attendant -----------------------------------------------------------------------------------------

    def attend(self, told: bool = False, gone: bool = False) -> None:
        """Tell subscribers what came, or settle a link that ended; called on the attendant's thread.

        Args:
            told: the attendant knows that there is news, rather than that somebody asked to look.
            gone: the peer may be gone.
        """
        if gone:
            self._gone = True
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
                self._accept(data, keep=False, tell=self._sink.wanted())
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
        sink, transport = self._sink, self.transport
        for _ in range(_TURN):
            if self.reason is not None:
                break
            wanted = sink.wanted()
            if wanted and self._untold:
                self._deliver_kept()
            if (not wanted or (sink.keeping and not sink.provisional)) and self._leaves_unread(wanted):
                return not told
            data = transport.read_now(CHUNK)
            if data is None:
                break
            self._accept(data, keep=False, tell=wanted)
            if len(data) < CHUNK and not self._gone and not transport.datagrams:
                break
        return True

    def _leaves_unread(self, wanted: bool) -> bool:
        """Whether what comes has to stay with the peer: nobody is subscribed, or the readers are behind."""
        sink = self._sink
        if wanted and (sink.provisional or not sink.keeping):
            return False
        if len(self.inbox) < sink.limit:
            return not (wanted or self._gone or self.fd < 0)
        if wanted and not self._warned:
            self._warned = True
            log.warning(
                "%s: signals wait until somebody reads: %d bytes are unread, and reading methods were used",
                self.transport.address,
                len(self.inbox),
            )
        return True

    def _deliver_kept(self) -> None:
        """Tell subscribers what came while nobody was subscribed and was not read since."""
        sink = self._sink
        with self._lock:
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

    def _accept(self, data: bytes, *, keep: bool, tell: bool) -> None:
        """Put what was read where it belongs: into the inbox, to the subscribers, or both."""
        sink = self._sink
        self.received += self._note("<", data)
        if tell and self._untold:
            self._deliver_kept()  # which came before
        if keep or not tell or sink.keeping:
            with self._lock:
                self._put(data, tell)
        if tell:
            sink.deliver(data)

    def _put(self, data: bytes, told: bool) -> None:
        """Add to the inbox; the lock is held."""
        self.inbox.append(data)
        self._kept = True
        self._untold = 0 if told else self._untold + max(1, len(data))
        if told and self._sink.provisional and len(self.inbox) > self._sink.limit:
            self.inbox.clear()  # whoever reads now begins with what comes next
            self._sink.keeping = False
        if self.gates:
            self._changed.notify()

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
            self._resting, self._turns_then = True, self._turns
        self.attendant.rest(self, delay)

    def on_rested(self) -> None:
        """Look again, unless callers are reading; called on the attendant's thread."""
        self._resting = False
        if self._turns != self._turns_then:
            self._rest(PAUSE[self._sink.wanted()])
        else:
            self.attend()

    def look_again(self) -> None:
        """Let the attendant find out anew who wants what comes. Any thread."""
        if self.attendant is not None:
            self.attendant.poke(self)
