"""JsonLines: the framing of JSON values, one on each line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.errors import EncodingError, InvalidJson
from cnx.framing import LIMIT, Delimited, Framing, shorten

__all__ = ["JsonLines", "format_json", "parse_json"]


class JsonLines(Framing):
    """Messages that are JSON values, one on each line.

    A line that is not JSON, or is not text in UTF-8, is removed and reported as an error. The value
    ``null`` is refused like a line that is not JSON, because ``None`` means that there is no message.

    Args:
        terminator: the bytes after each line.
        limit: size of the largest line with its terminator, in bytes.
        loads: a decoder from bytes, such as ``orjson.loads``; the standard library's if omitted. It must
            raise ``ValueError`` for anything that is not JSON.
    """

    def __init__(
        self, terminator: bytes = b"\r\n", *, limit: int = LIMIT, loads: Callable[[bytes], Any] | None = None
    ) -> None:
        self._lines = Delimited(terminator, limit=limit)
        if loads is not None and not callable(loads):
            raise TypeError(f"loads must be a function that decodes bytes, not {loads!r}")
        self._end = terminator.decode()
        self._loads = loads
        self._scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
        self.limit = limit

    def take(self, buffer: ReceiveBuffer) -> Any | None:
        """Remove the next line and return its value."""
        line = self._lines.take(buffer)
        return None if line is None else parse_json(line, self._loads or loads_utf8)

    def take_all(self, buffer: ReceiveBuffer) -> list[Any]:
        """Remove the next complete lines, 256 at most, and return their values."""
        mark = buffer.mark()
        lines = self._lines.take_all(buffer)
        try:
            return self._parse(lines)
        except (ValueError, StopIteration, RecursionError):
            buffer.rewind(mark)
            return super().take_all(buffer)  # one at a time, up to the first that is invalid

    def encode(self, message: Any) -> bytes:
        """Return ``message`` as one line of JSON.

        Raises:
            TypeError, ValueError: ``message`` has no JSON form; see :func:`format_json`.
        """
        if message is None:
            raise ValueError("message must not be None: null cannot be received as a message")
        return format_json(message, separators=(",", ":")).encode() + self._lines.terminator

    def _parse(self, lines: list[bytes]) -> list[Any]:
        """Return the value of each line. Decoding all text at once and scanning it is the fastest way with ``json``."""
        if self._loads is not None:
            messages = list(map(self._loads, lines))
            if None in messages:
                raise ValueError("null is no message")
            return messages
        messages, scan = [], self._scan
        for line in self._lines.terminator.join(lines).decode().split(self._end) if lines else ():
            value, end = scan(line, 0)
            if end != len(line) or value is None:
                raise ValueError("not exactly one JSON value")
            messages.append(value)
        return messages


def format_json(value: Any, *, separators: tuple[str, str] | None = None, allow_nan: bool = False) -> str:
    """Return the JSON text of a value, in ASCII.

    Args:
        value: the value.
        separators: the texts between items, and after keys; those of the standard library if omitted.
        allow_nan: write ``NaN`` and ``Infinity``, which JSON does not have and most other decoders refuse.

    Raises:
        TypeError: it contains something that has no JSON form.
        ValueError: it contains itself, is nested too deeply, or contains NaN or Infinity.
    """
    try:
        return json.dumps(value, separators=separators, allow_nan=allow_nan)
    except RecursionError:
        raise ValueError(f"a {type(value).__name__} is nested too deeply to be written as JSON") from None


def loads_utf8(line: bytes) -> Any:
    """Return the value of a line of JSON; ``json.loads`` of bytes would guess encodings, and accept surrogates."""
    return json.loads(line.decode())


def parse_json(line: bytes, loads: Callable[[bytes], Any] = loads_utf8) -> Any:
    """Return the value of one line of JSON in UTF-8.

    Raises:
        EncodingError: it is not UTF-8.
        InvalidJson: it is not one JSON value, or it is ``null``.
    """
    try:
        value = loads(line)
    except UnicodeDecodeError as error:
        raise EncodingError(f"not UTF-8: {shorten(line)}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"not JSON ({error}): {shorten(line)}", line.decode(errors="replace")) from error
    if value is None:
        raise InvalidJson("null where a message was expected", "null")
    return value
