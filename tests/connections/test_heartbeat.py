"""Peers that vanish without a word: noticed by heartbeats, by writes that are stuck, and by silence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from cnx import (
    CnxError,
    Connection,
    ConnectionLost,
    ConnectionManager,
    PeerClosed,
    SocketConnection,
    SocketOptions,
    TimedOut,
    subscribe,
)
from cnx.faults import faults, half_open
from cnx.link.listener import Listener
from cnx.testing import PATIENCE, connection_pair, eventually, serial_pair
from tests.helpers.echo import Echo
from tests.helpers.kinds_of_connections import THINGS
from tests.helpers.processes import started

SOON = 0.02


@contextmanager
def end_of(connection: Connection) -> Iterator[list[BaseException]]:
    """Give the reasons of ends; after the block there has to be one."""
    reasons: list[BaseException] = []
    over = threading.Event()

    def note(reason: BaseException) -> None:
        reasons.append(reason)
        over.set()

    with subscribe(connection, Connection.Signals.DISCONNECTED, note):
        yield reasons
        assert over.wait(PATIENCE), "the end was not noticed"


def test_bytes_are_written_again_and_again() -> None:
    """A heartbeat of bytes reaches the peer at every interval."""
    with connection_pair(heartbeat=b"beat", heartbeat_interval=SOON) as (_, peer):
        assert b"".join(peer.recv(4) for _ in range(3)) == b"beatbeatbeat"


def test_function_is_called_on_a_thread_of_its_own() -> None:
    """A heartbeat that is a function gets the connection, on a thread that may wait."""
    names: list[str] = []
    beaten = threading.Event()

    def beat(connection: SocketConnection) -> None:
        names.append(threading.current_thread().name)
        connection.write_str("beat")
        beaten.set()

    with connection_pair(heartbeat=beat, heartbeat_interval=SOON) as (_, peer):
        assert peer.recv(6) == b"beat\r\n"
        assert beaten.wait(PATIENCE)
    assert names[0].startswith("cnx timers")


def test_heartbeat_goes_on_after_a_recovery(tmp_path: Any) -> None:
    """Every link has its heartbeats."""
    thing = THINGS["tcp"](tmp_path)
    beats: list[Connection] = []
    host, port = thing.connection.address.split(":")
    client = SocketConnection(host, int(port), heartbeat=beats.append, heartbeat_interval=SOON)
    with thing.simulator, ConnectionManager(client) as manager:
        for links in (1, 2, 3):
            beats.clear()
            assert eventually(lambda: beats)
            assert manager.counters.connects == links
            client.raise_alarm("a test wants it")
            manager.wait_until("connected", PATIENCE)


@pytest.mark.parametrize(
    ("error", "expected"), [(ConnectionLost("gone"), "gone"), (KeyError("what"), r"heartbeat of .* failed: KeyError")]
)
def test_failing_heartbeat_ends_the_link(error: Exception, expected: str) -> None:
    """What a heartbeat raises is the reason of the end."""

    def beat(connection: SocketConnection) -> None:
        raise error

    near, far = socket.socketpair()
    client = SocketConnection.from_socket(near, heartbeat=beat, heartbeat_interval=SOON)
    with far, end_of(client) as reasons:
        client.connect()
    with pytest.raises(ConnectionLost, match=expected):
        raise reasons[0]


def test_stuck_write_ends_the_link() -> None:
    """A peer that takes nothing is noticed while a write without a timeout waits for it, and the write ends."""
    with connection_pair(heartbeat=b"beat", heartbeat_interval=0.05) as (client, _), end_of(client) as reasons:
        with pytest.raises(ConnectionLost, match="a write is stuck"):
            client.write(bytes(1 << 26))
    assert "has taken nothing for 0.05 s" in str(reasons[0])


def test_full_buffer_ends_the_link() -> None:
    """A peer that takes nothing is noticed also when the program does not write: the heartbeat does not fit."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            near.send(bytes(65536))
    near.setblocking(True)
    client = SocketConnection.from_socket(near, heartbeat=b"beat" * 1000, heartbeat_interval=0.05)
    with far, end_of(client) as reasons:
        client.connect()
    assert "has taken nothing for 0.05 s: a heartbeat does not fit" in str(reasons[0])
    assert isinstance(reasons[0], CnxError)


@contextmanager
def blocked_handler(connection: SocketConnection, peer: socket.socket) -> Iterator[None]:
    """Keep a handler of the connection, and so its listener, busy during the block."""
    busy, go_on = threading.Event(), threading.Event()

    def block(data: bytes) -> None:
        busy.set()
        assert go_on.wait(PATIENCE)

    with subscribe(connection, Connection.Signals.DATA_RECEIVED, block):
        peer.sendall(b"block")
        assert busy.wait(PATIENCE)
        try:
            yield
        finally:
            go_on.set()


def test_heartbeats_go_on_while_a_handler_blocks() -> None:
    """The peer goes on getting them, whatever handlers do."""
    with (
        connection_pair(heartbeat=b"beat", heartbeat_interval=SOON) as (client, peer),
        blocked_handler(client, peer),
    ):
        assert b"".join(peer.recv(4) for _ in range(3)) == b"beatbeatbeat"


def test_function_that_waits_does_not_hold_up_the_handlers() -> None:
    """A heartbeat may wait for a reply; meanwhile data is emitted."""
    waiting, go_on, got = threading.Event(), threading.Event(), threading.Event()

    def beat(connection: SocketConnection) -> None:
        waiting.set()
        go_on.wait(PATIENCE)

    with connection_pair(heartbeat=beat, heartbeat_interval=0.5) as (client, peer):
        with subscribe(client, Connection.Signals.DATA_RECEIVED, lambda data: got.set()):
            assert waiting.wait(PATIENCE)
            peer.sendall(b"data")
            assert got.wait(PATIENCE)
        go_on.set()


@pytest.mark.parametrize("settings", [{"silence_limit": 0.1}, {"heartbeat": b"beat", "heartbeat_interval": 0.05}])
def test_vanished_peer_is_noticed_while_a_handler_blocks(settings: dict[str, Any]) -> None:
    """The connection is no longer connected, although the handler, and so the end, has still to come."""
    with connection_pair(**settings) as (client, peer), blocked_handler(client, peer):
        if "heartbeat" in settings:
            with pytest.raises(ConnectionLost, match="a write is stuck"):
                client.write(bytes(1 << 26))
        assert eventually(lambda: not client.connected)
        assert isinstance(client.last_error, ConnectionLost) or client.last_error is None


def test_function_that_does_not_return_ends_the_link() -> None:
    """A heartbeat that waits for a reply without a timeout notices that there is none."""
    with connection_pair(heartbeat=lambda client: client.request(b"ping\r\n"), heartbeat_interval=0.1) as (client, _):
        with end_of(client) as reasons:
            pass
    assert "has not returned for 0.1 s" in str(reasons[0])


def test_stuck_peer_does_not_hold_up_the_others_of_a_shared_listener() -> None:
    """A heartbeat that does not fit waits nowhere: another connection gets its data meanwhile."""
    listener, got = Listener(), threading.Event()
    with (
        connection_pair(listener=listener, heartbeat=bytes(1000), heartbeat_interval=0.3) as (stuck, _),
        connection_pair(listener=listener) as (other, peer),
        subscribe(other, Connection.Signals.DATA_RECEIVED, lambda data: got.set()),
        end_of(stuck) as reasons,
    ):
        with suppress(TimedOut, ConnectionLost):
            while True:
                stuck.write(bytes(65536), timeout=0.0)
        peer.sendall(b"data")
        assert got.wait(PATIENCE)
    assert reasons


STOPPED = """
import sys
from cnx import SocketConnection
with SocketConnection("127.0.0.1", int(sys.argv[1]), silence_limit=1.0) as client:
    for line in sys.stdin:
        print("connected" if client.connected else client.last_error, flush=True)
"""


def test_stopped_process_does_not_take_its_own_sleep_for_silence() -> None:
    """A process that was stopped for longer than the limit gives the peer time to go on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", STOPPED, server.getsockname()[1]]
        with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            peer, _ = server.accept()
            with peer:

                def still_connected() -> bool:
                    peer.sendall(b"alive")
                    process.stdin.write("?\n")
                    process.stdin.flush()
                    return bool(process.stdout.readline() == "connected\n")

                assert still_connected()
                pause = threading.Event()
                pause.wait(0.4)  # so that it has looked since the last byte
                process.send_signal(signal.SIGSTOP)
                pause.wait(2.0)
                process.send_signal(signal.SIGCONT)
                for _ in range(5):
                    pause.wait(0.05)
                    assert still_connected()


@pytest.mark.parametrize("pair", [connection_pair, serial_pair])
def test_silence_ends_the_link(pair: Any) -> None:
    """A peer that says nothing is given up, also while nobody reads."""
    with pair(silence_limit=0.1) as (client, _), end_of(client) as reasons:
        pass_on = client.connected
    assert pass_on
    assert "nothing arrived from" in str(reasons[0])
    assert "for 0.1 s" in str(reasons[0])


@pytest.mark.parametrize("reading", [True, False])
def test_talk_is_no_silence(reading: bool) -> None:
    """A peer that talks is kept, also where nobody takes what it says."""
    with connection_pair(silence_limit=0.2) as (client, peer):
        pause = threading.Event()
        for _ in range(10):
            peer.sendall(b"x")
            pause.wait(0.05)
            assert not reading or client.read(1, timeout=PATIENCE) == b"x"
        assert client.connected


def test_half_open_peer_is_noticed_while_idle_and_replaced() -> None:
    """A manager gets a new link soon after the peer of the old one froze."""
    with Echo() as echo:
        host, port = echo.listen_tcp().removeprefix("tcp://").split(":")
        client = SocketConnection(host, int(port), heartbeat=b"?", heartbeat_interval=SOON, silence_limit=0.2)
        with ConnectionManager(client) as manager:
            with faults(echo, half_open()), end_of(client) as reasons:
                assert manager.state.value == "connected"
            assert "nothing arrived" in str(reasons[0])
            manager.wait_until("connected", PATIENCE)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"heartbeat": b"x"}, ValueError),
        ({"heartbeat_interval": 1.0}, ValueError),
        ({"heartbeat": b"", "heartbeat_interval": 1.0}, TypeError),
        ({"heartbeat": "x", "heartbeat_interval": 1.0}, TypeError),
        ({"heartbeat": b"x", "heartbeat_interval": 0}, ValueError),
        ({"silence_limit": 0}, ValueError),
        ({"silence_limit": -1.0}, ValueError),
        ({"silence_limit": "1"}, TypeError),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception]) -> None:
    """They are refused at once."""
    with pytest.raises(error, match=r"heartbeat|silence_limit"):
        SocketConnection("localhost", 1, **settings)


# -- a way that loses everything ---------------------------------------------------------------------------------------


def run(*command: str) -> None:
    """Run a command of the system."""
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture
def far_away() -> Iterator[tuple[str, socket.socket]]:
    """A network namespace: its name, and a socket that listens in it at 10.213.77.2, port 4001."""
    name = near = f"cnx{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"network namespaces are not permitted here: {error}")
    try:
        try:
            run("ip", "link", "add", near, "type", "veth", "peer", "name", "far", "netns", name)
            run("ip", "address", "add", "10.213.77.1/30", "dev", near)
            run("ip", "link", "set", near, "up")
            run("ip", "-n", name, "address", "add", "10.213.77.2/30", "dev", "far")
            run("ip", "-n", name, "link", "set", "far", "up")
        except subprocess.SubprocessError as error:
            pytest.skip(f"a pair of network devices cannot be had here: {error}")
        with listening_in(name) as listening:
            yield name, listening
    finally:
        with suppress(subprocess.SubprocessError):
            run("ip", "link", "delete", near)  # the namespace lives on while its sockets say goodbye
        run("ip", "netns", "delete", name)


@contextmanager
def listening_in(name: str) -> Iterator[socket.socket]:
    """Give a socket that a thread of its own makes in the namespace; only that thread is moved there."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            with open(f"/var/run/netns/{name}") as namespace:
                if libc().setns(namespace.fileno(), 0):
                    raise OSError("setns() failed")
            made.append(socket.create_server(("10.213.77.2", 4001)))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    listening = made[0]
    if isinstance(listening, OSError):
        pytest.skip(f"a network namespace cannot be entered here: {listening}")
    with listening:
        yield listening


def libc() -> Any:
    """Return the C library; Python has os.setns() since 3.12 only."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


@contextmanager
def link_to(listening: socket.socket, **settings: Any) -> Iterator[SocketConnection]:
    """Give a connection to a socket that listens far away, accepted there."""
    client = SocketConnection("10.213.77.2", 4001, connect_timeout=PATIENCE, **settings)
    with client:
        listening.settimeout(PATIENCE)
        with listening.accept()[0]:
            yield client


def test_peer_vanishes_while_sending(far_away: tuple[str, socket.socket]) -> None:
    """Bytes that nobody acknowledges end the link after TCP_USER_TIMEOUT."""
    name, listening = far_away
    with link_to(listening, options=SocketOptions(user_timeout=0.5, keepalive=None)) as client:
        with end_of(client) as reasons:
            run("ip", "-n", name, "link", "set", "far", "down")
            client.write(b"is anybody there?")
    assert isinstance(reasons[0], ConnectionLost)
    assert not isinstance(reasons[0], PeerClosed)


def test_peer_vanishes_while_idle(far_away: tuple[str, socket.socket]) -> None:
    """A heartbeat makes that work for a link that is idle."""
    name, listening = far_away
    options = SocketOptions(user_timeout=0.5, keepalive=None)
    with link_to(listening, options=options, heartbeat=b"?", heartbeat_interval=0.1) as client:
        with end_of(client) as reasons:
            run("ip", "-n", name, "link", "set", "far", "down")
    assert isinstance(reasons[0], ConnectionLost)
    assert not isinstance(reasons[0], PeerClosed)


def test_peer_vanishes_and_nothing_is_sent(far_away: tuple[str, socket.socket]) -> None:
    """A limit for silence needs no heartbeat."""
    name, listening = far_away
    with link_to(listening, silence_limit=0.3) as client, end_of(client) as reasons:
        run("ip", "-n", name, "link", "set", "far", "down")
    assert "nothing arrived" in str(reasons[0])
