"""Ctrl-C and signal handlers at every single point of every blocking call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from cnx import Cancelled, ConnectionManager, NotConnected, SocketConnection, TimedOut, TornDown, subscribe
from cnx.testing import PATIENCE, NewThreads
from tests.helpers.echo import Echo
from tests.helpers.inside import link_of
from tests.helpers.interrupts import interrupt, strike

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what died just then

BOUND = 2.2
"""Seconds within which a stop is over."""

Subject = SocketConnection | ConnectionManager
Scenario = Callable[[SocketConnection], tuple[Subject, Callable[[], object]]]


def connecting(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Connect for the first time."""
    return connection, connection.connect


def reconnecting(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Connect again after a link."""
    connection.connect().disconnect()
    return connection, connection.connect


def exchanging(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Write, and read in every way."""
    connection.connect()

    def call() -> None:
        connection.write(b"line\n12345text\r\nx")
        connection.readline()
        connection.readexactly(5)
        connection.read_str()
        connection.read(10)
        connection.request(b"request\r\n")

    return connection, call


def subscribed(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Subscribe, write, read, unsubscribe, and take what waits."""
    connection.connect()

    def call() -> None:
        with subscribe(connection, connection.Signals.DATA_RECEIVED, lambda data: None):
            connection.write(b"line\n")
            connection.readline()
        connection.read_waiting()

    return connection, call


def disconnecting(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Disconnect."""
    return connection.connect(), connection.disconnect


def within_a_block(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Connect and disconnect by a block."""

    def call() -> None:
        with connection:
            connection.write(b"x")

    return connection, call


def managing(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Connect and disconnect by a manager, and connect again."""
    manager = ConnectionManager(connection)

    def call() -> None:
        manager.connect(PATIENCE)
        manager.disconnect()
        manager.connect(PATIENCE)

    return manager, call


def tearing_down(connection: SocketConnection) -> tuple[Subject, Callable[[], object]]:
    """Tear a manager down."""
    manager = ConnectionManager(connection)
    manager.connect(PATIENCE)
    return manager, manager.teardown


SCENARIOS = [
    connecting,
    reconnecting,
    exchanging,
    subscribed,
    disconnecting,
    within_a_block,
    managing,
    tearing_down,
]


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """Give the host and the port of an echo."""
    with Echo() as simulator:
        host, port = simulator.listen_tcp().removeprefix("tcp://").split(":")
        yield host, int(port)


def stop(subject: Subject, new_threads: NewThreads) -> None:
    """Tear down, in time, with nothing left."""
    began = monotonic()
    subject.teardown()
    assert monotonic() - began < BOUND
    for thread in [*new_threads("cnx listener"), *new_threads("cnx manager")]:
        thread.join(PATIENCE)
    assert not new_threads("cnx listener")
    assert not new_threads("cnx manager")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_interrupt_at_every_point(scenario: Scenario, new_threads: NewThreads) -> None:
    """Ctrl-C comes through, wherever it strikes, and a teardown leaves nothing behind."""
    at, struck = 0, True
    with echo() as (host, port):
        while struck:
            subject, call = scenario(SocketConnection(host, port, timeout=PATIENCE))
            struck, raised = strike(call, interrupt, at)
            assert raised is None or isinstance(raised, KeyboardInterrupt), f"point {at}"
            stop(subject, new_threads)
            at += 1
    assert at > 50


@pytest.mark.parametrize("scenario", [exchanging, subscribed])
def test_connection_works_after_an_interrupt(scenario: Scenario, new_threads: NewThreads) -> None:
    """A link that outlives Ctrl-C goes on: it writes, and tells what comes."""
    at, struck = 0, True
    with echo() as (host, port):
        while struck:
            connection, call = scenario(SocketConnection(host, port, timeout=PATIENCE))
            assert isinstance(connection, SocketConnection)
            struck, _ = strike(call, interrupt, at)
            if connection.connected:
                came, told = bytearray(), threading.Event()

                def on_data(data: bytes, came: bytearray = came, told: threading.Event = told) -> None:
                    came.extend(data)
                    if came.endswith(b"the end"):
                        told.set()

                subscribe(connection, connection.Signals.DATA_RECEIVED, on_data)
                connection.write(b"the end")
                assert told.wait(PATIENCE), f"point {at}"
            stop(connection, new_threads)
            at += 1


@pytest.mark.parametrize("command", ["disconnect", "teardown"])
@pytest.mark.parametrize("scenario", SCENARIOS[:6])
def test_handler_stops_at_every_point(scenario: Scenario, command: str, new_threads: NewThreads) -> None:
    """A signal handler may stop the connection that its own thread is using, whatever it interrupts."""
    at, struck = 0, True
    with echo() as (host, port):
        while struck:
            connection, call = scenario(SocketConnection(host, port, timeout=PATIENCE))
            began = monotonic()
            struck, raised = strike(call, getattr(connection, command), at)
            assert monotonic() - began < BOUND, f"point {at}"
            assert raised is None or isinstance(raised, (Cancelled, NotConnected, TornDown)), f"point {at}: {raised!r}"
            stop(connection, new_threads)
            at += 1
    assert at > 50


@pytest.mark.parametrize("scenario", [exchanging, subscribed])
def test_handler_is_told_that_its_own_thread_is_at_it(scenario: Scenario, new_threads: NewThreads) -> None:
    """A signal handler that uses the connection where the interrupted code reads or writes fails, and never waits."""
    at, struck, refused = 0, True, set()

    def use(connection: SocketConnection) -> None:
        link = link_of(connection)
        for role, blocked in {
            link.reader: lambda: connection.readexactly(9999, timeout=0.3),  # more than there is
            link.writer: lambda: connection.write(b"", timeout=0.3),
        }.items():
            name = "reader" if role is link.reader else "writer"
            if not role.is_free():
                try:
                    blocked()  # type: ignore[no-untyped-call]
                except RuntimeError:
                    refused.add(name)
                except TimedOut:
                    assert role.is_free(), f"{name}, point {at}"  # it was the listener that had it

    with echo() as (host, port):
        while struck:
            connection, call = scenario(SocketConnection(host, port, timeout=PATIENCE))
            struck, raised = strike(call, lambda: use(connection), at)  # type: ignore[arg-type]  # noqa: B023
            assert raised is None, f"point {at}: {raised!r}"
            stop(connection, new_threads)
            at += 1
    assert refused == {"reader", "writer"}
