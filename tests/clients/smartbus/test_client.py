"""The client on one link: registration, data, pings, presence, heartbeats, loss, bad servers, bad input."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from cnx.backoff import Backoff
from cnx.clients.smartbus import (
    AlreadyConnected,
    BusSignals,
    Packet,
    Pulse,
    RegistrationRefused,
    SmartBusClient,
)
from cnx.clients.smartbus import (
    Peer as BusPeer,
)
from cnx.clients.smartbus.protocol import HEADER, Address
from cnx.clients.smartbus.protocol_codes import CmdType, Code, InternalCmd, Presence, SystemCmd
from cnx.clients.smartbus.protocol_messages import (
    GlobalConnect,
    GlobalConnectExisting,
    Heartbeat,
    HeartbeatAck,
    Register,
    RegisterAck,
)
from cnx.clients.smartbus.simulator import BusServer
from cnx.deadline import Deadline
from cnx.errors import (
    AccessDenied,
    Cancelled,
    ConnectError,
    ConnectionLost,
    LimitExceeded,
    NotConnected,
    ProtocolError,
    TimedOut,
)
from cnx.manager import ConnectionManager
from cnx.signals import subscribe
from tests.clients.smartbus.peer import PATIENCE, SERVER, US, Listening, Peer, endpoint

SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER
FAST = Pulse(heartbeat=0.05, silence=0.5, reconnect_delay=0.0)


def client_of(port: int, unit: int = 19, client: int = 5, **options: Any) -> SmartBusClient:
    """Return a client that is not connected."""
    options = {"client_type": 9, "pulse": Pulse(reconnect_delay=0.0), **options}
    return SmartBusClient("127.0.0.1", port, unit_id=unit, client_id=client, **options)


class Recorder:
    """Keeps what a client tells, in order."""

    def __init__(self, client: SmartBusClient) -> None:
        self.seen: queue.Queue[tuple[Any, dict[str, Any]]] = queue.Queue()
        signals = [*client.Signals, *BusSignals]
        signals.remove(client.Signals.DATA_RECEIVED)
        for signal in signals:
            subscribe(client, signal, self._keep)

    def _keep(self, signal: Any, **arguments: Any) -> None:
        arguments.pop("sender", None)
        self.seen.put((signal, arguments))

    def next(self, signal: Any) -> dict[str, Any]:
        """Return the arguments of the next signal, which has to be this one."""
        found, arguments = self.seen.get(timeout=PATIENCE)
        assert found is signal
        return arguments

    def until(self, signal: Any) -> dict[str, Any]:
        """Return the arguments of the next signal of this kind; others are dropped."""
        while True:
            found, arguments = self.seen.get(timeout=PATIENCE)
            if found is signal:
                return arguments


@pytest.fixture
def server() -> Iterator[BusServer]:
    """A bus server."""
    with BusServer() as running:
        running.listen_tcp()
        yield running


@contextmanager
def on_bus(server: BusServer, unit: int, client: int = 1, **options: Any) -> Iterator[SmartBusClient]:
    """A client that is registered."""
    with client_of(endpoint(server.urls[0])[1], unit, client, **options) as connected:
        yield connected


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls that wait while the test plays the server."""
    with ThreadPoolExecutor() as executor:
        yield executor


@contextmanager
def played(pool: ThreadPoolExecutor, **options: Any) -> Iterator[tuple[SmartBusClient, Peer]]:
    """A client that is registered at a server that the test plays."""
    with Listening() as listening:
        client = client_of(listening.port, **options)
        connecting = pool.submit(client.connect)
        peer = listening.admit()
        with peer:
            connecting.result(PATIENCE)
            try:
                yield client, peer
            finally:
                client.teardown()


# -- registration ------------------------------------------------------------------------------------------------------


def test_registers_when_it_connects(pool: ThreadPoolExecutor) -> None:
    """The registration tells who we are; the answer tells where we are."""
    with Listening() as listening:
        client = client_of(listening.port, user="ann", password="secret", info="信息")
        assert client.access_point == 255
        connecting = pool.submit(client.connect)
        with listening.accept() as peer:
            packet = peer.receive()
            register = Register.parse(packet.data)
            assert packet.source == US
            assert (register.link, register.user, register.password, register.info) == (0, "ann", "secret", "信息")
            assert not client.connected
            peer.send(RegisterAck().packet(SERVER, US))
            assert connecting.result(PATIENCE) is client
            assert client.connected
            assert client.access_point == SERVER.unit
            client.disconnect()
            assert peer.closed()


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_names_and_ipv6(host: str) -> None:
    """A server is found by its name, and over IPv6."""
    with BusServer() as server:
        try:
            port = int(server.listen_tcp(host).rpartition(":")[2])
        except OSError:
            pytest.skip(f"no {host} on this machine")
        with SmartBusClient(host, port, unit_id=20, client_id=1, client_type=9) as client:
            assert client.ping(0, 0, 1) > 0


def test_signals_of_a_link(server: BusServer) -> None:
    """CONNECTED first, DISCONNECTED last, with its reason."""
    client = client_of(endpoint(server.urls[0])[1])
    recorder = Recorder(client)
    client.connect()
    recorder.next(client.Signals.CONNECTED)
    client.disconnect()
    assert isinstance(recorder.next(client.Signals.DISCONNECTED)["reason"], Cancelled)
    client.connect()
    recorder.next(client.Signals.CONNECTED)
    server.drop_sessions()
    assert isinstance(recorder.next(client.Signals.RAISE_ALARM)["reason"], ConnectionLost)
    assert isinstance(recorder.next(client.Signals.DISCONNECTED)["reason"], ConnectionLost)
    assert not client.connected


@pytest.mark.parametrize(("code", "meaning"), [(-5, "wrong user name"), (-6, "wrong password"), (7, "unknown code 7")])
def test_refusal_is_final(pool: ThreadPoolExecutor, code: int, meaning: str) -> None:
    """A refusal is told with its code and meaning, and a manager gives up."""
    with Listening() as listening:
        client = client_of(listening.port)
        recorder = Recorder(client)
        manager = ConnectionManager(client)
        connecting = pool.submit(manager.connect)
        with listening.admit(code) as peer:
            with pytest.raises(RegistrationRefused, match=meaning) as caught:
                connecting.result(PATIENCE)
            assert peer.closed()
        assert caught.value.code == code
        assert isinstance(caught.value, AccessDenied)
        failed = recorder.next(BusSignals.CONNECT_FAILED)
        assert (failed["code"], failed["meaning"]) == (code, meaning)
        manager.teardown()


def test_ids_that_are_taken_are_tried_again(server: BusServer) -> None:
    """The refusal -10 is not final: it passes when the server notices the end of the last link."""
    port = endpoint(server.urls[0])[1]
    with client_of(port):
        second = client_of(port)
        recorder = Recorder(second)
        with pytest.raises(AlreadyConnected, match="already connected") as caught:
            second.connect()
        assert not caught.value.fatal
        assert caught.value.retry_after == 2.0
        assert recorder.next(BusSignals.CONNECT_FAILED)["code"] == Code.ALREADY_CONNECTED
    assert second.connect().connected
    second.teardown()


def test_no_server(pool: ThreadPoolExecutor) -> None:
    """A connection that cannot be made has the code -20."""
    with Listening() as listening:
        port = listening.port
    client = client_of(port)
    recorder = Recorder(client)
    assert not client.try_connect()
    failed = recorder.next(BusSignals.CONNECT_FAILED)
    assert (failed["code"], failed["meaning"]) == (-20, "cannot connect")
    assert isinstance(failed["reason"], ConnectError)


def test_server_that_does_not_answer(pool: ThreadPoolExecutor) -> None:
    """A registration without an answer ends with the attempt."""
    with Listening() as listening:
        client = client_of(listening.port)
        connecting = pool.submit(client.connect, 0.2)
        with listening.accept() as peer, pytest.raises(TimedOut, match="is it a SmartBus server"):
            connecting.result(PATIENCE)
        peer.close()


def test_server_of_another_protocol(pool: ThreadPoolExecutor) -> None:
    """What is not SmartBus is said to be so."""
    with Listening() as listening:
        client = client_of(listening.port)
        connecting = pool.submit(client.connect)
        with listening.accept() as peer:
            peer.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n")
            with pytest.raises(ProtocolError, match="does not speak SmartBus"):
                connecting.result(PATIENCE)


def test_packets_before_the_answer_are_not_lost(pool: ThreadPoolExecutor) -> None:
    """Data that overtakes the answer of the registration is delivered."""
    with Listening() as listening:
        client = client_of(listening.port)
        recorder = Recorder(client)
        connecting = pool.submit(client.connect)
        with listening.accept() as peer:
            early, late = Packet(1, USER, SERVER, US, b"early"), Packet(1, USER, SERVER, US, b"late")
            peer.receive()
            peer.send(bytes(early) + bytes(RegisterAck().packet(SERVER, US)) + bytes(late))
            connecting.result(PATIENCE)
            assert recorder.until(client.Signals.MESSAGE_RECEIVED)["message"] == early
            assert recorder.until(client.Signals.MESSAGE_RECEIVED)["message"] == late
            client.teardown()


def test_second_acknowledgement(pool: ThreadPoolExecutor) -> None:
    """A server may move us to another access point, or throw us out."""
    with played(pool) as (client, peer):
        recorder = Recorder(client)
        peer.send(RegisterAck().packet(Address(8, 0, 1), US))
        peer.send(Packet(SystemCmd.PING, SYSTEM, SERVER, US))
        peer.expect(SYSTEM, SystemCmd.PING_ACK)
        assert client.access_point == 8
        peer.send(RegisterAck(Code.TOO_MANY_CLIENTS).packet(SERVER, US))
        reason = recorder.until(client.Signals.DISCONNECTED)["reason"]
        assert isinstance(reason, RegistrationRefused)
        assert reason.code == Code.TOO_MANY_CLIENTS


# -- data --------------------------------------------------------------------------------------------------------------


def test_data_from_client_to_client(server: BusServer) -> None:
    """Bytes and text arrive with the information of their packet; broadcasts too."""
    with on_bus(server, 20) as sender, on_bus(server, 21, encoding="cp936") as receiver:
        recorder = Recorder(receiver)
        sender.send(0xF2, USER, 21, 1, 9, b"\0\1\2\3\4")
        sender.send(1, 77, 21, 1, 9, "文字")
        sender.send(2, USER, 255, 255, 9)
        packets = [recorder.until(receiver.Signals.MESSAGE_RECEIVED)["message"] for _ in range(3)]
        assert packets[0] == Packet(0xF2, USER, Address(20, 1, 9), Address(21, 1, 9), b"\0\1\2\3\4")
        assert (packets[1].cmd_type, sender.text(packets[1])) == (77, "文字")
        assert (packets[2].destination.client, packets[2].data) == (255, b"")
        receiver.send(1, USER, 20, 1, 9, "文字")


def test_text_in_the_encoding_of_the_client(pool: ThreadPoolExecutor) -> None:
    """Text goes out in the client's encoding; from flow servers it is cp936."""
    with played(pool, encoding="cp936") as (client, peer):
        client.send(1, USER, 3, 0, 1, "文字")
        assert peer.expect(USER, 1).data == "文字".encode("cp936")
        with pytest.raises(UnicodeEncodeError):
            client.send(1, USER, 3, 0, 1, "\U0001f600")
    with played(pool) as (client, _):
        from_flow = Packet(1, USER, Address(0, 0, 2), US, "文字".encode("cp936"))
        assert client.text(from_flow) == "文字"
        assert client.text(from_flow._replace(source=SERVER, data="文字".encode())) == "文字"


def test_large_data(server: BusServer) -> None:
    """A packet of megabytes crosses whole."""
    payload = bytes(range(256)) * 4096 * 8
    with on_bus(server, 20) as sender, on_bus(server, 21) as receiver:
        recorder = Recorder(receiver)
        sender.send(1, USER, 21, 1, 9, payload)
        assert recorder.until(receiver.Signals.MESSAGE_RECEIVED)["message"].data == payload


# -- ping --------------------------------------------------------------------------------------------------------------


def test_ping(server: BusServer) -> None:
    """The server and other clients answer pings; the round trip is returned."""
    with on_bus(server, 20) as one, on_bus(server, 21) as two:
        recorder = Recorder(two)
        assert 0 < one.ping(0, 0, 1) < PATIENCE
        assert 0 < one.ping(21, 1, 9, "hello?") < PATIENCE
        assert recorder.until(two.Signals.MESSAGE_RECEIVED)["message"].data == b"hello?"
        one.send_ping(21, 1, 9, b"again")
        assert recorder.until(two.Signals.MESSAGE_RECEIVED)["message"].data == b"again"


def test_answer_that_nobody_waits_for_is_data(server: BusServer) -> None:
    """The answer of a ping that was not waited for is told."""
    with on_bus(server, 20) as client:
        recorder = Recorder(client)
        client.send_ping(0, 0, 1, b"x")
        message = recorder.until(client.Signals.MESSAGE_RECEIVED)["message"]
        assert (message.cmd, message.source, message.data) == (SystemCmd.PING_ACK, Address(0, 0, 1), b"x")


def test_many_pings_with_the_same_data(server: BusServer) -> None:
    """Each ping of many at once gets one answer."""
    with on_bus(server, 20) as client, ThreadPoolExecutor(16) as pool:
        pings = [pool.submit(client.ping, 0, 0, 1, b"same") for _ in range(200)]
        assert all(ping.result(PATIENCE) > 0 for ping in pings)


def test_ping_from_a_handler(server: BusServer) -> None:
    """A handler cannot wait for what only its own thread can read; it is told so at once."""
    failed: Future[float] = Future()

    def on_message(message: Packet) -> None:
        try:
            client.ping(0, 0, 1)
        except RuntimeError as error:
            failed.set_exception(error)

    with on_bus(server, 20) as client, subscribe(client, client.Signals.MESSAGE_RECEIVED, on_message):
        client.send_ping(0, 0, 1)
        with pytest.raises(RuntimeError, match="read on another thread"):
            failed.result(PATIENCE)


def test_data_while_pinging(server: BusServer) -> None:
    """Data that comes while a thread waits for an answer is told, in order, by whichever thread read it."""
    with on_bus(server, 20) as client, on_bus(server, 21) as other, ThreadPoolExecutor(3) as pool:
        recorder = Recorder(client)
        pings = [pool.submit(lambda: [client.ping(0, 0, 1) for _ in range(200)]) for _ in range(3)]
        for number in range(500):
            other.send(1, USER, 20, 1, 9, str(number))
        told = [recorder.until(client.Signals.MESSAGE_RECEIVED)["message"].text() for _ in range(500)]
        assert told == [str(number) for number in range(500)]
        assert all(ping.result(PATIENCE) for ping in pings)


def test_ping_without_answer(pool: ThreadPoolExecutor) -> None:
    """No answer in time, and a link that is lost meanwhile."""
    with played(pool) as (client, peer):
        with pytest.raises(TimedOut, match="20/1 type 9 did not answer"):
            client.ping(20, 1, 9, timeout=0.05)
        waiting = pool.submit(client.ping, 20, 1, 9)
        for _ in range(2):
            peer.expect(SYSTEM, SystemCmd.PING)
        peer.close()
        with pytest.raises(ConnectionLost, match="closed the connection"):
            waiting.result(PATIENCE)


# -- presence ----------------------------------------------------------------------------------------------------------


def test_peers(server: BusServer) -> None:
    """Clients learn of each other: the old of the newcomer, the newcomer of the old, all of who leaves."""
    with on_bus(server, 20, info="one") as one:
        recorder = Recorder(one)
        newcomer = client_of(endpoint(server.urls[0])[1], 21, 1, info="two")
        found = Recorder(newcomer)
        newcomer.connect()
        two = BusPeer(Address(21, 1, 9), 0, "two")
        assert recorder.next(BusSignals.PEER_CONNECTED)["peer"] == two
        assert one.peers == [two]
        assert found.until(BusSignals.PEER_CONNECTED)["peer"] == BusPeer(Address(20, 1, 9), 0, "one")
        newcomer.disconnect()
        assert newcomer.peers == []
        assert recorder.next(BusSignals.PEER_DISCONNECTED)["peer"] == two
        assert one.peers == []


def test_answers_a_newcomer(pool: ThreadPoolExecutor) -> None:
    """A newcomer is answered at the address that the notice names; others are not answered."""
    with played(pool, info="我") as (client, peer):
        for address, status, kind in [
            (Address(30, 1, 10), Presence.EXISTING, GlobalConnect),
            (Address(30, 1, 10), Presence.NEW, GlobalConnectExisting),
            (Address(30, 1, 10), Presence.GONE, GlobalConnect),
            (Address(19, 6, 10), Presence.NEW, GlobalConnect),
            (US, Presence.NEW, GlobalConnect),
            (Address(31, 2, 11), Presence.NEW, GlobalConnect),
        ]:
            peer.send(kind(address, 0, status, "peer").packet(SERVER, US))
        answer = peer.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT_EXISTING)
        assert answer.destination == Address(31, 2, 11)
        assert GlobalConnectExisting.parse(answer.data) == GlobalConnectExisting(US, 3, Presence.EXISTING, "我")
        assert [known.address for known in client.peers] == [Address(19, 6, 10), Address(31, 2, 11)]


# -- heartbeats, silence, loss -----------------------------------------------------------------------------------------


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
        assert "silent for 0.5 s" in str(recorder.until(client.Signals.RAISE_ALARM)["reason"])
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


def test_disconnects_from_inside_a_handler(server: BusServer) -> None:
    """A handler on the listener thread may tear its own client down, and no thread is left."""
    client = client_of(endpoint(server.urls[0])[1], 20, 1)
    recorder = Recorder(client)
    subscribe(client, client.Signals.MESSAGE_RECEIVED, client.teardown)
    client.connect()
    client.send_ping(0, 0, 1)
    recorder.until(client.Signals.DISCONNECTED)
    client.teardown()
    assert not [thread for thread in threading.enumerate() if "smartbus 20" in thread.name]


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"unit_id": 15}, "unit id is 16 to 47"),
        ({"unit_id": 48}, "unit id is 16 to 47"),
        ({"client_id": 256}, "client id is 0 to 255"),
        ({"client_id": -1}, "client id is 0 to 255"),
        ({"client_type": 1}, "type is 2 to 255"),
        ({"client_type": 0}, "type is 2 to 255"),
        ({"user": "u" * 64}, "user has 64 bytes"),
        ({"password": "topsecret" * 15}, "password has 135 bytes"),
        ({"info": "i" * 256}, "info has 256 bytes"),
        ({"encoding": "klingon"}, "unknown encoding"),
        ({"port": 0}, "port must be"),
        ({"port": 65536}, "port must be"),
        ({"host": ""}, "host '' is no name"),
        ({"backup": ("backup", 0)}, "port must be"),
        ({"limit": 0}, "at least 1 byte"),
    ],
)
def test_bad_arguments(options: dict[str, Any], what: str) -> None:
    """Wrong arguments are refused before anything is opened; no message shows a password."""
    good: dict[str, Any] = {"host": "bus", "port": 8089, "unit_id": 20, "client_id": 1, "client_type": 9}
    with pytest.raises(ValueError, match=what) as caught:
        SmartBusClient(**{**good, **options})
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{"heartbeat": 0}, {"heartbeat": 20}, {"silence": float("inf")}, {"reconnect_delay": -1}]
)
def test_bad_pulse(values: dict[str, float]) -> None:
    """Times that cannot be are refused."""
    with pytest.raises(ValueError, match="heartbeat"):
        Pulse(**values)


SEND: list[tuple[Callable[[SmartBusClient], object], type[Exception], str]] = [
    (lambda c: c.send(256, 3, 20, 1, 9), ValueError, "command is 0 to 255"),
    (lambda c: c.send(1, 0, 20, 1, 9), ValueError, "command type is 1 to 255"),
    (lambda c: c.send(1, 256, 20, 1, 9), ValueError, "command type is 1 to 255"),
    (lambda c: c.send(1, 3, 19, 1, 9), ValueError, "own unit"),
    (lambda c: c.send(1, 3, 48, 1, 9), ValueError, "0 to 47, or 255"),
    (lambda c: c.send(1, 3, 20, 300, 9), ValueError, "client id is 0 to 255"),
    (lambda c: c.send(1, 3, 20, 1, -1), ValueError, "client type is 0 to 255"),
    (lambda c: c.send(1, 3, 20, 1, 9, 5), TypeError, "data is bytes or text"),  # type: ignore[arg-type]
    (lambda c: c.send(1, 3, 20, 1, 9, [1]), TypeError, "data is bytes or text"),  # type: ignore[arg-type]
    (lambda c: c.send("1", 3, 20, 1, 9), TypeError, "command is an int"),  # type: ignore[arg-type]
    (lambda c: c.ping(19, 1, 9), ValueError, "own unit"),
    (lambda c: c.ping(20, 1, 9, timeout=0), ValueError, "timeout is above 0"),
    (lambda c: c.ping(20, 1, 9, timeout=float("nan")), ValueError, "timeout is above 0"),
    (lambda c: c.ping(20, 1, 9, timeout="1"), TypeError, "number of seconds"),  # type: ignore[arg-type]
    (lambda c: c.invoke_flow(16, 0, "p", "f"), ValueError, "unit id is 0 to 15"),
    (lambda c: c.invoke_flow(0, 256, "p", "f"), ValueError, "process index is 0 to 255"),
    (lambda c: c.invoke_flow(0, 0, "p" * 32, "f"), ValueError, "project has 32 bytes"),
    (lambda c: c.invoke_flow(0, 0, "p", "f" * 32), ValueError, "flow has 32 bytes"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", "text"), TypeError, "list or tuple"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", [object()]), TypeError, "not JSON serializable"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", ["x" * 8000]), ValueError, "parameters has 8004 bytes"),
    (lambda c: c.invoke_flow(0, 0, "p", "f", timeout=-1), ValueError, "timeout is above 0"),
    (lambda c: c.notify(0, 0, "p", "", "text"), ValueError, "title has 0 bytes"),
    (lambda c: c.notify(0, 0, "p", "t", ""), ValueError, "text has 0 bytes"),
    (lambda c: c.notify(0, 0, "p", "t", "x" * 16000), ValueError, "text has 16000 bytes"),
    (lambda c: c.notify(16, 0, "p", "t", "x"), ValueError, "unit id is 0 to 15"),
    (lambda c: c.notify(0, 0, "p", "t", "x", expires=3e6), ValueError, "2,000,000"),
]


@pytest.mark.parametrize(("call", "kind", "what"), SEND)
def test_bad_requests(call: Callable[[SmartBusClient], object], kind: type[Exception], what: str) -> None:
    """What cannot be sent is refused by its own error, also while there is no link."""
    with pytest.raises(kind, match=what):
        call(client_of(1))


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.send(1, 3, 20, 1, 9),
        lambda c: c.ping(20, 1, 9),
        lambda c: c.send_ping(20, 1, 9),
        lambda c: c.invoke_flow(0, 0, "p", "f"),
        lambda c: c.notify(0, 0, "p", "t", "x"),
    ],
)
def test_sending_while_not_registered(call: Callable[[SmartBusClient], object]) -> None:
    """Without a link there is an error at once, and nothing is kept for later."""
    client = client_of(1)
    with pytest.raises(NotConnected, match="not registered"):
        call(client)
    client.teardown()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cnx calls")]


def test_password_is_nowhere_to_be_seen(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """Neither representation, errors nor logs at any level show the password."""
    caplog.set_level(logging.DEBUG)
    with Listening() as listening:
        client = client_of(listening.port, user="ann", password="topsecret")
        connecting: Future[SmartBusClient] = pool.submit(client.connect)
        with listening.admit(Code.WRONG_PASSWORD), pytest.raises(RegistrationRefused) as caught:
            connecting.result(PATIENCE)
    for text in (repr(client), str(caught.value), caplog.text, str(client.last_error), repr(vars(client))):
        assert "topsecret" not in text
