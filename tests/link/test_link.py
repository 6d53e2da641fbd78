"""Links: who reads, writes and ends, when many threads want to at once."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import Any

import pytest

from cnx import ConnectionLost, Delimited, NotConnected, SocketConnection, TimedOut, subscribe
from cnx.connections.sockets import AdoptedSocket
from cnx.deadline import Deadline
from cnx.link.inbox import Inbox
from cnx.link.link import PAUSE
from cnx.link.selector import INPUT, NOTHING
from cnx.testing import PATIENCE, connection_pair, wait_until
from cnx.transports.sockets import SocketTransport
from cnx.transports.transport import Transport
from tests.helpers.inside import is_reading, is_writing, link_of

DATA = SocketConnection.Signals.DATA_RECEIVED
MESSAGE = SocketConnection.Signals.MESSAGE_RECEIVED


def in_threads(count: int, action: object) -> list[threading.Thread]:
    """Start ``action(number)`` on several threads."""
    threads = [threading.Thread(target=action, args=(number,)) for number in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    """Wait for the end of all."""
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("told", [False, True])
def test_readers_share_what_comes(told: bool) -> None:
    """Eight threads read lines: each line goes to one of them, whole, whether somebody is subscribed or not."""
    lines = [b"%d\n" % number for number in range(2000)]
    got: Counter[bytes] = Counter()
    heard = bytearray()
    with connection_pair() as (connection, peer):
        if told:
            subscribe(connection, DATA, heard.extend)

        def read(number: int) -> None:
            while (line := connection.readline(timeout=PATIENCE)) != b"end\n":
                got[line] += 1

        threads = in_threads(8, read)
        for start in range(0, 2000, 37):
            peer.sendall(b"".join(lines[start : start + 37]))
        peer.sendall(b"end\n" * 8)
        join(threads)
        assert got == Counter(lines)
        if told:
            wait_until(lambda: len(heard) == sum(map(len, lines)) + 32, "the subscriber")


def test_reader_that_gives_up_hands_over() -> None:
    """When the thread that reads the socket has had enough, another one that waits takes its place."""
    with connection_pair() as (connection, peer):
        got: list[bytes] = []

        def give_up() -> None:
            with pytest.raises(TimedOut):
                connection.readexactly(9, timeout=0.05)

        patient = threading.Thread(target=lambda: got.append(connection.readexactly(3, timeout=PATIENCE)))
        impatient = threading.Thread(target=give_up)
        impatient.start()
        wait_until(lambda: is_reading(connection), "the first reader")
        patient.start()
        join([impatient])
        peer.sendall(b"abc")
        join([patient])
        assert got == [b"abc"]


class Held(SocketTransport):
    """A socket that the listener reads only when it may."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "held")
        self.found, self.may = threading.Event(), threading.Event()

    def read_now(self, size: int) -> bytes | None:
        self.found.set()
        assert self.may.wait(PATIENCE)
        return super().read_now(size)


class HeldConnection(SocketConnection):
    """A connection over that."""

    def open_transport(self, deadline: Deadline) -> Transport:
        opener = self._cnx.opener
        assert isinstance(opener, AdoptedSocket)
        return Held(opener.sock)


class Looking:
    """A piece of five bytes; before it is looked for the first time, the listener may read."""

    def __init__(self, transport: Held) -> None:
        self.transport = transport

    def made_of(self, data: bytes) -> bytes | None:
        """Let it go through the inbox."""
        return None

    def take_from(self, inbox: Inbox) -> bytes | None:
        """Let the listener read, and take what is there."""
        found = inbox.look(lambda buffer: buffer.take(5) or None)
        self.transport.may.set()
        return found


def test_caller_gets_what_the_listener_has_read() -> None:
    """What the listener reads while a caller looks in vain is found by the caller, who does not wait for more."""

    near, peer = socket.socketpair()
    connection = HeldConnection.from_socket(near)
    with peer, subscribe(connection, DATA, lambda data: None), connection:  # later, that would wake the listener
        link: Any = link_of(connection)
        transport = link.transport
        peer.sendall(b"aside")
        assert transport.found.wait(PATIENCE)
        assert link.take(Looking(transport), PATIENCE) == b"aside"


def test_caller_who_had_to_wait_for_the_listener_reads_by_itself_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the listener would read every reply first, and each had to be handed over."""
    monkeypatch.setitem(PAUSE, True, PATIENCE)
    near, peer = socket.socketpair()
    connection = HeldConnection.from_socket(near)
    with peer, subscribe(connection, DATA, lambda data: None), connection:  # later, that would wake the listener
        link: Any = link_of(connection)
        link.transport.may.set()
        for _ in range(100):  # it may miss the moment, if the listener is just about to be armed again
            wait_until(lambda: link._interest == INPUT, "the listener")
            link.transport.found.clear()
            link.transport.may.clear()
            peer.sendall(b"first")
            assert link.transport.found.wait(PATIENCE)
            assert link.take(Looking(link.transport), PATIENCE) == b"first"
            if link._interest == NOTHING:
                return
    raise AssertionError("the listener is still the first to read")


def test_writers_never_interleave() -> None:
    """Messages of eight threads, larger than any buffer, arrive whole."""
    size = 300_000
    with connection_pair() as (connection, peer):
        threads = in_threads(8, lambda number: connection.write(b"%d" % number * size, timeout=PATIENCE))
        data = bytearray()
        while len(data) < 8 * size:
            data += peer.recv(1 << 20)
        join(threads)
        pieces = [bytes(data[start : start + size]) for start in range(0, len(data), size)]
        assert sorted(pieces) == [b"%d" % number * size for number in range(8)]


def test_writer_that_waits_gives_up_or_hears_of_the_end() -> None:
    """Behind a write that is stuck, another one waits its time, or until the link ends; nothing of it is sent."""
    with connection_pair() as (connection, peer):
        errors: list[Exception] = []

        def write(number: int) -> None:
            try:
                connection.write(b"x" * 50_000_000)
            except Exception as error:
                errors.append(error)

        stuck = in_threads(2, write)
        wait_until(lambda: is_writing(connection), "the writer")
        with pytest.raises(TimedOut, match="nothing was sent"):
            connection.write(b"y", timeout=0.01)
        connection.disconnect()
        join(stuck)
        assert [type(error) for error in errors] == [NotConnected, NotConnected]
        data = bytearray()
        while piece := peer.recv(1 << 20):
            data += piece
        assert b"y" not in data


def test_write_that_is_cut_ends_the_link() -> None:
    """After a part of a message nothing else may follow, so the link ends with that reason."""
    with connection_pair() as (connection, peer):
        with pytest.raises(TimedOut, match="the rest cannot follow"):
            connection.write(b"x" * 50_000_000, timeout=0.05)
        assert not connection.connected
        assert isinstance(connection.last_error, TimedOut) or connection.last_error is None
        with pytest.raises(ConnectionLost):
            connection.write(b"y")
        peer.close()


def test_handler_must_not_read_what_it_is_told() -> None:
    """It would wait for itself; the error says so, at once."""
    with connection_pair() as (connection, peer):
        errors: list[str] = []
        done = threading.Event()

        def on_data(data: bytes) -> None:
            try:
                connection.readexactly(100, timeout=PATIENCE)
            except RuntimeError as error:
                errors.append(str(error))
            done.set()

        subscribe(connection, DATA, on_data)
        peer.sendall(b"data")
        assert done.wait(PATIENCE)
        assert "read on another thread" in errors[0]


def test_what_came_before_a_loss_is_told_before_it() -> None:
    """The peer's last messages, and then its end, reach the subscribers in this order, however late those are."""
    for _ in range(50):
        told: list[object] = []
        over = threading.Event()
        near, far = socket.socketpair()
        connection = SocketConnection.from_socket(near, framing=Delimited(b"\n"))
        subscribe(connection, connection.Signals.CONNECTED, lambda t=told: t.append("connected"))
        subscribe(connection, MESSAGE, told.append)
        subscribe(connection, connection.Signals.DISCONNECTED, lambda reason, t=told, o=over: (t.append(None), o.set()))
        far.sendall(b"one\ntwo\nthree\n")
        far.close()
        connection.try_connect()
        assert over.wait(PATIENCE)
        assert told == ["connected", b"one", b"two", b"three", None]


def test_loss_found_by_a_writer_drops_no_message() -> None:
    """While messages are being told, another thread finds the link broken: the rest of them is told before the end."""
    told: list[bytes] = []
    over, first, broken = threading.Event(), threading.Event(), threading.Event()
    near, far = socket.socketpair()
    connection = SocketConnection.from_socket(near, framing=Delimited(b"\n"))

    def on_message(message: bytes) -> None:
        told.append(message)
        first.set()
        assert broken.wait(PATIENCE)

    subscribe(connection, MESSAGE, on_message)
    subscribe(connection, connection.Signals.DISCONNECTED, lambda reason: over.set())
    far.sendall(b"one\ntwo\nthree\n")
    connection.connect()
    assert first.wait(PATIENCE)
    far.close()
    with pytest.raises(ConnectionLost):
        connection.write(b"x")
    broken.set()
    assert over.wait(PATIENCE)
    assert told == [b"one", b"two", b"three"]
