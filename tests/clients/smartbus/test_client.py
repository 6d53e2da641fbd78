"""How a client registers, and how a registration fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cnx.clients.smartbus import (
    AlreadyConnected,
    BusSignals,
    Packet,
    RegistrationRefused,
    SmartBusClient,
)
from cnx.clients.smartbus.protocol.codes import CmdType, Code, SystemCmd
from cnx.clients.smartbus.protocol.messages import (
    Register,
    RegisterAck,
)
from cnx.clients.smartbus.protocol.packets import Address
from cnx.clients.smartbus.simulator import BusServer
from cnx.errors import (
    AccessDenied,
    Cancelled,
    ConnectError,
    ConnectionLost,
    LimitExceeded,
    ProtocolError,
    TimedOut,
)
from cnx.manager.manager import ConnectionManager
from cnx.testing import eventually
from tests.helpers.smartbus_peer import PATIENCE, SERVER, US, Listening, endpoint
from tests.helpers.smartbus_scene import Recorder, client_of, played

SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER


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
    assert eventually(lambda: not server.bus.clients)
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
    assert eventually(lambda: not server.bus.clients)
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
    """Data that overtakes the answer to the registration is emitted, after CONNECTED."""
    with Listening() as listening:
        client = client_of(listening.port)
        recorder = Recorder(client)
        connecting = pool.submit(client.connect)
        with listening.accept() as peer:
            early, late = Packet(1, USER, SERVER, US, b"early"), Packet(1, USER, SERVER, US, b"late")
            peer.receive()
            peer.send(bytes(early) + bytes(RegisterAck().packet(SERVER, US)) + bytes(late))
            connecting.result(PATIENCE)
            recorder.next(client.Signals.CONNECTED)
            assert recorder.next(client.Signals.MESSAGE_RECEIVED)["message"] == early
            assert recorder.next(client.Signals.MESSAGE_RECEIVED)["message"] == late
            client.teardown()


def test_too_much_before_the_answer(pool: ThreadPoolExecutor) -> None:
    """A server that sends without end before it answers the registration does not fill the memory."""
    with Listening() as listening:
        client = client_of(listening.port, limit=10_000)
        connecting = pool.submit(client.connect)
        with listening.accept() as peer:
            peer.receive()
            peer.send(bytes(Packet(1, USER, SERVER, US, bytes(1000))) * 10)
            with pytest.raises(LimitExceeded, match="before it answered the registration"):
                connecting.result(PATIENCE)


def test_bad_packet_before_the_answer(pool: ThreadPoolExecutor) -> None:
    """A packet that breaks the protocol ends the link also if it overtakes the answer to the registration."""
    with Listening() as listening:
        client = client_of(listening.port)
        recorder = Recorder(client)
        connecting = pool.submit(client.try_connect)
        with listening.accept() as peer:
            peer.receive()
            bad = Packet(SystemCmd.GLOBAL_CONNECT, SYSTEM, SERVER, US, b"short")
            peer.send(bytes(bad) + bytes(RegisterAck().packet(SERVER, US)))
            assert not connecting.result(PATIENCE)
        recorder.next(client.Signals.CONNECTED)
        assert isinstance(recorder.next(client.Signals.RAISE_ALARM)["reason"], ProtocolError)
        assert isinstance(recorder.next(client.Signals.DISCONNECTED)["reason"], ProtocolError)


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
