"""Tests of showing the bytes of a connection in the log."""

from __future__ import annotations

import logging
import socket

import pytest

from cnx.connections.sockets import SocketConnection
from cnx.testing import connection_pair


def test_bytes_are_logged_at_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    """What goes in and out is shown with the connection's name, and cut when it is long."""
    caplog.set_level(logging.DEBUG, "cnx")
    with connection_pair(name="chiller 3") as (connection, peer):
        connection.write(b"question\r\n")
        peer.sendall(b"a" * 100)
        connection.readexactly(100, timeout=10)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert r"chiller 3: > b'question\r\n'" in lines
    assert any(line.startswith("chiller 3: < b'aaaa") and "... (100 bytes)" in line for line in lines)


def test_bytes_are_not_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """Without DEBUG no byte reaches the log."""
    caplog.set_level(logging.INFO, "cnx")
    with connection_pair() as (connection, peer):
        connection.write(b"question")
        peer.sendall(b"answer")
        assert connection.read(100, timeout=10) == b"answer"
    assert "question" not in caplog.text
    assert "answer" not in caplog.text


def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that names its secrets shows stars in their place."""
    caplog.set_level(logging.DEBUG, "cnx")
    near, far = socket.socketpair()
    connection = SocketConnection.from_socket(near)
    connection.secrets = (b"swordfish",)
    with far, connection:
        connection.write(b"login ferda swordfish\r\n")
    assert "login ferda *********" in caplog.text
    assert "swordfish" not in caplog.text
