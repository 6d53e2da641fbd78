"""EPSNET datagrams and frames, against the captured ones."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.tecoroute.protocol.epsnet import (
    ACKNOWLEDGE,
    Datagram,
    Frame,
    acknowledgement,
    checksum,
    message_id,
    set_clock,
)
from cnx.errors import ProtocolError

FRIDAY = bytes.fromhex("020102000011680b0b68007d6308190a110e1e2d057a1600")
NEW_YEAR = bytes.fromhex("020102000011680b0b68007d63081a010100000004081600")
ANSWER = bytes.fromhex("020102000001e500")


def test_set_clock_vectors() -> None:
    """The two known datagrams that set a clock come out to the byte."""
    assert set_clock(datetime(2025, 10, 17, 14, 30, 45)) == FRIDAY
    assert set_clock(datetime(2026, 1, 1)) == NEW_YEAR


@pytest.mark.parametrize("year", [1999, 2256])
def test_set_clock_outside_of_its_years(year: int) -> None:
    """A year that one byte cannot hold is refused."""
    with pytest.raises(ValueError, match="between 2000 and 2255"):
        set_clock(datetime(year, 1, 1))


def test_captured_frame() -> None:
    """The captured frame is understood."""
    frame = Frame.decode(Datagram.decode(FRIDAY).frames)
    assert frame == Frame(0x63, bytes.fromhex("08190a110e1e2d05"), destination=0, source=0x7D)


@pytest.mark.parametrize("answer", [ANSWER, ANSWER[:-1]], ids=["padded", "not padded"])
def test_captured_answer(answer: bytes) -> None:
    """The captured answer is understood, with and without its padding."""
    assert Datagram.decode(answer) == Datagram(b"\x02\x01", ACKNOWLEDGE, 2)
    assert message_id(answer) == b"\x02\x01"


def test_acknowledgement() -> None:
    """The answer to a datagram repeats its message id and number."""
    assert acknowledgement(FRIDAY) == ANSWER


@settings(deadline=None, max_examples=100)
@given(st.binary(min_size=2, max_size=2), st.binary(max_size=1300), st.integers(0, 255))
def test_datagrams_there_and_back(identity: bytes, frames: bytes, number: int) -> None:
    """A datagram has an even length and comes back as it was."""
    datagram = Datagram(identity, frames, number)
    assert len(datagram.encode()) % 2 == 0
    assert Datagram.decode(datagram.encode()) == datagram


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 255), st.binary(max_size=252), st.integers(0, 255), st.integers(0, 255))
def test_frames_there_and_back(function: int, data: bytes, destination: int, source: int) -> None:
    """A frame comes back as it was."""
    frame = Frame(function, data, destination, source)
    assert Frame.decode(frame.encode()) == frame


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """Garbage is an error of the protocol, and has no message id unless it is a datagram."""
    for kind in (Datagram, Frame):
        try:
            kind.decode(data)
        except ProtocolError as error:
            assert str(error)  # noqa: PT017
    assert message_id(data) in (None, data[:2])


@pytest.mark.parametrize("position", range(17))
def test_damaged_frames(position: int) -> None:
    """A frame with one wrong bit is refused."""
    frame = bytearray(Datagram.decode(FRIDAY).frames)
    frame[position] ^= 1
    with pytest.raises(ProtocolError):
        Frame.decode(bytes(frame))


@pytest.mark.parametrize("data", [b"", b"\x02\x01\x02\x00\x00", FRIDAY[:-2], FRIDAY + b"\x00"])
def test_damaged_datagrams(data: bytes) -> None:
    """A datagram whose length is not the one in its header is refused."""
    with pytest.raises(ProtocolError):
        Datagram.decode(data)
    assert message_id(data) is None


def test_checksum_is_one_byte() -> None:
    """The checksum is a sum modulo 256."""
    assert checksum(b"\xff\x02") == 1


def test_values_that_do_not_fit() -> None:
    """Numbers and data that their fields cannot hold are refused."""
    with pytest.raises(ValueError, match="252"):
        Frame(0x63, bytes(253)).encode()
    with pytest.raises(ValueError, match="256"):
        Frame(256, b"").encode()
    with pytest.raises(ValueError, match="two bytes"):
        Datagram(b"\x01", b"")
    with pytest.raises(ValueError, match="65535"):
        Datagram(b"\x01\x02", bytes(65536))
