"""Framings: where messages begin and end in a stream of bytes.

A framing is stateless: an incomplete message stays in the :class:`~cnx.buffer.ReceiveBuffer`, so one
instance serves any number of links, for reading and for writing. To write your own, derive from
:class:`Framing` and define how the next message is taken::

    class Netstring(Framing):
        def take(self, buffer):
            colon = buffer.find(b":")
            if colon < 0:
                return self.incomplete(buffer)
            size = int(buffer.peek(colon))
            self.refuse(colon + size + 2)
            if len(buffer) < colon + size + 2:
                return None
            frame = buffer.take(colon + size + 2)
            if not frame.endswith(b","):
                raise ProtocolError(f"no comma after {frame!r}")
            return frame[colon + 1 : -1]

        def encode(self, message):
            return b"%d:%s," % (len(message), message)
"""

from __future__ import annotations

import ctypes
import struct
from abc import ABC, abstractmethod
from typing import Any, Literal

from cnx.buffer import MESSAGES_AT_ONCE, ReceiveBuffer
from cnx.errors import LimitExceeded, ProtocolError

__all__ = ["Delimited", "FixedSize", "Framing", "LengthPrefixed", "Raw", "Struct"]

LIMIT = 65536
"""Default size of the largest frame, in bytes."""

ByteOrder = Literal["big", "little"]


def shorten(data: bytes | str, size: int = 80) -> str:
    """Return ``data`` for the text of an error: quoted, and cut if it is long."""
    return repr(data) if len(data) <= size else f"{data[:size]!r}... ({len(data)} in all)"


class Framing(ABC):
    """The rule that cuts a stream into messages; ``limit`` is the size of the largest frame in bytes."""

    limit: int = LIMIT

    def __init_subclass__(cls, **settings: Any) -> None:
        """Let a class that overrides only :meth:`take` get all of its messages by that, whatever it derives from."""
        super().__init_subclass__(**settings)
        for each in cls.__mro__:
            if "take_all" in vars(each):
                break
            if "take" in vars(each):
                cls.take_all = Framing.take_all  # type: ignore[method-assign]
                break

    @abstractmethod
    def take(self, buffer: ReceiveBuffer) -> Any | None:
        """Remove and return the next message, or return ``None`` while it is incomplete.

        Raises:
            ProtocolError: the bytes break the rule.
            LimitExceeded: a frame is larger than ``limit``; the bytes stay in the buffer.
        """

    def take_all(self, buffer: ReceiveBuffer) -> list[Any]:
        """Remove and return the next complete messages, up to the first invalid one: 256 at most.

        Call it again until it returns none, so that much that has arrived at once is dealt with in small steps.

        Raises:
            ProtocolError, LimitExceeded: the first message is invalid.
        """
        messages: list[Any] = []
        mark = buffer.mark()
        try:
            while (message := self.take(buffer)) is not None:
                messages.append(message)
                if len(messages) == MESSAGES_AT_ONCE:
                    return messages
                mark = buffer.mark()
            buffer.exhausted = True
        except Exception:
            if not messages:
                raise
            buffer.rewind(mark)  # the next call meets the invalid one again, as its first
        return messages

    def encode(self, message: Any) -> bytes:
        """Return the bytes that carry ``message``.

        Raises:
            TypeError: it is not bytes-like.
        """
        if isinstance(message, int):
            raise TypeError(f"message must be bytes, not {message!r}")  # bytes() would take it for a size
        return bytes(message)

    def incomplete(self, buffer: ReceiveBuffer) -> Any:
        """Return ``None``, for an incomplete message, unless the limit is passed already.

        Raises:
            LimitExceeded: more bytes wait than one frame may have.
        """
        if len(buffer) > self.limit:
            self.refuse(len(buffer))

    def refuse(self, size: int) -> None:
        """Refuse a frame of at least ``size`` bytes if that is over the limit; raises LimitExceeded."""
        if size > self.limit:
            raise LimitExceeded(
                f"a frame of {size} bytes or more is over the limit of {self.limit}; "
                "raise limit= if such large frames are valid"
            )


class Raw(Framing):
    """No boundaries: a message is what arrived together."""

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove and return everything."""
        return buffer.take_all() if len(buffer) else None


class Delimited(Framing):
    """Messages that end with a terminator, such as lines.

    Args:
        terminator: the bytes after each message, not empty.
        keep: leave the terminator at the end of each message.
        limit: size of the largest frame with its terminator, in bytes.
    """

    def __init__(self, terminator: bytes = b"\r\n", *, keep: bool = False, limit: int = LIMIT) -> None:
        self.terminator = checked_terminator(terminator)
        self.limit = checked_limit(limit, len(terminator))
        self._kept = len(terminator) if keep else 0

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove the next message and its terminator."""
        end = buffer.find(self.terminator)
        if end < 0:
            self.incomplete(buffer)
            return None
        self.refuse(end + len(self.terminator))
        frame = buffer.take(end + self._kept)
        buffer.skip(len(self.terminator) - self._kept)
        return frame

    def take_all(self, buffer: ReceiveBuffer) -> list[bytes]:
        """Remove the next complete messages in one pass: 256 at most."""
        messages = buffer.cut_all(self.terminator, self.limit)
        if messages is None:
            return super().take_all(buffer)
        if not messages:
            self.incomplete(buffer)
        return [message + self.terminator for message in messages] if self._kept else messages

    def encode(self, message: bytes | str) -> bytes:
        """Return ``message`` (text as UTF-8) with the terminator; with ``keep`` it may have one already.

        Raises:
            ValueError: the message contains the terminator, which would make it two.
        """
        data = message.encode() if isinstance(message, str) else super().encode(message)
        if self._kept and data.endswith(self.terminator):
            data = data[: -self._kept]
        if (data + self.terminator).find(self.terminator) != len(data):
            raise ValueError(f"message must not contain the terminator {self.terminator!r}: {shorten(data)}")
        return data + self.terminator


class LengthPrefixed(Framing):
    """Messages after a header that holds their length.

    Args:
        size: bytes of the header: 1, 2 or 4.
        byteorder: ``"big"`` or ``"little"``.
        includes_header: the length counts the header too.
        limit: size of the largest frame with its header, in bytes.
    """

    def __init__(
        self, size: int = 4, byteorder: ByteOrder = "big", *, includes_header: bool = False, limit: int = LIMIT
    ) -> None:
        if type(size) is not int or size not in (1, 2, 4):
            raise ValueError(f"size must be 1, 2 or 4 bytes, not {size!r}")
        if byteorder not in ("big", "little"):
            raise ValueError(f"byteorder must be 'big' or 'little', not {byteorder!r}")
        self.size = size
        self.byteorder: ByteOrder = byteorder
        self.limit = checked_limit(limit, size)
        self._counted = size if includes_header else 0
        self._header = struct.Struct(("<" if byteorder == "little" else ">") + {1: "B", 2: "H", 4: "I"}[size])

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove the next message and its header."""
        if len(buffer) < self.size:
            return None
        length = int.from_bytes(buffer.peek(self.size), self.byteorder) - self._counted
        if length < 0:
            raise ProtocolError(
                f"a length of {length + self._counted} is smaller than its own header of {self.size} bytes"
            )
        self.refuse(self.size + length)
        if len(buffer) < self.size + length:
            return None
        buffer.skip(self.size)
        return buffer.take(length)

    def take_all(self, buffer: ReceiveBuffer) -> list[bytes]:
        """Remove the next complete messages in one pass: 256 at most."""
        messages: list[bytes] = []
        data, begin = buffer.mark()
        start, end = begin, len(data)
        header, unpack, longest = self.size, self._header.unpack_from, self.limit - self.size
        more = True
        for _ in range(MESSAGES_AT_ONCE):
            body = start + header
            if body > end:
                more = False
                break
            length = unpack(data, start)[0] - self._counted
            if body + length > end and 0 <= length <= longest:
                more = False  # it is incomplete
                break
            if not 0 <= length <= longest:
                break
            start = body + length
            messages.append(bytes(data[body:start]))
        buffer.skip(start - begin)
        if more and not messages:
            return super().take_all(buffer)  # which raises the error of the first message
        buffer.exhausted = not more
        return messages

    def encode(self, message: bytes) -> bytes:
        """Return the header and ``message``.

        Raises:
            ValueError: the length does not fit the header.
        """
        length = len(message) + self._counted
        if length >= 1 << 8 * self.size:
            raise ValueError(f"a message of {len(message)} bytes does not fit a length header of {self.size} bytes")
        return length.to_bytes(self.size, self.byteorder) + message


class FixedSize(Framing):
    """Messages of ``size`` bytes each."""

    def __init__(self, size: int) -> None:
        self.size = self.limit = checked_limit(size)

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove the next ``size`` bytes."""
        return buffer.take(self.size) if len(buffer) >= self.size else None

    def take_all(self, buffer: ReceiveBuffer) -> list[bytes]:
        """Remove the next complete messages in one pass: 256 at most."""
        size = self.size
        data = buffer.take(size * min(len(buffer) // size, MESSAGES_AT_ONCE))
        buffer.exhausted = len(buffer) < size
        return [data[at : at + size] for at in range(0, len(data), size)]

    def encode(self, message: bytes) -> bytes:
        """Return ``message``.

        Raises:
            ValueError: it has another size.
        """
        if len(message) != self.size:
            raise ValueError(f"message must have {self.size} bytes, not {len(message)}")
        return bytes(message)


class Struct(Framing):
    """Messages that are C structures: instances of ``kind``, a ``ctypes.Structure`` or ``Union`` class."""

    def __init__(self, kind: type[ctypes.Structure] | type[ctypes.Union]) -> None:
        if not isinstance(kind, type) or not issubclass(kind, (ctypes.Structure, ctypes.Union)):
            raise TypeError(f"kind must be a class derived from ctypes.Structure or ctypes.Union, not {kind!r}")
        self.kind = kind
        self.size = self.limit = checked_limit(ctypes.sizeof(kind))

    def take(self, buffer: ReceiveBuffer) -> ctypes.Structure | ctypes.Union | None:
        """Remove the next structure."""
        return self.kind.from_buffer_copy(buffer.take(self.size)) if len(buffer) >= self.size else None

    def encode(self, message: ctypes.Structure | ctypes.Union) -> bytes:
        """Return the bytes of ``message``.

        Raises:
            TypeError: it is of another kind.
        """
        if not isinstance(message, self.kind):
            raise TypeError(f"message must be a {self.kind.__name__}, not {message!r}")
        return bytes(message)


def failure(framing: Framing, error: Exception) -> ProtocolError:
    """Return the error for an exception that a framing did not expect, such as that of ``int()`` for other text."""
    return ProtocolError(f"{type(framing).__name__} failed on the bytes that arrived: {error!r}")


def checked_limit(limit: int, least: int = 1) -> int:
    """Return ``limit`` if it is a size of at least ``least`` bytes; raises TypeError, ValueError."""
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"a size in bytes must be an int, not {limit!r}")
    if limit < least:
        raise ValueError(f"a size must be at least {least} byte{'s' * (least > 1)} here, not {limit}")
    return limit


def checked_terminator(terminator: bytes) -> bytes:
    """Return ``terminator`` if it can end a message; raises TypeError, ValueError."""
    if not isinstance(terminator, bytes):
        raise TypeError(f"a terminator must be bytes, not {terminator!r}")
    if not terminator:
        raise ValueError("a terminator must not be empty")
    return terminator
