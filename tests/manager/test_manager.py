"""Managers: commands from anywhere, in any order, and what they leave."""

from __future__ import annotations

import gc
import random
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cnx import Backoff, Cancelled, Connection, ConnectionManager, SocketConnection, State, TornDown, subscribe
from cnx.testing import PATIENCE, NewThreads, wait_until
from tests.helpers.dead_ports import closed_port
from tests.threads.test_process import in_child

QUICK = Backoff(first=0.001, cap=0.01)


@pytest.fixture
def port() -> Iterator[int]:
    """Give a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def manager(port: int) -> Iterator[ConnectionManager]:
    """Give a manager of a connection to that port, which is torn down at the end."""
    made = ConnectionManager(SocketConnection("127.0.0.1", port), backoff=QUICK)
    yield made
    made.teardown()


@pytest.mark.parametrize("wrong", [{"connection": "tcp://127.0.0.1:1"}, {"backoff": 1.5}])
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    """The error says what was expected, at the call."""
    with pytest.raises(TypeError, match="not "):
        ConnectionManager(**{"connection": SocketConnection("127.0.0.1", 1), **wrong})


def test_commands_may_be_repeated(manager: ConnectionManager) -> None:
    """Each leads where it says, however often; only connecting after a teardown is refused."""
    for _ in range(2):
        manager.connect(PATIENCE)
        assert manager.state is State.CONNECTED
    assert manager.counters.connects == 1
    for _ in range(2):
        manager.disconnect()
        assert manager.state is State.DISCONNECTED
        assert isinstance(manager.reason, Cancelled)
    for _ in range(2):
        manager.teardown()
    manager.disconnect()
    assert manager.state is State.TORNDOWN
    for call in (manager.connect, lambda: manager.wait_until("connected", PATIENCE)):
        with pytest.raises(TornDown):
            call()


def test_wrong_waits_are_refused(manager: ConnectionManager) -> None:
    """An unknown state and a negative time fail at the call."""
    with pytest.raises(ValueError, match="asleep"):
        manager.wait_until("asleep")
    with pytest.raises(ValueError, match="timeout"):
        manager.connect(-1)
    assert manager.state is State.READY


def test_changes_are_told_in_order_to_everybody(manager: ConnectionManager) -> None:
    """Whoever changes the state inside of a handler does not make others hear the changes in another order."""
    seen: list[list[tuple[State, State]]] = [[], []]
    subscribe(manager, manager.Signals.STATE_CHANGED, lambda old, new: seen[0].append((old, new)))
    subscribe(manager, manager.Signals.STATE_CHANGED, lambda new: manager.disconnect() if new is State.CONNECTED else 0)
    subscribe(manager, manager.Signals.STATE_CHANGED, lambda old, new: seen[1].append((old, new)))
    manager.connect(wait=False)
    wait_until(lambda: len(seen[1]) == 3, "three changes")
    assert seen[0] == seen[1]
    assert [new for _, new in seen[0]] == [State.CONNECTING, State.CONNECTED, State.DISCONNECTED]


def test_handlers_have_heard_of_it_when_connect_returns(manager: ConnectionManager) -> None:
    """So what a program does next comes after what its handlers do."""
    heard: list[str] = []
    returned = threading.Event()

    def take_a_while(new: State) -> None:
        if new is State.CONNECTED:
            returned.wait(0.05)  # it is not set meanwhile
        heard.append(new.value)

    subscribe(manager, manager.Signals.STATE_CHANGED, take_a_while)
    manager.connect(PATIENCE)
    returned.set()
    assert heard == ["connecting", "connected"]


def test_handler_that_hangs_holds_up_connect_for_a_bounded_time(manager: ConnectionManager) -> None:
    """The state is what counts."""
    over, ended = threading.Event(), threading.Event()

    def hang(new: State) -> None:
        if new is State.CONNECTED and threading.current_thread() is not threading.main_thread():
            over.wait(2 * PATIENCE)
            ended.set()

    subscribe(manager, manager.Signals.STATE_CHANGED, hang)
    manager.connect(PATIENCE)
    assert manager.state is State.CONNECTED
    assert not ended.is_set()
    over.set()


def test_handler_of_the_end_may_connect_again(manager: ConnectionManager) -> None:
    """There ``connect()`` does not wait, as it would for itself; the manager does it once the handler has returned."""
    ends: list[BaseException] = []

    def again(reason: BaseException) -> None:
        ends.append(reason)
        if len(ends) < 4:
            manager.connect()
            with pytest.raises(RuntimeError, match="cannot wait for what waits"):
                manager.wait_until("connected", PATIENCE)

    subscribe(manager.connection, Connection.Signals.DISCONNECTED, again)
    manager.connect(PATIENCE)
    for number in range(1, 4):
        manager.connection.disconnect()
        wait_until(lambda n=number: manager.counters.connects == n + 1, "the next link")  # type: ignore[misc]
    assert len(ends) == 3


class HeldUp(SocketConnection):
    """``disconnect()`` on the main thread ends the link, and then takes until there is a new one."""

    back = threading.Event()

    def release(self, reason: BaseException, timeout: float) -> None:
        """Let go."""
        super().release(reason, timeout)
        if not timeout and threading.current_thread() is threading.main_thread():
            assert self.back.wait(PATIENCE)


def test_disconnect_leaves_the_next_link_alone(port: int) -> None:
    """A link that a handler of the end asked for is not taken for the old one, however long ``disconnect()`` takes."""
    connection = HeldUp("127.0.0.1", port)
    with ConnectionManager(connection, backoff=QUICK) as manager:
        subscribe(connection, Connection.Signals.CONNECTED, connection.back.set)
        subscription = subscribe(connection, Connection.Signals.DISCONNECTED, lambda reason: again())

        def again() -> None:
            subscription.cancel()
            manager.connect(wait=False)

        connection.disconnect()
        manager.wait_until("connected", PATIENCE)
        assert connection.connected
        assert manager.counters.connects == 2


@pytest.mark.parametrize("exits", [False, True])
def test_link_that_is_lost_while_it_is_announced_is_recovered(port: int, exits: bool) -> None:
    """Its end may come before the manager has noted the success; a handler of CONNECTED may raise ``SystemExit``."""
    connection = SocketConnection("127.0.0.1", port)
    states: list[State] = []
    lost: list[bool] = []

    def lose() -> None:
        if not lost:
            lost.append(True)
            connection.raise_alarm("lost at once")
            if exits:
                sys.exit()

    subscribe(connection, Connection.Signals.CONNECTED, lose)
    manager = ConnectionManager(connection, backoff=QUICK)
    subscribe(manager, manager.Signals.STATE_CHANGED, lambda new: states.append(new))
    manager.connect(PATIENCE)
    assert connection.connected
    assert states == [State.CONNECTING, State.RECOVERING, State.CONNECTED]
    assert (manager.counters.connects, manager.counters.losses) == (2, 1)
    manager.teardown()


def test_end_on_request_while_it_is_announced_is_no_loss(port: int) -> None:
    """Whoever disconnects the connection in a handler of CONNECTED means it."""
    connection = SocketConnection("127.0.0.1", port)
    manager = ConnectionManager(connection, backoff=QUICK)
    changes: list[State] = []
    subscribe(manager, manager.Signals.STATE_CHANGED, lambda new: changes.append(new))
    subscribe(connection, Connection.Signals.CONNECTED, connection.disconnect)
    with pytest.raises(Cancelled):
        manager.connect(PATIENCE)
    assert changes == [State.CONNECTING, State.DISCONNECTED]
    assert (manager.counters.connects, manager.counters.losses) == (1, 0)
    manager.teardown()


def test_disconnecting_the_connection_ends_the_attempts() -> None:
    """Whoever disconnects the connection while its manager tries to reach somebody ends that, too."""
    connection = SocketConnection("127.0.0.1", closed_port())
    manager = ConnectionManager(connection, backoff=Backoff(first=0.0001, cap=0.0001))
    manager.connect(wait=False)

    def is_over() -> bool:
        connection.disconnect()
        return manager.state is State.DISCONNECTED

    wait_until(is_over, "the end of the attempts")
    assert isinstance(manager.reason, Cancelled)
    manager.teardown()


def test_threads_that_disagree_come_to_an_end(manager: ConnectionManager) -> None:
    """Eight threads command at random: no call hangs, the last command decides, and state and link agree."""
    random.seed(7)
    orders = [[random.choice(["connect", "disconnect", "alarm", "wait"]) for _ in range(40)] for _ in range(8)]

    def command(order: list[str]) -> None:
        for name in order:
            if name == "connect":
                manager.connect(wait=False)
            elif name == "disconnect":
                manager.disconnect()
            elif name == "alarm":
                manager.connection.raise_alarm("a test says so")
            else:
                with suppress(TimeoutError, ConnectionError):
                    manager.connect(0.001)

    threads = [threading.Thread(target=command, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 3)
        assert not thread.is_alive()
    manager.connect(wait=False)
    wait_until(lambda: manager.state is State.CONNECTED and manager.connection.connected, "a link")
    manager.disconnect()
    assert not manager.connection.connected
    assert manager.state is State.DISCONNECTED


def test_several_threads_tear_down_at_once(manager: ConnectionManager, new_threads: NewThreads) -> None:
    """Whoever calls, it is over when the call returns."""
    manager.connect(PATIENCE)
    connected: list[bool] = []

    def tear_down() -> None:
        manager.teardown()
        connected.append(manager.connection.connected)

    threads = [threading.Thread(target=tear_down) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert connected == [False] * 8
    assert not new_threads("cnx manager")


def test_block_tears_down_whatever_happens(port: int) -> None:
    """Leaving the block by an error ends everything; a block that is not reached leaves nothing either."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", port))
    with pytest.raises(ZeroDivisionError), manager:
        raise ZeroDivisionError
    assert manager.state is State.TORNDOWN
    hopeless = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=Backoff(attempts=1))
    with pytest.raises(ConnectionError), hopeless:
        raise AssertionError("not reached")
    assert hopeless.state is State.TORNDOWN


def test_handler_that_exits_does_not_end_recovery() -> None:
    """``sys.exit()`` in a handler of a change, on the thread of the manager, is logged, and the attempts go on."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=QUICK)
    late: list[State] = []

    def leave(new: State) -> None:
        if new is State.RECOVERING:
            sys.exit()

    with (
        subscribe(manager, manager.Signals.STATE_CHANGED, leave),
        subscribe(manager, manager.Signals.STATE_CHANGED, lambda new: late.append(new)),
    ):
        manager.connect(wait=False)
        wait_until(lambda: manager.counters.attempts > 2, "more attempts")
    assert late == [State.CONNECTING, State.RECOVERING]
    manager.teardown()


@pytest.mark.parametrize("state", ["connected", "recovering", "torndown"])
def test_child_process_begins_anew(state: str, port: int) -> None:
    """In a forked child, where neither worker nor link exist, a manager is disconnected, and can connect for itself."""
    where = closed_port() if state == "recovering" else port
    connection = SocketConnection("127.0.0.1", where)
    manager = ConnectionManager(connection, backoff=Backoff(first=60, cap=60, jitter=0))
    manager.connect(wait=False)
    manager.wait_until("recovering" if state == "recovering" else "connected", PATIENCE)
    if state == "torndown":
        manager.teardown()

    def check() -> None:
        assert manager.state is (State.TORNDOWN if state == "torndown" else State.DISCONNECTED)
        assert not connection.connected
        if state == "connected":
            manager.connect(PATIENCE)
            subscribe(connection, Connection.Signals.DATA_RECEIVED, print).cancel()
        manager.teardown()

    assert in_child(check) == 0
    assert manager.state.value == state
    manager.teardown()


def test_forgotten_manager_warns_and_stops(new_threads: NewThreads) -> None:
    """A manager that nobody holds makes no more attempts, and says that it was not torn down."""
    manager = ConnectionManager(SocketConnection("127.0.0.1", closed_port()), backoff=QUICK)
    manager.connect(wait=False)
    manager.wait_until("recovering", PATIENCE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del manager
        gc.collect()
        wait_until(lambda: not new_threads("cnx manager"), "the worker")
    assert any("was not torn down" in str(each.message) for each in caught)
