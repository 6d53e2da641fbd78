"""The framing of JSON values, one a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.errors import CnxError, EncodingError, InvalidJson
from cnx.framing import LIMIT, Delimited, Framing, shorten

__all__ = ["JsonLines", "parse_json"]


class JsonLines(Framing):
    """Messages that are JSON values, one a line.

    A line that is not JSON, or is not text in UTF-8, is removed and reported as an error. The value
    ``null`` counts as not JSON here, because ``None`` means that no message is there.

    Args:
        terminator: the bytes after each line.
        limit: size of the largest line with its terminator, in bytes.
        loads: a decoder from bytes, such as ``orjson.loads``; the standard library's if omitted. It has to
            raise ``ValueError`` for what is not JSON.
    """

    def __init__(
        self, terminator: bytes = b"\r\n", *, limit: int = LIMIT, loads: Callable[[bytes], Any] | None = None
    ) -> None:
        self._lines = Delimited(terminator, limit=limit)
        self._end = terminator.decode()
        self._loads = loads
        self._scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
        self.limit = limit

    def take(self, buffer: ReceiveBuffer) -> Any | None:
        """Remove the next line and return its value."""
        line = self._lines.take(buffer)
        return None if line is None else parse_json(line, self._loads or json.loads)

    def take_all(self, buffer: ReceiveBuffer) -> list[Any]:
        """Remove all complete lines and return their values."""
        lines = self._lines.take_all(buffer)
        if not lines:
            return []
        messages: list[Any] = []
        try:
            self._parse(lines, messages)
        except (ValueError, StopIteration, RecursionError):
            self._parse_each(lines, messages, buffer)
        return messages

    def encode(self, message: Any) -> bytes:
        """Return ``message`` as one line of JSON.

        Raises:
            TypeError, ValueError: ``message`` has no JSON form.
        """
        return json.dumps(message, separators=(",", ":")).encode() + self._lines.terminator

    def _parse(self, lines: list[bytes], messages: list[Any]) -> None:
        """Add the value of each line to ``messages``; text decoded once and scanned is the fastest the library offers."""
        if self._loads is not None:
            messages.extend(map(self._loads, lines))
            if None in messages:
                del messages[messages.index(None) :]
                raise ValueError("null is no message")
            return
        scan, add = self._scan, messages.append
        for line in self._lines.terminator.join(lines).decode().split(self._end):
            value, end = scan(line, 0)
            if end != len(line) or value is None:
                raise ValueError("not exactly one JSON value")
            add(value)

    def _parse_each(self, lines: list[bytes], messages: list[Any], buffer: ReceiveBuffer) -> None:
        """Add values line by line up to the first that is invalid; the call that starts with that one raises."""
        while len(messages) < len(lines):
            try:
                messages.append(parse_json(lines[len(messages)], self._loads or json.loads))
            except CnxError:
                waiting = lines[len(messages) :] if messages else lines[1:]
                buffer.put_back(self._lines.terminator.join([*waiting, b""]))
                if messages:
                    return
                raise


def parse_json(line: bytes, loads: Callable[[bytes], Any] = json.loads) -> Any:
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
