"""Tests of the reading methods: whole pieces however the stream is split, and what happens when it ends."""

from __future__ import annotations

import contextlib
import ctypes
import math
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx import (
    Connection,
    Delimited,
    FixedSize,
    Framing,
    JsonLines,
    LengthPrefixed,
    SocketConnection,
    Struct,
    subscribe,
)
from cnx.buffer import ReceiveBuffer
from cnx.errors import (
    ConnectionLost,
    EncodingError,
    IncompleteRead,
    InvalidJson,
    LimitExceeded,
    NotConnected,
    PeerClosed,
    ProtocolError,
    TimedOut,
)
from cnx.testing import connection_pair

PATIENCE = 10.0

Pair = tuple[SocketConnection, socket.socket]


class Point(ctypes.BigEndianStructure):
    """A structure of three bytes."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("x", ctypes.c_uint8), ("y", ctypes.c_uint16))


class Number(ctypes.Union):
    """The same four bytes in two ways."""

    _fields_ = (("whole", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 4))


class Big(ctypes.Structure):
    """A structure of a thousand bytes."""

    _fields_ = (("data", ctypes.c_uint8 * 1000),)


def read_point(connection: SocketConnection, timeout: float | None = None) -> bytes:
    """Read a structure and return its bytes."""
    point = Point()
    connection.read_into(point, timeout=timeout)
    return bytes(point)


# -- any split, any mixture of methods ---------------------------------------------------------------------------------

METHODS: dict[str, tuple[st.SearchStrategy[bytes], Callable[[SocketConnection, bytes], Any]]] = {
    "readexactly": (st.binary(max_size=20), lambda c, sent: c.readexactly(len(sent))),
    "readuntil": (
        st.binary(max_size=20).map(lambda raw: raw.replace(b";", b"") + b";"),
        lambda c, sent: c.readuntil(b";"),
    ),
    "readline": (
        st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"") + b"\n"),
        lambda c, sent: c.readline(),
    ),
    "read_str": (
        st.text(max_size=9).map(lambda text: text.replace("\r\n", "").encode() + b"\r\n"),
        lambda c, sent: c.read_str().encode() + b"\r\n",
    ),
    "read_json": (
        st.integers().map(lambda number: b"[%d]\r\n" % number),
        lambda c, sent: b"[%d]\r\n" % c.read_json()[0],
    ),
    "read_into": (st.binary(min_size=3, max_size=3), lambda c, sent: read_point(c)),
    "receive": (
        st.binary(max_size=20).map(lambda raw: bytes([len(raw)]) + raw),
        lambda c, sent: bytes([len(sent) - 1]) + c.receive(),
    ),
    "read": (st.binary(min_size=1, max_size=1), lambda c, sent: c.read(1)),
}

piece = st.sampled_from(sorted(METHODS)).flatmap(lambda name: st.tuples(st.just(name), METHODS[name][0]))


@settings(deadline=None, max_examples=120)
@given(pieces=st.lists(piece, max_size=12), sizes=st.lists(st.integers(1, 20), min_size=1), subscribed=st.booleans())
def test_any_mixture_of_methods_reads_any_split(pieces: list[Any], sizes: list[int], subscribed: bool) -> None:
    """Each method gets its piece whole, whatever came together with it, with and without a subscriber."""
    stream = b"".join(sent for _, sent in pieces)
    with connection_pair(timeout=PATIENCE, framing=LengthPrefixed(1)) as (connection, peer):
        if subscribed:
            subscribe(connection, Connection.Signals.DATA_RECEIVED, lambda data: None)
            connection.read_waiting()  # from now on bytes are kept
        chunks, start = [], 0
        while start < len(stream):
            size = sizes[len(chunks) % len(sizes)]
            chunks.append(stream[start : start + size])
            start += size
        sender = threading.Thread(target=lambda: [peer.sendall(chunk) for chunk in chunks], daemon=True)
        sender.start()
        for name, sent in pieces:
            assert METHODS[name][1](connection, sent) == sent, name
        sender.join(PATIENCE)
        assert connection.read_waiting() == b""


FRAMINGS: list[tuple[Framing, list[Any]]] = [
    (Delimited(b"\r\n"), [b"", b"a", b"\r", b"x" * 300]),
    (LengthPrefixed(2, "little", includes_header=True), [b"", b"a", bytes(300)]),
    (FixedSize(3), [b"abc", b"\0\0\0"]),
    (JsonLines(), [{"a": [1, None]}, "ü", 1.5, True]),
]


@settings(deadline=None, max_examples=60)
@given(
    choice=st.sampled_from(FRAMINGS), order=st.lists(st.integers(0, 3), max_size=6), sizes=st.lists(st.integers(1, 9))
)
def test_any_split_gives_the_same_messages(choice: Any, order: list[int], sizes: list[int]) -> None:
    """By ``receive``, and as signals."""
    framing, messages = choice
    sent = [messages[number % len(messages)] for number in order]
    stream = b"".join(map(framing.encode, sent))
    told: list[Any] = []
    complete = threading.Event()

    def on_message(message: Any) -> None:
        told.append(message)
        if len(told) == len(sent):
            complete.set()

    with connection_pair(timeout=PATIENCE, framing=framing) as (reader, peer):
        with connection_pair(framing=framing) as (listener, other_peer):
            subscribe(listener, Connection.Signals.MESSAGE_RECEIVED, on_message)
            while stream:
                size = sizes.pop() if sizes else len(stream)
                peer.sendall(stream[:size])
                other_peer.sendall(stream[:size])
                stream = stream[size:]
            assert [reader.receive() for _ in sent] == sent
            assert not sent or complete.wait(PATIENCE)
    assert told == sent


def test_one_byte_at_a_time(cnx_pair: Pair) -> None:
    """The slowest peer there is."""
    connection, peer = cnx_pair
    stream = b"line\nabc" + b'{"a": 1}\r\n'
    thread = threading.Thread(target=lambda: [peer.send(stream[i : i + 1]) for i in range(len(stream))], daemon=True)
    thread.start()
    assert connection.readline(timeout=PATIENCE) == b"line\n"
    assert read_point(connection, PATIENCE) == b"abc"
    assert connection.read_json(timeout=PATIENCE) == {"a": 1}
    thread.join(PATIENCE)


# -- what each method returns ------------------------------------------------------------------------------------------


def test_read_returns_what_is_there(cnx_pair: Pair) -> None:
    """At most what was asked for; the rest stays."""
    connection, peer = cnx_pair
    peer.sendall(b"hello")
    assert connection.read(2, timeout=PATIENCE) == b"he"
    assert connection.read(100, timeout=PATIENCE) == b"llo"
    assert connection.read(0) == b""


def test_read_everything(cnx_pair: Pair) -> None:
    """Until the peer closes, more than the limit."""
    connection, peer = cnx_pair
    connection.limit = 1000
    thread = threading.Thread(target=lambda: (peer.sendall(bytes(500_000)), peer.close()), daemon=True)
    thread.start()
    assert len(connection.read(timeout=PATIENCE)) == 500_000
    assert connection.read(timeout=PATIENCE) == b""
    thread.join(PATIENCE)


def test_readexactly_knows_no_limit(cnx_pair: Pair) -> None:
    """What is asked for by its size fits."""
    connection, peer = cnx_pair
    connection.limit = 10
    thread = threading.Thread(target=peer.sendall, args=(bytes(300_000),), daemon=True)
    thread.start()
    assert connection.readexactly(300_000, timeout=PATIENCE) == bytes(300_000)
    assert connection.readexactly(0) == b""
    thread.join(PATIENCE)


def test_text_and_terminators(cnx_pair: Pair) -> None:
    """Encoding and terminator can be changed on a live connection."""
    connection, peer = cnx_pair
    connection.timeout = PATIENCE
    peer.sendall("grün\r\n".encode())
    assert connection.read_str() == "grün"
    connection.encoding, connection.terminator = "latin-1", b";"
    peer.sendall("grün;{};".encode("latin-1"))
    assert connection.read_str() == "grün"
    assert connection.read_json() == {}


def test_structures_of_all_kinds(cnx_pair: Pair) -> None:
    """Structures and unions of either byte order; what is too much stays."""
    connection, peer = cnx_pair
    point, number = Point(), Number()
    peer.sendall(b"\x01\x02\x03\x04\0\0\0rest")
    connection.read_into(point, timeout=PATIENCE)
    connection.read_into(number, timeout=PATIENCE)
    assert (point.x, point.y, bytes(number)) == (1, 0x0203, b"\x04\0\0\0")
    assert connection.readexactly(4, timeout=PATIENCE) == b"rest"


def test_receive_without_a_framing_gives_what_is_there(cnx_pair: Pair) -> None:
    """Raw bytes."""
    connection, peer = cnx_pair
    peer.sendall(b"abc")
    assert connection.receive(timeout=PATIENCE) == b"abc"


def test_structures_as_messages() -> None:
    """A framing of structures gives instances."""
    with connection_pair(framing=Struct(Point), timeout=PATIENCE) as (connection, peer):
        connection.send(Point(1, 2))
        peer.sendall(peer.recv(100))
        point = connection.receive()
        assert (point.x, point.y) == (1, 2)


def test_read_waiting_does_not_wait(cnx_pair: Pair) -> None:
    """It returns what is there, maybe nothing."""
    connection, peer = cnx_pair
    assert connection.read_waiting() == b""
    peer.sendall(b"abc")
    assert connection.readexactly(1, timeout=PATIENCE) == b"a"
    assert connection.read_waiting() == b"bc"
    assert connection.read_waiting() == b""


# -- timeouts ----------------------------------------------------------------------------------------------------------

WAITING: list[Callable[..., Any]] = [
    lambda c, **timeout: c.read(**timeout),
    lambda c, **timeout: c.readexactly(1000, **timeout),
    lambda c, **timeout: c.readuntil(b"#", **timeout),
    lambda c, **timeout: c.readline(**timeout),
    lambda c, **timeout: c.read_str(**timeout),
    lambda c, **timeout: c.read_json(**timeout),
    lambda c, **timeout: c.read_into(Big(), **timeout),
    lambda c, **timeout: c.receive(**timeout),
]
IDS = ["read", "readexactly", "readuntil", "readline", "read_str", "read_json", "read_into", "receive"]


@pytest.mark.parametrize("wait", WAITING, ids=IDS)
@pytest.mark.parametrize("seconds", [0, 0.02])
def test_timeout_loses_nothing(wait: Callable[..., Any], seconds: float) -> None:
    """What came is there for the next call, of whatever method; also when the timeout is the connection's own."""
    with connection_pair(framing=LengthPrefixed(4), timeout=seconds) as (connection, peer):
        for _ in range(2):
            peer.sendall(b"\0\0\0\xff")
            with pytest.raises(TimedOut):
                wait(connection, timeout=0.02)
            with pytest.raises(TimedOut):
                wait(connection)
        assert connection.readexactly(8, timeout=PATIENCE) == b"\0\0\0\xff" * 2
        assert connection.connected


@pytest.mark.parametrize(
    "wait",
    [
        lambda connection: connection.readexactly(1 << 40, timeout=0.05),
        lambda connection: connection.read(timeout=0.05),
        lambda connection: connection.readuntil(b"end", timeout=0.05),
        lambda connection: connection.wait_for(lambda: None, timeout=0.05),
    ],
    ids=["readexactly", "read", "readuntil", "wait_for"],
)
def test_peer_that_never_pauses_does_not_put_a_timeout_off(wait: Callable[[SocketConnection], Any]) -> None:
    """The call ends while the peer still sends, although each look at the socket finds something."""
    with connection_pair(limit=1 << 40) as (connection, peer):
        connection.connect()

        def flood() -> None:
            with contextlib.suppress(OSError):  # the connection is closed
                for _ in range(2000):
                    peer.sendall(bytes(1 << 20))

        flooding = threading.Thread(target=flood)
        flooding.start()
        with pytest.raises(TimedOut):
            wait(connection)
        assert flooding.is_alive()
        connection.disconnect()
        flooding.join(PATIENCE)


@pytest.mark.parametrize("wait", WAITING, ids=IDS)
@pytest.mark.parametrize("timeout", [-1, math.nan, "1", True], ids=repr)
def test_bad_timeout_is_refused(cnx_pair: Pair, wait: Callable[..., Any], timeout: Any) -> None:
    """At the call, although nothing would have to be waited for."""
    connection, _ = cnx_pair
    with pytest.raises((ValueError, TypeError), match="timeout"):
        wait(connection, timeout=timeout)


def test_infinite_timeout_wins_over_the_one_of_the_connection() -> None:
    """``math.inf`` waits for as long as it takes."""
    with connection_pair(timeout=0.01) as (connection, peer):
        peer.sendall(b"a")
        threading.Timer(0.1, peer.sendall, [b"bcd"]).start()
        assert connection.readexactly(4, timeout=math.inf) == b"abcd"


# -- the end -----------------------------------------------------------------------------------------------------------


def test_orderly_end_when_all_is_read(cnx_pair: Pair) -> None:
    """``read`` and ``readline`` return ``b""``, the others raise; each time again."""
    connection, peer = cnx_pair
    connection.timeout = PATIENCE
    peer.close()
    for _ in range(2):
        assert connection.read() == connection.read(10) == connection.readline() == b""
        for wait in (WAITING[1], WAITING[2], *WAITING[4:]):
            with pytest.raises(ConnectionLost) as caught:
                wait(connection)
            assert not isinstance(caught.value, IncompleteRead)
        with pytest.raises(ConnectionLost):
            connection.read_waiting()
    assert not connection.connected


def test_orderly_end_in_the_middle() -> None:
    """The error carries what had come, which can still be read."""
    with connection_pair(framing=FixedSize(50), timeout=PATIENCE) as (connection, peer):
        peer.sendall(b"partial")
        peer.close()
        for wait in (WAITING[1], WAITING[2], *WAITING[4:]):
            with pytest.raises(IncompleteRead, match="7 bytes of an incomplete piece are left") as caught:
                wait(connection)
            assert caught.value.partial == b"partial"
        with pytest.raises(EOFError) as also:
            connection.readexactly(20)
        assert also.value.expected == 20
        assert connection.readline() == b"partial"
        assert connection.readline() == b""


@pytest.mark.parametrize("size", [2, 100])
def test_end_while_a_call_waits(cnx_pair: Pair, size: int) -> None:
    """It is woken, and what came is not lost."""
    connection, peer = cnx_pair
    peer.sendall(b"a")
    threading.Timer(0.05, peer.close).start()
    with pytest.raises(IncompleteRead) as caught:
        connection.readexactly(size, timeout=PATIENCE)
    assert caught.value.partial == b"a"
    assert connection.read(timeout=PATIENCE) == b"a"


def reset(peer: socket.socket) -> None:
    """Break the connection."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


def test_reset_is_a_loss_and_no_end() -> None:
    """``read`` raises rather than returning ``b""``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with SocketConnection("127.0.0.1", listener.getsockname()[1], timeout=PATIENCE) as connection:
            peer, _ = listener.accept()
            peer.sendall(b"abc")
            assert connection.readexactly(3) == b"abc"
            reset(peer)
            for wait in (lambda: connection.read(10), connection.readline, connection.read):
                with pytest.raises(ConnectionLost, match="reset by peer") as caught:
                    wait()
                assert not isinstance(caught.value, PeerClosed)


def test_disconnect_ends_a_waiting_call(cnx_pair: Pair) -> None:
    """With the reason; what had come can be read afterwards."""
    connection, peer = cnx_pair
    peer.sendall(b"abc")
    threading.Timer(0.05, connection.disconnect).start()
    with pytest.raises(ConnectionError, match=r"disconnect\(\) was called"):
        connection.readexactly(10, timeout=PATIENCE)
    assert connection.readexactly(3) == b"abc"
    with pytest.raises(NotConnected):
        connection.read(1)


def test_reading_before_connecting() -> None:
    """Is refused."""
    connection = SocketConnection("127.0.0.1", 1)
    for wait in WAITING:
        with pytest.raises(NotConnected):
            wait(connection)
    for wait in (connection.read_waiting, lambda: connection.read(0)):
        with pytest.raises(NotConnected):
            wait()


# -- bad data ----------------------------------------------------------------------------------------------------------


def test_limit_is_an_error_and_the_data_stay() -> None:
    """Each time again, also for lines behind good ones; a larger limit, or a reading by size, gets past."""
    with connection_pair(limit=10, timeout=PATIENCE) as (connection, peer):
        peer.sendall(b"ok\n" + b"x" * 20 + b"\n;end\r\n")
        assert connection.readline() == b"ok\n"
        for _ in range(2):
            for wait in (connection.readline, lambda: connection.readuntil(b";"), connection.read_str):
                with pytest.raises(LimitExceeded, match="within 10 bytes; nothing was taken; raise limit="):
                    wait()
        connection.limit = 100
        assert connection.readline() == b"x" * 20 + b"\n"
        assert connection.readuntil(b";") == b";"
        assert connection.read_str() == "end"


def test_piece_of_the_very_limit_passes() -> None:
    """With its end."""
    with connection_pair(limit=10, timeout=PATIENCE) as (connection, peer):
        peer.sendall(b"123456789\n" + b"12345678\r\n")
        assert connection.readline() == b"123456789\n"
        assert connection.read_str() == "12345678"


def test_endless_line_is_refused_before_it_fills_memory() -> None:
    """As soon as the limit is passed."""
    with connection_pair(limit=1000, timeout=PATIENCE) as (connection, peer):
        peer.sendall(b"x" * 1001)
        with pytest.raises(LimitExceeded):
            connection.readline()


def test_bad_encoding(cnx_pair: Pair) -> None:
    """The piece is gone, and shown."""
    connection, peer = cnx_pair
    peer.sendall(b"\xff\xfe\r\ngood\r\n")
    with pytest.raises(UnicodeError, match=r"not text in utf-8: b'\\xff\\xfe'") as caught:
        connection.read_str(timeout=PATIENCE)
    assert isinstance(caught.value, EncodingError)
    assert connection.read_str(timeout=PATIENCE) == "good"


@pytest.mark.parametrize("bad", ["not json", "", "{", "1 2", "[" * 60_000, "\ufeff1"], ids=lambda bad: bad[:9])
def test_bad_json(cnx_pair: Pair, bad: str) -> None:
    """The error shows the text, shortened; the piece is gone, the link goes on."""
    connection, peer = cnx_pair
    peer.sendall(bad.encode() + b"\r\nnull\r\n")
    with pytest.raises(ValueError, match="not JSON") as caught:
        connection.read_json(timeout=PATIENCE)
    assert isinstance(caught.value, InvalidJson)
    assert caught.value.text == bad
    assert len(str(caught.value)) < 300
    assert connection.read_json(timeout=PATIENCE) is None


class Fragile(Framing):
    """A framing that is not prepared for everything."""

    def take(self, buffer: ReceiveBuffer) -> int | None:
        """Take a number of one line."""
        end = buffer.find(b"\n")
        return None if end < 0 else int(buffer.take(end + 1))


def test_framing_that_fails_is_a_protocol_error() -> None:
    """Rather than something that nobody expects of a connection."""
    with connection_pair(framing=Fragile(), timeout=PATIENCE) as (connection, peer):
        peer.sendall(b"12\nx\n13\n")
        assert connection.receive() == 12
        with pytest.raises(ProtocolError, match="Fragile failed on the bytes that arrived: ValueError"):
            connection.receive()
        assert connection.receive() == 13


def test_oversized_frame_is_refused() -> None:
    """By its header alone."""
    with connection_pair(framing=LengthPrefixed(4, limit=100), timeout=PATIENCE) as (connection, peer):
        peer.sendall(b"\0\0\1\0")
        with pytest.raises(LimitExceeded):
            connection.receive()
        assert connection.readexactly(4) == b"\0\0\1\0"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.read("1"), TypeError),
        (lambda c: c.read(1.5), TypeError),
        (lambda c: c.readexactly(-1), ValueError),
        (lambda c: c.readexactly(None), TypeError),
        (lambda c: c.readuntil(b""), ValueError),
        (lambda c: c.readuntil("\n"), TypeError),
        (lambda c: c.read_into(bytearray(3)), TypeError),
        (lambda c: c.read_into(Point), TypeError),
        (lambda c: c.request(b"x", b""), ValueError),
        (lambda c: c.request("x"), TypeError),
        (lambda c: c.request(b"x", timeout=-1), ValueError),
    ],
)
def test_bad_arguments_are_refused(cnx_pair: Pair, call: Callable[[Any], Any], error: type[Exception]) -> None:
    """Before anything is taken or sent."""
    connection, peer = cnx_pair
    peer.sendall(b"abc\r\n")
    with pytest.raises(error):
        call(connection)
    assert connection.readexactly(5, timeout=PATIENCE) == b"abc\r\n"
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)


# -- many threads ------------------------------------------------------------------------------------------------------


def test_eight_readers_share_a_stream_in_whole_pieces() -> None:
    """Each piece goes to one of them, whole, whatever method it uses."""
    rounds = 150
    got: list[bytes] = []
    kinds: list[Callable[[SocketConnection], bytes]] = [
        lambda c: c.readline(),
        lambda c: c.readuntil(b"\n"),
        lambda c: c.readexactly(8),
        lambda c: c.read_str().encode() + b"\n",
    ]
    lines = [b"%07d\n" % number for number in range(8 * rounds)]

    def read(kind: Callable[[SocketConnection], bytes]) -> None:
        for _ in range(rounds):
            got.append(kind(connection))

    with connection_pair(timeout=PATIENCE, terminator=b"\n") as (connection, peer):
        readers = [threading.Thread(target=read, args=(kinds[i % 4],), daemon=True) for i in range(8)]
        for reader in readers:
            reader.start()
        for start in range(0, len(lines), 7):
            peer.sendall(b"".join(lines[start : start + 7]))
        for reader in readers:
            reader.join(PATIENCE)
    assert sorted(got) == lines


def test_requests_of_eight_threads_take_turns() -> None:
    """Each gets its own reply."""
    rounds = 50

    def answer() -> None:
        rest = b""
        for _ in range(8 * rounds):
            while b"\r\n" not in rest:
                rest += peer.recv(4096)
            line, _, rest = rest.partition(b"\r\n")
            peer.sendall(b"re: " + line + b"\r\n")

    wrong: list[bytes] = []

    def ask(name: int) -> None:
        for number in range(rounds):
            question = b"%d/%d\r\n" % (name, number)
            if connection.request(question) != b"re: " + question:
                wrong.append(question)

    with connection_pair(timeout=PATIENCE) as (connection, peer):
        threads = [threading.Thread(target=answer, daemon=True)]
        threads += [threading.Thread(target=ask, args=(name,), daemon=True) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert not wrong


def test_request_waits_for_its_turn_no_longer_than_asked(cnx_pair: Pair) -> None:
    """The timeout is for everything together; what was not sent cannot be answered by mistake."""
    connection, peer = cnx_pair
    first = threading.Thread(target=lambda: connection.request(b"first\r\n", timeout=PATIENCE), daemon=True)
    first.start()
    assert peer.recv(100) == b"first\r\n"
    with pytest.raises(TimedOut, match="nothing was sent"):
        connection.request(b"second\r\n", timeout=0.05)
    peer.sendall(b"reply\r\n")
    first.join(PATIENCE)
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)


def test_request_with_a_separator_of_its_own(cnx_pair: Pair) -> None:
    """Instead of the terminator."""
    connection, peer = cnx_pair
    peer.sendall(b"value;more\r\n")
    assert connection.request(b"?", b";", timeout=PATIENCE) == b"value;"
    assert connection.request(b"?", timeout=PATIENCE) == b"more\r\n"
