"""The command table: complete, consistent, and the same in both directions for every value."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.chiller.protocol import values as protocol_values
from cnx.clients.chiller.protocol.fields import Bits, Choice, Field, Fixed, Literal, Whole
from cnx.clients.chiller.protocol.frames import Call, Reply, format_reply, parse_call, parse_reply, parse_text
from cnx.clients.chiller.protocol.table import COMMANDS, Command, find_command
from cnx.errors import ProtocolError

UNUSED = {14, 31, 32, 33, 44, 45, 47, 54, 55, 56, 57, 58, 60}


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """Return all values that a field can carry."""
    if isinstance(field, Fixed):
        return st.integers(round(field.low * field.scale), round(field.high * field.scale)).map(
            lambda n: n / field.scale
        )
    if isinstance(field, Whole):
        return st.integers(field.low, field.high)
    if isinstance(field, Choice):
        return st.sampled_from(list(field.options.values()))
    assert isinstance(field, Bits)
    return st.integers(0, (1 << 4 * field.width) - 1).map(field.kind)


def draw_values(fields: tuple[Field, ...], data: st.DataObject) -> list[Any]:
    """Draw one value for each field that carries one."""
    return [data.draw(values_of(field), label=field.name) for field in fields if not isinstance(field, Literal)]


def command(number: int) -> Command:
    """Return a command that exists."""
    found = find_command(number)
    assert found is not None
    return found


def test_numbers() -> None:
    """47 numbers are in use, 19 twice, and the reserved ones are not."""
    numbers = Counter(row.number for row in COMMANDS)
    assert len(numbers) == 47
    assert set(numbers) == set(range(1, 61)) - UNUSED
    assert {number for number, count in numbers.items() if count > 1} == {19}


def test_shape() -> None:
    """A name has eight characters, what sets is echoed, and every field can describe itself."""
    for row in COMMANDS:
        assert len(row.name) == 8, row
        assert len({field.name for field in row.reply}) == len(row.reply), row
        assert all(field.describe() for field in row.request + row.reply), row
        assert row.request_width <= 5, row
        assert sum(field.width for field in row.reply) <= 9, row
        assert not row.sets or row.request == row.reply, row


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(COMMANDS), st.integers(1, 32), st.data())
def test_round_trip(row: Command, device_id: int, data: st.DataObject) -> None:
    """Whatever is asked or answered arrives as it was meant, for every command and value."""
    asked = draw_values(row.request, data)
    call = Call(row.number, row.name, row.encode(*asked), device_id)
    read, right = parse_call(call.frame[:-1])
    assert (read, right) == (call, True)
    assert parse_text(call.text, device_id) == call
    assert read.command is row
    assert row.decode_request(read.data) == asked
    told = asked if row.sets else draw_values(row.reply, data)
    reply = parse_reply(format_reply(read, data=row.encode_reply(*told))[:-1])
    value = reply.value(call)
    assert (list(value) if row.result else [value][: len(told)]) == told


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(COMMANDS), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10))
def test_arbitrary_data(row: Command, text: str) -> None:
    """Data is either decoded to what encodes to the same data again, or refused with one kind of error."""
    try:
        value = row.decode(text)
    except ProtocolError:
        return
    values = list(value) if row.result else [] if value is None else [value]
    assert row.encode_reply(*values).upper() == text.upper().replace("-0000", "+0000")


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (1.25, "+0013"),
        (-1.25, "-0013"),
        (0.05, "+0001"),
        (-0.05, "-0001"),
        (0.04, "+0000"),
        (-0.04, "+0000"),
        (-0.0, "+0000"),
        (2.675, "+0027"),
        (999.94, "+9999"),
        (-999.949, "-9999"),
        (20, "+0200"),
        (Decimal("0.15"), "+0002"),
        (Decimal("1e-5000"), "+0000"),
        (Fraction(1, 4), "+0003"),
    ],
)
def test_rounding(value: Any, data: str) -> None:
    """Numbers are rounded half away from zero as they are written, and zero has no minus sign."""
    assert command(17).encode(value) == data


@pytest.mark.parametrize("value", [999.95, -999.95, 1e300, -1e300, Decimal("1e5000"), 10**400])
def test_value_outside_of_the_field(value: Any) -> None:
    """A number that does not fit is refused."""
    with pytest.raises(ValueError, match=r"-999\.9 to 999\.9|too large"):
        command(17).encode(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity")])
def test_not_finite(value: Any) -> None:
    """NaN and infinities are refused."""
    with pytest.raises(ValueError, match="finite"):
        command(17).encode(value)


@pytest.mark.parametrize("value", [0, 0.04, -1, 1000])
def test_flow_threshold(value: float) -> None:
    """A flow threshold is at least 0.1 l/min."""
    with pytest.raises(ValueError, match=r"0\.1 to 999\.9 l/min"):
        command(25).encode(value)


@pytest.mark.parametrize(
    ("number", "value"), [(17, "20"), (17, True), (17, None), (17, 1j), (50, 1.5), (50, True), (18, "01"), (18, False)]
)
def test_wrong_type(number: int, value: Any) -> None:
    """A value of a wrong type is refused, a bool in place of a number too."""
    with pytest.raises(TypeError, match="must be"):
        command(number).reply[0].encode(value)


@pytest.mark.parametrize(("number", "value"), [(15, 2), (15, "1"), (15, 1), (16, 4), (16, True), (12, None)])
def test_wrong_choice(number: int, value: Any) -> None:
    """A choice that does not exist is refused and the message lists those that do."""
    with pytest.raises(ValueError, match="must be one of"):
        command(number).encode(value)


@pytest.mark.parametrize("value", [-1, 1 << 24])
def test_bits_outside_of_the_field(value: int) -> None:
    """Bits that do not fit the digits are refused."""
    with pytest.raises(ValueError, match="6 hexadecimal digits"):
        command(18).encode_reply(value)


def test_number_of_values() -> None:
    """Too few or too many values are refused, and the message names the fields."""
    with pytest.raises(TypeError, match="takes set point"):
        command(17).encode()
    with pytest.raises(TypeError, match="takes no value"):
        command(4).encode(1)


@pytest.mark.parametrize(
    ("kind", "digits", "reserved"),
    [
        (protocol_values.Alarms, 6, 0),
        (protocol_values.SystemAlarms, 8, 0x0F088F0F),
        (protocol_values.SensorAlarms, 8, 0x000F0000),
        (protocol_values.Warnings, 4, 0xFF08),
    ],
)
def test_bits_have_names(kind: Any, digits: int, reserved: int) -> None:
    """Every bit that is not reserved has exactly one name."""
    named = [member.value for member in kind]
    assert sum(named) == (1 << 4 * digits) - 1 - reserved
    assert all(value & (value - 1) == 0 for value in named)


def test_reserved_bits_are_kept() -> None:
    """A reserved bit that is set is not lost."""
    assert command(20).decode("0010") == 0x100


def test_reply_of_an_unknown_number() -> None:
    """The data of a number outside of the table is handed on as text."""
    assert Reply("", 1, 60, name="reserved", data="abc").value(Call(60, "reserved", "")) == "abc"
