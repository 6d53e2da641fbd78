"""One login, from its success to the end of its link: what was sent, what came, and who waits for it."""

from __future__ import annotations

import logging
import math
from collections import deque
from threading import get_ident
from time import monotonic
from typing import NamedTuple

from cnx.clients.tecoroute.client.errors import ConnectorConnectionError, ConnectorResponseError, raise_if_ended
from cnx.clients.tecoroute.client.latency import Latency
from cnx.clients.tecoroute.client.rules import Rules
from cnx.clients.tecoroute.client.statistics import Statistics
from cnx.clients.tecoroute.client.window import ANSWER_TIMEOUT, Pending, Window
from cnx.clients.tecoroute.protocol.http import Response
from cnx.clients.tecoroute.protocol.session import decode
from cnx.deadline import Deadline
from cnx.errors import Cancelled, LimitExceeded, TimedOut
from cnx.framing import shorten
from cnx.link.link import Link
from cnx.threads.condition import Monitor

__all__ = ["News", "Session"]

log = logging.getLogger(__name__)

UNREAD_LIMIT = 1000
"""Datagrams that may wait to be received."""


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
        self._window = Window(rules.max_outstanding, True if statistics.keepalive_answers else None)
        self._statistics = statistics
        self._unread: deque[bytes] = deque()
        self._changed = Monitor()
        self._sender = 0  # ident of the thread whose turn to write it is

    @property
    def address(self) -> str:
        """Where its link leads to."""
        return self.link.transport.address

    # -- for those who send ----------------------------------------------------------------------------------------

    def send(self, request: bytes, pending: Pending, timeout: float | None) -> None:
        """Send a request when it is its turn and there is room for it.

        Raises:
            TimedOut: there was no room in time, or the service did not take it; nothing was sent.
            LimitExceeded: too many datagrams wait to be received, or there is no room and the calling thread is the
                one that brings the answers.
            RuntimeError: the same thread is to wait for the answer, or was interrupted while it sends.
            ConnectorError: the link has ended.
        """
        if pending.awaited:
            self._refuse_to_wait()
        me = get_ident()
        if self._sender == me:
            raise RuntimeError("what interrupts a thread that sends must not send on the same connector")
        try:
            with self._changed.lock:
                claimed = self._claim(pending)
            if not claimed:
                timeout = self._wait_for_turn(pending, Deadline(timeout))
            self._write(request, timeout)
        except BaseException:
            with self._changed.lock:
                self._window.discard(pending)
            raise
        finally:
            if self._sender == me:  # nothing is called here: an interrupt must not leave it behind
                self._sender = 0
                self._changed.notify()
        self._statistics.count_sent(pending.keepalive)

    def _wait_for_turn(self, pending: Pending, deadline: Deadline) -> float | None:
        """Wait for the turn and a place for the answer, and take both; return the seconds that are left."""
        while not self._changed.wait_for(lambda: self._claim(pending), self._patience(deadline)):
            if deadline.expired:
                waiting = f"{len(self._window)} requests to {self.address} wait for answers"
                busy = "another message is being sent" if self._sender else waiting
                raise TimedOut(f"{busy}; nothing was sent")
        return deadline.remaining()

    def _claim(self, pending: Pending) -> bool:
        """Take the turn and a place for the answer if both are free; the lock is held."""
        raise_if_ended(self.address, self.reason or self.link.reason)
        if len(self._unread) >= UNREAD_LIMIT and not pending.keepalive:
            raise LimitExceeded(f"{UNREAD_LIMIT} datagrams from {self.address} wait to be received; nothing was sent")
        now = monotonic()
        if self._sender:
            return False
        if not self._window.has_room(now):
            if self.link.is_inside():
                raise LimitExceeded(f"{self._window.size} requests wait for answers, which come on this very thread")
            return False
        self._sender = get_ident()
        self._note_sent(pending, now)
        return True

    def _note_sent(self, pending: Pending, now: float) -> None:
        if pending.keepalive:
            self.latency.forget()
        self._window.add(pending, now)
        self.latency.sent(now, answered=not pending.keepalive or self._window.keepalives_answered is True)
        self.last_sent = now

    def _patience(self, deadline: Deadline) -> float:
        """Return how long to wait for a change: until the deadline, or until a place becomes free by itself."""
        left = deadline.remaining()
        with self._changed.lock:
            full = not self._sender and len(self._window) >= self._window.size
            expiry = max(0.0, self._window.next_expiry - monotonic()) if full else math.inf
        return min(math.inf if left is None else left, expiry, ANSWER_TIMEOUT)  # it may have become full meanwhile

    def _write(self, request: bytes, timeout: float | None) -> None:
        link = self.link
        before = link.sent
        try:
            link.write(request, timeout)
        except ConnectionError as error:
            lost = ConnectorConnectionError(f"the message cannot be sent: {error}")
            refused = error.__cause__ is link.reason and link.sent == before  # the link had ended already
            lost.maybe_sent = not refused
            raise lost from error

    # -- for the thread that brings the answers --------------------------------------------------------------------

    def accept(self, response: Response) -> News:
        """Note an answer."""
        now = monotonic()
        with self._changed.lock:
            seconds = self.latency.received(now)
            if response.status != 200:
                datagram, pending = None, self._note_error(response)
            elif not response.body:
                datagram, pending = None, self._note_empty()
            else:
                datagram, pending = self._note_datagram(decode(response.body), now)
        self._changed.notify()
        return News(datagram, pending, seconds)

    def keep(self, datagram: bytes) -> None:
        """Keep a datagram until it is received."""
        with self._changed.lock:
            full = len(self._unread) >= UNREAD_LIMIT
            if not full:
                self._unread.append(datagram)
        if full:
            self._statistics.dropped += 1
            log.warning("a datagram from %s was dropped, as %d others wait to be received", self.address, UNREAD_LIMIT)
        self._changed.notify()

    def _note_error(self, response: Response) -> Pending | None:
        self._statistics.errors += 1
        pending = self._window.take_oldest()
        if pending is not None:
            text = f"{self.address} answered with status {response.status}: {shorten(response.body)}"
            pending.error = ConnectorResponseError(text, response.status)
        return pending

    def _note_empty(self) -> Pending | None:
        pending = self._window.take_keepalive()
        if pending is None:
            self._statistics.empty += 1
        else:
            self._statistics.keepalive_answers += 1
        return pending

    def _note_datagram(self, datagram: bytes, now: float) -> tuple[bytes | None, Pending | None]:
        pending = self._window.take(datagram, now)
        if pending is not None and pending.keepalive:
            self._statistics.keepalive_answers += 1
            return None, pending
        self._statistics.received += 1
        if pending is None or not pending.awaited:
            return datagram, pending
        self._statistics.late += pending.error is not None
        pending.answer = datagram
        return None, pending

    # -- for those who wait ----------------------------------------------------------------------------------------

    def ask(self, request: bytes, pending: Pending, timeout: float | None) -> bytes:
        """Send a request and return the answer; if it comes too late, it is only counted.

        Raises:
            TimedOut: there was no room, or no answer, in time.
            RuntimeError: the calling thread is the one that would bring the answer.
            ConnectorError: the service answered with an error, or the link ended.
        """
        deadline = Deadline(timeout)
        try:
            self.send(request, pending, timeout)
            return self._wait_for_answer(pending, deadline)
        finally:  # also when it is interrupted: a request that nobody waits for must not keep its place for ever
            with self._changed.lock:
                if pending.answer is None:
                    pending.error = pending.error or TimedOut("it was given up")
                    self._window.give_up(pending, monotonic())

    def _wait_for_answer(self, pending: Pending, deadline: Deadline) -> bytes:
        self._changed.wait_for(lambda: pending.answer or pending.error or self.reason, deadline.remaining())
        with self._changed.lock:
            if pending.answer is not None:
                return pending.answer
            if pending.error is None:
                raise_if_ended(self.address, self.reason)
                raise TimedOut(f"no answer of the PLC came from {self.address} in time")
            raise pending.error

    def receive(self, timeout: float | None) -> bytes:
        """Return the next datagram that nobody waits for; those that came before the end can still be had.

        Raises:
            TimedOut: none came in time.
            RuntimeError: the calling thread is the one that brings them, and there is none.
            ConnectorError: the link ended.
        """
        with self._changed.lock:
            found = self._pop()
        if not found:
            self._refuse_to_wait()
            found = self._changed.wait_for(self._pop, timeout)
        if not found:
            raise TimedOut(f"no datagram came from {self.address} within {timeout:g} s")
        return found[0]

    def wait_until_ended(self) -> None:
        """Wait for the end of the link.

        Raises:
            ConnectorError: it was not asked for.
        """
        self._refuse_to_wait()
        self._changed.wait_for(lambda: self.reason, None)
        if not isinstance(self.reason, Cancelled):
            raise_if_ended(self.address, self.reason)

    def _pop(self) -> tuple[bytes, ...]:
        """Take a datagram, if there is one; the lock is held."""
        if self._unread:
            return (self._unread.popleft(),)
        raise_if_ended(self.address, self.reason)
        return ()

    def _refuse_to_wait(self) -> None:
        if self.link.is_inside():
            raise RuntimeError("a handler must not wait for what comes on the very thread that it runs on")

    # -- the end ---------------------------------------------------------------------------------------------------

    def end(self, reason: BaseException) -> None:
        """End the session, and wake whoever waits; the first reason counts."""
        self.reason = self.reason or reason
        self._changed.notify()

    def wake_senders(self) -> None:
        """Let those who wait to send see that the link ends, which is told only after what came before."""
        self._changed.notify()

    def drop_unread(self) -> int:
        """Drop what was not received, as another session begins; return how many datagrams that were."""
        with self._changed.lock:
            dropped = len(self._unread)
            self._unread.clear()
        self._statistics.dropped += dropped
        return dropped
