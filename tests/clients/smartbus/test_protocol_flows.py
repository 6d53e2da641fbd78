"""Flows and notices: captured examples, round trips, limits, bad values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.smartbus.protocol.flows import FlowAck, FlowReturn, InvokeFlow, Notify, dump_values, load_values
from cnx.clients.smartbus.protocol.packets import Address
from cnx.errors import InvalidJson, ProtocolError
from tests.clients.smartbus.test_protocol_messages import INT32, rows, texts

US = Address(19, 5, 9)
IPSC = Address(0, 0, 2)


def dump(text: str, size: int) -> bytes:
    """Return the bytes of a hex dump that leaves out zeros."""
    data = bytearray(size)
    for offset, values in rows(text):
        data[offset : offset + len(values)] = values
    return bytes(data)


def test_captured_call() -> None:
    """A flow call is the captured one but for the garbage of the original."""
    expected = dump(
        """
        000000  15 5b 0b 01 09 13 05 02 00 00 00 00 90 00 00 00
        000010  7a 00 00 00 0b 70 72 6f 6a 00
        000030  00 00 00 00 00 65 63 68 6f 00
        000050  00 00 00 00 00 00 ff ff ff ff 01 00 00 00 08 00
        000080  00 00 00 00 5b 22 78 22 2c 20 31 5d 00 00 00 00
        """,
        144,
    )
    call = InvokeFlow("proj", "echo", 1, dump_values(["x", 1]))
    assert bytes(call.packet(US, IPSC)) == expected
    assert InvokeFlow.parse(expected[20:142]) == call


def test_stale_bytes_after_the_nul_are_ignored() -> None:
    """The original leaves pieces of earlier calls behind the NUL of a field."""
    payload = bytearray(InvokeFlow("proj", "slow", 3).payload())
    payload[33:42] = b"slow\0rst\0"
    assert InvokeFlow.parse(bytes(payload)) == InvokeFlow("proj", "slow", 3)


def test_captured_acknowledgement() -> None:
    """The acknowledgement of a flow is the captured one."""
    expected = dump(
        """
        000000  15 5b 0d 01 02 00 00 09 13 05 00 00 4a 00 00 00
        000010  33 00 00 00 0d 70 72 6f 6a 00
        000030  00 00 00 00 00 01 00 00 00 ff ff ff ff 01 00 00
        000040  00 00 00 00 00 00 00 00 00 00
        """,
        74,
    )
    assert bytes(FlowAck("proj", 1).packet(IPSC, US)) == expected
    assert FlowAck.parse(expected[20:71]) == FlowAck("proj", 1, 1, "")


def test_captured_return() -> None:
    """The return of a flow is the captured one."""
    expected = dump(
        """
        000000  15 5b 0c 01 02 00 00 09 13 05 00 00 4e 00 00 00
        000010  37 00 00 00 0c 70 72 6f 6a 00
        000030  00 00 00 00 00 01 00 00 00 ff ff ff ff 08 00 00
        000040  00 5b 22 78 22 2c 20 31 5d 00 00 00 00 00
        """,
        78,
    )
    answer = FlowReturn("proj", 1, dump_values(["x", 1]))
    assert bytes(answer.packet(IPSC, US)) == expected
    assert FlowReturn.parse(expected[20:75]) == answer


def test_captured_notice() -> None:
    """A notice is the captured one; its text is cp936."""
    expected = dump(
        """
        000000  15 5b 0f 01 09 13 05 02 00 00 00 00 b0 00 00 00
        000010  9a 00 00 00 0f 70 72 6f 6a 00
        000030  00 00 00 00 00 00 01 00 00 00 58 1b 00 00 74 69
        000040  74 6c 65 00
        0000a0  00 00 00 00 04 00 00 00 cf fb cf a2 00 00 00 00
        """,
        176,
    )
    notice = Notify("proj", "title", "消息", 1, 7000)
    assert bytes(notice.packet(US, IPSC)) == expected
    assert Notify.parse(expected[20:174]) == notice


@given(texts(32), texts(32), INT32, texts(2000), st.integers(0, 255))
@settings(deadline=None)
def test_call_round_trip(project: str, flow: str, invoke_id: int, parameters: str, mode: int) -> None:
    """Calls are read as written."""
    call = InvokeFlow(project, flow, invoke_id, parameters, mode)
    assert InvokeFlow.parse(call.payload()) == call


CP936 = st.text(st.sampled_from("abc 我们是消息流程，。[]\"'"), max_size=15)


@given(CP936, INT32, INT32, CP936)
@settings(deadline=None)
def test_answer_round_trip(project: str, invoke_id: int, ack: int, text: str) -> None:
    """Acknowledgements, returns and notices are read as written, in cp936."""
    answer = FlowAck(project, invoke_id, ack, text)
    assert FlowAck.parse(answer.payload()) == answer
    returned = FlowReturn("p", invoke_id, text)
    assert FlowReturn.parse(returned.payload()) == returned
    notice = Notify("", "title", "x" + text, invoke_id, 5)
    assert Notify.parse(notice.payload()) == notice


@pytest.mark.parametrize(
    ("message", "shortest"),
    [
        (InvokeFlow("p", "f", 1, ""), 114),
        (FlowAck("p", 1), 51),
        (FlowReturn("p", 1, ""), 47),
        (Notify("p", "t", "x", 1), 150),
    ],
)
def test_short_payloads(message: InvokeFlow | FlowAck | FlowReturn | Notify, shortest: int) -> None:
    """A payload that cannot hold its fields is an error; the shortest one is read."""
    payload = message.payload().ljust(shortest, b"\0")
    type(message).parse(payload[:shortest])
    for size in (0, 1, shortest - 1):
        with pytest.raises(ProtocolError, match=f"at least {shortest} bytes"):
            type(message).parse(payload[:size])


def test_limits_of_calls() -> None:
    """8001 bytes of parameters and 31 of each id fit; one more is refused."""
    assert len(InvokeFlow("p" * 31, "f" * 31, 1, "x" * 8001).payload()) == 114 + 8001
    with pytest.raises(ValueError, match="parameters has 8002 bytes"):
        InvokeFlow("p", "f", 1, "x" * 8002).payload()
    with pytest.raises(ValueError, match="project has 32 bytes"):
        InvokeFlow("p" * 32, "f", 1).payload()
    with pytest.raises(ValueError, match="flow has 32 bytes"):
        InvokeFlow("p", "f" * 32, 1).payload()


def test_limits_of_notices() -> None:
    """A title has 1 to 101 bytes, a text 1 to 15999 in cp936."""
    assert len(Notify("", "t" * 101, "x" * 15999, 1).payload()) == 150 + 15999
    for title, text, what in [
        ("", "x", "title has 0"),
        ("t" * 102, "x", "title has 102"),
        ("t", "", "text has 0"),
        ("t", "好" * 8000, "text has 16000"),
    ]:
        with pytest.raises(ValueError, match=what):
            Notify("p", title, text, 1).payload()


def test_text_outside_cp936_is_refused() -> None:
    """Characters that the encoding lacks are an error, not a question mark."""
    with pytest.raises(ValueError, match="text has characters that cp936 does not have"):
        Notify("p", "t", "\U0001f600", 1).payload()


@pytest.mark.parametrize("values", [[], ["x", 1], [None, True, 1.5], [{"a": [1, "好"]}]])
def test_values(values: list[object]) -> None:
    """Values cross as a JSON array in ASCII."""
    assert dump_values(values).isascii()
    assert load_values(dump_values(values)) == values


@pytest.mark.parametrize("values", ["text", b"bytes", {"a": 1}, 5, [object()], [b"x"]])
def test_values_that_are_no_array(values: object) -> None:
    """A single value is not an array of values, and an object has no JSON."""
    with pytest.raises(TypeError):
        dump_values(values)  # type: ignore[arg-type]


def test_values_without_json() -> None:
    """JSON has no infinity."""
    with pytest.raises(ValueError, match="JSON"):
        dump_values([float("inf")])


@pytest.mark.parametrize("text", ["{}", "1", "[1", "x", "[" * 100_000])
def test_bad_values_show_the_text(text: str) -> None:
    """What is no array is an error that carries the text."""
    with pytest.raises(InvalidJson) as caught:
        load_values(text)
    assert caught.value.text == text


def test_empty_return_has_no_values() -> None:
    """A flow that returns nothing sends an empty text."""
    assert load_values("") == load_values(" \n") == []


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_payloads_raise_nothing_else(payload: bytes) -> None:
    """Whatever comes is a message or a ProtocolError."""
    for kind in (InvokeFlow, FlowAck, FlowReturn, Notify):
        try:
            kind.parse(payload)
        except ProtocolError:
            continue
