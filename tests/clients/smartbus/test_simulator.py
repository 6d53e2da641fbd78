"""The bus server, seen by bare clients: registration, routing, notices."""

from __future__ import annotations

import socket

import pytest

from cnx.clients.smartbus.protocol.codes import Code, InternalCmd, Presence, SystemCmd
from cnx.clients.smartbus.protocol.flows import Notify
from cnx.clients.smartbus.protocol.messages import GlobalConnect, Heartbeat, HeartbeatAck, Register
from cnx.clients.smartbus.protocol.packets import Address, Packet
from cnx.clients.smartbus.simulator import BusServer
from tests.helpers.smartbus_office import INTERNAL, IPSC, ONE, SYSTEM, THREE, TWO, USER, RecordingServer, data, joined
from tests.helpers.smartbus_peer import NOBODY, PATIENCE, Peer


def test_registration_tells_the_servers_unit() -> None:
    """The acknowledgement comes from the server's own unit and is addressed to the client."""
    with BusServer(unit=7) as server:
        server.listen_tcp()
        with Peer(server.urls[0], ONE) as peer:
            peer.send(Register().packet(ONE, NOBODY))
            ack = peer.receive()
    assert ack.source == Address(7, 0, 1)
    assert ack.destination == ONE
    assert len(ack.data) == 5560


@pytest.mark.parametrize(
    ("user", "password", "result"),
    [
        ("ann", "secret", Code.OK),
        ("ann", "wrong", Code.WRONG_PASSWORD),
        ("bob", "secret", Code.WRONG_USER),
        ("", "", -5),
    ],
)
def test_users_and_passwords(user: str, password: str, result: int) -> None:
    """Who is not known, or does not know the password, is refused, and the link closed."""
    with BusServer(users={"ann": "secret"}) as server:
        server.listen_tcp()
        with Peer(server.urls[0], ONE) as peer:
            assert peer.register(user=user, password=password) == result
            if result:
                peer.socket.shutdown(socket.SHUT_WR)
                assert peer.closed()


@pytest.mark.parametrize(
    ("address", "result"),
    [
        (Address(15, 1, 9), Code.INVALID_UNIT),
        (Address(48, 1, 9), Code.INVALID_UNIT),
        (Address(16, 1, 1), Code.INVALID_CLIENT_TYPE),
        (Address(16, 1, 0), Code.INVALID_CLIENT_TYPE),
        (Address(16, 0, 2), Code.OK),
        (Address(47, 255, 255), Code.OK),
    ],
)
def test_ids_of_clients(server: BusServer, address: Address, result: int) -> None:
    """Clients are units 16 to 47 with a type above 1."""
    with Peer(server.urls[0], address) as peer:
        assert peer.register() == result


def test_ids_that_are_taken(server: BusServer) -> None:
    """The same ids a second time are refused with -10, until the first is gone."""
    first = joined(server, ONE)
    with Peer(server.urls[0], ONE) as second:
        assert second.register() == Code.ALREADY_CONNECTED
    with joined(server, TWO) as watcher:
        first.close()
        gone = watcher.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT)
        assert GlobalConnect.parse(gone.data).status == Presence.GONE
        joined(server, ONE).close()


def test_too_many_clients_of_a_unit(server: BusServer) -> None:
    """A unit has up to 16 clients."""
    peers = [joined(server, Address(20, client, 9)) for client in range(16)]
    with Peer(server.urls[0], Address(20, 99, 9)) as peer:
        assert peer.register() == Code.TOO_MANY_CLIENTS
    for peer in peers:
        peer.close()


def test_routing_by_unit_and_client(server: BusServer) -> None:
    """A packet reaches the client it names and nobody else, in order."""
    with joined(server, ONE) as one, joined(server, TWO) as two, joined(server, THREE) as three:
        for number in range(100):
            one.send(data(ONE, TWO if number % 2 else THREE, bytes([number])))
        assert [two.expect(USER, 1).data[0] for _ in range(50)] == list(range(1, 100, 2))
        assert [three.expect(USER, 1).data[0] for _ in range(50)] == list(range(0, 100, 2))


def test_type_of_the_destination(server: BusServer) -> None:
    """A packet for another type is not delivered; type 0 fits every client."""
    with joined(server, ONE) as one, joined(server, TWO) as two:
        one.send(data(ONE, TWO._replace(type=77), b"wrong"))
        one.send(data(ONE, TWO._replace(type=0), b"any"))
        assert two.expect(USER, 1).data == b"any"


def test_broadcasts(server: BusServer) -> None:
    """Client 255 is every client of the unit and type, unit 255 every unit; the sender is left out."""
    everywhere, of_unit = Address(255, 255, 9), Address(17, 255, 10)
    with joined(server, ONE) as one, joined(server, TWO) as two, joined(server, THREE) as three:
        three.send(data(THREE, everywhere, b"to type 9"))
        one.send(data(ONE, of_unit, b"to type 10 of unit 17"))
        one.send(data(ONE, Address(255, 255, 0), b"to all"))
        assert one.expect(USER, 1).data == b"to type 9"
        assert {two.expect(USER, 1).data for _ in range(2)} == {b"to type 9", b"to all"}
        assert [three.expect(USER, 1).data for _ in range(2)] == [b"to type 10 of unit 17", b"to all"]


def test_source_cannot_be_forged(server: BusServer) -> None:
    """What is routed carries the address that its sender registered."""
    with joined(server, ONE) as one, joined(server, TWO) as two:
        one.send(data(THREE, TWO))
        assert two.expect(USER, 1).source == ONE


def test_data_to_the_server(server: RecordingServer) -> None:
    """The server itself can be sent data."""
    with joined(server, ONE) as one:
        one.send(data(ONE, Address(0, 0, 1), b"hello"))
        assert server.data.get(timeout=PATIENCE).data == b"hello"


def test_ping(server: BusServer) -> None:
    """The server answers pings to itself; pings between clients and their answers are routed."""
    with joined(server, ONE) as one, joined(server, TWO) as two:
        one.send(Packet(SystemCmd.PING, SYSTEM, ONE, Address(0, 0, 1), b"hello?"))
        assert one.expect(SYSTEM, SystemCmd.PING_ACK) == Packet(8, 1, Address(0, 0, 1), ONE, b"hello?")
        one.send(Packet(SystemCmd.PING, SYSTEM, ONE, TWO, b"you?"))
        assert two.expect(SYSTEM, SystemCmd.PING).data == b"you?"
        two.send(Packet(SystemCmd.PING_ACK, SYSTEM, TWO, ONE, b"you?"))
        assert one.expect(SYSTEM, SystemCmd.PING_ACK) == Packet(8, 1, TWO, ONE, b"you?")


def test_global_connect_notices(server: BusServer) -> None:
    """All hear of a newcomer and of who left, with their info; the newcomer itself does not."""
    with joined(server, ONE) as one:
        two = joined(server, TWO, info="信息")
        news = GlobalConnect.parse(one.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT).data)
        assert news == GlobalConnect(TWO, 0, Presence.NEW, "信息")
        one.send(data(ONE, TWO))
        assert two.receive().cmd_type == USER
        two.close()
        news = GlobalConnect.parse(one.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT).data)
        assert news == GlobalConnect(TWO, 0, Presence.GONE, "信息")


def test_heartbeats_are_acknowledged_but_not_each(server: BusServer) -> None:
    """900 heartbeats at once get one answer, and the link works on."""
    with joined(server, ONE) as one:
        one.send(b"".join(bytes(Heartbeat(i).packet(ONE, Address(255, 0, 1))) for i in range(900)))
        ack = HeartbeatAck.parse(one.expect(INTERNAL, InternalCmd.HEARTBEAT_ACK).data)
        assert ack.count == 0
        one.send(Packet(SystemCmd.PING, SYSTEM, ONE, Address(0, 0, 1)))
        assert one.receive().cmd == SystemCmd.PING_ACK


def test_garbage_in_reserved_fields(server: BusServer) -> None:
    """What the original client leaves uninitialised is neither looked at nor passed on."""
    with joined(server, ONE) as one, joined(server, TWO) as two:
        packet = bytearray(bytes(data(ONE, TWO, b"12345")))
        packet[10:12] = b"\x37\x10"
        packet[-1:] = b"\x90"
        one.send(bytes(packet))
        assert bytes(two.expect(USER, 1)) == bytes(data(ONE, TWO, b"12345"))


def test_notice(server: RecordingServer) -> None:
    """A notice reaches the server and is not answered."""
    notice = Notify("proj", "title", "消息", 1, 7000)
    with joined(server, ONE) as one:
        one.send(notice.packet(ONE, IPSC))
        assert server.notices.get(timeout=PATIENCE) == (ONE, notice)
