"""Tests of what is said of bytes that nobody reads."""

from __future__ import annotations

import logging
import socket

import pytest

from cnx import Connection, SocketConnection, subscribe
from cnx.testing import PATIENCE, connection_pair, wait_until


def test_signals_that_wait_for_a_reader_are_explained(caplog: pytest.LogCaptureFixture) -> None:
    """After a reading method was used, unread bytes hold up the signals; the log says so, once."""
    caplog.set_level(logging.WARNING, "cnx")
    with connection_pair(limit=1000) as (connection, peer):
        told: list[bytes] = []
        with subscribe(connection, Connection.Signals.DATA_RECEIVED, told.append):
            peer.sendall(b"x")
            assert connection.read(1, timeout=PATIENCE) == b"x"
            for turn in (1, 2):
                peer.sendall(b"y" * 3000)
                wait_until(lambda turn=turn: sum(map(len, told)) == 1 + 3001 * turn - 1, "the signals")
                peer.sendall(b"z")
                wait_until(lambda: "signals wait" in caplog.text, "the warning")
                assert connection.readexactly(3001, timeout=PATIENCE) == b"y" * 3000 + b"z"
    assert sum(map(len, told)) == 6003
    assert caplog.text.count("signals wait until somebody reads") == 1


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
        assert "5 bytes that the last link brought were not read" in caplog.text
        connection.teardown()
        listening.accept()[0].close()
