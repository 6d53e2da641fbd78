"""Frames of the ThermoTek chillers (T257P and others): commands to bytes, bytes to replies.

Source: "TTK Serial Communication Protocol Release II", revision X2.003. The host sends
``.IINNnameDATAcc`` and the unit answers ``#IINNEnameDATAcc``, both closed by CR: id, number, error
digit, eight characters of name, data, and the sum of everything before as two hexadecimal digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.errors import ERRORS, ErrorCode
from cnx.clients.chiller.protocol.table import Command, find_command
from cnx.errors import DeviceError, ProtocolError
from cnx.framing import Framing

__all__ = [
    "Answer",
    "Call",
    "Frames",
    "Reply",
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
"""Size of the largest frame in bytes; the longest that is defined has 26."""

REMEMBERED = 100
"""Replies to one command whose meaning is remembered."""

REJECTION = b"#23"
"""The reply that says "rejected" and nothing else: its checksum covers the start alone."""

_ENDS = [b"%02X\r" % total for total in range(256)]
"""How a frame with this sum ends."""

_FLOW_CONTROL = b"\x11\x13"
_TEXT = re.compile(r"([0-9]{2})([ -~]{8})([ -~]{0,8})")
_CALL = re.compile(rb"\.([0-9]{2})([0-9]{2})([ -~]{8})([ -~]*)([ -~]{2})")
_REPLY = re.compile(rb"#([0-9]{2})([0-9]{2})([0-5])([ -~]{8})([ -~]*)([ -~]{2})")


class Frames(Framing):
    """Frames from ``start`` to CR, which is left out; XON, XOFF and line noise before them are skipped.

    A start in the middle of a frame begins a new one, and what is longer than 64 bytes is noise.
    """

    limit = LIMIT

    def __init__(self, start: bytes) -> None:
        self.start = start

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Remove the next frame and the noise before it."""
        while (end := buffer.find(b"\r")) >= 0:
            line = buffer.take(end)
            buffer.skip(1)
            if (begin := self._begin(line)) >= 0:
                return line[begin:].translate(None, _FLOW_CONTROL)
        if len(buffer) > self.limit:
            line = buffer.take_all()
            begin = self._begin(line)
            buffer.append(line[begin:] if begin >= 0 else b"")
        return None

    def _begin(self, line: bytes) -> int:
        begin = line.rfind(self.start)
        return begin if len(line) - begin < self.limit else -1


@dataclass(frozen=True)
class Call:
    """A command as it is on the line: what a host asks for and a unit reads."""

    number: int
    name: str
    data: str
    device_id: int = 1

    @property
    def text(self) -> str:
        """Number, name and data, as a person types it."""
        return f"{self.number:02d}{self.name}{self.data}"

    @cached_property
    def command(self) -> Command | None:
        """The row of the table, or ``None`` for a number that is not in use."""
        return find_command(self.number, self.data)

    @cached_property
    def frame(self) -> bytes:
        """The whole frame."""
        return format_full_command(self.text, self.device_id)

    @cached_property
    def _good_reply(self) -> tuple[bytes, int]:
        """How a good reply begins, and its size with CR."""
        begin = f"#{self.device_id:02d}{self.number:02d}0{self.name}".encode()
        return begin, len(begin) + (self.command.reply_width if self.command else 0) + 3

    @cached_property
    def _answers(self) -> dict[bytes, Answer]:
        """Good replies that came before, and what they mean: a unit says the same few things again and again."""
        return {}

    def is_answered_by(self, data: bytes) -> bool:
        """Whether ``data`` is a good reply to this command, from its first to its last byte.

        This is the short way for what nearly every reply is; :func:`parse_reply` looks at the others, such as one
        with a checksum in lower case.
        """
        if data in self._answers:
            return True
        begin, size = self._good_reply
        return len(data) == size and data.startswith(begin) and data[-3:] == _ENDS[sum(data[:-3]) & 0xFF]

    def answer(self, reply: bytes) -> Answer:
        """Return what a reply means that :meth:`is_answered_by`.

        Raises:
            ProtocolError: see :meth:`value`.
        """
        answer = self._answers.get(reply)
        if answer is None:
            frame = reply[:-1].decode("latin-1")
            answer = Answer(self, frame, self.value(frame[14:-2]))
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            self._answers[reply] = answer
        return answer

    def value(self, data: str, *, lenient: bool = False) -> Any:
        """Return what the data of a good reply means; the data itself for a number that is not in use.

        Raises:
            ProtocolError: its length, pattern or range is wrong, or a setting came back changed.
        """
        command = self.command
        if command is None:
            return data
        value = command.decode(data, lenient=lenient)
        if command.sets and data != self.data:
            raise ProtocolError(f"the reply to {self.text} confirms {data!r} in place of {self.data!r}")
        return value


class Answer(NamedTuple):
    """What a unit answered.

    Attributes:
        call: the command.
        frame: the reply as it came, without CR.
        value: what its data means.
    """

    call: Call
    frame: str
    value: Any


class Reply(NamedTuple):
    """A reply as it is on the line; ``frame`` is all of it without the closing CR.

    For the bare rejection ``error`` is ``ErrorCode.REJECTED`` and the rest is empty.
    """

    frame: str
    device_id: int = 0
    number: int = 0
    error: ErrorCode = ErrorCode.REJECTED
    name: str = ""
    data: str = ""

    def answers(self, call: Call) -> bool:
        """Whether id and number are those of ``call``; a bare rejection answers whatever was asked."""
        same = self.number == call.number and self.device_id == call.device_id
        return same or self.error is ErrorCode.REJECTED

    def value(self, call: Call, *, lenient: bool = False) -> Any:
        """Return the value that ``call`` asked for.

        Raises:
            ProtocolError: the name is another one, or see :meth:`Call.value`.
        """
        command = call.command
        if self.name.lower() not in (call.name.lower(), command and command.name.lower()):
            raise ProtocolError(f"the reply to {call.text} has the name {self.name!r}: {self.frame}")
        return call.value(self.data, lenient=lenient)


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
        TypeError, ValueError: it is none.
    """
    if isinstance(device_id, bool) or not isinstance(device_id, (int, str)):
        raise TypeError(f"a device id is a number from 1 to 32, not {device_id!r}")
    if isinstance(device_id, str) and not re.fullmatch("[0-9]{1,2}", device_id):
        raise ValueError(f"a device id is a number from 1 to 32, not {device_id!r}")
    if not 1 <= int(device_id) <= 32:
        raise ValueError(f"a device id is a number from 1 to 32, not {device_id}")
    return int(device_id)


def format_full_command(cmd: str, device_id: int | str = 1) -> bytes:
    """Return the frame of a command given as number, name and data, for instance ``17sCtrlT__+0200``.

    Only the form is checked here: two digits, eight characters of name, up to eight of data.

    Raises:
        TypeError, ValueError: it has another form, or the device id is not from 1 to 32.
    """
    if not isinstance(cmd, str):
        raise TypeError(f"a command is text such as '04rSupplyT', not {cmd!r}")
    if not _TEXT.fullmatch(cmd):
        raise ValueError(f"a command is 2 digits, 8 characters of name and up to 8 of data, not {cmd!r}")
    start = f".{checked_device_id(device_id):02d}{cmd}"
    return f"{start}{compute_checksum(start)}\r".encode("ascii")


def format_reply(call: Call, error: ErrorCode = ErrorCode.NONE, data: str = "") -> bytes:
    """Return the frame of a unit's reply to ``call``: its name is echoed."""
    if error is ErrorCode.REJECTED:
        return REJECTION + b"\r"
    start = f"#{call.device_id:02d}{call.number:02d}{error:d}{call.name}{data}"
    return f"{start}{compute_checksum(start)}\r".encode("ascii")


def parse_text(cmd: str, device_id: int | str = 1) -> Call:
    """Return the command that a person typed: number, name and data, checked against the table.

    The name is free, as a unit goes by the number alone.

    Raises:
        TypeError, ValueError: wrong form, a number that is not in use, or data that does not suit it.
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
    """Return the command in ``frame`` and whether its checksum is right, as a unit reads it.

    Raises:
        ProtocolError: it is no command at all.
    """
    match = _CALL.fullmatch(frame)
    if not match:
        raise ProtocolError(f"no command: {frame!r}")
    device_id, number, name, data, _ = match.groups()
    return Call(int(number), name.decode(), data.decode(), int(device_id)), is_right(frame)


def parse_reply(frame: bytes) -> Reply:
    """Return the reply in ``frame``.

    Raises:
        ProtocolError: it is no reply, its checksum is wrong, or its error code is not from 0 to 5.
    """
    if frame == REJECTION:
        return Reply(frame.decode("ascii"))
    match = _REPLY.fullmatch(frame)
    if not match:
        raise ProtocolError(f"no reply: {frame!r}")
    if not is_right(frame):
        raise ProtocolError(
            f"the checksum of the reply {frame!r} is wrong; it should be {compute_checksum(frame[:-2])}"
        )
    device_id, number, error, name, data, _ = match.groups()
    text = frame.decode()
    return Reply(text, int(device_id), int(number), ErrorCode(int(error)), name.decode(), data.decode())


def device_error(call: Call, reply: Reply, where: str) -> DeviceError:
    """Return the error that a reply with an error code stands for."""
    kind, meaning = ERRORS[reply.error]
    return kind(f"{where}: {call.text} was answered with {reply.frame}: {meaning}")


def is_right(frame: bytes) -> bool:
    """Whether the last two characters are the checksum of the others, in either case."""
    return frame[-2:].upper() == b"%02X" % (sum(frame[:-2]) & 0xFF)
