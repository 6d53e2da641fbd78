"""What is logged about a device that is away: a line when that begins, a line when it ends, and reminders."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from cnx import Backoff, Connection, ConnectionManager, SocketConnection, TimedOut, subscribe
from cnx.manager import recovery
from cnx.testing import PATIENCE, wait_until
from tests.helpers.dead_ports import closed_port

QUICK = Backoff(first=0.001, cap=0.001)


class Plain(Connection):
    """A plain connection, to a device that is there or not."""

    there = False

    def try_connect(self) -> bool:
        """Connect."""
        return self.there

    def disconnect(self) -> None:
        """Disconnect."""

    def teardown(self) -> None:
        """Tear down."""


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Return the lines above DEBUG, without those about commands that were given to a manager."""
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if record.levelno > logging.DEBUG and record.name.startswith("cnx.") and " -> " not in record.getMessage()
    ]


def after_attempts(manager: ConnectionManager, more: int) -> None:
    """Wait for so many further attempts."""
    goal = manager.counters.attempts + more
    wait_until(lambda: manager.counters.attempts >= goal, f"{more} more attempts")


def test_outage_has_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts there are in between."""
    caplog.set_level(logging.INFO, "cnx")
    port = closed_port()
    connection = SocketConnection("127.0.0.1", port, name="lamp")
    manager = ConnectionManager(connection, backoff=QUICK)
    lost = threading.Event()
    subscribe(connection, connection.Signals.DISCONNECTED, lost.set)
    manager.connect(wait=False)
    after_attempts(manager, 20)
    with socket.create_server(("127.0.0.1", port)) as listening:
        peer = listening.accept()[0]
        manager.wait_until("connected", PATIENCE)
        first = said(caplog)
    peer.close()
    assert lost.wait(PATIENCE)
    after_attempts(manager, 20)
    with socket.create_server(("127.0.0.1", port)) as listening:
        peer = listening.accept()[0]
        manager.wait_until("connected", PATIENCE)
        caplog.set_level(logging.CRITICAL, "cnx")
        peer.close()
    manager.teardown()
    lines = said(caplog)
    where = f"127.0.0.1:{port}"
    assert first == [
        (logging.INFO, f"lamp: not connected: cannot connect to {where}: Connection refused"),
        (logging.INFO, "lamp: connected"),
    ]
    assert lines[2:] == [
        (logging.WARNING, f"lamp: disconnected: {where} closed the connection"),
        (logging.INFO, "lamp: connected"),
    ]


def test_outage_of_a_plain_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Has two lines, too."""
    caplog.set_level(logging.INFO, "cnx")
    plain = Plain(name="lamp")
    manager = ConnectionManager(plain, backoff=QUICK)
    manager.connect(wait=False)
    after_attempts(manager, 20)
    plain.there = True
    manager.wait_until("connected", PATIENCE)
    assert said(caplog) == [
        (logging.INFO, "not connected: lamp: try_connect() returned False"),
        (logging.INFO, "lamp: connected"),
    ]
    manager.teardown()


def test_outage_begins_anew_after_a_stop(caplog: pytest.LogCaptureFixture) -> None:
    """What a program connects again has a line again."""
    caplog.set_level(logging.INFO, "cnx")
    connection = SocketConnection("127.0.0.1", closed_port())
    for _ in range(2):
        for _ in range(3):
            assert not connection.try_connect()
        connection.disconnect()
    assert [text.count("refused") for _, text in said(caplog)] == [1, 1]


def test_giving_up_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """As nothing happens after it."""
    caplog.set_level(logging.INFO, "cnx")
    port = closed_port()
    manager = ConnectionManager(SocketConnection("127.0.0.1", port), backoff=Backoff(first=0.001, attempts=3))
    with pytest.raises(ConnectionError):
        manager.connect()
    assert said(caplog)[1:] == [
        (logging.WARNING, f"gave up: cannot connect to 127.0.0.1:{port}: Connection refused"),
    ]


def test_waiting_call_reminds(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what for and why, at growing intervals."""
    caplog.set_level(logging.WARNING, "cnx")
    pauses: list[float | None] = []
    wait_for = recovery.Condition.wait_for

    def noted(condition: recovery.Condition, holds: object, timeout: float | None) -> object:
        if threading.current_thread() is threading.main_thread():
            pauses.append(timeout)
        return wait_for(condition, holds, timeout)  # type: ignore[arg-type, type-var]

    monkeypatch.setattr(recovery, "REMIND_AFTER", 0.01)
    monkeypatch.setattr(recovery, "REMIND_AT_LEAST", 0.04)
    port = closed_port()
    manager = ConnectionManager(SocketConnection("127.0.0.1", port), backoff=QUICK)
    monkeypatch.setattr(recovery.Condition, "wait_for", noted)
    with pytest.raises(TimedOut) as caught:
        manager.connect(timeout=0.3)
    monkeypatch.setattr(recovery.Condition, "wait_for", wait_for)
    manager.teardown()
    reason = f"cannot connect to 127.0.0.1:{port}: Connection refused"
    assert str(caught.value) == f"not connected within 0.3 s but recovering: {reason}"
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.04]
    lines = said(caplog)
    assert lines
    assert set(lines) <= {
        (logging.WARNING, f"waiting for a connection since 0 s: {reason}"),
        (logging.WARNING, f"127.0.0.1:{port}: waiting for a connection since 0 s: the attempt has not ended yet"),
    }
