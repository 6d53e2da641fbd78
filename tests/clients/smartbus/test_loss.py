"""Heartbeats, silence, lost links, and servers that break the protocol."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cnx.clients.smartbus import (
    Packet,
    Pulse,
)
from cnx.clients.smartbus.protocol.codes import CmdType, InternalCmd, SystemCmd
from cnx.clients.smartbus.protocol.messages import (
    Heartbeat,
    HeartbeatAck,
    RegisterAck,
)
from cnx.clients.smartbus.protocol.packets import HEADER, Address
from cnx.clients.smartbus.simulator import BusServer
from cnx.deadline import Deadline
from cnx.errors import (
    LimitExceeded,
    ProtocolError,
    TimedOut,
)
from cnx.manager.backoff import Backoff
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe
from cnx.testing import NewThreads, eventually
from tests.helpers.smartbus_peer import PATIENCE, SERVER, US, Listening, endpoint
from tests.helpers.smartbus_scene import Recorder, client_of, played

SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER
FAST = Pulse(heartbeat=0.05, silence=0.5, reconnect_delay=0.0)


def test_heartbeats(pool: ThreadPoolExecutor) -> None:
    """Heartbeats are counted from 0 on each link and addressed to the server."""
    with played(pool, pulse=FAST) as (_, peer):
        for count in range(3):
            packet = peer.expect(INTERNAL, InternalCmd.HEARTBEAT)
            beat = Heartbeat.parse(packet.data)
            assert (beat.count, beat.resent, beat.returned) == (count, 0, 0)
            assert packet.destination == Address(SERVER.unit, 255, 1)
            peer.send(HeartbeatAck(count).packet(SERVER, US))


def test_silence_is_an_alarm(pool: ThreadPoolExecutor) -> None:
    """A server that says nothing is given up."""
    with played(pool, pulse=FAST) as (client, peer):
        recorder = Recorder(client)
        assert "for 0.5 s" in str(recorder.until(client.Signals.RAISE_ALARM)["reason"])
        assert peer.closed()


def test_any_byte_breaks_the_silence(pool: ThreadPoolExecutor) -> None:
    """Packets without a meaning keep a link as well as heartbeats do."""
    with played(pool, pulse=FAST) as (client, peer):
        for _ in range(20):
            peer.expect(INTERNAL, InternalCmd.HEARTBEAT)
            peer.send(Packet(99, INTERNAL, SERVER, US))
        assert client.connected


def test_slow_handler_is_not_silence(pool: ThreadPoolExecutor) -> None:
    """A handler that takes longer than the silence limit does not cost the link."""
    with played(pool, pulse=Pulse(0.02, 0.1, 0.0)) as (client, peer):
        entered, release = threading.Event(), threading.Event()
        subscribe(client, client.Signals.MESSAGE_RECEIVED, lambda message: (entered.set(), release.wait(0.3)))
        peer.send(Packet(1, USER, SERVER, US))
        assert entered.wait(PATIENCE)
        for _ in range(5):
            peer.send(Packet(99, INTERNAL, SERVER, US))
        assert not release.is_set()
        peer.expect(INTERNAL, InternalCmd.HEARTBEAT)
        peer.expect(INTERNAL, InternalCmd.HEARTBEAT)
        assert client.connected


def test_waits_before_it_reconnects(server: BusServer) -> None:
    """A server that drops its clients is not flooded; who closes on request may come back at once."""
    client = client_of(endpoint(server.urls[0])[1], pulse=Pulse(reconnect_delay=3600.0))
    recorder = Recorder(client)
    client.connect()
    client.disconnect()
    assert eventually(lambda: not server.bus.clients)
    client.connect()
    server.drop_sessions()
    recorder.until(client.Signals.RAISE_ALARM)
    recorder.until(client.Signals.DISCONNECTED)
    assert not client.try_connect(Deadline(0.05))
    assert isinstance(client.last_error, TimedOut)
    client.teardown()


def test_manager_recovers_and_registers_again(pool: ThreadPoolExecutor) -> None:
    """After a loss the registration tells where the client was before."""
    with Listening() as listening:
        manager = ConnectionManager(client_of(listening.port))
        connecting = pool.submit(manager.connect)
        with listening.admit():
            connecting.result(PATIENCE)
        with listening.accept() as peer:
            packet = peer.expect(INTERNAL, InternalCmd.REGISTER)
            assert packet.data[477 + 6 : 477 + 10] == bytes([SERVER.unit, 0, 0, 0])
            peer.send(RegisterAck().packet(SERVER, US))
            manager.wait_until("connected", PATIENCE)
            manager.teardown()


def test_server_restarts(server: BusServer) -> None:
    """Under a manager a client is back on the bus after a restart of the server, many times."""
    client = client_of(endpoint(server.urls[0])[1])
    connected = threading.Semaphore(0)
    subscribe(client, client.Signals.CONNECTED, lambda: connected.release())
    with ConnectionManager(client, backoff=Backoff.local()) as manager:
        for _ in range(5):
            assert connected.acquire(timeout=PATIENCE)
            server.kill()
            server.start()
        assert connected.acquire(timeout=PATIENCE)
        manager.wait_until("connected", PATIENCE)
        assert client.ping(0, 0, 1) > 0


BAD: list[Any] = [
    pytest.param(b"garbage of more than twenty bytes", id="garbage"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 1, 3, 0, 9, 19, 5, 0, 0), id="packet size 0"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 1, 3, 0, 9, 19, 5, -20, 0), id="packet size negative"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 1, 3, 0, 9, 19, 5, 19, 0), id="packet size too small"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 1, 3, 0, 9, 19, 5, 0x7FFFFFFF, 9), id="packet size huge"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 1, 3, 0, 9, 19, 5, 30, 11), id="more data than packet"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 1, 3, 0, 9, 19, 5, 30, -1), id="data size negative"),
    pytest.param(bytes(Packet(SystemCmd.INVOKE_FLOW_ACK, SYSTEM, SERVER, US, bytes(50))), id="short flow ack"),
    pytest.param(bytes(Packet(SystemCmd.INVOKE_FLOW_RET, SYSTEM, SERVER, US, bytes(46))), id="short flow return"),
    pytest.param(bytes(Packet(SystemCmd.GLOBAL_CONNECT, SYSTEM, SERVER, US, bytes(280))), id="short notice"),
    pytest.param(bytes(Packet(InternalCmd.REGISTER_ACK, INTERNAL, SERVER, US, bytes(3))), id="short acknowledgement"),
]


@pytest.mark.parametrize("bad", BAD)
def test_malformed_input_ends_the_link(pool: ThreadPoolExecutor, bad: bytes) -> None:
    """What comes before bad bytes is delivered, then the link ends with the reason."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        good = Packet(1, USER, SERVER, US, b"last words")
        peer.send(bytes(good) + bad)
        assert recorder.next(client.Signals.MESSAGE_RECEIVED)["message"] == good
        reason = recorder.next(client.Signals.RAISE_ALARM)["reason"]
        assert isinstance(reason, (ProtocolError, LimitExceeded))
        recorder.next(client.Signals.DISCONNECTED)
        assert peer.closed()


def test_unknown_commands_are_borne(pool: ThreadPoolExecutor) -> None:
    """Internal commands without a meaning are stepped over, all others are data."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        for cmd, cmd_type in [(3, 0), (50, 0), (6, 0), (14, 1), (15, 1), (200, 1), (0, 2), (9, 255)]:
            peer.send(Packet(cmd, cmd_type, SERVER, US, b"x"))
        messages = [recorder.next(client.Signals.MESSAGE_RECEIVED)["message"][:2] for _ in range(5)]
        assert messages == [(14, 1), (15, 1), (200, 1), (0, 2), (9, 255)]


def test_disconnects_from_inside_a_handler(server: BusServer, new_threads: NewThreads) -> None:
    """A handler on the listener thread may tear its own client down, and no thread is left."""
    client = client_of(endpoint(server.urls[0])[1], 20, 1)
    recorder = Recorder(client)
    subscribe(client, client.Signals.MESSAGE_RECEIVED, client.teardown)
    client.connect()
    client.send_ping(0, 0, 1)
    recorder.until(client.Signals.DISCONNECTED)
    client.teardown()
    assert not [thread for thread in new_threads() if "smartbus 20" in thread.name]
