"""Pieces: what the reading methods look for in the bytes that arrive.

Each kind says in ``made_of`` whether a chunk that has just arrived, with nothing in front of it, is the whole piece, as
most replies are. Otherwise the chunk goes into the inbox, and ``take_from`` takes the piece from there. When it is not
there in time, ``missing`` says what of it has not arrived.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from cnx.buffer import ReceiveBuffer
from cnx.errors import CnxError, LimitExceeded, TimedOut
from cnx.framing import Framing, failure, shorten
from cnx.link.inbox import Inbox
from cnx.link.link import Link
from cnx.recording.recorder import masked

__all__ = ["Datagram", "Exactly", "Message", "Missing", "Rest", "Some", "Until", "late"]

SHOWN = 80
"""Bytes of an incomplete piece that a message shows."""


class Missing(Protocol):
    """A piece that can say what of it has not arrived."""

    @property
    def missing(self) -> str: ...


def late(link: Link, piece: Missing, seconds: float | None, secrets: Iterable[bytes]) -> TimedOut:
    """Return the error of a call that has waited in vain for a piece; it says what has arrived and what has not.

    Args:
        link: where the call was reading.
        piece: what it was looking for.
        seconds: the timeout of the call, as it was asked for.
        secrets: what the message must not show.
    """
    attempt = link.deadline
    if attempt is not None and attempt.seconds is not None and (seconds is None or attempt.expired):
        within = f"within the {attempt.seconds:g} s for connecting"
    else:
        within = "in time" if seconds is None else f"within {seconds:g} s"
    size, begin = link.inbox.look(lambda buffer: (len(buffer), buffer.peek(min(len(buffer), SHOWN))))
    if not size:
        return TimedOut(f"nothing arrived from {link.address} {within}")
    shown = shorten(masked(begin, secrets)) + ("..." if size > SHOWN else "")
    hint = "; is the terminator right?" if isinstance(piece, Until) else ""
    hint = "; is the framing right?" if isinstance(piece, Message) else hint
    count = "1 byte" if size == 1 else f"{size} bytes"
    return TimedOut(f"{count} came from {link.address} ({shown}) but {piece.missing} {within}{hint}")


class Some:
    """Up to ``size`` bytes, as soon as any are there."""

    missing = "nothing that could be read"

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

    @property
    def missing(self) -> str:
        """What has not arrived."""
        return f"not {self._size}"

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

    @property
    def missing(self) -> str:
        """What has not arrived."""
        return f"no {self._separator!r}"

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

    missing = "not the end of the stream"

    def made_of(self, data: bytes) -> bytes | None:
        """Return nothing."""
        return None

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Take nothing."""
        return None


class Message:
    """A message, as a framing cuts it."""

    missing = "no complete message"

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


class Datagram:
    """A datagram."""

    missing = "no datagram"

    def made_of(self, data: bytes) -> bytes | None:
        """Return ``data``, which is always a datagram as a whole."""
        return data

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Take the oldest one."""
        return inbox.take_datagram()
