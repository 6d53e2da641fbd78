"""Connections: how an attempt and a link begin and end, and how users make kinds of their own."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cnx import (
    CancellableConnection,
    Cancelled,
    ConnectError,
    Connection,
    ConnectionLost,
    ConnectionManager,
    Deadline,
    NotConnected,
    PeerClosed,
    SocketConnection,
    StreamConnection,
    TimedOut,
    TornDown,
    Transport,
    subscribe,
)
from cnx.testing import PATIENCE, connection_pair, wait_until
from tests.helpers.dead_ports import closed_port, full_backlog
from tests.helpers.inside import is_preparing, link_of

CAT = ["cat"]


class Pipes(Transport):
    """The standard streams of a program."""

    def __init__(self, command: list[str]) -> None:
        self.address = command[0]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()  # type: ignore[union-attr]

    def read(self, size: int, timeout: float | None) -> bytes:
        """Read what the program prints."""
        if not select.select([self._out], [], [], timeout)[0]:
            raise TimedOut(f"{self.address} printed nothing")
        data = os.read(self._out, size)
        if not data:
            raise PeerClosed(f"{self.address} ended")
        return data

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        """Write what the program reads."""
        return os.write(self._in, data)

    def shutdown(self) -> None:
        """End the program."""
        self.process.kill()

    def close(self) -> None:
        """Release the pipes."""
        self.process.communicate()


class Program(StreamConnection):
    """A program that runs here, as a stream of bytes."""

    address = "cat"

    def open_transport(self, deadline: Deadline) -> Transport:
        """Start it."""
        return Pipes(CAT)


class Job(CancellableConnection):
    """A program that runs here, as something that is no stream: it is up while it runs."""

    address = "cat"
    process: subprocess.Popen[bytes] | None = None

    @property
    def connected(self) -> bool:
        """Whether it runs."""
        return self.process is not None

    def establish(self, deadline: Deadline) -> None:
        """Start it."""
        self.process = subprocess.Popen(CAT, stdin=subprocess.PIPE)

    def release(self, reason: BaseException, timeout: float) -> None:
        """End it."""
        process, self.process = self.process, None
        if process is not None:
            process.communicate(timeout=timeout or None)
            self.emit_end(reason)


def told_by(connection: Connection) -> list[str]:
    """Return a list that the signals of a connection come into."""
    told: list[str] = []
    for signal in (Connection.Signals.CONNECTED, Connection.Signals.RAISE_ALARM, Connection.Signals.DISCONNECTED):
        subscribe(connection, signal, lambda signal=signal, **_: told.append(signal.value))
    return told


# -- kinds that users make -------------------------------------------------------------------------------------------


def test_program_as_a_stream() -> None:
    """A transport of four methods makes a whole connection: reading, writing, signals, recovery."""
    connection = Program()
    came: list[bytes] = []
    arrived = threading.Event()
    with ConnectionManager(connection):
        connection.write(b"one\n")
        assert connection.readline(timeout=PATIENCE) == b"one\n"
        subscribe(connection, connection.Signals.DATA_RECEIVED, lambda data: (came.append(data), arrived.set()))
        connection.write(b"two\n")
        assert arrived.wait(PATIENCE)
        assert connection.readline(timeout=PATIENCE) == b"two\n"
    assert came == [b"two\n"]


def test_program_that_ends_is_recovered() -> None:
    """The end of the program is the loss of the link, and a manager starts it again."""
    connection = Program()
    with ConnectionManager(connection) as manager:
        first: Any = link_of(connection)
        first.transport.process.kill()
        wait_until(lambda: manager.counters.connects == 2, "the second program")
        assert isinstance(first.reason, PeerClosed)
        assert connection.request(b"again\r\n", timeout=PATIENCE) == b"again\r\n"


def test_job_as_something_else() -> None:
    """A connection need not be a stream; it connects, tells and ends by the same rules."""
    job = Job()
    told = told_by(job)
    with job:
        assert job.connected
    with job:
        job.raise_alarm("it smells of smoke")
    assert told == ["connected", "disconnected", "connected", "raise-alarm", "disconnected"]
    assert isinstance(job.last_error, ConnectionLost)
    job.teardown()


def test_transport_that_breaks_its_rules_ends_the_link() -> None:
    """Whatever a user's transport raises is the reason of a loss, and no thread dies of it."""

    class Broken(Pipes):
        def read(self, size: int, timeout: float | None) -> bytes:
            raise ZeroDivisionError("oops")

    class Breaking(Program):
        def open_transport(self, deadline: Deadline) -> Transport:
            return Broken(CAT)

    connection = Breaking()
    told = told_by(connection)
    subscribe(connection, connection.Signals.DATA_RECEIVED, lambda data: None)
    connection.try_connect()
    wait_until(lambda: told[-1:] == ["disconnected"], "the end")
    assert told == ["connected", "raise-alarm", "disconnected"]
    assert isinstance(connection.last_error, ConnectionLost)
    assert isinstance(connection.last_error.__cause__, ZeroDivisionError)


def test_forgotten_return_is_named() -> None:
    """A mistake that is easily made in the first connection of one's own."""

    class Forgetful(Program):
        def open_transport(self, deadline: Deadline) -> Transport:
            return None  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"Forgetful\.open_transport\(\) has to return a Transport, not None"):
        Forgetful().try_connect()


# -- attempts --------------------------------------------------------------------------------------------------------


def test_failed_attempt_keeps_its_reason() -> None:
    """``try_connect`` says no, ``last_error`` why, ``connect`` raises it; a success forgets it."""
    port = closed_port()
    connection = SocketConnection("127.0.0.1", port)
    assert not connection.try_connect()
    assert isinstance(connection.last_error, ConnectError)
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}"):
        connection.connect()
    with socket.create_server(("127.0.0.1", port)):
        connection.connect()
        assert connection.last_error is None
        connection.teardown()


def test_threads_that_connect_at_once_share_one_link() -> None:
    """Eight threads ask: there is one link, told once, and all of them have it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = SocketConnection("127.0.0.1", server.getsockname()[1])
        told = told_by(connection)
        ready = threading.Barrier(8)
        answers: list[bool] = []

        def ask() -> None:
            ready.wait()
            answers.append(connection.try_connect())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == [True] * 8
        assert told == ["connected"]
        connection.teardown()
        server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_waiting_for_another_attempt_has_an_end() -> None:
    """A thread that waits for the attempt of another one waits no longer than it said."""
    with full_backlog() as port:
        connection = SocketConnection("127.0.0.1", port, connect_timeout=60)
        first = threading.Thread(target=connection.try_connect)
        first.start()
        wait_until(lambda: connection._cnx.driver.turn != 0, "the first attempt")
        with pytest.raises(TimedOut, match="another attempt"):
            connection.connect(timeout=0.01)
        connection.disconnect()
        first.join(PATIENCE)
        assert isinstance(connection.last_error, Cancelled)
        assert not connection._cnx.driver.is_attempting()


class Preparing(SocketConnection):
    """A connection with a preparation to be given."""

    step: Callable[[Preparing, Deadline], object]

    def prepare(self, deadline: Deadline) -> None:
        """Do it."""
        type(self).step(self, deadline)


def fail(connection: Preparing, deadline: Deadline) -> None:
    """Be refused."""
    raise ConnectError("the password is wrong")


def break_down(connection: Preparing, deadline: Deadline) -> None:
    """Have a bug."""
    raise ZeroDivisionError


def wait_for_the_peer(connection: Preparing, deadline: Deadline) -> None:
    """Wait for an answer that does not come."""
    connection.readline()


def disconnect(connection: Preparing, deadline: Deadline) -> None:
    """Stop the very attempt."""
    connection.disconnect()


def connect_inside(connection: Preparing, deadline: Deadline) -> None:
    """Begin another attempt inside of this one."""
    connection.connect()


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (fail, ConnectError),
        (break_down, ZeroDivisionError),
        (wait_for_the_peer, TimedOut),
        (disconnect, Cancelled),
        (connect_inside, ConnectError),
    ],
)
def test_failed_preparation_fails_the_attempt(step: Any, error: type[Exception]) -> None:
    """Its reason is that of the attempt; nothing is told, and nothing is left open."""
    kind = type("Subject", (Preparing,), {"step": step})
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = kind("127.0.0.1", server.getsockname()[1])
        told = told_by(connection)
        with pytest.raises(error):
            connection.connect(timeout=0.5 if step is wait_for_the_peer else PATIENCE)
        assert not connection.connected
        assert told == []
        peer, _ = server.accept()
        with peer:
            peer.settimeout(PATIENCE)
            assert peer.recv(1) == b""


def test_preparation_is_cancelled_from_elsewhere() -> None:
    """A disconnect ends a login that waits for the peer, at once and for that reason."""
    kind = type("Subject", (Preparing,), {"step": wait_for_the_peer})
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = kind("127.0.0.1", server.getsockname()[1], connect_timeout=60)
        attempt = threading.Thread(target=connection.try_connect)
        attempt.start()
        peer, _ = server.accept()
        with peer:
            wait_until(lambda: is_preparing(connection), "the preparation")
            connection.disconnect()
            attempt.join(PATIENCE)
            assert not attempt.is_alive()
        assert isinstance(connection.last_error, Cancelled)


# -- the end ---------------------------------------------------------------------------------------------------------


def test_late_alarm_is_ignored() -> None:
    """An alarm about a link that has ended tells nothing, whether it was closed, lost or never there."""
    with connection_pair() as (connection, _):
        told = told_by(connection)
        connection.raise_alarm("first")
        connection.raise_alarm("second")
        connection.disconnect()
        connection.raise_alarm("third")
        assert told == ["raise-alarm", "disconnected"]
        assert str(connection.last_error) == "first"
    SocketConnection("127.0.0.1", 1).raise_alarm("nothing there")


def test_torn_down_is_final() -> None:
    """It can be torn down again, but not connected."""
    with connection_pair() as (connection, _):
        connection.teardown()
        connection.teardown()
        assert "torn down" in repr(connection)
        with pytest.raises(TornDown):
            connection.connect()
        with pytest.raises(NotConnected):
            connection.write(b"x")


def test_handler_of_the_end_cannot_begin_anew() -> None:
    """What tells the end of a link cannot wait for itself: connecting there is refused with advice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = SocketConnection("127.0.0.1", server.getsockname()[1])
        errors: list[BaseException | None] = []

        def connect_again(reason: BaseException) -> None:
            connection.try_connect()
            errors.append(connection.last_error)

        with subscribe(connection, connection.Signals.DISCONNECTED, connect_again):
            connection.connect().disconnect()
        assert len(errors) == 1
        assert "ConnectionManager" in str(errors[0])
        connection.connect().teardown()


def test_disconnect_wins_over_every_moment_of_an_attempt() -> None:
    """Two threads connect and disconnect 300 times: signals come in pairs, and the end is the end."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        connection = SocketConnection("127.0.0.1", server.getsockname()[1])
        told = told_by(connection)
        turns = [threading.Barrier(2) for _ in range(300)]

        def connect() -> None:
            for turn in turns:
                turn.wait()
                connection.try_connect()

        thread = threading.Thread(target=connect)
        thread.start()
        for turn in turns:
            turn.wait()
            connection.disconnect()
        thread.join(PATIENCE)
        connection.disconnect()
        assert told == ["connected", "disconnected"] * (len(told) // 2)
        connection.teardown()


def test_closing_never_touches_a_foreign_descriptor() -> None:
    """While links end from several threads at once, descriptors that others open meanwhile stay whole."""
    stop = threading.Event()
    broken: list[str] = []

    def open_and_check() -> None:
        while not stop.is_set():
            read, write = os.pipe()
            os.write(write, b"mine")
            if os.read(read, 100) != b"mine":
                broken.append("something foreign came")
            os.close(read)
            os.close(write)

    other = threading.Thread(target=open_and_check)
    other.start()
    try:
        for _ in range(200):
            with connection_pair() as (connection, peer):
                enders = [threading.Thread(target=end) for end in (connection.disconnect, peer.close)]
                for thread in enders:
                    thread.start()
                connection.raise_alarm("now")
                for thread in enders:
                    thread.join(PATIENCE)
    finally:
        stop.set()
        other.join(PATIENCE)
    assert not broken
