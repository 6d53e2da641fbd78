"""Requests that wait for their answers, and which answer belongs to which. No clock: callers say what time it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cnx.clients.tecoroute.protocol_epsnet import message_id

__all__ = ["Pending", "Window"]


@dataclass(eq=False)
class Pending:
    """A request on its way.

    Attributes:
        identity: message id of its datagram; ``None`` without one.
        keepalive: it carries no datagram.
        awaited: a thread waits for the answer.
        on_answer: who is called with the answer.
        expires: when an answer is not expected any more.
        answer: the answer, if it is awaited.
        error: why there will be none.
    """

    identity: bytes | None = None
    keepalive: bool = False
    awaited: bool = False
    on_answer: Callable[[bytes], object] | None = None
    expires: float = math.inf
    answer: bytes | None = None
    error: Exception | None = None


class Window:
    """The requests on their way, the oldest first.

    The service is not known to answer every request, nor in their order. So an answer belongs to the request with
    its message id; where it has none, to the oldest request without one.

    Args:
        size: how many requests there may be.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pending: list[Pending] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: Pending) -> None:
        """Note a request that is about to be sent."""
        self._pending.append(pending)

    def discard(self, pending: Pending) -> None:
        """Forget a request."""
        if pending in self._pending:
            self._pending.remove(pending)

    def expire(self, now: float) -> list[Pending]:
        """Forget and return the requests whose answers are not expected any more."""
        expired = [pending for pending in self._pending if pending.expires <= now]
        for pending in expired:
            self._pending.remove(pending)
        return expired

    @property
    def next_expiry(self) -> float | None:
        """When the next request is forgotten."""
        return min((pending.expires for pending in self._pending), default=None)

    def take(self, datagram: bytes) -> Pending | None:
        """Remove and return the request that a datagram answers, ``None`` if there is none."""
        identity = message_id(datagram)
        for index, pending in enumerate(self._pending):
            if pending.identity == identity:
                del self._pending[index]
                return pending
        return None

    def take_keepalive(self) -> Pending | None:
        """Remove and return the oldest keepalive, ``None`` if there is none."""
        for index, pending in enumerate(self._pending):
            if pending.keepalive:
                del self._pending[index]
                return pending
        return None

    def take_oldest(self) -> Pending | None:
        """Remove and return the oldest request, ``None`` if there is none."""
        return self._pending.pop(0) if self._pending else None
