"""One session: from a successful login to the end of its link, with the requests that wait for answers."""

from __future__ import annotations

import logging
import math
from collections import deque
from threading import get_ident
from time import monotonic
from typing import NamedTuple

from cnx.clients.tecoroute.client.errors import (
    ConnectorConnectionError,
    ConnectorResponseError,
    raise_if_ended,
)
from cnx.clients.tecoroute.client.policy import Latency, Rules
from cnx.clients.tecoroute.client.statistics import Statistics
from cnx.clients.tecoroute.client.window import ANSWER_TIMEOUT, Pending, Window
from cnx.clients.tecoroute.protocol.http import Response
from cnx.clients.tecoroute.protocol.session import decode
from cnx.connections.stream import StreamConnection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, CnxError, LimitExceeded, NotConnected, TimedOut
from cnx.framing import shorten
from cnx.logs import log_of_peer, logger
from cnx.threads.condition import Condition

__all__ = ["Accepted", "Session"]

log = logger(__name__)

UNREAD_LIMIT = 1000
"""Number of datagrams that may wait to be received."""


class Accepted(NamedTuple):
    """What an answer contained.

    Attributes:
        datagram: from the PLC, unless a thread waits for it.
        pending: the request that was answered, if it is known.
        seconds: how long the service took, if that was measured.
    """

    datagram: bytes | None
    pending: Pending | None
    seconds: float | None


class Session:
    """What the threads that use one link share: the turn to send, the outstanding requests, received datagrams.

    Thread-safe. One thread at a time sends: it claims the turn and a place for the answer together, so that requests
    are in the window in the order in which they are sent.

    Args:
        connection: sends the requests. A later link of it belongs to another session.
        rules: how many requests may be outstanding, and when the service is too slow.
        statistics: counters to update.

    Attributes:
        reason: why it ended, after everything that the link brought was handled; ``None`` before that.
        last_sent: when the last request was sent.
    """

    def __init__(self, connection: StreamConnection, rules: Rules, statistics: Statistics) -> None:
        self.latency = Latency(rules.latency_threshold, rules.latency_count)
        self.reason: BaseException | None = None
        self.last_sent = monotonic()
        self._connection = connection  # a cycle, which the garbage collector ends
        self._window = Window(rules.max_outstanding, True if statistics.keepalive_answers else None)
        self._statistics = statistics
        self._unread: deque[bytes] = deque()
        self._changed = Condition()
        self._ending: BaseException | None = None  # why nothing can be sent any more
        self._sender = 0  # ident of the thread that sends

    @property
    def address(self) -> str:
        """Address of the service."""
        return self._connection.address

    # -- for threads that send -------------------------------------------------------------------------------------

    def send(self, request: bytes, pending: Pending, timeout: float | None) -> None:
        """Send a request as soon as no other one is being sent and there is room for its answer.

        Args:
            request: the bytes to send.
            pending: stands for the request until it is answered.
            timeout: seconds; ``None`` for no limit.

        Raises:
            TimedOut: there was no room in time, or the service did not take it; nothing was sent.
            LimitExceeded: too many datagrams wait to be received, or there is no room and the calling thread is the
                one that receives the answers.
            RuntimeError: the calling thread is to wait for an answer that only it can receive, or a signal handler
                called it while the same thread was sending.
            ConnectorError: the link has ended.
        """
        if pending.awaited:
            self._refuse_to_wait()
        me = get_ident()
        if self._sender == me:
            raise RuntimeError("a signal handler that interrupts a thread that sends must not send on its connector")
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
            if self._sender == me:  # without a call before it, so that an interrupt cannot leave the turn taken
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
        raise_if_ended(self.address, self.reason or self._ending)
        if len(self._unread) >= UNREAD_LIMIT and not pending.keepalive:
            raise LimitExceeded(f"{UNREAD_LIMIT} datagrams from {self.address} wait to be received; nothing was sent")
        now = monotonic()
        if self._sender:
            return False
        if not self._window.has_room(now):
            if self._connection.is_current_thread():
                raise LimitExceeded(f"{self._window.size} requests wait for answers that only this thread can receive")
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
        """Return how long to wait for a change: until the deadline, or until a request loses its place."""
        left = deadline.remaining()
        with self._changed.lock:
            full = not self._sender and len(self._window) >= self._window.size
            expiry = max(0.0, self._window.next_expiry - monotonic()) if full else math.inf
        return min(math.inf if left is None else left, expiry, ANSWER_TIMEOUT)  # the window may become full meanwhile

    def _write(self, request: bytes, timeout: float | None) -> None:
        connection = self._connection
        before = connection.traffic.bytes_sent
        try:
            connection.write(request, timeout=math.inf if timeout is None else timeout)
        except ConnectionError as error:
            lost = ConnectorConnectionError(f"the message cannot be sent: {error}")
            # If the link had ended already, write() raises from the reason of that. If the write itself broke, the
            # cause is an error of the operating system, and a part of the message may have been sent.
            refused = isinstance(error, NotConnected) or isinstance(error.__cause__, CnxError)
            lost.maybe_sent = not refused or connection.traffic.bytes_sent != before
            raise lost from error

    # -- for the thread that receives the answers ------------------------------------------------------------------

    def accept(self, response: Response) -> Accepted:
        """Find the request that an answer belongs to, and count the answer."""
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
        return Accepted(datagram, pending, seconds)

    def keep(self, datagram: bytes) -> None:
        """Keep a datagram until it is received."""
        with self._changed.lock:
            full = len(self._unread) >= UNREAD_LIMIT
            if not full:
                self._unread.append(datagram)
        if full:
            self._statistics.dropped += 1
            text = "%s: a datagram was dropped: %d others wait to be received"
            log_of_peer(log, logging.WARNING, text, self.address, UNREAD_LIMIT)
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

    # -- for threads that wait -------------------------------------------------------------------------------------

    def ask(self, request: bytes, pending: Pending, timeout: float | None) -> bytes:
        """Send a request and return the answer; an answer that arrives too late is only counted.

        Raises:
            TimedOut: there was no room, or no answer, in time.
            RuntimeError: the calling thread is the one that would receive the answer.
            ConnectorError: the service answered with an error, or the link ended.
        """
        deadline = Deadline(timeout)
        try:
            self.send(request, pending, timeout)
            return self._wait_for_answer(pending, deadline)
        finally:  # also after an interrupt: a request that no thread waits for must not keep its place for ever
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
        """Return the next kept datagram; those that arrived before the end of the link can still be received.

        Raises:
            TimedOut: none arrived in time.
            RuntimeError: there is none, and the calling thread is the one that receives them.
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
            ConnectorError: the link was lost.
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
        if self._connection.is_current_thread():
            raise RuntimeError("a handler must not wait for what only its own thread can receive")

    # -- the end ---------------------------------------------------------------------------------------------------

    def end(self, reason: BaseException) -> None:
        """End the session, and wake all threads that wait; the first reason counts."""
        self.reason = self.reason or reason
        self._changed.notify()

    def refuse_requests(self, reason: BaseException) -> None:
        """Send nothing any more, and wake the threads that wait to send.

        The session itself ends later, after everything that arrived before the end of the link was handled.
        """
        self._ending = self._ending or reason
        self._changed.notify()

    def wait_for_sender(self, deadline: Deadline) -> None:
        """Wait until no thread sends a request of this session, which has ended.

        Raises:
            ConnectorConnectionError: a signal handler called it while the same thread was sending.
            TimedOut, Cancelled: the deadline ended.
        """
        if self._sender == get_ident():
            raise ConnectorConnectionError("a signal handler that interrupts a thread that sends must not connect")
        with deadline.waking(self._changed.notify):
            self._changed.wait_for(lambda: not self._sender or deadline.cancelled, deadline.remaining())
        if self._sender:
            deadline.check(f"waiting for a request that {self.address} was sent before")

    def drop_unread(self) -> int:
        """Drop the datagrams that were not received, because another session begins; return how many they were."""
        with self._changed.lock:
            dropped = len(self._unread)
            self._unread.clear()
        self._statistics.dropped += dropped
        return dropped
