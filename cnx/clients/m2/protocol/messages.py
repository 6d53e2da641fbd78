"""Messages of the M2 cell controller, and the lines that carry them.

One JSON object on each line, CR LF, UTF-8. Its ``id`` says what it is::

    to the controller    {"powerType": 2, "status": true, "id": "cmd_power", "sequence_id": 2}
                         {"inPosition": true, "id": "evt_mountInPosition", "compName": "MTMount"}
                         {"actualPosition": 45.5, "id": "tel_elevation", "compName": "MTMount"}
    from the controller  {"id": "ack", "sequence_id": 2}     then events, then success or fail; or noack alone
                         {"id": "interlock", "state": true}  an event, on the command port
                         {"id": "position", "x": 0.0, ...}   telemetry, on the telemetry port

``NaN``, ``Infinity`` and ``-Infinity`` are written and read as they are. Integers of any size stay exact.

Sources: the "M2 TCP/IP communication protocol" and ``ts_m2com`` 1.5.16 (Rubin Observatory). What is written here is
the same, byte for byte, as what ``ts_m2com`` writes.
"""

from __future__ import annotations

import enum
import functools
import itertools
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.clients.m2.protocol.enums import CommandStatus, MsgType
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY
from cnx.errors import CnxError, EncodingError, InvalidJson, ProtocolError
from cnx.framing import shorten
from cnx.json_lines import JsonLines, format_json, parse_json

__all__ = [
    "BrokenMessage",
    "Kind",
    "M2Lines",
    "checked_numbers",
    "compose",
    "encode",
    "kind_of",
    "parse_reply",
    "prepare_command",
    "sequence_numbers",
]

COMMAND_PORT = 50000
TELEMETRY_PORT = 50001

TERMINATOR = b"\r\n"

LIMIT = 65536 + len(TERMINATOR)
"""Longest line with its terminator, in bytes; that of asyncio streams, which ``ts_m2com`` uses."""

MAX_SEQUENCE_ID = 2**31 - 1
"""Largest sequence id; that of ``ts_m2com``, which continues with 1."""


class Kind(enum.Enum):
    """What a message is, judged by its ``id`` alone."""

    __hash__ = object.__hash__  # five times as fast as that of Enum, for a look-up that every message needs

    COMMAND = "command"
    REPLY = "reply"
    EVENT = "event"
    TELEMETRY = "telemetry"
    UNKNOWN = "unknown"


class BrokenMessage:
    """A line that is not a valid message; it stands in the stream where the message would be.

    Attributes:
        line: the line, without its end.
    """

    __slots__ = ("line",)

    def __init__(self, line: bytes) -> None:
        self.line = line

    def __repr__(self) -> str:
        return f"BrokenMessage({shorten(self.line)})"

    def __str__(self) -> str:
        return str(self.reason)

    @property
    def reason(self) -> CnxError:
        """What is wrong: ``InvalidJson``, which has the line as its ``text``, or ``EncodingError``.

        It is made anew each time, and only for callers that ask for it: a peer may send very many such lines.
        """
        try:
            parse_json(self.line)
        except (EncodingError, InvalidJson) as error:
            return error
        raise ValueError(f"{self!r} is a valid message")


_KINDS: dict[Any, Kind] = {
    **dict.fromkeys((status.value for status in CommandStatus), Kind.REPLY),
    **dict.fromkeys(EVENTS, Kind.EVENT),
    **dict.fromkeys(TELEMETRY, Kind.TELEMETRY),
}
_ENDS = {"{": "}", "[": "]", '"': '"'}
"""What a JSON value ends with, by what it begins with."""
_PREFIXES = {"cmd_": Kind.COMMAND, "evt_": Kind.EVENT, "tel_": Kind.TELEMETRY}
_SENT: dict[int, str] = {MsgType.EVENT: "evt_", MsgType.TELEMETRY: "tel_"}
_STATUSES = {status.value: status for status in CommandStatus}


def kind_of(message: Any) -> Kind:
    """Return the kind of a message by its ``id``; ``UNKNOWN`` if that is not in the tables."""
    name = message.get("id") if isinstance(message, dict) else None
    try:
        return _KINDS[name]
    except (KeyError, TypeError):  # TypeError: it is a list or an object
        return _PREFIXES.get(name[:4], Kind.UNKNOWN) if isinstance(name, str) else Kind.UNKNOWN


def parse_reply(message: Mapping[str, Any]) -> tuple[CommandStatus, int]:
    """Return the status and the sequence id of a message of kind ``REPLY``.

    Raises:
        ProtocolError: it has no integer ``sequence_id``.
    """
    number = message.get("sequence_id")
    if type(number) is not int:  # not isinstance(), as a bool is one
        raise ProtocolError(f"a reply without an integer sequence_id: {reprlib.repr(message)}")
    return _STATUSES[message["id"]], number


def prepare_command(name: str, details: Mapping[str, Any] | None = None) -> Callable[[int], bytes]:
    """Return a function that makes the line of a command from its sequence id, and that cannot fail.

    So a command that cannot be sent uses no sequence id.

    Args:
        name: the command without ``cmd_``.
        details: the other fields; not changed. A ``sequence_id`` among them is replaced where it stands.

    Raises:
        TypeError: ``details`` is not a mapping, or has no JSON form.
        ValueError: ``details`` has an ``id``, contains itself, or is nested too deeply.
    """
    if details is None or details == {}:
        return _prepare_bare_command(name)
    return _prepare(_message("cmd_", name, details))


@functools.lru_cache
def _prepare_bare_command(name: str) -> Callable[[int], bytes]:
    """Return the function for a command without details, which is made once for each name."""
    return _prepare(_message("cmd_", name, None))


def _prepare(message: dict[str, Any]) -> Callable[[int], bytes]:
    text = format_json(message, allow_nan=True)
    if "sequence_id" in message:
        return lambda number: encode({**message, "sequence_id": number})
    head = text[:-1].encode("ascii")  # without the brace that closes it
    return lambda number: b'%b, "sequence_id": %d}%b' % (head, number, TERMINATOR)


def compose(
    msg_type: int, name: str, details: Mapping[str, Any] | None = None, component: str | None = None
) -> dict[str, Any]:
    """Return an event or telemetry of another component.

    Args:
        msg_type: :class:`MsgType` or its number.
        name: the identifier without its prefix.
        details: the other fields; not changed.
        component: what it belongs to.

    Raises:
        TypeError: ``details`` is not a mapping.
        ValueError: ``details`` has an ``id``; the type is neither event nor telemetry.
    """
    prefix = _SENT.get(msg_type)
    if prefix is None:
        raise ValueError(f"the type of a message must be 1 (command), 2 (event) or 3 (telemetry), not {msg_type!r}")
    message = _message(prefix, name, details)
    return message if component is None else {**message, "compName": component}


def _message(prefix: str, name: str, details: Mapping[str, Any] | None) -> dict[str, Any]:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a message must be text, not {name!r}")
    if details is None:
        return {"id": prefix + name}
    if not isinstance(details, Mapping):
        raise TypeError(f"the details of a message must be a mapping, not {reprlib.repr(details)}")
    if "id" in details:
        raise ValueError(f"the details of {name} must not have an 'id', which is made from its name")
    return {**details, "id": prefix + name}


def encode(message: Any) -> bytes:
    """Return a message as its line: ASCII, ``", "`` and ``": "`` between the parts, keys in their order.

    Raises:
        TypeError: it has no JSON form.
        ValueError: it contains itself, or is nested too deeply.
    """
    return format_json(message, allow_nan=True).encode("ascii") + TERMINATOR


def sequence_numbers(first: int = 1) -> Iterator[int]:
    """Return sequence ids for commands: from ``first`` to 2147483647, then from 1, as ``ts_m2com`` counts.

    Clients and threads may share the iterator.

    Raises:
        ValueError: ``first`` is not from 1 to 2147483647.
    """
    if not 1 <= first <= MAX_SEQUENCE_ID:
        raise ValueError(f"first must be from 1 to {MAX_SEQUENCE_ID}, not {first}")
    rounds = itertools.repeat(range(1, MAX_SEQUENCE_ID + 1))
    return itertools.chain(range(first, MAX_SEQUENCE_ID + 1), itertools.chain.from_iterable(rounds))


def checked_numbers(sequence: Iterator[Any]) -> Iterator[int]:
    """Return an iterator over the sequence ids that ``sequence`` gives, each of them checked.

    The iterator never ends. Threads may share it if they may share ``sequence``.

    Raises:
        ValueError: raised by ``next()`` if ``sequence`` gives no integer from 0 to 2147483647, or has ended. The next
            call asks ``sequence`` again.
    """
    return map(_checked_number, iter(lambda: next(sequence, None), object()))


def _checked_number(number: Any) -> int:
    if type(number) is not int or not 0 <= number <= MAX_SEQUENCE_ID:
        raise ValueError(
            f"the command was not sent: a sequence id is an integer from 0 to {MAX_SEQUENCE_ID}, and the sequence "
            + ("has ended" if number is None else f"gave {number!r}")
        )
    return number


class M2Lines(JsonLines):
    """The framing of the controller's messages. A line that is not valid becomes a :class:`BrokenMessage`.

    Args:
        limit: size of the longest line with its terminator, in bytes; a longer one raises ``LimitExceeded``.
        loads: a faster decoder of one line. What it refuses is decoded by the standard library.
    """

    def __init__(self, *, limit: int = LIMIT, loads: Callable[[bytes], Any] | None = None) -> None:
        super().__init__(TERMINATOR, limit=limit, loads=loads)

    def take(self, buffer: ReceiveBuffer) -> Any | None:
        """Remove the next line and return its value, or a :class:`BrokenMessage`."""
        line = self._lines.take(buffer)
        return None if line is None else self._decode(line)

    def take_all(self, buffer: ReceiveBuffer) -> list[Any]:
        """Remove the next complete lines, 256 at most, and return the value of each, or a :class:`BrokenMessage`."""
        lines = self._lines.take_all(buffer)
        try:
            return self._parse(lines)
        except (ValueError, StopIteration, RecursionError):
            return list(map(self._decode, lines))

    def encode(self, message: Any) -> bytes:
        """Return ``message`` as its line."""
        return encode(message)

    def _decode(self, line: bytes) -> Any:
        """Return the value of a line. Most bad lines are found without the decoder, whose errors take more time."""
        try:
            text = line.decode().strip(" \t\r\n")
            if len(text) > 1 and text[-1] == _ENDS.get(text[0], text[-1]):
                message, end = self._scan(text, 0)
                if end == len(text) and message is not None:
                    return message
            elif text.isdigit() and text.isascii():
                return int(text)
        except (ValueError, StopIteration, RecursionError):
            pass  # it is broken
        return BrokenMessage(line)
