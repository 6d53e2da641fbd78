"""Tests of recovering: often, for long, and in the right order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cnx import (
    AccessDenied,
    Backoff,
    ConnectError,
    Connection,
    ConnectionManager,
    Deadline,
    SocketConnection,
    State,
    TimedOut,
    TornDown,
    subscribe,
)
from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, NewThreads, open_descriptors, wait_until
from tests.helpers.dead_ports import closed_port

QUICK = Backoff(first=0.001, cap=0.005)


class Greeter(Simulator):
    """Greets each client with its number and then waits for the end."""

    def __init__(self) -> None:
        super().__init__("greeter")
        self.numbers = itertools.count(1)

    def serve(self, session: Session) -> None:
        """Greet."""
        session.write(b"%d\n" % next(self.numbers))
        while session.read():
            pass


def recorded(connection: Connection) -> list[tuple[str, Any]]:
    """Return a list to which every signal of a connection is added."""
    told: list[tuple[str, Any]] = []
    signals = Connection.Signals
    for signal in (signals.CONNECTED, signals.DATA_RECEIVED, signals.RAISE_ALARM, signals.DISCONNECTED):
        subscribe(connection, signal, lambda name=signal.name, **given: told.append((name, given.get("data"))))
    return told


def test_two_hundred_restarts(new_threads: NewThreads) -> None:
    """A server is killed and started again 200 times: each time all signals come, in order, and nothing grows."""
    with Greeter() as server:
        url_port = int(server.listen_tcp().rpartition(":")[2])
        connection = SocketConnection("127.0.0.1", url_port)
        told = recorded(connection)
        with ConnectionManager(connection, backoff=QUICK) as manager:
            wait_until(lambda: len(told) == 2, "the first greeting")
            threads, descriptors = len(new_threads("")), sum(open_descriptors().values())
            for turn in range(200):
                server.kill()
                manager.wait_until("recovering", PATIENCE)
                server.start()
                manager.wait_until("connected", PATIENCE)
                wait_until(lambda turn=turn: len(told) == 4 * turn + 6, f"the signals of turn {turn}")  # type: ignore[misc]
            assert len(new_threads("")) <= threads
            assert sum(open_descriptors().values()) <= descriptors + 1
        life = ["CONNECTED", "DATA_RECEIVED", "RAISE_ALARM", "DISCONNECTED"]
        names = [name for name, _ in told]
        assert names[: 4 * 200] == life * 200
        assert names[4 * 200 :] == ["CONNECTED", "DATA_RECEIVED", "DISCONNECTED"]
        greetings = [int(data) for name, data in told if name == "DATA_RECEIVED"]
        assert greetings == sorted(set(greetings))
        assert manager.counters.losses == 200
        assert manager.counters.connects == 201


def test_ten_thousand_failed_attempts() -> None:
    """Failing for ever needs no more stack, threads or memory than failing once."""

    class Failing(Connection):
        """Never connects."""

        attempts = 0

        def try_connect(self) -> bool:
            """Fail."""
            self.attempts += 1
            raise ConnectError("no")

        def disconnect(self) -> None:
            """Nothing is held."""

        def teardown(self) -> None:
            """Nothing is held."""

    connection = Failing()
    manager = ConnectionManager(connection, backoff=Backoff(first=1e-7, cap=1e-7, attempts=10_000))
    with pytest.raises(ConnectError):
        manager.connect(timeout=60)
    assert connection.attempts == 10_000
    assert manager.counters.attempts == 10_000
    assert manager.state is State.DISCONNECTED
    manager.teardown()


def test_gives_up_after_total_time() -> None:
    """A policy with a total time ends with the last reason."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=Backoff(first=0.01, total=0.05))
    with pytest.raises(ConnectError, match="refused"):
        manager.connect(PATIENCE)
    assert manager.state is State.DISCONNECTED
    manager.teardown()


def test_timeout_tells_the_reason_and_goes_on() -> None:
    """A caller that waits no longer learns why; the attempts go on behind it."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=QUICK)
    with pytest.raises(TimedOut, match=r"recovering.*refused"):
        manager.connect(timeout=0.2)
    before = manager.counters.attempts
    wait_until(lambda: manager.counters.attempts > before, "another attempt")
    with pytest.raises(TimedOut, match="refused"):
        manager.wait_until("connected", timeout=0.05)
    manager.teardown()
    with pytest.raises(TornDown):
        manager.connect()


class Guarded(SocketConnection):
    """Is refused by its device until it has the right password."""

    allowed = False
    asked = 0

    def prepare(self, deadline: Deadline) -> None:
        """Log in."""
        self.asked += 1
        if not self.allowed:
            error = AccessDenied("wrong password")
            error.retry_after = 0.01
            raise error


def test_fatal_error_ends_the_attempts() -> None:
    """A wrong password is not tried again; a new ``connect()`` is a new beginning."""
    with Greeter() as server:
        connection = Guarded("127.0.0.1", int(server.listen_tcp().rpartition(":")[2]))
        manager = ConnectionManager(connection, backoff=QUICK)
        with pytest.raises(AccessDenied, match="wrong password"):
            manager.connect(PATIENCE)
        assert connection.asked == 1
        assert manager.state is State.DISCONNECTED
        connection.allowed = True
        manager.connect(PATIENCE)
        manager.teardown()


def test_persistence_goes_on_after_a_fatal_error() -> None:
    """With ``persist``, even that is tried again, after the time that the error names."""
    with Greeter() as server:
        connection = Guarded("127.0.0.1", int(server.listen_tcp().rpartition(":")[2]))
        manager = ConnectionManager(connection, backoff=QUICK, persist=True)
        manager.connect(wait=False)
        wait_until(lambda: connection.asked > 2, "another try")
        connection.allowed = True
        manager.wait_until("connected", PATIENCE)
        manager.teardown()


def test_alarm_recovers() -> None:
    """An alarm of the user's own ends the link with that reason, and the manager makes a new one."""
    with Greeter() as server:
        connection = SocketConnection("127.0.0.1", int(server.listen_tcp().rpartition(":")[2]))
        changes: list[tuple[State, State, str]] = []
        with ConnectionManager(connection, backoff=QUICK) as manager:
            signal = ConnectionManager.Signals.STATE_CHANGED
            manager_told = lambda old, new, reason: old is State.CONNECTING or changes.append((old, new, str(reason)))  # noqa: E731
            subscribe(manager, signal, manager_told)  # maybe while others are still told of CONNECTED
            connection.raise_alarm("the device makes no sense")
            wait_until(lambda: len(changes) == 2, "the recovery")
            assert changes[0] == (State.CONNECTED, State.RECOVERING, "the device makes no sense")
            assert changes[1][:2] == (State.RECOVERING, State.CONNECTED)
            assert manager.counters.losses == 1


def test_disconnect_of_the_connection_is_respected() -> None:
    """Whoever disconnects the connection itself means it: the manager does not connect it again."""
    with Greeter() as server:
        connection = SocketConnection("127.0.0.1", int(server.listen_tcp().rpartition(":")[2]))
        manager = ConnectionManager(connection, backoff=QUICK)
        manager.connect(PATIENCE)
        connection.disconnect()
        manager.wait_until("disconnected", PATIENCE)
        manager.connect(PATIENCE)
        assert connection.connected
        manager.teardown()
