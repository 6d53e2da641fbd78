"""One login, from its success to the end of its link: what was sent, what came, and who waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import NamedTuple

from cnx.clients.tecoroute.client_errors import ConnectorConnectionError, ConnectorLatencyError, ConnectorResponseError
from cnx.clients.tecoroute.client_latency import Latency
from cnx.clients.tecoroute.client_rules import Rules
from cnx.clients.tecoroute.client_statistics import Statistics
from cnx.clients.tecoroute.client_window import Pending, Window
from cnx.clients.tecoroute.protocol import decode
from cnx.clients.tecoroute.protocol_epsnet import message_id
from cnx.clients.tecoroute.protocol_http import Response
from cnx.deadline import Deadline
from cnx.errors import Cancelled, LimitExceeded, TimedOut
from cnx.framing import shorten
from cnx.link import Link

__all__ = ["News", "Session"]

log = logging.getLogger(__name__)

UNREAD_LIMIT = 1000
"""Datagrams that may wait to be received."""

ANSWER_TIMEOUT = 10.0
"""Seconds after which a request does not hold its place for an answer any more."""


class News(NamedTuple):
    """What an answer brought.

    Attributes:
        datagram: from the PLC, if no thread waits for it.
        pending: the request that was answered, if it is known.
        seconds: how long the service took, if it was measured.
    """

    datagram: bytes | None
    pending: Pending | None
    seconds: float | None


class Session:
    """What the threads share that use one link. Thread-safe.

    Args:
        link: where requests go; those of this session can go nowhere else.
        rules: when there is no room for a request, and when the service is too slow.
        statistics: what to count in.

    Attributes:
        reason: why it ended; ``None`` while it has not.
    """

    def __init__(self, link: Link, rules: Rules, statistics: Statistics) -> None:
        self.link = link
        self.latency = Latency(rules.latency_threshold, rules.latency_count)
        self.reason: BaseException | None = None
        self.last_sent = monotonic()
        self._window = Window(rules.max_outstanding)
        self._statistics = statistics
        self._unread: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._sender = 0  # ident of the thread whose turn to write it is
        self._listener = 0  # ident of the thread that brings the answers
        self._keepalive_last = False  # nothing was sent after the last keepalive
        self._keepalives_answered = False

    # -- for those who send ----------------------------------------------------------------------------------------

    def send(self, request: bytes, pending: Pending, timeout: float | None) -> None:
        """Send a request when it is its turn and there is room for it.

        Raises:
            TimedOut: there was no room in time, or the service did not take it; nothing was sent.
            LimitExceeded: too many datagrams wait to be received, or there is no room and the calling thread is the
                one that brings the answers.
            ConnectorError: the link has ended.
        """
        deadline = Deadline(timeout)
        try:
            self._begin(pending, deadline)
            self._write(request, deadline)
        except BaseException:
            with self._changed:
                self._window.discard(pending)
            raise
        finally:
            self._give_turn()

    def _begin(self, pending: Pending, deadline: Deadline) -> None:
        """Take the turn and a place for the answer."""
        with self._changed:
            while self._sender or not self._has_room():
                self._check_up()
                if self._listener == get_ident():
                    raise LimitExceeded(
                        f"{self._window.size} requests wait for answers, which come on this very thread"
                    )
                if deadline.expired:
                    raise TimedOut(f"{len(self._window)} requests wait for answers, so no other was sent in time")
                self._changed.wait(self._patience(deadline))
            self._check_up()
            if len(self._unread) >= UNREAD_LIMIT and not pending.keepalive:
                raise LimitExceeded(f"{UNREAD_LIMIT} datagrams wait to be received; nothing was sent")
            self._sender = get_ident()
            self._note_sent(pending, monotonic())

    def _write(self, request: bytes, deadline: Deadline) -> None:
        link = self.link
        before = link.sent
        try:
            link.write(request, deadline.remaining())
        except ConnectionError as error:
            lost = ConnectorConnectionError(f"the message cannot be sent: {error}")
            refused = error.__cause__ is link.reason and link.sent == before  # the link had ended already
            lost.maybe_sent = not refused
            raise lost from error

    def _give_turn(self) -> None:
        with self._changed:
            if self._sender == get_ident():
                self._sender = 0
                self._changed.notify_all()

    def _has_room(self) -> bool:
        if len(self._window) < self._window.size:
            return True
        self._forget_expired()
        return len(self._window) < self._window.size

    def _patience(self, deadline: Deadline) -> float | None:
        """Return how long to wait for a change: until the deadline, or until a place becomes free by itself."""
        expiry = self._window.next_expiry
        waits = [deadline.remaining(), None if expiry is None else max(0.0, expiry - monotonic())]
        return min((wait for wait in waits if wait is not None), default=None)

    def _note_sent(self, pending: Pending, now: float) -> None:
        if pending.keepalive:
            self.latency.forget()
            self._statistics.keepalives += 1
        else:
            self._statistics.sent += 1
        pending.expires = now + ANSWER_TIMEOUT
        self._window.add(pending)
        self._keepalive_last = pending.keepalive
        self.last_sent = now
        self.latency.sent(now, answered=not pending.keepalive or self._keepalives_answered)

    def _forget_expired(self) -> None:
        for pending in self._window.expire(monotonic()):
            if pending.keepalive:
                self._keepalives_answered = False

    # -- for the thread that brings the answers --------------------------------------------------------------------

    def accept(self, response: Response) -> News:
        """Note an answer."""
        now = monotonic()
        with self._changed:
            self._listener = get_ident()
            seconds = self.latency.received(now)
            if response.status != 200:
                datagram, pending = None, self._note_error(response)
            elif not response.body:
                datagram, pending = None, self._note_empty()
            else:
                datagram, pending = self._note_datagram(decode(response.body))
            self._changed.notify_all()
        return News(datagram, pending, seconds)

    def keep(self, datagram: bytes) -> None:
        """Keep a datagram until it is received."""
        with self._changed:
            if len(self._unread) >= UNREAD_LIMIT:
                self._statistics.dropped += 1
                log.warning("a datagram was dropped, as %d others wait to be received", len(self._unread))
                return
            self._unread.append(datagram)
            self._changed.notify_all()

    def _note_error(self, response: Response) -> Pending | None:
        self._statistics.errors += 1
        pending = self._window.take_oldest()
        if pending is not None:
            text = f"the service answered with status {response.status}: {shorten(response.body)}"
            pending.error = ConnectorResponseError(text, response.status)
        return pending

    def _note_empty(self) -> Pending | None:
        pending = self._window.take_keepalive()
        if pending is not None or self._keepalive_last:
            self._note_keepalive_answer()
        else:
            self._statistics.empty += 1
        return pending

    def _note_datagram(self, datagram: bytes) -> tuple[bytes | None, Pending | None]:
        pending = self._window.take(datagram)
        stray = pending is None and self._keepalive_last and message_id(datagram) is None
        if stray or (pending is not None and pending.keepalive):
            self._note_keepalive_answer()
            return None, pending
        self._statistics.received += 1
        if pending is None or not pending.awaited:
            return datagram, pending
        self._statistics.late += pending.error is not None
        pending.answer = datagram
        return None, pending

    def _note_keepalive_answer(self) -> None:
        self._keepalives_answered = True
        self._statistics.keepalive_answers += 1

    # -- for those who wait ----------------------------------------------------------------------------------------

    def wait_for_answer(self, pending: Pending, deadline: Deadline) -> bytes:
        """Return the answer to a request that was sent.

        Raises:
            TimedOut: it did not come in time; if it comes later it is only counted.
            ConnectorError: the service answered with an error, or the link ended.
        """
        with self._changed:
            self._wait_for(lambda: pending.answer is not None or pending.error is not None, deadline.remaining())
            if pending.answer is not None:
                return pending.answer
            if pending.error is None:
                self._check_up()
                pending.error = TimedOut("the PLC did not answer in time")
            raise pending.error

    def receive(self, timeout: float | None) -> bytes:
        """Return the next datagram that nobody waits for; those that came before the end can still be had.

        Raises:
            TimedOut: none came in time.
            ConnectorError: the link ended.
        """
        with self._changed:
            self._wait_for(lambda: bool(self._unread), timeout)
            if self._unread:
                return self._unread.popleft()
            self._check_up()
        raise TimedOut(f"no datagram came within {timeout:g} s")

    def wait_until_ended(self) -> None:
        """Wait for the end of the link.

        Raises:
            ConnectorError: it was not asked for.
        """
        with self._changed:
            self._wait_for(lambda: False, None)
            if not isinstance(self.reason, Cancelled):
                self._check_up()

    def _wait_for(self, found: Callable[[], bool], timeout: float | None) -> None:
        """Wait until something is found, the session has ended or time is up; the lock is held."""
        if self._listener == get_ident() and not found():
            raise RuntimeError("a handler must not wait for what the thread brings that it runs on")
        self._changed.wait_for(lambda: found() or self.reason is not None, timeout)

    # -- the end ---------------------------------------------------------------------------------------------------

    def end(self, reason: BaseException) -> None:
        """End the session, and wake whoever waits."""
        with self._changed:
            self.reason = reason
            self._changed.notify_all()

    def drop_unread(self) -> int:
        """Drop what was not received, as another session begins; return how many datagrams that were."""
        with self._changed:
            dropped = len(self._unread)
            self._unread.clear()
            self._statistics.dropped += dropped
            return dropped

    def _check_up(self) -> None:
        if self.reason is not None:
            kind = ConnectorLatencyError if isinstance(self.reason, ConnectorLatencyError) else ConnectorConnectionError
            raise kind(f"{self.link.transport.address} is not connected: {self.reason}") from self.reason
