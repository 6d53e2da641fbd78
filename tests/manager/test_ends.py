"""The end of a link reaches everybody and the manager, whatever raises on the way, and the state tells the truth."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cnx import (
    Backoff,
    ConnectError,
    Connection,
    ConnectionLost,
    ConnectionManager,
    JsonLines,
    Listener,
    ProtocolError,
    SocketConnection,
    State,
    subscribe,
)
from cnx.recording import recorder
from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, NewThreads, eventually, wait_until
from cnx.transports.sockets import SocketTransport
from tests.helpers.dead_ports import closed_port
from tests.helpers.no_threads import no_threads

QUICK = Backoff(first=0.001, cap=0.01)
Signals = Connection.Signals


class Greeter(Simulator):
    """Greets each client, and waits for its end."""

    def __init__(self, greeting: bytes = b"hello\n") -> None:
        super().__init__("greeter")
        self.greeting = greeting

    def serve(self, session: Session) -> None:
        """Greet."""
        session.write(self.greeting)
        while session.read():
            pass


class HangsUp(Simulator):
    """Ends each session at once."""

    def serve(self, session: Session) -> None:
        """Do nothing else."""


@pytest.fixture
def greeter() -> Iterator[Greeter]:
    """Give a server that runs."""
    with Greeter() as server:
        server.listen_tcp()
        yield server


def port_of(server: Simulator) -> int:
    """Return the port of a server that listens on one."""
    return int(server.urls[0].rpartition(":")[2])


class Wordless(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


def once(action: Callable[[], object]) -> Callable[..., None]:
    """Return a function that does something the first time it is called."""
    done: list[bool] = []

    def run(**given: Any) -> None:
        if not done:
            done.append(True)
            action()

    return run


@pytest.mark.parametrize("signal", ["CONNECTED", "RAISE_ALARM", "DISCONNECTED", "DATA_RECEIVED", "STATE_CHANGED"])
@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, ZeroDivisionError, Wordless])
def test_handler_that_raises_keeps_the_end_from_nobody(
    greeter: Greeter, signal: str, raised: type[BaseException]
) -> None:
    """A later handler gets every signal of the link, in order, and the manager makes a new one."""
    connection = SocketConnection("127.0.0.1", port_of(greeter))
    emitted: list[str] = []

    def fail() -> None:
        raise raised

    if signal != "STATE_CHANGED":
        subscribe(connection, getattr(Signals, signal), once(fail))
    manager = ConnectionManager(connection, backoff=QUICK)
    if signal == "STATE_CHANGED":
        failing = once(fail)
        subscribe(manager, manager.Signals.STATE_CHANGED, lambda new: new is State.RECOVERING and failing())
    for each in (Signals.CONNECTED, Signals.RAISE_ALARM, Signals.DISCONNECTED):
        subscribe(connection, each, lambda name=each.name, **_: emitted.append(name))
    manager.connect(PATIENCE)
    if manager.counters.losses == 0 and signal != "DATA_RECEIVED":
        wait_until(lambda: greeter.sessions, "the session")
        greeter.drop_sessions()
    if not (raised in (ZeroDivisionError, Wordless) and signal == "DATA_RECEIVED"):  # those do not end a link
        wait_until(lambda: manager.counters.losses == 1 and manager.counters.connects == 2, "the next link")
    manager.wait_until("connected", PATIENCE)
    manager.teardown()
    life = ["CONNECTED", "RAISE_ALARM", "DISCONNECTED"]
    assert emitted in ([*life, "CONNECTED", "DISCONNECTED"], ["CONNECTED", "DISCONNECTED"])
    assert not connection.connected


class BrokenHooks(SocketConnection):
    """Raises in the hook of the end."""

    def on_disconnected(self, reason: BaseException) -> None:
        """Fail."""
        raise Wordless


class BrokenLog(logging.Filter):
    """A filter of a log that raises."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Fail."""
        raise Wordless


@pytest.mark.parametrize(
    "reason",
    [Wordless(), ConnectionLost("\ud800"), ConnectionLost(b"\xff".decode(errors="surrogateescape"))],
    ids=["no text", "surrogate", "surrogateescape"],
)
@pytest.mark.parametrize("clock", [None, -1000.0, 3e11], ids=["now", "before 1970", "year 11000"])
@pytest.mark.parametrize("broken_log", [False, True])
def test_no_step_of_the_end_is_left_out(
    greeter: Greeter,
    reason: Exception,
    clock: float | None,
    broken_log: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a reason that cannot be written, nor a wrong clock, nor a hook or a log that raises."""
    if clock is not None:
        monkeypatch.setattr(recorder, "time", lambda: clock)
    connection = BrokenHooks("127.0.0.1", port_of(greeter), record_to=tmp_path)
    ends: list[BaseException] = []
    subscribe(connection, Signals.DISCONNECTED, lambda reason: ends.append(reason))
    manager = ConnectionManager(connection, backoff=QUICK)
    manager.connect(PATIENCE)
    log, broken = logging.getLogger("cnx.connections.connection"), BrokenLog()
    if broken_log:
        log.addFilter(broken)
    try:
        connection.raise_alarm(reason)
        wait_until(lambda: manager.counters.connects == 2, "the next link")
    finally:
        log.removeFilter(broken)
    manager.wait_until("connected", PATIENCE)
    assert [reason in (end, end.__cause__) for end in ends] == [True]
    assert eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    manager.teardown()


def test_device_chooses_the_text_of_a_reason(tmp_path: Path) -> None:
    """A lone surrogate in its JSON, as part of the reason, does not keep the end from being saved and emitted."""

    class Device(SocketConnection):
        def on_message(self, message: Any) -> None:
            raise ProtocolError(f"the device reports {message['error']}")

    with Greeter(b'{"error": "\\ud800"}\n') as server:
        server.listen_tcp()
        connection = Device("127.0.0.1", port_of(server), framing=JsonLines(b"\n"), record_to=tmp_path)
        ends: list[BaseException] = []
        subscribe(connection, Signals.DISCONNECTED, lambda reason: ends.append(reason))
        with suppress(ProtocolError):  # the message may come that early
            connection.connect(PATIENCE)
        wait_until(lambda: ends, "the end")
    assert "\\ud800" in next(tmp_path.glob("*.txt")).read_text(encoding="utf-8")


def test_error_without_a_text_in_prepare_leaves_nothing_open(greeter: Greeter) -> None:
    """It leaves the attempt as it is; under a manager it is the reason."""

    class Failing(SocketConnection):
        def prepare(self, deadline: Any) -> None:
            raise Wordless

    with pytest.raises(Wordless):
        Failing("127.0.0.1", port_of(greeter)).connect(PATIENCE)
    wait_until(lambda: not greeter.sessions, "the end of the session")
    manager = ConnectionManager(Failing("127.0.0.1", port_of(greeter)), backoff=Backoff(attempts=1))
    with pytest.raises(ConnectionError, match="Wordless"):
        manager.connect(PATIENCE)
    manager.teardown()


# -- the state tells the truth ------------------------------------------------------------------------------------


def test_state_is_never_connected_without_a_link(greeter: Greeter) -> None:
    """Not even while the end waits to be emitted; and ``wait_until`` waits for the next link then."""
    connection = SocketConnection("127.0.0.1", port_of(greeter))
    inside, go_on = threading.Event(), threading.Event()

    def hold(data: bytes) -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    subscription = subscribe(connection, Signals.DATA_RECEIVED, hold)
    manager = ConnectionManager(connection, backoff=QUICK)
    manager.connect(PATIENCE)
    assert inside.wait(PATIENCE)
    subscription.cancel()
    connection.raise_alarm("trouble")  # the listener is in the handler, so the end cannot be emitted yet
    assert manager.state is State.RECOVERING
    assert manager.counters.connected_since is None
    assert "trouble" in str(manager.reason)
    with pytest.raises(TimeoutError, match=r"recovering.*trouble"):
        manager.wait_until("connected", 0.0)
    assert manager.counters.connects == 1
    go_on.set()
    manager.wait_until("connected", PATIENCE)
    assert connection.connected
    assert manager.counters.connects == 2
    manager.teardown()


def test_last_error_is_set_before_a_reader_hears_of_the_loss() -> None:
    """So it is not None in the ``except`` block of a reading call, however long it takes to emit the end."""
    may_close = threading.Event()

    class SlowToClose(SocketTransport):
        def close(self) -> None:
            assert may_close.wait(PATIENCE)
            super().close()

    near, far = socket.socketpair()

    class Slow(SocketConnection):
        def open_transport(self, deadline: Any) -> SocketTransport:
            return SlowToClose(near, "slow")

    connection = Slow("127.0.0.1", 1)
    connection.connect(PATIENCE)
    assert connection.last_error is None
    far.close()
    with pytest.raises(ConnectionLost):
        connection.readexactly(1, timeout=PATIENCE)
    assert isinstance(connection.last_error, ConnectionLost)
    may_close.set()
    connection.teardown()


def test_every_link_is_counted(greeter: Greeter) -> None:
    """In a handler of CONNECTED it is counted already, also if the link ends before the manager has noted it."""
    connection = SocketConnection("127.0.0.1", port_of(greeter))
    manager = ConnectionManager(connection, backoff=QUICK)
    counted: list[int] = []

    def on_connected() -> None:
        counted.append(manager.counters.connects)
        if len(counted) < 5:
            connection.raise_alarm("again")

    subscribe(connection, Signals.CONNECTED, on_connected)
    manager.connect(PATIENCE)
    assert counted == [1, 2, 3, 4, 5]
    assert manager.counters.losses == 4
    manager.teardown()


def test_stored_reason_is_not_raised_itself() -> None:
    """Each caller gets an exception of its own, whose cause is the stored one."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=Backoff(attempts=1))
    raised: list[BaseException] = []
    for _ in range(3):
        with pytest.raises(ConnectError) as caught:
            manager.connect(PATIENCE)
        raised.append(caught.value)
        assert caught.value is not manager.reason
        assert caught.value.__cause__ is manager.reason
        assert str(caught.value) == str(manager.reason)
    assert len({id(error) for error in raised}) == 3
    manager.teardown()


# -- managers that are not wanted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["alarm", "drop"])
def test_forgotten_manager_does_not_recover(greeter: Greeter, end: str, new_threads: NewThreads) -> None:
    """A link stays up as long as the connection is held; when it is lost, nobody makes another one."""
    connection = SocketConnection("127.0.0.1", port_of(greeter))
    with pytest.warns(ResourceWarning, match="was not torn down"):
        ConnectionManager(connection, backoff=QUICK).connect(PATIENCE)
        gc.collect()
    assert connection.connected
    ended: list[BaseException] = []
    connects: list[bool] = []
    subscribe(connection, Signals.CONNECTED, lambda: connects.append(True))
    subscribe(connection, Signals.DISCONNECTED, lambda reason: ended.append(reason))
    if end == "alarm":
        connection.raise_alarm("trouble")
    else:
        wait_until(lambda: greeter.sessions, "the session")
        greeter.drop_sessions()
    wait_until(lambda: ended and not (new_threads("cnx manager") or new_threads("cnx listener")), "the end")
    assert connects == []
    connection.teardown()


def test_forgotten_while_links_come_and_go(new_threads: NewThreads) -> None:
    """Whatever its manager does when the last reference goes, nothing of it lives on."""
    with HangsUp("hangs up") as server, warnings.catch_warnings():
        server.listen_tcp()
        warnings.simplefilter("ignore", ResourceWarning)
        for number in range(200):
            connection = SocketConnection("127.0.0.1", port_of(server))
            manager = ConnectionManager(connection, backoff=Backoff(first=0.0005, cap=0.001))
            manager.connect(wait=False)
            wait_until(lambda m=manager, n=number: m.counters.attempts > n % 5, "some attempts")  # type: ignore[misc]
            del connection, manager

        def is_over() -> bool:
            gc.collect()
            return not (new_threads("cnx manager") or new_threads("cnx listener"))

        assert eventually(is_over)


def test_two_managers_of_one_connection_are_refused(greeter: Greeter) -> None:
    """Until the first one is gone."""
    connection = SocketConnection("127.0.0.1", port_of(greeter))
    first = ConnectionManager(connection)
    with pytest.raises(RuntimeError, match="has a ConnectionManager already"):
        ConnectionManager(connection)
    del first
    gc.collect()
    second = ConnectionManager(connection, backoff=QUICK)
    second.connect(PATIENCE)
    connection.raise_alarm("trouble")
    wait_until(lambda: second.counters.connects == 2, "the recovery")
    second.teardown()


# -- hopeless, and short of threads -------------------------------------------------------------------------------


def test_connection_that_was_made_from_a_socket_is_given_up() -> None:
    """There is nothing to connect again."""
    near, far = socket.socketpair()
    manager = ConnectionManager(SocketConnection.from_socket(near), backoff=QUICK)
    manager.connect(PATIENCE)
    far.close()
    manager.wait_until("disconnected", PATIENCE)
    assert "make a new connection" in str(manager.reason)
    assert manager.counters.attempts == 2
    manager.teardown()


@pytest.mark.parametrize("mistake", [AttributeError, NameError, TypeError])
def test_error_of_programming_is_not_retried(greeter: Greeter, mistake: type[Exception]) -> None:
    """It reaches the caller of ``connect()``."""

    class Wrong(SocketConnection):
        def prepare(self, deadline: Any) -> None:
            raise mistake("wrong")

    manager = ConnectionManager(Wrong("127.0.0.1", port_of(greeter)), backoff=QUICK)
    with pytest.raises(mistake, match="wrong"):
        manager.connect(PATIENCE)
    assert manager.counters.attempts == 1
    manager.teardown()


@pytest.mark.parametrize("shared", [False, True])
def test_manager_goes_on_when_there_are_threads_again(greeter: Greeter, shared: bool) -> None:
    """After a loss it tries as long as there are none, and nobody has to call it."""
    listener = Listener() if shared else None
    other = SocketConnection("127.0.0.1", port_of(greeter), listener=listener)
    other.connect(PATIENCE)  # keeps the shared listener
    connection = SocketConnection("127.0.0.1", port_of(greeter), listener=listener)
    recovered = threading.Event()
    manager = ConnectionManager(connection, backoff=QUICK)
    manager.connect(PATIENCE)
    subscribe(connection, Signals.CONNECTED, recovered.set)
    with no_threads():
        connection.raise_alarm("trouble")
        wait_until(lambda: manager.state is State.RECOVERING, "the loss")
        if not shared:  # there the link needs no thread of its own, so it may be up again already
            wait_until(lambda: "can't start new thread" in str(manager.reason), "the reason")
            assert not recovered.is_set()
    assert recovered.wait(PATIENCE)
    manager.teardown()
    other.teardown()


def test_connect_without_threads_says_why_and_goes_on(greeter: Greeter) -> None:
    """A later call, or one that waits, tries again."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", port_of(greeter)), backoff=QUICK)
    with no_threads():
        with pytest.raises(TimeoutError, match="can't start new thread"):
            manager.connect(0.05)
        assert manager.state is State.RECOVERING
    manager.wait_until("connected", PATIENCE)
    with no_threads():
        manager.teardown()
