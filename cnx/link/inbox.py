"""Inbox: bytes that have arrived on a link and wait for readers.

All rules about waiting bytes are here. The invariant: the inbox holds, in the order of their arrival, the bytes that no
reader has taken. The last ``unemitted`` of them have not been emitted to subscribers; all bytes in front of these have
been. So a piece is emitted only after everything that arrived before it was emitted or taken by a reader. Bytes that
arrive while nobody subscribes, and that a reader takes, are never emitted.

Subscribers observe: what is emitted goes into the inbox, too, so readers get the same bytes with and without
subscribers. While there are subscribers the peer is not held back. So when more than ``limit`` emitted bytes wait and
nobody is reading, the inbox drops the oldest ones, and counts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from cnx.buffer import ReceiveBuffer
from cnx.threads.locks import Lock

__all__ = ["Inbox"]

T = TypeVar("T")

CUT_AT_FIRST = 64
"""Bytes in which lines are cut at once, at first: little has to be put back if another method reads what follows."""

CUT_AT_ONCE = 16 * 1024
"""The same after some calls in a row that took lines, whatever waits behind them."""

_NONE: deque[bytes] = deque(maxlen=0)
"""Nothing. An empty deque takes 0.7 KiB, so a link that has received nothing has none of its own."""


class Inbox:
    """Pieces of bytes that wait for readers: of a stream, or datagrams. Thread-safe.

    The reader of the link puts pieces in; they stay as they arrived, without a copy, until somebody looks at them as a
    stream, which gathers them in one buffer.

    Args:
        lock: guards everything in here; the lock of the link.
        limit: bytes that may wait. An empty datagram counts as one byte.

    Attributes:
        lines: lines that were cut, in front of all other bytes. ``lines.popleft()`` takes one in a single step, without
            the lock; all else in here needs the lock, and puts the lines back that are left if it has to.
        size: how many bytes wait; too many by the lines that were taken since the last look.
        unemitted: how many of them, at the end, have not been emitted.
        dropped: bytes that were dropped since the last :meth:`take_dropped`.
    """

    __slots__ = (
        "_buffer",
        "_cut_within",
        "_lock",
        "_pieces",
        "_pieces_size",
        "dropped",
        "limit",
        "lines",
        "size",
        "unemitted",
    )

    def __init__(self, lock: Lock, limit: int) -> None:
        self.limit = limit
        self.size = self.unemitted = self.dropped = 0
        self._lock = lock
        self._buffer = ReceiveBuffer()  # what somebody has looked at as a stream
        self._cut_within = CUT_AT_FIRST
        self.lines = _NONE
        self._pieces = _NONE  # what arrived after that
        self._pieces_size = 0

    def put(self, data: bytes, *, emitted: bool, keep_all: bool) -> None:
        """Add a piece that has arrived.

        Args:
            data: the piece.
            emitted: it is emitted to subscribers, as was everything before it.
            keep_all: drop nothing, as somebody is reading.
        """
        size = len(data) or 1
        with self._lock:
            if self._pieces is _NONE:
                self._pieces = deque()
            self._pieces.append(data)
            self._pieces_size += size
            self.size += size
            self.unemitted = 0 if emitted else self.unemitted + size
            if emitted and not keep_all and self.size > self.limit:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop half of the bytes, so that it is not done for every piece; keep the last piece, however large it is."""
        self._put_lines_back()
        waiting = len(self._buffer)  # fewer than counted if lines were taken since
        if waiting + self._pieces_size > self.limit:
            self._buffer.clear()
            self.dropped += waiting
            waiting = 0
            while self._pieces_size > self.limit // 2 and len(self._pieces) > 1:
                size = len(self._pieces.popleft()) or 1
                self._pieces_size -= size
                self.dropped += size
        self.size = waiting + self._pieces_size

    def take_unemitted(self) -> list[bytes]:
        """Return what has not been emitted, which the caller emits; it stays here for readers."""
        with self._lock:
            self._put_lines_back()
            waiting = len(self._buffer)
            left = min(self.unemitted, waiting + self._pieces_size)
            self.unemitted = 0
            found: deque[bytes] = deque()
            for piece in reversed(self._pieces):
                left -= len(piece) or 1
                if left < 0:
                    break
                found.appendleft(piece)
            else:
                if left > 0:
                    found.appendleft(self._buffer.peek(left, waiting - left))
            return list(found)

    def take_dropped(self) -> int:
        """Return how many bytes were dropped since the last call."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
            return dropped

    def forget_emitted(self) -> None:
        """Remove what has been emitted, so that a reply that arrives now is not mistaken for an older message."""
        with self._lock:
            if not self.unemitted:
                self.lines.clear()
                self._buffer.clear()
                self._pieces.clear()
                self.size = self._pieces_size = self.dropped = 0

    def look(self, extract: Callable[[ReceiveBuffer], T]) -> T:
        """Return what ``extract`` takes out of the stream of waiting bytes; it is called under the lock.

        Raises:
            RuntimeError: a signal handler has interrupted a thread in here.
        """
        self._refuse_to_interrupt()
        with self._lock:
            buffer = self._gather()
            try:
                return extract(buffer)
            finally:
                self.size = len(buffer)

    def take_line(self) -> bytes | None:
        """Remove and return the first line, and cut some behind it; ``None`` if there is none of up to ``limit`` bytes.

        The others can be had with ``lines.popleft()``. Raises like :meth:`look`.
        """
        self._refuse_to_interrupt()
        with self._lock:
            buffer = self._gather()
            lines = buffer.cut_lines(self.limit, self._cut_within)
            self._cut_within = min(4 * self._cut_within, CUT_AT_ONCE)
            others = lines[1:]
            self.size = len(buffer) + sum(map(len, others))
            if self.lines is _NONE:
                self.lines = deque()
            self.lines.extend(others)
            return lines[0] if lines else None

    def _refuse_to_interrupt(self) -> None:
        if self._lock._is_owned():  # type: ignore[attr-defined]  # RLock has it
            raise RuntimeError("a signal handler must not read from the connection that the interrupted code is using")

    def _gather(self) -> ReceiveBuffer:
        """Return the buffer, with everything in it that waits."""
        if self.lines:
            self._put_lines_back()
        buffer = self._buffer
        while self._pieces:
            buffer.append(self._pieces.popleft())
        self._pieces_size = 0
        return buffer

    def _put_lines_back(self) -> None:
        """Put the cut lines that are left back, beginning with the last one: other threads take the first ones."""
        if self.lines:
            self._cut_within = CUT_AT_FIRST
        try:
            while True:
                self._buffer.untake(len(self.lines.pop()))
        except IndexError:
            pass

    def take_datagram(self) -> bytes | None:
        """Remove and return the oldest piece; ``None`` if nothing waits."""
        with self._lock:
            if not self._pieces:
                return None
            piece = self._pieces.popleft()
            self._pieces_size -= len(piece) or 1
            self.size = self._pieces_size
            return piece
