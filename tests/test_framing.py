"""Tests of framings: the same messages however a stream is split, limits, bad bytes, bad arguments."""

from __future__ import annotations

import ctypes
import inspect
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx import framing as framing_module
from cnx.buffer import ReceiveBuffer
from cnx.errors import LimitExceeded, ProtocolError
from cnx.framing import LIMIT, Delimited, FixedSize, Framing, LengthPrefixed, Raw, Struct, shorten
from cnx.json_lines import JsonLines

LIMITED = 12


def netstring() -> type[Framing]:
    """Return the class that the module's own documentation shows."""
    text = inspect.getdoc(framing_module) or ""
    example = inspect.cleandoc("\n" + text.partition("::\n\n")[2])
    namespace: dict[str, Any] = {"Framing": Framing, "ProtocolError": ProtocolError}
    exec(compile(example, "the example", "exec"), namespace)
    made: type[Framing] = namespace["Netstring"]
    return made


Netstring = netstring()


class Point(ctypes.BigEndianStructure):
    """A structure of three bytes."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("x", ctypes.c_uint8), ("y", ctypes.c_uint16))


def plain(message: Any) -> Any:
    """Return a message as something that can be compared."""
    return bytes(message) if isinstance(message, (ctypes.Structure, ctypes.Union)) else message


class Strict(Framing):
    """Messages of three bytes that begin with a letter; a bad one is removed before the complaint."""

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Take three bytes."""
        if len(buffer) < 3:
            return None
        message = buffer.take(3)
        if not message[:1].isalpha():
            raise ProtocolError(f"bad: {message!r}")
        return message


def of_letters(alphabet: bytes, size: int = 60) -> st.SearchStrategy[bytes]:
    """Return streams of few different bytes, so that the interesting ones are frequent."""
    return st.lists(st.sampled_from(list(alphabet)), max_size=size).map(bytes)


STREAMS: list[tuple[Framing, st.SearchStrategy[bytes]]] = [
    (Delimited(b"\r\n", limit=LIMITED), of_letters(b"ab\r\n")),
    (Delimited(b"\n", keep=True, limit=LIMITED), of_letters(b"ab\n")),
    (Delimited(b"aa", limit=LIMITED), of_letters(b"ab")),
    (Delimited(b"aba", keep=True), of_letters(b"ab")),
    (LengthPrefixed(1, limit=LIMITED), of_letters(bytes([0, 1, 2, 5, 11, 12]))),
    (LengthPrefixed(2, "big", limit=LIMITED), of_letters(bytes([0, 0, 0, 1, 5, 11]))),
    (LengthPrefixed(2, "little", includes_header=True, limit=LIMITED), of_letters(bytes([0, 0, 2, 3, 4, 5]))),
    (LengthPrefixed(4, "little", limit=LIMITED), of_letters(bytes([0, 0, 0, 0, 0, 1, 2]))),
    (FixedSize(3), of_letters(b"abc")),
    (Struct(Point), of_letters(b"abc")),
    (Strict(), of_letters(b"abbb-")),
    (Netstring(), of_letters(b"0123:,,a-")),
    (JsonLines(limit=LIMITED), of_letters(b'123 [],\r\n\r\n"\xff')),
    (JsonLines(b"\n", loads=json.loads), of_letters(b'12[],\n"')),
]


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Return ``stream`` cut at the given places."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in itertools.pairwise(places)]


def cut(framing: Framing, chunks: list[bytes], *, at_once: bool) -> tuple[list[Any], str]:
    """Return the messages in ``chunks`` up to the first error, and what kind that is."""
    buffer, messages = ReceiveBuffer(), list[Any]()
    try:
        for chunk in chunks:
            buffer.append(chunk)
            while True:
                found = framing.take_all(buffer) if at_once else [framing.take(buffer)]
                if not found or found == [None]:
                    break
                messages += map(plain, found)
    except Exception as error:
        return messages, type(error).__name__
    return messages, f"{len(buffer)} bytes wait"


@settings(deadline=None, max_examples=600)
@given(st.data())
def test_any_split_gives_the_same_messages(data: st.DataObject) -> None:
    """Also the same error after the same messages, whether they are taken one by one or all at once."""
    framing, streams = data.draw(st.sampled_from(STREAMS), label="framing")
    stream = data.draw(streams, label="stream")
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=8), label="cuts")
    whole = cut(framing, [stream], at_once=True)
    assert cut(framing, [stream], at_once=False) == whole
    assert cut(framing, pieces(stream, cuts), at_once=True) == whole
    assert cut(framing, pieces(stream, cuts), at_once=False) == whole
    assert cut(framing, pieces(stream, list(range(len(stream)))), at_once=True) == whole


ROUND_TRIPS: list[tuple[Framing, st.SearchStrategy[Any]]] = [
    (Delimited(b"\r\n"), of_letters(b"abc ")),
    (Delimited(b"aa"), of_letters(b"bc", 5)),
    (LengthPrefixed(1), st.binary(max_size=255)),
    (LengthPrefixed(2, "little"), st.binary()),
    (LengthPrefixed(4, "big", includes_header=True), st.binary()),
    (FixedSize(2), st.binary(min_size=2, max_size=2)),
    (Struct(Point), st.builds(Point, st.integers(0, 255), st.integers(0, 65535))),
    (Netstring(), st.binary()),
    (JsonLines(), st.recursive(st.integers() | st.text() | st.booleans(), st.lists, max_leaves=5)),
]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_what_is_encoded_comes_back(data: st.DataObject) -> None:
    """Messages survive the way over a stream."""
    framing, kinds = data.draw(st.sampled_from(ROUND_TRIPS))
    messages = data.draw(st.lists(kinds, max_size=5))
    buffer = ReceiveBuffer()
    buffer.append(b"".join(framing.encode(message) for message in messages))
    assert list(map(plain, framing.take_all(buffer))) == list(map(plain, messages))
    assert len(buffer) == 0


def test_the_example_of_the_documentation_is_short() -> None:
    """A framing of one's own takes 15 lines."""
    text = (inspect.getdoc(framing_module) or "").partition("::\n\n")[2]
    assert len([line for line in text.splitlines() if line.strip()]) <= 15


def test_raw_takes_what_is_there() -> None:
    """Nothing is no message."""
    buffer = ReceiveBuffer()
    assert Raw().take(buffer) is None
    buffer.append(b"ab")
    assert Raw().take_all(buffer) == [b"ab"]
    assert Raw().encode(memoryview(b"cd")) == b"cd"


def test_terminator_can_be_kept() -> None:
    """Then a message that came can be sent on as it is."""
    lines = Delimited(b"\n", keep=True)
    buffer = ReceiveBuffer()
    buffer.append(b"a\n\nb")
    assert lines.take_all(buffer) == [b"a\n", b"\n"]
    assert lines.encode(b"a\n") == lines.encode(b"a") == b"a\n"


@pytest.mark.parametrize(
    ("terminator", "message"), [(b"\n", b"a\nb"), (b"aa", b"ba"), (b"\r\n", "\r\n"), (b"aba", b"xab")]
)
def test_message_with_its_terminator_inside_is_refused(terminator: bytes, message: Any) -> None:
    """Also where it would come about only together with the real one."""
    with pytest.raises(ValueError, match="must not contain the terminator"):
        Delimited(terminator).encode(message)


@pytest.mark.parametrize(
    ("framing", "stream"),
    [
        (Delimited(b"\r\n", limit=5), b"abcd\r\n"),
        (Delimited(b"\r\n", limit=5), b"abcdef"),
        (LengthPrefixed(1, limit=5), b"\x05abcde"),
        (LengthPrefixed(4, limit=5), b"\xff\xff\xff\xff"),
        (JsonLines(limit=5), b"[1,2]\r\n"),
    ],
    ids=repr,
)
def test_limit_is_an_error_and_nothing_is_lost(framing: Framing, stream: bytes) -> None:
    """Each time again; with a larger limit the message can be had."""
    buffer = ReceiveBuffer()
    buffer.append(stream)
    for take in (framing.take, framing.take_all, framing.take):
        with pytest.raises(LimitExceeded, match="over the limit of 5; raise limit="):
            take(buffer)
    assert buffer.take_all() == stream


def test_frame_of_the_very_limit_passes() -> None:
    """With its terminator, or its header."""
    buffer = ReceiveBuffer()
    for framing, stream in ((Delimited(limit=6), b"abcd\r\n"), (LengthPrefixed(2, limit=6), b"\x00\x04abcd")):
        buffer.append(stream)
        assert framing.take(buffer) == b"abcd"


def test_messages_before_a_bad_one_are_not_lost() -> None:
    """Whatever it raises, and whether it was removed before or not."""
    for framing, stream, good in (
        (Netstring(), b"1:a,x:b,", b"a"),  # raises ValueError
        (Netstring(), b"1:a,-9:b,", b"a"),
        (Strict(), b"abc-bc", b"abc"),
        (LengthPrefixed(1, includes_header=True), b"\x02a\x00", b"a"),
    ):
        buffer = ReceiveBuffer()
        buffer.append(stream)
        assert framing.take_all(buffer) == [good]
        with pytest.raises(ValueError, match=r"invalid literal|negative|cannot take|bad|smaller"):
            framing.take_all(buffer)


def test_length_smaller_than_its_header_is_a_protocol_error() -> None:
    """It says so."""
    buffer = ReceiveBuffer()
    buffer.append(b"\x00\x01")
    with pytest.raises(ProtocolError, match="a length of 1 is smaller than its own header of 2 bytes"):
        LengthPrefixed(2, includes_header=True).take(buffer)


@pytest.mark.parametrize(
    ("framing", "message", "error"),
    [
        (Raw(), 5, TypeError),
        (Raw(), "text", TypeError),
        (Delimited(), 5, TypeError),
        (Delimited(), None, TypeError),
        (LengthPrefixed(1), bytes(256), ValueError),
        (LengthPrefixed(1, includes_header=True), bytes(255), ValueError),
        (LengthPrefixed(1), "text", TypeError),
        (FixedSize(2), b"a", ValueError),
        (FixedSize(2), "ab", TypeError),
        (Struct(Point), b"abc", TypeError),
        (Struct(Point), ctypes.c_int(1), TypeError),
    ],
    ids=repr,
)
def test_what_cannot_be_encoded_is_refused(framing: Framing, message: Any, error: type[Exception]) -> None:
    """Rather than sent as something else."""
    with pytest.raises(error):
        framing.encode(message)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Delimited(b""), ValueError),
        (lambda: Delimited("\n"), TypeError),
        (lambda: Delimited(limit=0), ValueError),
        (lambda: Delimited(limit=1.5), TypeError),
        (lambda: Delimited(limit=True), TypeError),
        (lambda: Delimited(b"end", limit=2), ValueError),
        (lambda: JsonLines(loads="json"), TypeError),
        (lambda: LengthPrefixed(3), ValueError),
        (lambda: LengthPrefixed(1.0), ValueError),
        (lambda: LengthPrefixed(4, limit=3), ValueError),
        (lambda: LengthPrefixed(2, "middle"), ValueError),
        (lambda: LengthPrefixed(limit=-1), ValueError),
        (lambda: FixedSize(0), ValueError),
        (lambda: FixedSize("3"), TypeError),
        (lambda: Struct(bytes), TypeError),
        (lambda: Struct(Point()), TypeError),
        (lambda: Struct(type("Empty", (ctypes.Structure,), {"_fields_": []})), ValueError),
        (Framing, TypeError),
    ],
)
def test_bad_arguments_are_refused(make: Any, error: type[Exception]) -> None:
    """At the call."""
    with pytest.raises(error):
        make()


def test_default_limit() -> None:
    """64 KiB."""
    assert Delimited().limit == LengthPrefixed().limit == JsonLines().limit == LIMIT == 65536


def test_long_data_is_shown_shortened() -> None:
    """With its whole length."""
    assert shorten(b"ab") == "b'ab'"
    assert shorten("x" * 100, 3) == "'xxx'... (100 in all)"


class Shouting(Delimited):
    """A framing of a user that changes what one of the library takes."""

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Take a line in capitals."""
        line = super().take(buffer)
        return None if line is None else line.upper()


class Loud:
    """The same for any framing of lines."""

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Take a line in capitals."""
        line = super().take(buffer)  # type: ignore[misc]
        return None if line is None else line.upper()


class LoudLines(Loud, Delimited):
    """Both."""


@pytest.mark.parametrize("framing", [Shouting, LoudLines])
def test_class_that_overrides_take_alone(framing: type[Delimited]) -> None:
    """Gets all messages by it, although the class that it derives from has a faster way for many."""
    buffer = ReceiveBuffer()
    buffer.append(b"a\r\nb\r\n")
    assert framing().take_all(buffer) == [b"A", b"B"]
