"""Messages of the M2 cell controller, and the lines that carry them.

One JSON object a line, CR LF, UTF-8. ``id`` tells what it is::

    to the controller    {"powerType": 2, "status": true, "id": "cmd_power", "sequence_id": 2}
                         {"inPosition": true, "id": "evt_mountInPosition", "compName": "MTMount"}
                         {"actualPosition": 45.5, "id": "tel_elevation", "compName": "MTMount"}
    from the controller  {"id": "ack", "sequence_id": 2}     then events, then success or fail; or only noack
                         {"id": "interlock", "state": true}  an event, on the command port
                         {"id": "position", "x": 0.0, ...}   telemetry, on the telemetry port

``NaN``, ``Infinity`` and ``-Infinity`` are written and read as such. Numbers that are integers stay exact.

Source: "M2 TCP/IP communication protocol" and ``ts_m2com`` 1.5.16 (Rubin Observatory), whose bytes these are.
"""

from __future__ import annotations

import enum
import functools
import itertools
import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cnx.buffer import ReceiveBuffer
from cnx.clients.m2.protocol.enums import CommandStatus, MsgType
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY
from cnx.errors import CnxError, EncodingError, InvalidJson, ProtocolError
from cnx.json_lines import JsonLines, parse_json

__all__ = [
    "BrokenMessage",
    "Kind",
    "M2Lines",
    "Reply",
    "checked_numbers",
    "compose",
    "encode",
    "kind_of",
    "parse_reply",
    "prepare_bare_command",
    "prepare_command",
    "sequence_numbers",
]

COMMAND_PORT = 50000
TELEMETRY_PORT = 50001

TERMINATOR = b"\r\n"

LIMIT = 65536 + len(TERMINATOR)
"""Longest line with its terminator, in bytes; that of the original."""

MAX_SEQUENCE_ID = 2**31 - 1


class Kind(enum.Enum):
    """What a message is, as far as the message itself tells."""

    COMMAND = "command"
    REPLY = "reply"
    EVENT = "event"
    TELEMETRY = "telemetry"
    UNKNOWN = "unknown"


class Reply(NamedTuple):
    """What the controller answers to a command; it never tells a reason."""

    status: CommandStatus
    sequence_id: int


@dataclass(frozen=True)
class BrokenMessage:
    """A line that is no message: it takes the place of the message in the stream.

    Attributes:
        reason: what is wrong; ``InvalidJson`` carries the line.
    """

    reason: CnxError


_KINDS = {
    **dict.fromkeys((status.value for status in CommandStatus), Kind.REPLY),
    **dict.fromkeys(EVENTS, Kind.EVENT),
    **dict.fromkeys(TELEMETRY, Kind.TELEMETRY),
}
_PREFIXES = {"cmd_": Kind.COMMAND, "evt_": Kind.EVENT, "tel_": Kind.TELEMETRY}
_SENT: dict[int, str] = {MsgType.EVENT: "evt_", MsgType.TELEMETRY: "tel_"}
_STATUSES = {status.value: status for status in CommandStatus}


def kind_of(message: Any) -> Kind:
    """Return the kind of a message by its ``id``; what is not in the tables is ``UNKNOWN``."""
    name = message.get("id") if isinstance(message, dict) else None
    if not isinstance(name, str):
        return Kind.UNKNOWN
    return _KINDS.get(name) or _PREFIXES.get(name[:4], Kind.UNKNOWN)


def parse_reply(message: Mapping[str, Any]) -> Reply:
    """Return the status and the sequence id of a message of kind ``REPLY``.

    Raises:
        ProtocolError: it has no integer ``sequence_id``.
    """
    number = message.get("sequence_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise ProtocolError(f"a reply without an integer sequence_id: {reprlib.repr(message)}")
    return Reply(_STATUSES[message["id"]], number)


def prepare_command(name: str, details: Mapping[str, Any] | None = None) -> Callable[[int], bytes]:
    """Return what makes the line of a command from its sequence id; nothing can fail any more then.

    Args:
        name: the command without ``cmd_``.
        details: the other fields; left as they are. A ``sequence_id`` among them is replaced where it stands.

    Raises:
        TypeError: ``details`` is no mapping, or has no JSON form.
        ValueError: ``details`` has an ``id``.
    """
    if (details is None or details == {}) and isinstance(name, str):
        return prepare_bare_command(name)
    message = _message("cmd_", name, details)
    if "sequence_id" in message:
        encode(message)
        return lambda number: encode({**message, "sequence_id": number})
    return _numbered(message)


@functools.lru_cache(maxsize=100)
def prepare_bare_command(name: str) -> Callable[[int], bytes]:
    """Return what makes the line of a command without details, which most are; it is the same every time."""
    return _numbered(_message("cmd_", name, None))


def _numbered(message: dict[str, Any]) -> Callable[[int], bytes]:
    """Return what adds the sequence id to ``message``: a template, as that is a single call later."""
    head = json.dumps(message)[:-1].replace("%", "%%")
    return f'{head}, "sequence_id": %d}}\r\n'.encode("ascii").__mod__


def compose(
    msg_type: int, name: str, details: Mapping[str, Any] | None = None, component: str | None = None
) -> dict[str, Any]:
    """Return an event or telemetry of another component.

    Args:
        msg_type: :class:`MsgType` or its number.
        name: the identifier without its prefix.
        details: the other fields; left as they are.
        component: what it belongs to.

    Raises:
        TypeError: ``details`` is no mapping.
        ValueError: ``details`` has an ``id``; the type is neither event nor telemetry.
    """
    prefix = _SENT.get(msg_type)
    if prefix is None:
        raise ValueError(
            f"a message to the controller has type 1 (command), 2 (event) or 3 (telemetry), not {msg_type!r}"
        )
    message = _message(prefix, name, details)
    return message if component is None else {**message, "compName": component}


def _message(prefix: str, name: str, details: Mapping[str, Any] | None) -> dict[str, Any]:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a message is text, not {name!r}")
    if details is None:
        return {"id": prefix + name}
    if not isinstance(details, Mapping):
        raise TypeError(f"the details of a message are a mapping, not {reprlib.repr(details)}")
    if "id" in details:
        raise ValueError(f"the details of {name} must not have an 'id', which is made from its name")
    return {**details, "id": prefix + name}


def encode(message: Any) -> bytes:
    """Return a message as its line: ASCII, ``", "`` and ``": "`` between the parts, keys in their order.

    Raises:
        TypeError: it has no JSON form.
        ValueError: it contains itself.
    """
    return json.dumps(message).encode("ascii") + TERMINATOR


def sequence_numbers(first: int = 1) -> Iterator[int]:
    """Return the numbers of commands: from ``first`` to 2147483647, then from 1.

    The iterator may be shared between clients and threads.

    Raises:
        ValueError: ``first`` is outside of that range.
    """
    if not 1 <= first <= MAX_SEQUENCE_ID:
        raise ValueError(f"sequence numbers are 1 to {MAX_SEQUENCE_ID}, not {first}")
    rounds = itertools.repeat(range(1, MAX_SEQUENCE_ID + 1))
    return itertools.chain(range(first, MAX_SEQUENCE_ID + 1), itertools.chain.from_iterable(rounds))


def checked_numbers(sequence: Iterator[Any]) -> Iterator[int]:
    """Return the numbers that ``sequence`` gives; the iterator never ends, and may be shared as that may be.

    Raises:
        ValueError: by ``next()``, where there is none from 0 to 2147483647; the next call asks for another one.
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
    """The framing of the controller: a line that is broken becomes a :class:`BrokenMessage`, and the next ones go on.

    Args:
        limit: longest line with its terminator, in bytes; a longer one is ``LimitExceeded``.
        loads: a faster decoder of one line; what it refuses is decided by the standard library's.
    """

    def __init__(self, *, limit: int = LIMIT, loads: Callable[[bytes], Any] | None = None) -> None:
        super().__init__(TERMINATOR, limit=limit, loads=loads)

    def take(self, buffer: ReceiveBuffer) -> Any | None:
        """Remove the next line and return its value, or what is wrong with it."""
        line = self._lines.take(buffer)
        return None if line is None else _decode(line)

    def encode(self, message: Any) -> bytes:
        """Return ``message`` as its line."""
        return encode(message)


def _decode(line: bytes) -> Any:
    try:
        return parse_json(line)
    except (EncodingError, InvalidJson) as error:
        return BrokenMessage(error)
