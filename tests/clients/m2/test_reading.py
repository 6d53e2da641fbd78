"""The reading and writing methods of the client of one port, one by one, as users of the original know them."""

from __future__ import annotations

import ctypes
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cnx import ConnectionLost, EncodingError, IncompleteRead, InvalidJson, LimitExceeded, NotConnected, TimedOut
from cnx.clients.m2 import M2Client
from tests.helpers import m2_wire_examples as wire

DEADLINE = 10.0


class Point(ctypes.Structure):
    """Three bytes."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("x", ctypes.c_uint8), ("y", ctypes.c_uint16))


@pytest.fixture
def link() -> Iterator[tuple[M2Client, socket.socket]]:
    """Return a client that is connected, and its peer."""
    own, peer = socket.socketpair()
    peer.settimeout(DEADLINE)
    client = M2Client.from_socket(own, timeout=DEADLINE)
    client.connect()
    yield client, peer
    client.close()
    peer.close()


Link = tuple[M2Client, socket.socket]


def test_read(link: Link) -> None:
    """read(n) returns what is there, at most n bytes; all others stay."""
    client, peer = link
    peer.sendall(b"abcdef")
    assert client.read(0) == b""
    assert client.read(4) == b"abcd"
    assert client.read(100) == b"ef"


def test_read_to_the_end(link: Link) -> None:
    """read(-1) returns everything up to the end, then every read returns nothing."""
    client, peer = link
    peer.sendall(b"abc")
    peer.close()
    assert client.read() == b"abc"
    assert client.read(5) == b""


def test_readexactly(link: Link) -> None:
    """readexactly(n) returns n bytes, none for 0, and refuses a negative number."""
    client, peer = link
    peer.sendall(b"abcdef")
    assert client.readexactly(0) == b""
    assert client.readexactly(6) == b"abcdef"
    with pytest.raises(ValueError, match="-1"):
        client.readexactly(-1)


def test_readline_and_readuntil(link: Link) -> None:
    """Both return a piece with its end."""
    client, peer = link
    peer.sendall(b"one\r\ntwo\nthree;four\r\n")
    assert client.readline() == b"one\r\n"
    assert client.readuntil() == b"two\n"
    assert client.readuntil(b";") == b"three;"
    assert client.readuntil(client.terminator) == b"four\r\n"
    with pytest.raises(ValueError, match="empty"):
        client.readuntil(b"")


def test_read_str_and_read_json(link: Link) -> None:
    """Text comes without its terminator, JSON as its value."""
    client, peer = link
    peer.sendall("é\r\n".encode() + wire.TANGENT_FORCE)
    assert client.read_str() == "é"
    assert client.read_json() == json.loads(wire.TANGENT_FORCE)


def test_read_into(link: Link) -> None:
    """A structure is filled with the bytes of its size; more bytes stay."""
    client, peer = link
    peer.sendall(b"\x01\x02\x03rest")
    point = Point()
    client.read_into(point)
    assert (point.x, point.y) == (1, 0x0302)
    assert client.read(4) == b"rest"


def test_bad_text_and_bad_json_take_one_line(link: Link) -> None:
    """A line that is not text, or not JSON, is an error that shows it; the next line can be read."""
    client, peer = link
    peer.sendall(b"\xff\r\n" + wire.NOT_JSON + b"[" * 5000 + b"\r\n" + wire.FIRST_FAULT)
    with pytest.raises(EncodingError):
        client.read_str()
    with pytest.raises(InvalidJson, match="not json"):
        client.read_json()
    with pytest.raises(ValueError, match="not JSON"):
        client.read_json()
    assert client.read_json()["status"] == 2**57


READERS: list[Callable[[M2Client], Any]] = [
    lambda client: client.readexactly(10),
    lambda client: client.readuntil(b";"),
    lambda client: client.read_str(),
    lambda client: client.read_json(),
    lambda client: client.read_into((ctypes.c_uint8 * 10).from_buffer(bytearray(10))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("reader", READERS[:4])
@pytest.mark.parametrize("data", [b"abc", b""])
def test_the_end_in_the_middle(link: Link, reader: Callable[[M2Client], Any], data: bytes) -> None:
    """When the peer closes too early, the error says so; it carries what had arrived, which can still be read."""
    client, peer = link
    peer.sendall(data)
    peer.close()
    with pytest.raises(ConnectionLost) as caught:
        reader(client)
    if data:
        assert isinstance(caught.value, IncompleteRead)
        assert caught.value.partial == data
    assert client.read(100) == data
    assert not client.connected


def test_the_rest_of_a_line_at_the_end(link: Link) -> None:
    """readline() returns the rest without an end, then nothing."""
    client, peer = link
    peer.sendall(b"abc")
    peer.close()
    assert client.readline() == b"abc"
    assert client.readline() == b""


def test_the_limit_keeps_the_data(link: Link) -> None:
    """A piece over the limit is an error, each time; readexactly() gets past it."""
    client, peer = link
    client.limit = 100
    peer.sendall(b"x" * 200 + b"\r\n")
    assert client.readexactly(1) == b"x"
    for _ in range(2):
        with pytest.raises(LimitExceeded):
            client.readuntil(b"\r\n")
    with pytest.raises(ValueError, match="limit"):
        client.readline()
    assert client.readexactly(199) == b"x" * 199
    assert client.readline() == b"\r\n"


@pytest.mark.parametrize("reader", READERS[:4])
def test_a_timeout_loses_nothing(link: Link, reader: Callable[[M2Client], Any]) -> None:
    """After a timeout the same bytes are read by the next call."""
    client, peer = link
    peer.sendall(b"ab")
    client.timeout = 0.01
    with pytest.raises(TimedOut):
        reader(client)
    client.timeout = DEADLINE
    assert client.connected
    assert client.readexactly(2) == b"ab"


def test_writing(link: Link) -> None:
    """Every way to write sends exactly its bytes."""
    client, peer = link
    client.write(b"a")
    client.write(memoryview(bytearray(b"b")))
    client.writelines([b"c", b"d"])
    client.writelines([])
    client.write_str("é")
    client.send({"id": "cmd_m\u00e9", "a": float("nan")})
    client.write_json({"n": [1, 2]})
    client.write_from(Point(1, 0x0302), Point(4, 5))
    client.write_from()
    client.send({"id": "evt_x"})
    expected = (
        b"abcd\xc3\xa9\r\n" + b'{"id": "cmd_m\\u00e9", "a": NaN}\r\n{"n": [1, 2]}\r\n' + b"\x01\x02\x03\x04\x05\x00"
    )
    expected += b'{"id": "evt_x"}\r\n'
    data = b""
    while len(data) < len(expected):
        data += peer.recv(1000)
    assert data == expected


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.write("text"), TypeError),
        (lambda client: client.writelines(["text"]), TypeError),
        (lambda client: client.write_str(b"bytes"), TypeError),
        (lambda client: client.write_str("\ud800"), UnicodeError),
        (lambda client: client.write_json(object()), TypeError),
        (lambda client: client.write_json(float("nan")), ValueError),
        (lambda client: client.write_from(b"bytes"), TypeError),
        (lambda client: client.send(object()), TypeError),
        (lambda client: setattr(client, "encoding", "no such"), ValueError),
        (lambda client: setattr(client, "terminator", "\r\n"), TypeError),
        (lambda client: setattr(client, "terminator", b""), ValueError),
    ],
)
def test_what_cannot_be_written(link: Link, call: Callable[[M2Client], Any], error: type[Exception]) -> None:
    """What cannot be sent is an error and sends nothing; the connection goes on."""
    client, peer = link
    with pytest.raises(error):
        call(client)
    client.write(b"next")
    assert peer.recv(100) == b"next"


def test_encoding_and_terminator_can_change(link: Link) -> None:
    """Text in another encoding with another end, on the same connection; the terminator is never encoded."""
    client, peer = link
    client.encoding, client.terminator = "utf-16", b"\n\n"
    client.write_str("a")
    assert peer.recv(100) == "a".encode("utf-16") + b"\n\n"
    peer.sendall("b".encode("utf-16") + b"\n\n")
    assert client.read_str() == "b"


CALLS: list[Callable[[M2Client], Any]] = [
    *READERS[:4],
    lambda client: client.read(1),
    lambda client: client.readline(),
    lambda client: client.receive(),
    lambda client: client.write(b"a"),
    lambda client: client.writelines([b"a"]),
    lambda client: client.write_str("a"),
    lambda client: client.write_json(1),
    lambda client: client.write_from(Point()),
    lambda client: client.send({}),
]


@pytest.mark.parametrize("call", CALLS)
def test_without_a_connection(call: Callable[[M2Client], Any]) -> None:
    """Every call raises at once without a connection, before the first one and after the last."""
    with pytest.raises(NotConnected):
        call(M2Client("127.0.0.1", 1))
    own, peer = socket.socketpair()
    client = M2Client.from_socket(own)
    client.connect()
    client.close()
    with pytest.raises(ConnectionError):
        call(client)
    peer.close()


def test_refused_and_late(link: Link) -> None:
    """A port that refuses is an error of connecting, and it can be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    client = M2Client("127.0.0.1", port)
    for _ in range(2):
        with pytest.raises(ConnectionError, match=str(port)):
            client.connect(timeout=DEADLINE)
    with socket.create_server(("127.0.0.1", port)):
        client.connect(timeout=DEADLINE)
        assert client.connected
        client.close()
        assert not client.connected
