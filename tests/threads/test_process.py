"""Tests of what happens to connections when a process forks, is interrupted, or forgets them."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import cnx
from cnx import CnxError, ConnectionManager, NotConnected, SocketConnection, subscribe
from cnx.clients.chiller import ChillerBus, compute_checksum
from cnx.testing import PATIENCE, connection_pair, serial_pair, wait_until
from tests.helpers.dead_ports import full_backlog
from tests.helpers.kinds_of_connections import THINGS


def fork(action: Callable[[], object]) -> int:
    """Run something in a forked child; return its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: that is what is tested
        child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            action()
            code = 0
        os._exit(code)
    return child


def exit_code(child: int) -> int:
    """Wait for the end of a child; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(action: Callable[[], object]) -> int:
    """Run something in a forked child; return its exit code."""
    return exit_code(fork(action))


def test_child_has_no_link_and_leaves_the_parent_its_own() -> None:
    """In a forked child the link is over, with a reason; closing it there does not disturb the parent."""
    with connection_pair() as (connection, peer):
        told: list[bytes] = []
        subscribe(connection, connection.Signals.DATA_RECEIVED, told.append)

        def use() -> None:
            assert not connection.connected
            with pytest.raises(NotConnected, match="parent process"):
                connection.write(b"from the child")
            connection.teardown()

        assert in_child(use) == 0
        connection.write(b"from the parent")
        assert peer.recv(100) == b"from the parent"
        peer.sendall(b"to the parent")
        wait_until(lambda: told == [b"to the parent"], "the data")


@pytest.mark.parametrize("kind", THINGS)
def test_every_kind_connects_anew_in_a_child(kind: str, tmp_path: Path) -> None:
    """The child has no link; the parent keeps its own; when that one is closed, the child can make one for itself."""
    thing = THINGS[kind](tmp_path)
    thing.simulator.start()
    thing.connection.connect(PATIENCE)
    assert thing.exchange(1, PATIENCE)
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)

    def take_over() -> None:
        assert not thing.connection.connected
        assert theirs.recv(1) == b"x"
        thing.connection.connect(PATIENCE)
        assert thing.exchange(2, PATIENCE)
        thing.connection.teardown()
        assert not thing.connection.connected

    with ours, theirs:
        child = fork(take_over)
        assert thing.exchange(3, PATIENCE)
        thing.connection.teardown()
        if kind in ("smartbus", "m2"):  # which let nobody in who is there already
            wait_until(lambda: not thing.simulator.sessions, "the end of the session")
        ours.sendall(b"x")
        assert exit_code(child) == 0
    thing.simulator.stop()


TEXT = b"#01040rSupplyT+0215"


@pytest.mark.parametrize(
    ("make", "ask", "reply"),
    [
        (cnx.connection, lambda line: line.request(b"ping\r\n", timeout=PATIENCE), b"pong\r\n"),
        (ChillerBus, lambda bus: bus.unit(1).supply_temperature(), TEXT + compute_checksum(TEXT).encode() + b"\r"),
    ],
    ids=["request", "chiller"],
)
def test_child_does_not_wait_for_a_turn_of_the_parent(
    make: Callable[[str], Any], ask: Callable[[Any], object], reply: bytes
) -> None:
    """A thread of the parent is in the middle of a request, and does not exist in the child."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = make(f"tcp://127.0.0.1:{listening.getsockname()[1]}").connect()
        ours, _ = listening.accept()
        errors: list[BaseException] = []

        def wait_for_a_reply() -> None:
            try:
                ask(connection)
            except CnxError as error:
                errors.append(error)

        waiting = threading.Thread(target=wait_for_a_reply)
        waiting.start()
        with ours:
            assert ours.recv(100)

            def ask_anew() -> None:
                connection.connect(PATIENCE)
                assert ask(connection)
                connection.teardown()

            child = fork(ask_anew)
            theirs, _ = listening.accept()
            with theirs:
                assert theirs.recv(100)
                theirs.sendall(reply)
                assert exit_code(child) == 0
            connection.teardown()
        waiting.join(PATIENCE)
        assert len(errors) == 1


def test_child_connects_anew() -> None:
    """A child can connect the very connection again, for itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = SocketConnection("127.0.0.1", listening.getsockname()[1])
        connection.connect()
        ours, _ = listening.accept()
        with ours:

            def again() -> None:
                connection.connect(PATIENCE)
                connection.write(b"child")
                connection.teardown()

            assert in_child(again) == 0
            theirs, _ = listening.accept()
            with theirs:
                assert theirs.recv(100) == b"child"
            assert connection.connected
            connection.teardown()


@pytest.mark.parametrize(
    "block",
    [
        lambda connection: connection.read(1),
        lambda connection: connection.readexactly(2, timeout=60),
        lambda connection: connection.readline(),
        lambda connection: connection.write(b"x" * 100_000_000),
        lambda connection: connection.write(b"x" * 100_000_000, timeout=60),
    ],
    ids=["read", "readexactly", "readline", "write", "write with timeout"],
)
def test_interrupt_ends_a_call(block: Callable[[SocketConnection], object]) -> None:
    """Ctrl-C ends whatever waits; afterwards the connection works, or has ended cleanly, and nothing is left."""
    with connection_pair() as (connection, peer):
        with interrupted(), pytest.raises(KeyboardInterrupt):
            block(connection)
        if connection.connected:
            connection.write(b"!")
            peer.sendall(b"?")
            assert connection.read(1, timeout=PATIENCE) == b"?"


def test_interrupt_ends_a_serial_read() -> None:
    """Ctrl-C ends a read of a serial port."""
    with serial_pair() as (connection, peer):
        with interrupted(), pytest.raises(KeyboardInterrupt):
            connection.read(1)
        peer.sendall(b"?")
        assert connection.read(1, timeout=PATIENCE) == b"?"


@pytest.mark.parametrize("managed", [False, True])
def test_interrupt_ends_connecting(managed: bool) -> None:
    """Ctrl-C ends an attempt that hangs."""
    with full_backlog() as port:
        connection = SocketConnection("127.0.0.1", port, connect_timeout=60)
        manager = ConnectionManager(connection)
        with interrupted(), pytest.raises(KeyboardInterrupt):
            manager.connect() if managed else connection.connect()
        manager.teardown()


class interrupted:  # reads as a statement
    """Interrupts the main thread, as Ctrl-C does, a moment after the block was entered."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    def __exit__(self, *exc_info: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._before)


@pytest.mark.parametrize("managed", [False, True])
def test_forgotten_connection_warns_and_ends(managed: bool) -> None:
    """A connection that nobody holds any more is closed, with a warning; its thread ends."""
    near, far = socket.socketpair()
    far.settimeout(PATIENCE)
    with far:
        holder: list[Any] = [SocketConnection.from_socket(near)]
        subscribe(holder[0], holder[0].Signals.DATA_RECEIVED, lambda data: None)
        if managed:
            holder.append(ConnectionManager(holder[0]))
            holder[1].connect(PATIENCE)
        else:
            holder[0].connect()
        with pytest.warns(ResourceWarning, match="was not (disconnected|torn down)"):
            holder.clear()
            gc.collect()
            assert far.recv(1) == b""


def test_slow_reader_of_a_gibibyte() -> None:
    """What a slow reader has not taken stays with the peer: memory does not grow with what passes."""
    total, piece = 1 << 30, bytes(1 << 20)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    with connection_pair() as (connection, peer):
        peer.settimeout(60)

        def send() -> None:
            for _ in range(total // len(piece)):
                peer.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        got = len(connection.read(65536, timeout=PATIENCE))
        before, most = resident(), 0
        for turn in range(total // 65536 * 4):
            got += len(connection.read(65536, timeout=PATIENCE))
            if turn % 1024 == 0:
                most = max(most, resident() - before)
            if got == total:
                break
        sender.join(PATIENCE)
    assert got == total
    assert most < 20_000_000


def test_hook_that_raises_after_a_fork_keeps_no_other_connection_from_letting_go() -> None:
    """Every connection is free in the child, whichever comes first."""

    class Failing(SocketConnection):
        def after_fork(self) -> None:
            raise ZeroDivisionError("after_fork")

    with ExitStack() as stack:
        pairs = [stack.enter_context(connection_pair()) for _ in range(3)]
        failing = [Failing("127.0.0.1", 1) for _ in range(3)]
        more = [stack.enter_context(connection_pair()) for _ in range(3)]

        def look() -> None:
            assert [connection._cnx.driver.turn for connection, _ in pairs] == [0] * 6

        pairs += more
        for connection, _ in pairs:
            connection._cnx.driver.turn = 1  # as if a thread of the parent made an attempt
        assert in_child(look) == 0
        for connection, _ in pairs:
            connection._cnx.driver.turn = 0
    del failing
