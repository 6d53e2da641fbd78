"""The fixed parts of messages as tables of named fields, little endian and without padding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from cnx.errors import ProtocolError

__all__ = ["Layout", "Text", "decode_text", "encode_text"]


def decode_text(data: bytes, encoding: str = "utf-8") -> str:
    """Return the text before the first NUL; what follows it may be stale memory of the peer.

    Peers use different encodings, so UTF-8 and cp936 are tried after ``encoding``. Bytes that are text in none of them
    are shown as ``\\xNN``.
    """
    text = data.partition(b"\0")[0]
    for candidate in (encoding, "utf-8", "cp936"):
        try:
            return text.decode(candidate)
        except UnicodeDecodeError:
            continue
    return text.decode(encoding, "backslashreplace")


def encode_text(name: str, text: str, limit: int, encoding: str = "utf-8", minimum: int = 0) -> bytes:
    """Return ``text`` as ``minimum`` to ``limit`` bytes, without a terminating NUL.

    Raises:
        TypeError: it is not a ``str``.
        ValueError: it is too long or too short, contains a NUL, or has characters outside ``encoding``.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be text (str), not {type(text).__name__}")
    data = _encoded(text, encoding)
    if data is None:
        raise ValueError(f"{name} has characters that {encoding} does not have")
    if b"\0" in data:
        raise ValueError(f"{name} must not contain a NUL character, which would end it")
    if not minimum <= len(data) <= limit:
        raise ValueError(f"{name} has {len(data)} bytes in {encoding}; {minimum} to {limit} are allowed")
    return data


def _encoded(text: str, encoding: str) -> bytes | None:
    """Return ``text`` as bytes, or ``None``: the exception holds the text, which may be a password."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None


class Text:
    """A text field of ``size`` bytes, including the terminating NUL."""

    __slots__ = ("encoding", "size")

    def __init__(self, size: int, encoding: str = "utf-8") -> None:
        self.size = size
        self.encoding = encoding


class Layout:
    """The names and formats of consecutive fields: each a character of :mod:`struct`, or a :class:`Text`."""

    def __init__(self, **fields: str | Text) -> None:
        self.fields = fields
        self._struct = struct.Struct("<" + "".join(f"{f.size}s" if isinstance(f, Text) else f for f in fields.values()))
        self.size = self._struct.size

    def pack(self, **values: Any) -> bytes:
        """Return the bytes of the fields.

        Raises:
            ValueError, TypeError: a value does not fit its field.
        """
        try:
            return self._struct.pack(*self._packable(values))
        except struct.error as error:
            raise ValueError(f"a number does not fit its field: {error}; given {self._shown(values)}") from None

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """Return the fields by name.

        Raises:
            ProtocolError: there are fewer bytes than the fields need.
        """
        if len(data) - offset < self.size:
            raise ProtocolError(f"{', '.join(self.fields)} need {self.size} bytes, not {len(data) - offset}")
        values = self._struct.unpack_from(data, offset)
        return {
            name: decode_text(value, field.encoding) if isinstance(field, Text) else value
            for (name, field), value in zip(self.fields.items(), values, strict=True)
        }

    def _packable(self, values: dict[str, Any]) -> Iterator[Any]:
        for name, field in self.fields.items():
            value = values[name]
            yield encode_text(name, value, field.size - 1, field.encoding) if isinstance(field, Text) else value

    def _shown(self, values: dict[str, Any]) -> dict[str, Any]:
        # without texts, as one of them may be a password
        return {name: values[name] for name, field in self.fields.items() if not isinstance(field, Text)}
