"""Tests of what is said of bytes that nobody reads."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cnx import Connection, ConnectionLost, LimitExceeded, SocketConnection, subscribe
from cnx.deadline import Deadline
from cnx.errors import ConnectError, NotConnected
from cnx.testing import PATIENCE, connection_pair, scripted_peer, wait_until
from cnx.transports.transport import Transport


def test_subscribers_get_everything_whatever_waits_unread() -> None:
    """Nobody reads, so the oldest bytes are dropped for readers, and the next reading method says how many."""
    with connection_pair(limit=1000) as (connection, peer):
        emitted: list[bytes] = []
        with subscribe(connection, Connection.Signals.DATA_RECEIVED, emitted.append):
            peer.sendall(b"x")
            assert connection.read(1, timeout=PATIENCE) == b"x"
            for number in range(50):
                peer.sendall(b"%02d" % number * 50)
                wait_until(lambda number=number: sum(map(len, emitted)) == 1 + 100 * (number + 1), "the signals")
            with pytest.raises(LimitExceeded, match="were dropped") as caught:
                connection.read(1)
            dropped = int(str(caught.value).split()[0])
            rest = connection.read_waiting()
    assert b"".join(emitted) == b"x" + b"".join(b"%02d" % number * 50 for number in range(50))
    assert dropped + len(rest) == 5000
    assert b"".join(emitted).endswith(rest)


def test_request_is_not_answered_by_what_subscribers_have_got() -> None:
    """An exchange begins with its own request: neither older messages nor dropped bytes affect it."""
    with connection_pair(limit=1000) as (connection, peer):
        emitted: list[bytes] = []
        with (
            subscribe(connection, Connection.Signals.DATA_RECEIVED, emitted.append),
            scripted_peer(peer, [(b"?\r\n", b"answer\r\n")]),
        ):
            for count in range(1, 6):
                peer.sendall(b"older\r\n" * 100)
                wait_until(lambda count=count: sum(map(len, emitted)) == 700 * count, "the signals")
            assert connection.request(b"?\r\n", timeout=PATIENCE) == b"answer\r\n"


def test_unread_bytes_of_the_last_link_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """What was not read from a link that was lost is dropped when the next one is made, and the log says so."""
    caplog.set_level(logging.WARNING, "cnx")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = SocketConnection("127.0.0.1", listening.getsockname()[1])
        connection.connect()
        peer, _ = listening.accept()
        with peer:
            peer.sendall(b"1234567")
        wait_until(lambda: not connection.connected, "the loss")
        assert connection.read(2, timeout=PATIENCE) == b"12"
        connection.connect()
        assert "5 bytes of the last link were not read" in caplog.text
        connection.teardown()
        listening.accept()[0].close()


@pytest.mark.parametrize("size", [0, 10, 70_000, 300_000, 3_000_000])
@pytest.mark.parametrize("end", ["orderly", "reset"])
def test_end_is_noticed_whatever_waits_unread(size: int, end: str) -> None:
    """The program only writes. It hears of the end, and what the peer sent before an orderly one can still be read."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = SocketConnection("127.0.0.1", listening.getsockname()[1])
        over = threading.Event()
        with subscribe(connection, Connection.Signals.DISCONNECTED, over.set):
            connection.connect()
            peer, _ = listening.accept()
            with peer:
                peer.settimeout(PATIENCE)
                peer.sendall(bytes(size))
                if end == "reset":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert over.wait(PATIENCE)
        assert not connection.connected
        if end == "orderly":
            assert connection.read(timeout=PATIENCE) == bytes(size)
        connection.teardown()


@contextmanager
def two_links(first: bytes, second: bytes) -> Iterator[tuple[SocketConnection, Callable[[], None]]]:
    """Give a connection whose peer has sent something and gone, and a function that makes the second link."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = SocketConnection("127.0.0.1", listening.getsockname()[1], timeout=PATIENCE)
        connection.connect()
        peer, _ = listening.accept()
        peers = [peer]
        peer.sendall(first)
        peer.shutdown(socket.SHUT_WR)
        wait_until(lambda: not connection.connected, "the end")

        def replace() -> None:
            connection.connect()
            peers.append(listening.accept()[0])
            peers[1].sendall(second)

        yield connection, replace
        connection.teardown()
        for peer in peers:
            peer.close()


def test_pieces_of_two_links_do_not_meet() -> None:
    """A header of one link is not followed by the body of the next one: one call in between raises."""
    with two_links(b"head1body1", b"head2body2") as (connection, replace):
        assert connection.readexactly(5) == b"head1"
        replace()
        with pytest.raises(ConnectionLost, match="5 bytes of the old one were not read"):
            connection.readexactly(5)
        assert connection.readexactly(5) == b"head2"
        assert connection.readexactly(5) == b"body2"


def test_exchange_by_hand_stays_in_step() -> None:
    """Nothing is sent by the writing call that reports the new link, so its reply does not answer the next one."""
    with two_links(b"answer1", b"") as (connection, replace):
        assert connection.readexactly(7) == b"answer1"
        replace()
        with pytest.raises(ConnectionLost, match="0 bytes of the old one were not read"):
            connection.write(b"question2")
        connection.write(b"question3")


def test_reader_that_has_heard_of_the_end_is_not_stopped_again() -> None:
    """The error, or the end of the stream, was what it had to know."""
    with two_links(b"one", b"two") as (connection, replace):
        assert connection.read(100) == b"one"
        assert connection.read(100) == b""
        replace()
        assert connection.readexactly(3) == b"two"


def test_exchange_and_first_reader_begin_with_the_new_link() -> None:
    """They have taken nothing from the old one."""
    with two_links(b"unread", b"answer\r\n") as (connection, replace):
        replace()
        assert connection.request(b"?\r\n") == b"answer\r\n"


def test_bytes_stay_readable_until_the_next_link_is_up() -> None:
    """Also while it is being made."""
    with two_links(b"left over", b"") as (connection, _):
        with pytest.raises(ConnectError):
            connection.open_transport = refuse  # type: ignore[method-assign]
            connection.connect()
        assert connection.readexactly(4) == b"left"
        assert connection.read_waiting() == b" over"
        with pytest.raises(NotConnected):
            connection.read(1)


def refuse(deadline: Deadline) -> Transport:
    """Open nothing."""
    raise ConnectError("refused")
