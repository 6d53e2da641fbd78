"""Tests of the writing methods: whole messages, never mixed, in bounded time."""

from __future__ import annotations

import array
import ctypes
import io
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cnx import Connection, Delimited, JsonLines, LengthPrefixed, SocketConnection, subscribe
from cnx.errors import ConnectionLost, NotConnected, TimedOut
from cnx.link.listener import Listener
from cnx.testing import connection_pair, serial_pair, wait_until
from tests.helpers.inside import is_writing, link_of

PATIENCE = 10.0

Pair = tuple[SocketConnection, socket.socket]


class Point(ctypes.BigEndianStructure):
    """A structure of three bytes."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("x", ctypes.c_uint8), ("y", ctypes.c_uint16))


class Nested(ctypes.Structure):
    """A structure with a structure and an array."""

    _fields_ = (("point", Point), ("values", ctypes.c_uint8 * 2))


def received(peer: socket.socket, size: int) -> bytes:
    """Return the next ``size`` bytes."""
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        assert more, "closed"
        data += more
    return data


def nothing_was_sent(peer: socket.socket) -> bool:
    """Tell whether nothing waits."""
    peer.setblocking(False)
    try:
        peer.recv(1)
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda c: c.write(b"abc"), b"abc"),
        (lambda c: c.write(bytearray(b"abc")), b"abc"),
        (lambda c: c.write(memoryview(b"abcdef")[::2]), b"ace"),
        (lambda c: c.write(memoryview(array.array("I", [1, 2]))), struct.pack("=II", 1, 2)),
        (lambda c: c.write(b""), b""),
        (lambda c: c.writelines([b"a", bytearray(b"b"), memoryview(b"c")]), b"abc"),
        (lambda c: c.writelines(piece for piece in (b"x", b"y")), b"xy"),
        (lambda c: c.writelines([]), b""),
        (lambda c: c.write_str("grün"), "grün\r\n".encode()),
        (lambda c: c.write_str(""), b"\r\n"),
        (lambda c: c.write_json({"ü": [1, None, 1e9]}), b'{"\\u00fc": [1, null, 1000000000.0]}\r\n'),
        (lambda c: c.write_from(Point(1, 2), Nested(Point(3, 4), (5, 6))), b"\1\0\2\3\0\4\5\6"),
        (lambda c: c.write_from(), b""),
        (lambda c: c.send(b"raw"), b"raw"),
    ],
)
def test_what_goes_out(cnx_pair: Pair, write: Callable[[SocketConnection], None], expected: bytes) -> None:
    """Of each method."""
    connection, peer = cnx_pair
    write(connection)
    connection.write(b"|end")
    assert received(peer, len(expected) + 4) == expected + b"|end"


@pytest.mark.parametrize(
    ("framing", "message", "expected"),
    [
        (Delimited(b"\n"), "text", b"text\n"),
        (LengthPrefixed(2), b"abc", b"\0\3abc"),
        (JsonLines(), {"a": 1}, b'{"a":1}\r\n'),
    ],
)
def test_send_uses_the_framing(framing: Any, message: Any, expected: bytes) -> None:
    """The one of the connection."""
    with connection_pair(framing=framing) as (connection, peer):
        connection.send(message)
        assert received(peer, len(expected)) == expected
        assert connection.traffic.messages_sent == 1


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_encoding_and_terminator_of_the_connection() -> None:
    """The terminator is never encoded."""
    with connection_pair(encoding="utf-16-le", terminator=b"\0\0") as (connection, peer):
        connection.write_str("ab")
        assert received(peer, 6) == b"a\0b\0\0\0"


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda c: c.write("text"), TypeError),
        (lambda c: c.write(5), TypeError),
        (lambda c: c.write([1, 2]), TypeError),
        (lambda c: c.write(None), TypeError),
        (lambda c: c.writelines([b"a", "b"]), TypeError),
        (lambda c: c.writelines(b"ab"), TypeError),
        (lambda c: c.write_str(b"bytes"), TypeError),
        (lambda c: c.write_str("\udcff"), UnicodeEncodeError),
        (lambda c: c.write_json({1, 2}), TypeError),
        (lambda c: c.write_json(float("nan")), ValueError),
        (lambda c: c.write_json({"a": [float("-inf")]}), ValueError),
        (lambda c: c.write_json(nested(100_000)), ValueError),
        (lambda c: c.write_from(Point(1, 2), b"abc"), TypeError),
        (lambda c: c.write_from(Point), TypeError),
        (lambda c: c.send("text"), TypeError),
        (lambda c: c.write(b"a", timeout=-1), ValueError),
        (lambda c: c.write(b"a", timeout=float("nan")), ValueError),
        (lambda c: c.write(b"a", timeout="1"), TypeError),
    ],
)
def test_bad_arguments_are_refused(cnx_pair: Pair, write: Callable[[Any], None], error: type[Exception]) -> None:
    """And nothing is sent."""
    connection, peer = cnx_pair
    with pytest.raises(error):
        write(connection)
    assert nothing_was_sent(peer)
    assert connection.connected


def test_message_that_its_framing_refuses_is_not_sent() -> None:
    """The link goes on."""
    with connection_pair(framing=LengthPrefixed(1)) as (connection, peer):
        with pytest.raises(ValueError, match="does not fit"):
            connection.send(bytes(256))
        assert nothing_was_sent(peer)
        assert connection.connected


def test_pieces_of_eight_writers_are_never_mixed() -> None:
    """Each call's bytes arrive together, larger than what a socket takes at once."""
    rounds, size = 12, 300_000
    with connection_pair(timeout=PATIENCE) as (connection, peer):

        def write(name: int) -> None:
            for number in range(rounds):
                if number % 2:
                    connection.write(bytes([name]) * size)
                else:
                    connection.writelines([bytes([name])] * size)

        writers = [threading.Thread(target=write, args=(name,), daemon=True) for name in range(8)]
        for writer in writers:
            writer.start()
        for _ in range(8 * rounds):
            piece = received(peer, size)
            assert piece == piece[:1] * size
        for writer in writers:
            writer.join(PATIENCE)
        assert connection.traffic.bytes_sent == 8 * rounds * size


def fill(connection: SocketConnection) -> None:
    """Write until the peer, which does not read, lets nothing more through; each write is whole or not at all."""
    sock = link_of(connection).transport.socket
    sock.setblocking(False)
    try:
        while True:
            sock.send(bytes(4096))
    except BlockingIOError:
        sock.setblocking(True)


def test_write_that_sends_nothing_leaves_the_link_up(cnx_pair: Pair) -> None:
    """The error says so; afterwards the stream is what it would have been."""
    connection, peer = cnx_pair
    fill(connection)
    with pytest.raises(TimedOut, match=r"took nothing of 5 bytes within 0.05 s; nothing was sent"):
        connection.write(b"hello", timeout=0.05)
    assert connection.connected
    connection.timeout = 0.05
    with pytest.raises(TimedOut):
        connection.write(b"hello")
    peer.settimeout(0.2)
    with pytest.raises(TimeoutError):
        while True:
            assert not peer.recv(65536).strip(b"\0")
    peer.settimeout(PATIENCE)
    connection.write(b"hello", timeout=PATIENCE)
    assert received(peer, 5) == b"hello"


def test_write_that_is_cut_ends_the_link(cnx_pair: Pair) -> None:
    """With that reason, as the rest cannot follow."""
    connection, _ = cnx_pair
    with pytest.raises(
        TimedOut, match=r"only a part of 50000000 bytes within 0.05 s; the connection is closed"
    ) as first:
        connection.write(bytes(50_000_000), timeout=0.05)
    assert not connection.connected
    with pytest.raises(ConnectionLost) as second:
        connection.write(b"more")
    assert second.value.__cause__ is first.value
    connection.disconnect()
    assert connection.last_error is first.value


def test_wait_for_another_writer_is_bounded(cnx_pair: Pair) -> None:
    """And then nothing was sent; the other one goes on."""
    connection, peer = cnx_pair
    size = 5_000_000
    writer = threading.Thread(target=connection.write, args=(b"x" * size,), daemon=True)
    writer.start()
    assert peer.recv(1) == b"x"  # the other one has begun, and is blocked
    wait_until(lambda: is_writing(connection), "the other writer")
    with pytest.raises(TimedOut, match=r"another write .* did not end"):
        connection.write(b"y", timeout=0.05)
    assert received(peer, size - 1) == b"x" * (size - 1)
    writer.join(PATIENCE)
    connection.write(b"z", timeout=PATIENCE)
    assert received(peer, 1) == b"z"


def test_writing_without_a_link() -> None:
    """Is refused at once, before and after."""
    connection = SocketConnection("127.0.0.1", 1)
    with pytest.raises(NotConnected, match="not connected"):
        connection.write(b"a")
    with connection_pair() as (other, _):
        other.disconnect()
        for write in (lambda: other.write(b"a"), lambda: other.write_str("a"), lambda: other.send(b"a")):
            with pytest.raises(NotConnected, match=r"disconnect\(\) was called"):
                write()


def test_writing_to_a_peer_that_has_gone(cnx_pair: Pair) -> None:
    """Is a loss; what the peer had sent before can still be read."""
    connection, peer = cnx_pair
    peer.sendall(b"goodbye")
    assert connection.readexactly(1, timeout=PATIENCE) == b"g"
    peer.close()
    with pytest.raises(ConnectionLost):
        for _ in range(100):
            connection.write(bytes(100_000), timeout=PATIENCE)
    assert connection.readexactly(6, timeout=PATIENCE) == b"oodbye"


def test_last_words_are_read_although_a_write_finds_the_peer_gone(cnx_pair: Pair) -> None:
    """Such as the reason why a server hangs up: what had arrived is not lost by a write that fails."""
    connection, peer = cnx_pair
    connection.reading = True
    peer.sendall(b"too many connections")
    peer.close()
    with pytest.raises(ConnectionLost):
        for _ in range(100):
            connection.write(b"hello", timeout=PATIENCE)
    assert connection.read(100, timeout=PATIENCE) == b"too many connections"


def test_answer_to_last_words_is_lost() -> None:
    """A handler that is given the last words by the write that finds the peer gone is refused as after a loss."""
    listener = Listener()
    busy, go_on = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def block(data: bytes) -> None:
        busy.set()
        go_on.wait(PATIENCE)

    with (
        connection_pair(listener=listener) as (other, other_peer),
        connection_pair(listener=listener) as (connection, peer),
        subscribe(other, Connection.Signals.DATA_RECEIVED, block),
    ):

        def answer(data: bytes) -> None:
            try:
                connection.write(b"answer", timeout=PATIENCE)
            except Exception as error:
                raised.append(error)

        other_peer.sendall(b"block")
        assert busy.wait(PATIENCE)  # so that the listener reads nothing
        with subscribe(connection, Connection.Signals.DATA_RECEIVED, answer):
            peer.sendall(b"question")
            peer.close()
            with pytest.raises(ConnectionLost):
                for _ in range(100):
                    connection.write(b"hello", timeout=PATIENCE)
            go_on.set()
        assert [type(error) for error in raised] == [ConnectionLost]


def test_disconnect_ends_a_blocked_write(cnx_pair: Pair) -> None:
    """At once."""
    connection, peer = cnx_pair
    got: list[bytes] = []

    def stop() -> None:
        got.append(peer.recv(1))
        connection.disconnect()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(ConnectionError):
        connection.write(bytes(50_000_000))
    thread.join(PATIENCE)
    assert got == [b"\0"]


def test_end_of_what_is_written(cnx_pair: Pair) -> None:
    """The peer sees it after everything before, and its answer can be read."""
    connection, peer = cnx_pair
    connection.write(b"all of it")
    connection.write_eof()
    connection.write_eof()
    assert peer.recv(100) == b"all of it"
    assert peer.recv(100) == b""
    with pytest.raises(RuntimeError, match=r"write_eof\(\) has ended .* nothing was sent"):
        connection.write(b"more")
    assert connection.connected
    peer.sendall(b"9 bytes\n")
    peer.close()
    assert connection.readline(timeout=PATIENCE) == b"9 bytes\n"
    assert connection.read(timeout=PATIENCE) == b""


def test_serial_line_has_no_end_to_write() -> None:
    """It is refused, and the link goes on."""
    with serial_pair() as (connection, _):
        with pytest.raises(io.UnsupportedOperation, match="cannot end one direction alone"):
            connection.write_eof()
        assert connection.connected
