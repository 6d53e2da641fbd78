"""Tests of what is said of bytes that nobody reads."""

from __future__ import annotations

import logging
import socket

import pytest

from cnx import Connection, LimitExceeded, SocketConnection, subscribe
from cnx.testing import PATIENCE, connection_pair, scripted_peer, wait_until


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
