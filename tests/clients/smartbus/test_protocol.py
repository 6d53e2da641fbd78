"""Packets and their framing: captured examples, round trips, any split, malformed streams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer
from cnx.clients.smartbus.protocol.packets import (
    HEADER,
    Address,
    Packet,
    PacketFraming,
    checked_address,
    checked_byte,
)
from cnx.errors import LimitExceeded, ProtocolError

US = Address(19, 5, 9)
SERVER = Address(0, 0, 1)
BYTE = st.integers(0, 255)
ADDRESSES = st.builds(Address, BYTE, BYTE, BYTE)
PACKETS = st.builds(Packet, BYTE, BYTE, ADDRESSES, ADDRESSES, st.binary(max_size=50))


def take_all(data: bytes, framing: PacketFraming | None = None) -> list[Packet]:
    """Return the packets of a stream that arrived at once."""
    buffer = ReceiveBuffer()
    buffer.append(data)
    return (framing or PacketFraming()).take_all(buffer)


def header(packet_size: int, data_size: int, flag: int = 0x5B15) -> bytes:
    """Return a header with any sizes."""
    return HEADER.pack(flag, 1, 3, 9, 19, 5, 9, 20, 1, packet_size, data_size)


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("155bf20309130501000000001a0000000500000050494e472100", Packet(0xF2, 3, US, SERVER, b"PING!")),
        ("155b070109130501000000001c0000000600000068656c6c6f3f0000", Packet(7, 1, US, SERVER, b"hello?")),
        ("155b080101000009130500001c0000000600000068656c6c6f3f0000", Packet(8, 1, SERVER, US, b"hello?")),
    ],
)
def test_captured_packets(text: str, packet: Packet) -> None:
    """Packets that the original client sent are read and written byte for byte."""
    assert take_all(bytes.fromhex(text)) == [packet]
    assert bytes(packet) == bytes.fromhex(text)


@pytest.mark.parametrize(("size", "padding"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 1), (6, 2), (7, 3), (8, 0)])
def test_padding_is_the_length_modulo_four(size: int, padding: int) -> None:
    """The padding is not an alignment; internal packets have none."""
    assert len(bytes(Packet(1, 3, US, SERVER, bytes(size)))) == 20 + size + padding
    assert len(bytes(Packet(1, 0, US, SERVER, bytes(size)))) == 20 + size


def test_any_padding_is_accepted() -> None:
    """A server may pad as it likes, or not at all; the rest is stepped over."""
    bare, padded = header(23, 3) + b"abc", header(40, 3) + b"abc" + bytes(17)
    assert [packet.data for packet in take_all(padded + bare + padded)] == [b"abc"] * 3


@given(PACKETS)
@settings(deadline=None)
def test_round_trip(packet: Packet) -> None:
    """What is written is read again."""
    assert take_all(bytes(packet)) == [packet]


@given(st.lists(PACKETS, max_size=8), st.lists(st.integers(0, 600), max_size=10))
@settings(deadline=None)
def test_any_split_gives_the_same_packets(packets: list[Packet], cuts: list[int]) -> None:
    """Boundaries between reads mean nothing, also inside a header."""
    stream = b"".join(map(bytes, packets))
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    framing, buffer, taken = PacketFraming(), ReceiveBuffer(), []
    for start, end in itertools.pairwise(edges):
        buffer.append(stream[start:end])
        taken += framing.take_all(buffer)
    assert taken == packets
    assert len(buffer) == 0


def test_byte_by_byte() -> None:
    """A stream that comes one byte at a time is read."""
    packets = [Packet(i, 3, US, SERVER, bytes(i)) for i in range(5)]
    framing, buffer, taken = PacketFraming(), ReceiveBuffer(), []
    for value in b"".join(map(bytes, packets)):
        buffer.append(bytes([value]))
        taken += framing.take_all(buffer)
    assert taken == packets


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="another protocol"),
        pytest.param(header(24, 4, flag=0x155B) + bytes(4), id="bytes of the flag swapped"),
        pytest.param(header(0, 0), id="packet size 0"),
        pytest.param(header(-1, 0), id="packet size negative"),
        pytest.param(header(19, 0), id="packet smaller than its header"),
        pytest.param(header(24, 5), id="more data than packet"),
        pytest.param(header(24, -1), id="data size negative"),
    ],
)
def test_malformed_headers_are_errors(bad: bytes) -> None:
    """What makes the original client deaf, spin or read foreign memory is an error here."""
    with pytest.raises(ProtocolError):
        take_all(bad)


def test_huge_packet_is_refused_before_it_is_stored() -> None:
    """A size beyond the limit is an error at once, not memory."""
    with pytest.raises(LimitExceeded, match="2147483647"):
        take_all(header(0x7FFFFFFF, 4))
    assert len(take_all(header(100, 80) + bytes(80), PacketFraming(limit=100))) == 1
    with pytest.raises(LimitExceeded, match="limit of 99"):
        take_all(header(100, 80), PacketFraming(limit=99))


def test_good_packets_before_garbage_are_delivered_first() -> None:
    """The packets before the bad bytes come out, then the error."""
    framing, buffer = PacketFraming(), ReceiveBuffer()
    packets = [Packet(1, 3, US, SERVER, b"one"), Packet(2, 3, US, SERVER, b"two")]
    buffer.append(b"".join(map(bytes, packets)) + b"garbage of twenty bytes or more")
    assert framing.take_all(buffer) == packets
    with pytest.raises(ProtocolError, match="does not speak SmartBus"):
        framing.take_all(buffer)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    """Whatever comes, the framing waits, delivers or says what is wrong."""
    try:
        take_all(data)
    except (ProtocolError, LimitExceeded):
        return


@pytest.mark.parametrize("value", [-1, 256, 1000])
def test_addresses_out_of_range(value: int) -> None:
    """Each part of an address is one byte."""
    with pytest.raises(ValueError, match="unit id must be 0 to 255"):
        checked_address(value, 0, 0)
    with pytest.raises(ValueError, match="client id must be 0 to 255"):
        checked_address(0, value, 0)
    with pytest.raises(ValueError, match="client type must be 0 to 255"):
        checked_address(0, 0, value)


@pytest.mark.parametrize("value", ["1", 1.0, None, True])
def test_addresses_of_the_wrong_type(value: object) -> None:
    """A part of an address must be an int, not something like it."""
    with pytest.raises(TypeError, match="must be an int"):
        checked_byte("unit id", value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\0stale", "plain"),
        ("信息".encode(), "信息"),
        ("信息".encode("cp936"), "信息"),
        (b"\xff\xff\xfe", "\\xff\\xff\\xfe"),
        (b"", ""),
    ],
)
def test_text_of_a_packet(data: bytes, text: str) -> None:
    """Text ends at its NUL and is read in the encodings that peers use; nothing is lost."""
    assert Packet(1, 3, US, SERVER, data).text() == text
