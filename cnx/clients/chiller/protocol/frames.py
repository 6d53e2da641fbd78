"""Frames of the ThermoTek chillers (T257P and others): commands to bytes, bytes to replies.

Source: "TTK Serial Communication Protocol Release II", revision X2.003. The
host sends ``.IINNnameDATAcc`` and the unit answers ``#IINNEnameDATAcc``, each followed by CR: id, number,
error digit, eight characters of name, data, and the checksum: the sum of all bytes before it, modulo 256,
as two hexadecimal digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.errors import ERRORS, ErrorCode
from cnx.clients.chiller.protocol.table import Command, command_of, find_command
from cnx.errors import DeviceError, ProtocolError
from cnx.framing import Framing

__all__ = [
    "Answer",
    "Call",
    "Frames",
    "Reply",
    "call_of",
    "checked_device_id",
    "compute_checksum",
    "device_error",
    "format_full_command",
    "format_reply",
    "parse_call",
    "parse_reply",
    "parse_text",
]

LIMIT = 64
"""Size of the largest frame in bytes, without CR; a good reply to a defined command has at most 26 with it."""

REJECTION = b"#23"
"""A reply that rejects a command and says nothing else; its checksum covers only the start character.

The document does not mention it. The developer guide of LSST's ts_atwhitelight reports it for the T257P.
"""

_FLOW_CONTROL = b"\x11\x13"  # XON, XOFF
_TEXT = re.compile(r"([0-9]{2})([ -~]{8})([ -~]{0,8})")
_CALL = re.compile(rb"\.([0-9]{2})([0-9]{2})([ -~]{8})([ -~]*)([ -~]{2})")
_REPLY = re.compile(r"#([0-9]{2})([0-9]{2})([0-5])([ -~]{8})([ -~]*)([ -~]{2})")
_ERROR_CODES = {f"{code:d}": code for code in ErrorCode if code is not ErrorCode.REJECTED}


class Frames(Framing):
    """Frames from ``start`` to CR, returned without CR; XON, XOFF and noise before a frame are skipped.

    A start character in the middle of a frame begins a new one; anything longer than 64 bytes is noise.

    Args:
        start: ``b"."`` for commands, ``b"#"`` for replies.
    """

    limit = LIMIT

    def __init__(self, start: bytes) -> None:
        self.start = start

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove the next frame and the noise before it."""
        self._skip_noise(buffer)
        while (end := buffer.find(b"\r")) >= 0:
            line = buffer.take(end)
            buffer.skip(1)
            if (begin := self._begin(line)) >= 0:
                return line[begin:].translate(None, _FLOW_CONTROL)
            self._skip_noise(buffer)
        self._shorten(buffer)
        return None

    def take_all(self, buffer: ReceiveBuffer) -> list[bytes]:
        """Remove the next frames, 256 at most, and the noise before each."""
        frames: list[bytes] = []
        while not frames:
            self._skip_noise(buffer)
            lines = buffer.cut_all(b"\r", len(buffer))
            if not lines:
                self._shorten(buffer)
                break
            beginnings = map(self._begin, lines)
            frames = [
                line[at:].translate(None, _FLOW_CONTROL) for line, at in zip(lines, beginnings, strict=True) if at >= 0
            ]
        return frames

    def _skip_noise(self, buffer: ReceiveBuffer) -> None:
        """Remove everything in front of the first start character."""
        first = buffer.find(self.start)
        if first < 0:
            buffer.clear()
        else:
            buffer.skip(first)

    def _shorten(self, buffer: ReceiveBuffer) -> None:
        """Remove what is too long for the beginning of a frame."""
        if len(buffer) > self.limit:
            line = buffer.take_all()
            begin = self._begin(line)
            buffer.append(line[begin:] if begin >= 0 else b"")

    def _begin(self, line: bytes) -> int:
        begin = line.rfind(self.start)
        return begin if len(line) - begin < self.limit else -1


@dataclass(frozen=True)
class Call:
    """A command with its data, as a host sends it and a unit reads it.

    It cannot change, so what follows from its fields is computed once.
    """

    number: int
    name: str
    data: str
    device_id: int = 1

    @property
    def text(self) -> str:
        """Number, name and data, as a person types them."""
        return f"{self.number:02d}{self.name}{self.data}"

    @cached_property
    def command(self) -> Command | None:
        """The row of the table, or ``None`` for a number that is not in use."""
        return find_command(self.number, self.data)

    @cached_property
    def frame(self) -> bytes:
        """The whole frame, with CR."""
        return format_full_command(self.text, self.device_id)

    @cached_property
    def reply_names(self) -> frozenset[str]:
        """The names that a reply may have, in lower case: the name that was sent, and that of the table."""
        names = {self.name} if self.command is None else {self.name, self.command.name}
        return frozenset(name.lower() for name in names)


class Answer(NamedTuple):
    """The answer of a unit to a command.

    Attributes:
        call: the command.
        frame: the reply as received, without CR.
        value: the value in its data.
    """

    call: Call
    frame: str
    value: Any


class Reply(NamedTuple):
    """A reply, split into its fields; ``frame`` is all of it without CR.

    In a bare rejection, ``error`` is ``ErrorCode.REJECTED`` and the other fields are empty.
    """

    frame: str
    device_id: int = 0
    number: int = 0
    error: ErrorCode = ErrorCode.REJECTED
    name: str = ""
    data: str = ""

    def answers(self, call: Call) -> bool:
        """Whether id and number are those of ``call``; a bare rejection answers any command."""
        same = self.number == call.number and self.device_id == call.device_id
        return same or self.error is ErrorCode.REJECTED

    def value(self, call: Call, *, lenient: bool = False) -> Any:
        """Return the value that ``call`` asked for; the data itself for a number that is not in use.

        Args:
            call: the command.
            lenient: accept surplus hexadecimal digits after alarm and warning bits.

        Raises:
            ProtocolError: the name is not that of the command, the length, pattern or range of the data is wrong, or
                a setting came back changed.
        """
        if self.name.lower() not in call.reply_names:
            raise ProtocolError(f"the reply to {call.text} has the name {self.name!r}: {self.frame}")
        command = call.command
        if command is None:
            return self.data
        value = command.decode(self.data, lenient=lenient)
        if command.sets and self.data != call.data:
            raise ProtocolError(f"the reply to {call.text} confirms {self.data!r} instead of {call.data!r}")
        return value


def call_of(device_id: int, number: int, *values: Any, half: str = "") -> Call:
    """Return a command of the table.

    Args:
        device_id: 1 to 32.
        number: a number of the table.
        *values: one for each field of its data.
        half: the fixed data of the command, if it has any: ``"1"`` or ``"2"`` for number 19, ``"U"`` for 59.

    Raises:
        TypeError, ValueError: the values do not suit the fields.
    """
    if not values:
        return _call_without_values(device_id, number, half)
    command = command_of(number, half)
    return Call(number, command.name, command.encode(*values), device_id)


@cache  # there are about 40 of them for each of 32 units
def _call_without_values(device_id: int, number: int, half: str) -> Call:
    command = command_of(number, half)
    return Call(number, command.name, command.encode(), device_id)


def compute_checksum(frame: str | bytes) -> str:
    """Return the sum of all bytes of ``frame``, modulo 256, as two upper-case hexadecimal digits.

    Raises:
        ValueError: text that is not ASCII.
    """
    data = frame.encode("ascii") if isinstance(frame, str) else frame
    return f"{sum(data) & 0xFF:02X}"


def checked_device_id(device_id: int | str) -> int:
    """Return a device id as a number: 1 to 32, also as text such as ``"01"``.

    Raises:
        TypeError, ValueError: it is not a device id.
    """
    if isinstance(device_id, bool) or not isinstance(device_id, (int, str)):
        raise TypeError(f"device_id must be a number from 1 to 32, not {device_id!r}")
    if isinstance(device_id, str) and not re.fullmatch("[0-9]{1,2}", device_id):
        raise ValueError(f"device_id must be a number from 1 to 32, not {device_id!r}")
    if not 1 <= int(device_id) <= 32:
        raise ValueError(f"device_id must be a number from 1 to 32, not {device_id}")
    return int(device_id)


def format_full_command(cmd: str, device_id: int | str = 1) -> bytes:
    """Return the frame of a command given as number, name and data, for instance ``17sCtrlT__+0200``.

    Only the form is checked: two digits, eight characters of name, up to eight of data.

    Raises:
        TypeError, ValueError: the form is wrong, or the device id is not from 1 to 32.
    """
    if not isinstance(cmd, str):
        raise TypeError(f"a command must be text such as '04rSupplyT', not {cmd!r}")
    if not _TEXT.fullmatch(cmd):
        raise ValueError(f"a command must be 2 digits, 8 characters of name and up to 8 of data, not {cmd!r}")
    start = f".{checked_device_id(device_id):02d}{cmd}"
    return f"{start}{compute_checksum(start)}\r".encode("ascii")


def format_reply(call: Call, error: ErrorCode = ErrorCode.NONE, data: str = "") -> bytes:
    """Return the frame of the reply of a unit to ``call``, with the name echoed."""
    if error is ErrorCode.REJECTED:
        return REJECTION + b"\r"
    start = f"#{call.device_id:02d}{call.number:02d}{error:d}{call.name}{data}"
    return f"{start}{compute_checksum(start)}\r".encode("ascii")


def parse_text(cmd: str, device_id: int | str = 1) -> Call:
    """Return a command given as number, name and data, checked against the table.

    Any name is accepted, because a unit looks only at the number.

    Raises:
        TypeError, ValueError: the form is wrong, the number is not in use, or the data does not suit it.
    """
    format_full_command(cmd, device_id)
    call = Call(int(cmd[:2]), cmd[2:10], cmd[10:], checked_device_id(device_id))
    if call.command is None:
        raise ValueError(f"number {cmd[:2]} is not in use; the commands are 01 to 59 of the table")
    try:
        call.command.decode_request(call.data)
    except ProtocolError as error:
        raise ValueError(f"{cmd} is not a command: {error}") from None
    return call


def parse_call(frame: bytes) -> tuple[Call, bool]:
    """Return the command in ``frame`` (without CR), and whether its checksum is right.

    Raises:
        ProtocolError: it is not a command.
    """
    match = _CALL.fullmatch(frame)
    if not match:
        raise ProtocolError(f"not a command: {frame!r}")
    device_id, number, name, data, checksum = match.groups()
    right = checksum.decode().upper() == compute_checksum(frame[:-2])
    return Call(int(number), name.decode(), data.decode(), int(device_id)), right


def parse_reply(frame: bytes) -> Reply:
    """Return the reply in ``frame`` (without CR).

    Raises:
        ProtocolError: it is not a reply, its checksum is wrong, or its error code is not from 0 to 5.
    """
    text = frame.decode("latin-1")  # which accepts every byte; the pattern accepts only ASCII
    if frame == REJECTION:
        return Reply(text)
    match = _REPLY.fullmatch(text)
    if not match:
        raise ProtocolError(f"not a reply: {frame!r}")
    device_id, number, error, name, data, checksum = match.groups()
    right = compute_checksum(frame[:-2])
    if checksum.upper() != right:
        raise ProtocolError(f"the checksum of the reply {frame!r} is wrong; it should be {right}")
    return Reply(text, int(device_id), int(number), _ERROR_CODES[error], name, data)


def device_error(call: Call, reply: Reply, where: str) -> DeviceError:
    """Return the exception for a reply with an error code; ``where`` starts its message."""
    kind, meaning = ERRORS[reply.error]
    return kind(f"{where}: {call.text} was answered with {reply.frame}: {meaning}")
