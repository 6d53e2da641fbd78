"""Tests of JSON lines: values, strictness, and bad lines among good ones."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer
from cnx.errors import EncodingError, InvalidJson, LimitExceeded
from cnx.json_lines import JsonLines, parse_json

BAD: list[tuple[bytes, type[Exception]]] = [
    (b"not json", InvalidJson),
    (b"", InvalidJson),
    (b"{", InvalidJson),
    (b"1 2", InvalidJson),
    (b"null", InvalidJson),
    (b"[" * 200_000, InvalidJson),
    (b'"\xff"', EncodingError),
    (b"\xff\xfe1\x00", EncodingError),  # would be UTF-16
    (b"1\x00", InvalidJson),  # would be UTF-16 too
    (b'"\xed\xa0\x80"', EncodingError),  # half of a surrogate pair
    (b"\xef\xbb\xbf1", InvalidJson),  # a byte order mark
]


def full(data: bytes) -> ReceiveBuffer:
    """Return a buffer with ``data``."""
    buffer = ReceiveBuffer()
    buffer.append(data)
    return buffer


@pytest.fixture(params=["library", "own decoder"])
def lines(request: pytest.FixtureRequest) -> JsonLines:
    """Give the framing with either kind of decoder."""
    loads = None if request.param == "library" else lambda line: json.loads(line.decode())
    return JsonLines(limit=1 << 20, loads=loads)


def test_values_come_one_by_one_or_all_at_once(lines: JsonLines) -> None:
    """White space around them and inside does not matter, nor does an incomplete line at the end."""
    data = b'{"a": [1, 2.5]}\r\n "text"\t\r\n[\n]\r\ntrue\r\n-0.0\r\n18410715311050326015\r\n{"b"'
    values = [{"a": [1, 2.5]}, "text", [], True, -0.0, 18410715311050326015]
    buffer = full(data)
    assert lines.take_all(buffer) == values
    assert buffer.take_all() == b'{"b"'
    buffer = full(data)
    assert [lines.take(buffer) for _ in values] == values
    assert lines.take(buffer) is None


def test_numbers_that_json_does_not_know(lines: JsonLines) -> None:
    """Are read as Python's own writer writes them."""
    nan, plus, minus = lines.take_all(full(b"NaN\r\nInfinity\r\n-Infinity\r\n"))
    assert math.isnan(nan)
    assert (plus, minus) == (math.inf, -math.inf)


@pytest.mark.parametrize(("bad", "error"), BAD, ids=[repr(bad[:12]) for bad, _ in BAD])
@pytest.mark.parametrize("at_once", [True, False])
def test_bad_line_is_reported_and_removed(lines: JsonLines, bad: bytes, error: type[Exception], at_once: bool) -> None:
    """After the good ones before it; the ones after it are not lost."""
    buffer = full(b"1\r\n2\r\n" + bad + b"\r\n3\r\n")
    take = lines.take_all if at_once else lines.take
    good = take(buffer) if at_once else [take(buffer), take(buffer)]
    assert good == [1, 2]
    with pytest.raises(error):
        take(buffer)
    assert lines.take_all(buffer) == [3]


def test_error_carries_the_text_and_shows_it_shortened(lines: JsonLines) -> None:
    """The message stays readable, the attribute is whole."""
    text = "x" * 1000
    with pytest.raises(InvalidJson, match=r"not JSON .*'x{80}'\.\.\. \(1000 in all\)") as caught:
        lines.take(full(text.encode() + b"\r\n"))
    assert caught.value.text == text


def test_only_the_terminator_ends_a_line(lines: JsonLines) -> None:
    """A lone line feed or carriage return is white space of JSON."""
    assert lines.take_all(full(b"[1,\n2,\r3]\r\n")) == [[1, 2, 3]]


def test_other_terminator() -> None:
    """With ``\\n``, a carriage return before it is white space."""
    assert JsonLines(b"\n").take_all(full(b'1\r\n"a"\n')) == [1, "a"]


def test_long_line_is_refused_before_it_is_complete() -> None:
    """And after the good ones before it."""
    lines = JsonLines(limit=10)
    buffer = full(b"1\r\n" + b"2" * 20)
    assert lines.take_all(buffer) == [1]
    with pytest.raises(LimitExceeded):
        lines.take_all(buffer)


values = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner | st.none()) | st.dictionaries(st.text(), inner | st.none()),
    max_leaves=10,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(values, max_size=5))
def test_what_is_encoded_comes_back(sent: list[Any]) -> None:
    """Also text that contains the terminator."""
    lines = JsonLines()
    data = b"".join(map(lines.encode, sent))
    assert data.isascii()
    assert data.count(b"\r\n") == len(sent)
    assert lines.take_all(full(data)) == sent


DEEP: list[Any] = functools.reduce(lambda inner, _: [inner], range(100_000), [])


@pytest.mark.parametrize(
    "message",
    [None, {1, 2}, b"bytes", object(), math.nan, [math.inf], {"a": -math.inf}, DEEP],
    ids=lambda message: "deep" if message is DEEP else repr(message),
)
def test_what_has_no_json_form_is_refused(message: Any) -> None:
    """Among it what the other side would refuse."""
    with pytest.raises((TypeError, ValueError), match=r"null|serializable|not JSON compliant|nested too deeply"):
        JsonLines().encode(message)


@pytest.mark.parametrize("terminator", [b"", b"\xff", "\n"], ids=repr)
def test_bad_terminator_is_refused(terminator: Any) -> None:
    """It has to be text, as the lines are."""
    with pytest.raises((TypeError, ValueError)):
        JsonLines(terminator)


def test_parse_json_is_strict() -> None:
    """It is what a line is parsed with."""
    assert parse_json(b'{"a": 1}') == {"a": 1}
    with pytest.raises(InvalidJson, match="null where a message was expected"):
        parse_json(b"null")
