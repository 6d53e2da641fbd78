"""Peers that vanish without a word: noticed by heartbeats, by writes that are stuck, and by silence."""

from __future__ import annotations

import os
import socket
import subprocess
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
    subscribe,
)
from cnx.faults import faults, half_open
from cnx.testing import PATIENCE, connection_pair, eventually, serial_pair
from tests.helpers.echo import Echo
from tests.helpers.kinds_of_connections import THINGS

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


def test_function_is_called_on_the_listener_thread() -> None:
    """A heartbeat that is a function gets the connection, on the thread that listens."""
    names: list[str] = []
    beaten = threading.Event()

    def beat(connection: SocketConnection) -> None:
        names.append(threading.current_thread().name)
        connection.write_str("beat")
        beaten.set()

    with connection_pair(heartbeat=beat, heartbeat_interval=SOON) as (_, peer):
        assert peer.recv(6) == b"beat\r\n"
        assert beaten.wait(PATIENCE)
    assert names[0].startswith("cnx listener")


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
    assert "took nothing" in str(reasons[0])
    assert isinstance(reasons[0], CnxError)


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
