"""Frames of the chiller: every printed and computed vector, what must be refused, and any split of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol import frames as protocol
from cnx.clients.chiller.protocol.errors import ERRORS as ERROR_TYPES
from cnx.clients.chiller.protocol.errors import ErrorCode, FeatureNotFitted, Rejected
from cnx.clients.chiller.protocol.table import COMMANDS
from cnx.clients.chiller.protocol.values import Warnings
from cnx.errors import DeviceError, ProtocolError
from tests.helpers.chiller_vectors import BASES, CHECKSUMS, COMPUTED, ERRORS, PRINTED


def take_all(stream: bytes, start: bytes = b"#", size: int | None = None) -> list[bytes]:
    """Return the frames in ``stream``, fed in pieces of ``size`` bytes."""
    framing, buffer, frames = protocol.Frames(start), ReceiveBuffer(), []
    for begin in range(0, len(stream), size or max(len(stream), 1)):
        buffer.append(stream[begin : begin + (size or len(stream))])
        frames += framing.take_all(buffer)
    return frames


def ask(text: str) -> protocol.Call:
    """Return the command in a frame without CR."""
    return protocol.parse_call(text.encode())[0]


@pytest.mark.parametrize(("command", "reply", "value"), PRINTED + COMPUTED)
def test_vector(command: str, reply: str, value: Any) -> None:
    """A known command is built, and its reply is read, exactly as documented."""
    call = ask(command)
    assert call.frame.decode() == command[:-2] + command[-2:].upper() + "\r"
    assert protocol.parse_text(call.text, call.device_id) == call
    answer = protocol.parse_reply(reply.encode())
    assert answer.answers(call)
    assert answer.value(call) == value
    assert protocol.format_reply(call, data=answer.data).decode() == reply + "\r"


@pytest.mark.parametrize(("command", "reply", "code"), ERRORS)
def test_error_vector(command: str, reply: str, code: ErrorCode) -> None:
    """A refusal is read as its error code and becomes an error that shows command and reply."""
    call, right = protocol.parse_call(command.encode())
    assert right is (code is not ErrorCode.CHECKSUM)
    answer = protocol.parse_reply(reply.encode())
    assert answer.error is code
    assert answer.answers(call)
    error = protocol.device_error(call, answer, "here")
    assert isinstance(error, DeviceError)
    assert type(error) is ERROR_TYPES[code][0]
    assert call.text in str(error)
    assert reply in str(error)


def test_checksums_of_commands_without_data() -> None:
    """Each command without data ends in the checksum of the table."""
    plain = [command for command in COMMANDS if not command.request]
    frames = {command.number: protocol.Call(command.number, command.name, "").frame for command in plain}
    assert {number: frame[-3:-1].decode() for number, frame in frames.items()} == CHECKSUMS


def test_sums_of_commands_with_data() -> None:
    """Each command with data starts from the sum of the table."""
    takers = [command for command in COMMANDS if command.request and not command.selector]
    sums = {command.number: protocol.compute_checksum(f".01{command.number:02d}{command.name}") for command in takers}
    assert sums == BASES


def test_checksum_of_another_id() -> None:
    """The id takes part in the sum: 32 adds four to what 01 has."""
    assert protocol.format_full_command("04rSupplyT", 32) == b".3204rSupplyT4A\r"
    assert protocol.format_full_command("04rSupplyT", "32") == b".3204rSupplyT4A\r"


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
def test_frames_among_noise(size: int | None) -> None:
    """Flow control bytes, line feeds and noise around frames are skipped, however the stream is split."""
    stream = b"\x13\x11#01040rSup\x13plyT+029566\r\n!garbage\r#01#23\r\x11#01040rSupplyT+029566\r"
    assert take_all(stream, size=size) == [b"#01040rSupplyT+029566", b"#23", b"#01040rSupplyT+029566"]


@pytest.mark.parametrize("size", [None, 1, 5, 64])
def test_endless_line_is_noise(size: int | None) -> None:
    """A line that is too long is dropped, does not grow the buffer, and the next frame is found."""
    stream = b"#" + b"x" * 10_000 + b"\r" + b"y" * 5_000 + b"#23\r"
    assert take_all(stream, size=size) == [b"#23"]
    framing, buffer = protocol.Frames(b"#"), ReceiveBuffer()
    for _ in range(1000):
        buffer.append(b"#" + b"x" * 99)
        assert framing.take(buffer) is None
        assert len(buffer) <= protocol.LIMIT + 100


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([b"#", b"\r", b"#23\r", b"x" * 30, b"\x11", b"#01040rSupplyT+029566\r", b"."])), st.data()
)
def test_any_split_gives_the_same_frames(pieces: list[bytes], data: st.DataObject) -> None:
    """How a stream arrives does not change the frames in it."""
    stream = b"".join(pieces)
    framing, buffer, frames, start = protocol.Frames(b"#"), ReceiveBuffer(), [], 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        buffer.append(stream[start:end])
        frames += framing.take_all(buffer)
        start = end
    assert frames == take_all(stream)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_refused_in_one_way(frame: bytes) -> None:
    """Whatever a frame holds, reading it raises ProtocolError or succeeds."""
    for parse in (protocol.parse_reply, protocol.parse_call):
        try:
            parse(frame)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "reply",
    [
        "#01040rSupplyT+029567",  # checksum off by one
        "!01040rSupplyT+029564",
        "#01049rSupplyT+02956F",  # error code 9
        "#0104rSupplyT+029536",
        "#",
        "#2",
        "",
        "#24",
    ],
)
def test_no_reply(reply: str) -> None:
    """A frame that is no reply is a protocol error."""
    with pytest.raises(ProtocolError):
        protocol.parse_reply(reply.encode())


def test_bytes_above_ascii() -> None:
    """A byte above 0x7E makes a frame invalid, also with the right checksum."""
    start = b"#01040rSupplyT+02\xb15"
    with pytest.raises(ProtocolError):
        protocol.parse_reply(start + protocol.compute_checksum(start).encode())


@pytest.mark.parametrize("data", ["+0A95", "+029", "+02955", "0295", "02955", " 0295", "+02_5", "+ 295", ""])
def test_bad_data(data: str) -> None:
    """Data of another width or pattern is never taken for a value."""
    call = protocol.parse_text("04rSupplyT")
    reply = protocol.parse_reply(protocol.format_reply(call, data=data)[:-1])
    with pytest.raises(ProtocolError):
        reply.value(call)


def test_lower_case_checksum() -> None:
    """Checksums of replies may be in lower case."""
    assert protocol.parse_reply(b"#01010WatchDog0100e7").data == "0100"


@pytest.mark.parametrize("reply", ["#02040rSupplyT+029567", "#01080rSupplyT+02956A"])
def test_reply_to_somebody_else(reply: str) -> None:
    """A reply with another id or number does not answer the command."""
    assert not protocol.parse_reply(reply.encode()).answers(protocol.parse_text("04rSupplyT"))


def test_names_are_compared_loosely() -> None:
    """The name may come back as sent or as in the table, in any case; another one is an error."""
    call = protocol.Call(11, "rTECDrLv", "")
    for name in ("rTECDrLv", "RTECDRLV", "rTECB2Cr"):
        assert protocol.Reply("", 1, 11, ErrorCode.NONE, name, "+0150").value(call) == 0.15
    with pytest.raises(ProtocolError, match="name"):
        protocol.Reply("", 1, 11, ErrorCode.NONE, "rSupplyT", "+0150").value(call)


def test_changed_setting() -> None:
    """A setting that is confirmed with another value is a protocol error."""
    call = protocol.parse_text("17sCtrlT__+0200")
    with pytest.raises(ProtocolError, match=r"confirms '\+0210'"):
        protocol.Reply("", 1, 17, ErrorCode.NONE, "sCtrlT__", "+0210").value(call)


def test_long_warnings_need_leniency() -> None:
    """Eight warning digits are refused, or read as their first four when that is allowed."""
    call = protocol.parse_text("20rWarnLv1")
    reply = protocol.Reply("", 1, 20, ErrorCode.NONE, "rWarnLv1", "08000000")
    assert reply.value(call, lenient=True) == Warnings.LOW_AMBIENT_TEMPERATURE
    with pytest.raises(ProtocolError, match="8 characters"):
        reply.value(call)


@pytest.mark.parametrize(
    "cmd",
    ["", "04", "4rSupplyT", "04rSupply", "04rSupplyT\r", "04rSupplyT123456789", "04rSupplyä", "04rSupplyT\x11"],
)
def test_malformed_command(cmd: str) -> None:
    """Text that has not the form of a command is refused."""
    with pytest.raises(ValueError, match="2 digits, 8 characters"):
        protocol.format_full_command(cmd)


@pytest.mark.parametrize(
    "cmd", ["14reserved", "00WatchDog", "04rSupplyT9", "17sCtrlT__", "17sCtrlT__20.00", "19rAlrmLv23"]
)
def test_command_outside_of_the_table(cmd: str) -> None:
    """A number that is not in use, or data that does not suit it, is refused before it is sent."""
    with pytest.raises(ValueError, match=cmd[:2]):
        protocol.parse_text(cmd)


@pytest.mark.parametrize("device_id", [0, 33, -1, "00", "033", "a", "", "1 "])
def test_bad_device_id(device_id: int | str) -> None:
    """Ids are from 1 to 32."""
    with pytest.raises(ValueError, match="1 to 32"):
        protocol.format_full_command("01WatchDog", device_id)


@pytest.mark.parametrize("device_id", [True, 1.0, None, b"01"])
def test_device_id_of_a_wrong_type(device_id: Any) -> None:
    """Ids are numbers or text."""
    with pytest.raises(TypeError, match="1 to 32"):
        protocol.format_full_command("01WatchDog", device_id)


def test_error_names() -> None:
    """The errors that a program tells apart have the documented meaning."""
    assert ERROR_TYPES[ErrorCode.NOT_FITTED][0] is FeatureNotFitted
    assert ERROR_TYPES[ErrorCode.REJECTED][0] is Rejected
    assert set(ERROR_TYPES) == set(ErrorCode) - {ErrorCode.NONE}
