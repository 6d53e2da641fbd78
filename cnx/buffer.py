"""ReceiveBuffer: bytes that were received and not taken yet. Framings take messages out of it."""

from __future__ import annotations

import io

__all__ = ["MESSAGES_AT_ONCE", "ReceiveBuffer", "may_exceed"]

MESSAGES_AT_ONCE = 256
"""Messages that are cut at once. A chunk may have 100,000; so many must not keep a thread from looking at the time."""

CUT_WITHIN = 16 * 1024
"""Bytes that are looked at to cut so many messages at once, unless one message is longer."""


class ReceiveBuffer:
    """A queue of bytes that remembers how far it was searched.

    One chunk is kept as it arrived, without a copy. Only when small pieces are added to many unread bytes, they are
    gathered in a ``bytearray``. Not thread-safe: its owner guards it.

    Attributes:
        exhausted: the last search has found that it holds no complete message and nothing invalid. A framing that does
            not use :meth:`cut_all` may set it, to save another search.
    """

    __slots__ = ("_data", "_searched", "_separator", "_start", "exhausted")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._start = 0
        self._separator = b""
        self._searched = 0
        self.exhausted = False

    def __len__(self) -> int:
        """Return how many bytes wait to be taken."""
        return len(self._data) - self._start

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self.exhausted = False
        start = self._start
        waiting = len(self._data) - start
        if not waiting:
            self._data, self._start, self._searched = data, 0, 0
            return
        if isinstance(self._data, bytes) and waiting <= len(data):
            if start:
                self._data, self._start = self._data[start:], 0
                self._searched = max(0, self._searched - start)
            self._data += data
            return
        if not isinstance(self._data, bytearray):
            self._data = bytearray(memoryview(self._data)[self._start :])
            self._searched = max(0, self._searched - self._start)
            self._start = 0
        elif self._start > 65536:
            self._compact()
        self._data += data

    def find(self, separator: bytes, start: int = 0) -> int:
        """Return the offset of the first ``separator`` at or after ``start``, or -1.

        Bytes that were searched without success are not searched again for the same separator.
        """
        if separator != self._separator:
            self._separator, self._searched = separator, 0
        begin = max(self._start + start, self._searched)
        found = self._data.find(separator, begin)
        if found >= 0:
            return found - self._start
        if start == 0:
            self._searched = max(self._start, len(self._data) - len(separator) + 1)
        return -1

    def peek(self, size: int, start: int = 0) -> bytes:
        """Return up to ``size`` bytes from offset ``start`` without taking them."""
        begin = self._start + start
        return bytes(self._data[begin : begin + size])

    def take(self, size: int) -> bytes:
        """Remove and return the first ``size`` bytes, or all if there are fewer."""
        begin, end = self._start, self._start + size
        if end >= len(self._data):
            return self.take_all()
        if size < 0:
            raise ValueError(f"cannot take {size} bytes")
        self._start = end
        return bytes(self._data[begin:end])

    def take_all(self) -> bytes:
        """Remove and return everything."""
        data = self._data if self._start == 0 else self._data[self._start :]
        self.clear()
        return bytes(data)

    def tail(self, size: int) -> list[bytes]:
        """Return the last ``size`` bytes (all if there are fewer) in one piece, without taking them."""
        size = min(size, len(self))
        return [self.peek(size, len(self) - size)] if size else []

    def skip(self, size: int) -> None:
        """Remove the first ``size`` bytes."""
        if size < 0:
            raise ValueError(f"cannot skip {size} bytes")
        self._start = min(self._start + size, len(self._data))

    def mark(self) -> tuple[bytes | bytearray, int]:
        """Return a mark for :meth:`rewind`, which is valid until bytes are added.

        It is the bytes, without a copy, and the offset at which the waiting ones begin.
        """
        return self._data, self._start

    def rewind(self, mark: tuple[bytes | bytearray, int]) -> None:
        """Put back everything that was taken since ``mark``."""
        self._data, self._start = mark
        self._searched = 0
        self.exhausted = False

    def put_back(self, data: bytes) -> None:
        """Add bytes in front, as if they had not been taken."""
        rest = self.take_all()
        self._data = data + rest if rest else data

    def clear(self) -> None:
        """Remove everything."""
        self._data, self._start, self._searched = b"", 0, 0

    def cut_all(self, separator: bytes, limit: int) -> list[bytes] | None:
        """Remove and return the pieces at the front that end with ``separator``, without it: some hundred at most.

        It returns ``None`` if one of them may be over ``limit``; the size of a piece includes its separator. The buffer
        is ``exhausted`` when no separator is left, unless the rest is over ``limit`` already.
        """
        data, start = self._data, self._start
        known = separator == self._separator and self._searched > start
        if data.find(separator, self._searched if known else start) < 0:
            self._separator, self._searched = separator, max(start, len(data) - len(separator) + 1)
            self.exhausted = True
            return []
        front = bytes(data[start : start + CUT_WITHIN])  # no copy if it is all of it
        pieces = front.split(separator, MESSAGES_AT_ONCE)
        rest = pieces.pop()
        self.exhausted = False
        if not pieces:  # the first one is longer
            size = self.find(separator) + len(separator)
            return None if size > limit else [self.take(size)[: -len(separator)]]
        if len(front) > limit and max(map(len, pieces)) + len(separator) > limit:
            return None
        if start + len(front) == len(data):
            self._data, self._start, self._searched = rest, 0, 0
            self.exhausted = len(pieces) < MESSAGES_AT_ONCE and len(rest) <= limit
        else:
            self._start = start + len(front) - len(rest)
        return pieces

    def cut_lines(self, limit: int, size: int) -> list[bytes]:
        """Remove and return the first line, and those behind it that are complete within the first ``size`` bytes.

        It returns none if no line is complete, or if one of these may be longer than ``limit`` bytes.
        """
        first = self.find(b"\n")
        if first < 0:
            return []
        end = max(self._start + first, self._data.rfind(b"\n", self._start, self._start + size)) + 1
        whole = self._data[self._start : end]
        if may_exceed(whole, b"\n", limit):
            return []
        self._start = end
        return io.BytesIO(whole).readlines()

    def untake(self, size: int) -> None:
        """Put back the last ``size`` bytes that :meth:`cut_lines` has removed, if nothing else was called since."""
        self._start -= size
        self._searched = 0

    def _compact(self) -> None:
        del self._data[: self._start]  # type: ignore[union-attr]  # only called on a bytearray
        self._searched = max(0, self._searched - self._start)
        self._start = 0


def may_exceed(data: bytes | bytearray, separator: bytes, limit: int) -> bool:
    """Return whether a piece of ``data``, with its separator, may have more than ``limit`` bytes.

    In data of up to twice the limit, only the piece around the middle can be that long, so only that one is measured.
    """
    if len(data) <= limit:
        return False
    end = data.find(separator, limit)
    begin = data.rfind(separator, 0, limit)
    size = (len(data) if end < 0 else end) - begin  # or a little less, if separators overlap
    return size + len(separator) > limit or len(data) > 2 * limit
