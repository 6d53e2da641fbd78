"""Messages and lines of the M2 protocol, without any connection."""

from __future__ import annotations

import copy
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer
from cnx.clients.m2.protocol import messages as protocol
from cnx.clients.m2.protocol.enums import CommandStatus, MsgType, PowerType
from cnx.clients.m2.protocol.messages import (
    BrokenMessage,
    Kind,
    M2Lines,
    compose,
    encode,
    kind_of,
    parse_reply,
    prepare_command,
    sequence_numbers,
)
from cnx.errors import EncodingError, InvalidJson, LimitExceeded, ProtocolError
from tests.helpers import m2_wire_examples as wire


def received(data: bytes, *sizes: int, framing: M2Lines | None = None) -> list[Any]:
    """Return the messages of a stream that arrives in pieces of ``sizes``, the last of which repeats."""
    framing, buffer, start = framing or M2Lines(), ReceiveBuffer(), 0
    messages: list[Any] = []
    for size in itertools.chain(sizes, itertools.repeat(sizes[-1] if sizes else len(data))):
        if start >= len(data):
            return messages
        buffer.append(data[start : start + size])
        start += size
        while found := framing.take_all(buffer):
            messages += found
    return messages


def one(data: bytes) -> Any:
    """Return the one message of a stream."""
    (message,) = received(data)
    return message


@pytest.mark.parametrize(
    ("name", "details", "number", "line"),
    [
        ("clearErrors", None, 1, wire.CLEAR_ERRORS),
        ("move", {"x": 1, "y": 2, "z": 3}, 4, wire.MOVE),
        ("power", {"powerType": PowerType.COMMUNICATION, "status": True}, 2, wire.COMMUNICATION_ON),
        ("power", {"powerType": 1, "status": True}, 3, wire.MOTOR_ON),
        ("getInnerLoopControlMode", {"addresses": (0, 83)}, 7, wire.INNER_LOOP),
        ("setEnabledFaultsMask", {"mask": 18410715311050326015}, 27, wire.FAULTS_MASK),
        ("mé", {}, 8, wire.NOT_ASCII),
        ("m", {"a": math.nan}, 7, wire.NAN),
        ("rebootController", None, 9, wire.REBOOT),
        ("x", {"sequence_id": 99, "a": 1}, 5, b'{"sequence_id": 5, "a": 1, "id": "cmd_x"}\r\n'),
    ],
)
def test_commands_are_the_bytes_of_the_original(name: str, details: Any, number: int, line: bytes) -> None:
    """Commands go out as from the original, byte for byte, and the caller's details stay as they were."""
    before = copy.deepcopy(details)
    assert prepare_command(name, details)(number) == line
    assert repr(details) == repr(before)


@pytest.mark.parametrize(
    ("msg_type", "name", "details", "component", "line"),
    [
        (MsgType.TELEMETRY, "elevation", {"actualPosition": 45.5}, "MTMount", wire.ELEVATION),
        (MsgType.EVENT, "inPosition", {"status": True}, "MTMount", wire.IN_POSITION),
        (2, "mountInPosition", {"inPosition": True}, "MTMount", wire.MOUNT_IN_POSITION),
        (MsgType.EVENT, "inPosition", {}, "", wire.EMPTY_COMPONENT),
        (3, "x", None, None, b'{"id": "tel_x"}\r\n'),
    ],
)
def test_messages_are_the_bytes_of_the_original(
    msg_type: int, name: str, details: Any, component: str | None, line: bytes
) -> None:
    """Events and telemetry of other components go out as from the original."""
    assert encode(compose(msg_type, name, details, component)) == line


def test_sequence_numbers_wrap_to_one() -> None:
    """After the largest number of 32 bits comes 1, never 0."""
    numbers = sequence_numbers(2**31 - 1)
    lines = b"".join(prepare_command("x")(next(numbers)) for _ in range(2))
    assert lines == wire.WRAP
    assert next(numbers) == 2


@pytest.mark.parametrize("first", [0, -1, 2**31])
def test_sequence_numbers_have_a_range(first: int) -> None:
    """A number outside of the range cannot be the first."""
    with pytest.raises(ValueError, match="2147483647"):
        sequence_numbers(first)


@pytest.mark.parametrize(
    ("name", "details", "error"),
    [
        ("x", {"id": "y"}, ValueError),
        ("x", ["a"], TypeError),
        (None, None, TypeError),
        ("", None, TypeError),
        ("x", {"a": object()}, TypeError),
        ("x", {"a": {1, 2}, "sequence_id": 1}, TypeError),
    ],
)
def test_a_command_that_cannot_be_sent(name: Any, details: Any, error: type[Exception]) -> None:
    """Bad details and names are errors before there is a sequence id."""
    with pytest.raises(error):
        prepare_command(name, details)


@pytest.mark.parametrize("msg_type", [0, 1, 4, "Event", None])
def test_a_message_that_cannot_be_sent(msg_type: Any) -> None:
    """Only events and telemetry are composed; what has an id already is refused."""
    with pytest.raises(ValueError, match="type"):
        compose(msg_type, "x")
    with pytest.raises(ValueError, match="'id'"):
        compose(MsgType.EVENT, "x", {"id": 1})


def test_reads_all_examples() -> None:
    """Everything the controller says in the examples is a message of a known kind."""
    messages = received(wire.FROM_CONTROLLER)
    assert len(messages) == wire.FROM_CONTROLLER.count(b"\r\n") == 57
    kinds = {kind_of(message) for message in messages}
    assert kinds == {Kind.REPLY, Kind.EVENT, Kind.TELEMETRY}
    assert b"".join(map(encode, messages)) == wire.FROM_CONTROLLER


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(1, 400), max_size=40), st.integers(1, 5000))
def test_any_split_gives_the_same_messages(sizes: list[int], last: int) -> None:
    """The messages do not depend on how the stream was cut."""
    stream = wire.FROM_CONTROLLER + wire.NOT_JSON + wire.WHITE_SPACE + wire.EMPTY_LINE + wire.MOTOR_WARNING
    assert repr(received(stream, *sizes, last)) == repr(received(stream))


def test_bytes_one_at_a_time() -> None:
    """A stream of single bytes gives the same messages, by either way of taking them."""
    framing, buffer, messages = M2Lines(), ReceiveBuffer(), []
    for byte in wire.FROM_CONTROLLER:
        buffer.append(bytes([byte]))
        if (message := framing.take(buffer)) is not None:
            messages.append(message)
    assert messages == received(wire.FROM_CONTROLLER, 1) == received(wire.FROM_CONTROLLER)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (wire.NOT_JSON, InvalidJson),
        (wire.EMPTY_LINE, InvalidJson),
        (wire.HEARTBEAT, InvalidJson),
        (b'{"id": "position"} x\r\n', InvalidJson),
        (b'{"id": "position"\r\n', InvalidJson),
        (b"null\r\n", InvalidJson),
        (b'\xef\xbb\xbf{"id": "position"}\r\n', InvalidJson),
        ('{"id": "position"}'.encode("utf-16-le") + b"\r\n", InvalidJson),
        (b'{"id": "\xff"}\r\n', EncodingError),
        (b"[" * 60000 + b"\r\n", InvalidJson),
        (b"1" * 5000 + b"\r\n", InvalidJson),
    ],
)
@pytest.mark.parametrize("loads", [None, lambda line: json.loads(line.decode())], ids=["standard", "given"])
def test_a_broken_line_is_reported_and_skipped(line: bytes, error: type[Exception], loads: Any) -> None:
    """Each broken line takes one place in the stream, says what is wrong, and the messages around it stand."""
    stream = wire.FIRST_FAULT + line + line + wire.MOTOR_WARNING
    first, broken, again, last = received(stream, framing=M2Lines(loads=loads))
    assert (first["status"], last["status"]) == (2**57, 2**34)
    for message in (broken, again):
        assert isinstance(message, BrokenMessage)
        assert isinstance(message.reason, error)
    assert isinstance(received(line)[0], BrokenMessage)
    buffer = ReceiveBuffer()
    buffer.append(line)
    assert isinstance(M2Lines().take(buffer), BrokenMessage)
    assert len(buffer) == 0


def test_invalid_json_carries_the_line() -> None:
    """The text of a line that is not JSON can be read from the error."""
    assert one(wire.NOT_JSON).reason.text == "not json"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (wire.WHITE_SPACE, {"sequence_id": 1, "id": "cmd_resetForceOffsets"}),
        (wire.DUPLICATE_KEYS, {"id": "cmd_resetForceOffsets", "sequence_id": 2}),
        (wire.FAULTS_MASK, {"mask": 18410715311050326015, "id": "cmd_setEnabledFaultsMask", "sequence_id": 27}),
        (b'{"a": 123456789012345678901234567890}\r\n', {"a": 123456789012345678901234567890}),
        (b'{"a": [Infinity, -Infinity, 1e400]}\r\n', {"a": [math.inf, -math.inf, math.inf]}),
        (b"[1, 2]\r\n", [1, 2]),
        (b'"text"\r\n', "text"),
        (wire.NOT_ASCII, {"id": "cmd_mé", "sequence_id": 8}),
    ],
)
def test_reads_what_the_original_reads(line: bytes, message: Any) -> None:
    """White space, repeated keys, large numbers and other JSON values are read as the original reads them."""
    assert one(line) == message


def test_nan_and_negative_zero_survive() -> None:
    """Not-a-number and the sign of zero are kept."""
    assert math.isnan(one(wire.NAN)["a"])
    assert math.copysign(1.0, one(wire.MIRROR_POSITION)["z"]) == -1.0
    assert isinstance(one(wire.MIRROR_POSITION)["xRot"], int)


def test_a_line_ends_with_both_bytes_only() -> None:
    """A lone CR or LF is white space of JSON; bytes after the last terminator wait."""
    messages = received(b'{"a":\r1}\r\n{"b":\n2}\r\n{"c": 3}\r')
    assert messages == [{"a": 1}, {"b": 2}]


def test_the_limit_is_that_of_the_original() -> None:
    """65536 bytes and the terminator are a message; one byte more passes the limit and keeps the bytes."""
    longest = b'"' + b"x" * 65534 + b'"\r\n'
    assert one(longest) == "x" * 65534
    buffer = ReceiveBuffer()
    buffer.append(longest.replace(b"xx", b"xxx", 1))
    with pytest.raises(LimitExceeded):
        M2Lines().take_all(buffer)
    assert len(buffer) == len(longest) + 1


def test_messages_before_a_line_over_the_limit_are_read() -> None:
    """What came before the line that passes the limit is not lost."""
    buffer = ReceiveBuffer()
    buffer.append(wire.FIRST_FAULT + b"x" * 70000)
    framing = M2Lines()
    assert [message["id"] for message in framing.take_all(buffer)] == ["summaryFaultsStatus"]
    with pytest.raises(LimitExceeded):
        framing.take_all(buffer)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 30))
def test_no_bytes_raise_anything_else(lines: list[bytes], size: int) -> None:
    """Whatever arrives is a value or a broken message, one for each line."""
    stream = b"".join(line.replace(b"\r\n", b"") + b"\r\n" for line in lines)
    messages = received(stream, size)
    assert len(messages) == stream.count(b"\r\n")
    assert None not in messages


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(
        st.text().filter(lambda key: key not in ("id", "sequence_id")), st.floats() | st.text() | st.integers()
    ),
    st.text(min_size=1),
)
def test_what_is_sent_is_what_is_received(details: dict[str, Any], name: str) -> None:
    """Any details go through a line and come back the same."""
    assert repr(one(prepare_command(name, details)(7))) == repr({**details, "id": "cmd_" + name, "sequence_id": 7})


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"id": "ack", "sequence_id": 1}, Kind.REPLY),
        ({"id": "interlock", "state": True}, Kind.EVENT),
        ({"id": "position"}, Kind.TELEMETRY),
        ({"id": "cmd_power"}, Kind.COMMAND),
        ({"id": "evt_inPosition"}, Kind.EVENT),
        ({"id": "tel_elevation"}, Kind.TELEMETRY),
        ({"id": "CMD_power"}, Kind.UNKNOWN),
        ({"id": "somethingNew"}, Kind.UNKNOWN),
        ({"id": 5}, Kind.UNKNOWN),
        ({"id": None}, Kind.UNKNOWN),
        ({}, Kind.UNKNOWN),
        ([1], Kind.UNKNOWN),
        ("ack", Kind.UNKNOWN),
    ],
)
def test_kinds(message: Any, kind: Kind) -> None:
    """The id decides what a message is."""
    assert kind_of(message) is kind


def test_replies() -> None:
    """A reply is a status and a number."""
    assert parse_reply(one(wire.MOVE_REPLY)) == (CommandStatus.NOACK, 4)


@pytest.mark.parametrize(
    "line", [wire.NAN_SEQUENCE_ID_ACK, b'{"id": "ack"}\r\n', b'{"id": "ack", "sequence_id": true}\r\n']
)
def test_a_reply_needs_a_number(line: bytes) -> None:
    """A reply that cannot be matched breaks the protocol."""
    with pytest.raises(ProtocolError, match="sequence_id"):
        parse_reply(one(line))


def test_ports() -> None:
    """The ports are those of the original."""
    assert (protocol.COMMAND_PORT, protocol.TELEMETRY_PORT) == (50000, 50001)
