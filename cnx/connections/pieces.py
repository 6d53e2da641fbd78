"""Pieces: what the reading methods of a stream look for in the bytes that arrive.

Each kind says in ``made_of`` whether a chunk that has just arrived, with nothing in front of it, is the whole piece, as
most replies are. Otherwise the chunk goes into the inbox, and ``take_from`` takes the piece from there.
"""

from __future__ import annotations

from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.errors import CnxError, LimitExceeded
from cnx.framing import Framing, failure
from cnx.link.inbox import Inbox

__all__ = ["Exactly", "Message", "Rest", "Some", "Until"]


class Some:
    """Up to ``size`` bytes, as soon as any are there."""

    def __init__(self, size: int) -> None:
        self._size = size

    def made_of(self, data: bytes) -> bytes | None:
        """Return ``data`` if it is not too much."""
        return data if len(data) <= self._size else None

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Take what is there."""
        return inbox.look(lambda buffer: buffer.take(self._size) or None)


class Exactly:
    """Exactly ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def made_of(self, data: bytes) -> bytes | None:
        """Return ``data`` if it has this size."""
        return data if len(data) == self._size else None

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Take as many."""
        size = self._size
        return inbox.look(lambda buffer: buffer.take(size) if len(buffer) >= size else None)


class Until:
    """Everything up to ``separator``, which is included.

    Raises:
        LimitExceeded: it is not within ``limit`` bytes; nothing is taken.
    """

    def __init__(self, separator: bytes, limit: int) -> None:
        self._separator = separator
        self._size = len(separator)
        self._limit = limit

    def made_of(self, data: bytes) -> bytes | None:
        """Return ``data`` if the separator is at its end and nowhere else."""
        end = data.find(self._separator) + self._size
        return data if end == len(data) and self._size <= end <= self._limit else None

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Take up to the first separator."""
        return inbox.look(self._find)

    def _find(self, buffer: ReceiveBuffer) -> bytes | None:
        end = buffer.find(self._separator)
        size = len(buffer) if end < 0 else end + self._size
        if size > self._limit:
            raise LimitExceeded(
                f"no {self._separator!r} within {self._limit} bytes; nothing was taken; raise limit= if that is right"
            )
        return None if end < 0 else buffer.take(size)


class Rest:
    """Everything up to the end of the stream, which no bytes show: the link ends."""

    def made_of(self, data: bytes) -> bytes | None:
        """Return nothing."""
        return None

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Take nothing."""
        return None


class Message:
    """A message, as a framing cuts it."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing

    def made_of(self, data: bytes) -> Any | None:
        """Return the message if ``data`` is a single one; what the framing objects to is found in the inbox again."""
        buffer = ReceiveBuffer()
        buffer.append(data)
        try:
            message = self._framing.take(buffer)
        except Exception:  # take_from() raises it again, with the bytes in the inbox
            return None
        return None if len(buffer) else message

    def take_from(self, inbox: Inbox) -> Any | None:
        """Take a message."""
        try:
            return inbox.look(self._framing.take)
        except CnxError:
            raise
        except Exception as error:
            raise failure(self._framing, error) from error
