"""Data, pings and presence, from client to client."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cnx.clients.smartbus import (
    BusSignals,
    Packet,
)
from cnx.clients.smartbus import (
    Peer as BusPeer,
)
from cnx.clients.smartbus.protocol.codes import CmdType, Presence, SystemCmd
from cnx.clients.smartbus.protocol.messages import (
    GlobalConnect,
    GlobalConnectExisting,
)
from cnx.clients.smartbus.protocol.packets import Address
from cnx.clients.smartbus.simulator import BusServer
from cnx.errors import (
    ConnectionLost,
    TimedOut,
)
from cnx.signals.subscriptions import subscribe
from tests.helpers.smartbus_peer import PATIENCE, SERVER, US, endpoint
from tests.helpers.smartbus_scene import Recorder, client_of, on_bus, played

SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER


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
    """A handler that waits for an answer which its own thread would receive gets an error at once."""
    failed: Future[float] = Future()

    def on_message(message: Packet) -> None:
        try:
            client.ping(0, 0, 1)
        except RuntimeError as error:
            failed.set_exception(error)

    with on_bus(server, 20) as client, subscribe(client, client.Signals.MESSAGE_RECEIVED, on_message):
        client.send_ping(0, 0, 1)
        with pytest.raises(RuntimeError, match="must not wait"):
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
