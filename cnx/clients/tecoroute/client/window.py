"""Requests that wait for their answers, and which answer belongs to which. No clock: callers pass the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from cnx.clients.tecoroute.protocol.epsnet import message_id

__all__ = ["Pending", "Window"]

ANSWER_TIMEOUT = 10.0
"""Seconds after which a request loses its place among the outstanding ones."""

REPEATED_AFTER = 1.0
"""Seconds after which a program that uses a message id again has given up its earlier request."""

KEEPALIVE_TIMEOUT = 2.0
"""Seconds after which a keepalive counts as unanswered."""


@dataclass(eq=False)
class Pending:
    """A request that waits for its answer.

    Attributes:
        identity: message id of its datagram; ``None`` without one.
        keepalive: it carries no datagram.
        awaited: a thread waits for the answer.
        on_answer: called with the answer.
        asker: identifies the program that asked, if several share the connector.
        sent: when it was sent.
        expires: when it loses its place.
        answer: the answer, if it is awaited.
        error: why there will be no answer, or why no thread waits for it any more.
        doubtful: an answer that may have belonged to it went to an older request, which had been given up.
    """

    identity: bytes | None = None
    keepalive: bool = False
    awaited: bool = False
    on_answer: Callable[[bytes], object] | None = None
    asker: Hashable | None = None
    sent: float = 0.0
    expires: float = math.inf
    answer: bytes | None = None
    error: Exception | None = None
    doubtful: bool = False


class Window:
    """The outstanding requests, oldest first.

    It is not known whether the service answers every request, or in order. So an answer belongs to the oldest request
    with its message id or, if it has none, to the oldest request without one. Some programs use the same message id
    for all requests, and then a lost answer must not shift all later ones. Requests that have lost their places are
    therefore considered last. A request that the same program has repeated is forgotten, and so is one of two that
    were given up together, of which only one was answered.

    Whether keepalives are answered is learned: a service that left one unanswered is not expected to answer the next.

    Args:
        size: number of requests that may be outstanding.
        keepalives_answered: whether the service answers keepalives, from earlier links; ``None`` if not known.
    """

    def __init__(self, size: int, keepalives_answered: bool | None = None) -> None:
        self.size = size
        self.keepalives_answered = keepalives_answered
        self._pending: list[Pending] = []
        self._keepalive_last = False  # nothing was sent after the last keepalive

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: Pending, now: float) -> None:
        """Add a request that is about to be sent."""
        self._keepalive_last = pending.keepalive
        pending.sent = now
        if pending.asker is not None and pending.identity is not None:
            self._forget_repeated(pending)
        if pending.keepalive:
            pending.expires = now + KEEPALIVE_TIMEOUT
        elif not pending.awaited:  # an awaited one keeps its place as long as its thread waits
            pending.expires = now + ANSWER_TIMEOUT
        if not pending.keepalive or self.keepalives_answered is not False:
            self._pending.append(pending)

    def discard(self, pending: Pending) -> None:
        """Forget a request."""
        if pending in self._pending:
            self._pending.remove(pending)

    def give_up(self, pending: Pending, now: float) -> None:
        """Note that no thread waits for an answer any more; a late answer is still recognised."""
        if pending.doubtful:
            self.discard(pending)
        pending.expires = now + ANSWER_TIMEOUT

    def has_room(self, now: float) -> bool:
        """Return whether there is a place for one more request."""
        if len(self._pending) >= self.size:
            self._forget_expired(now)
        return len(self._pending) < self.size

    @property
    def next_expiry(self) -> float:
        """When the next request loses its place."""
        return min((pending.expires for pending in self._pending), default=math.inf)

    def take(self, datagram: bytes, now: float) -> Pending | None:
        """Remove and return the request that a datagram answers, ``None`` if there is none."""
        identity = message_id(datagram)
        if identity is None:
            self._forget_expired(now)
        pending = self._take_oldest_with(identity, now)
        if pending is not None:
            return self._noted(pending)
        if identity is None and self._keepalive_last:  # nothing else was sent since, so it is the late answer
            return self._noted(Pending(keepalive=True))
        return None

    def take_keepalive(self) -> Pending | None:
        """Remove and return the keepalive that an empty answer answers, ``None`` if there is none."""
        for index, pending in enumerate(self._pending):
            if pending.keepalive:
                del self._pending[index]
                return self._noted(pending)
        return self._noted(Pending(keepalive=True)) if self._keepalive_last else None

    def take_oldest(self) -> Pending | None:
        """Remove and return the oldest request, ``None`` if there is none."""
        return self._pending.pop(0) if self._pending else None

    def _take_oldest_with(self, identity: bytes | None, now: float) -> Pending | None:
        found: Pending | None = None
        expired: Pending | None = None
        for index, pending in enumerate(self._pending):
            if pending.identity == identity:
                if pending.expires > now:
                    found = pending
                    del self._pending[index]
                    break
                expired = expired or pending
        if expired is not None:
            self._pending.remove(expired)
        found = found or expired
        if found is not None and found.error is not None:
            self._doubt_next(identity)
        return found

    def _doubt_next(self, identity: bytes | None) -> None:
        """Mark the next request with this id: an answer that may have belonged to it went to one that was given up."""
        for pending in self._pending:
            if pending.identity == identity and pending.error is None:
                pending.doubtful = True
                return

    def _forget_repeated(self, pending: Pending) -> None:
        """Forget the requests that the program behind ``pending`` repeats with it, and so has given up."""
        for other in [other for other in self._pending if other.identity == pending.identity]:
            if other.asker == pending.asker and pending.sent - other.sent >= REPEATED_AFTER:
                self._pending.remove(other)

    def _noted(self, pending: Pending) -> Pending:
        if pending.keepalive:
            self.keepalives_answered = True
        return pending

    def _forget_expired(self, now: float) -> None:
        expired = [pending for pending in self._pending if pending.expires <= now]
        for pending in expired:
            self._pending.remove(pending)
            if pending.keepalive:
                self.keepalives_answered = False
