"""What the bus server bears: bad packets, silence, sizes, a backup beside it."""

from __future__ import annotations

import threading

import pytest

from cnx.clients.smartbus.protocol.codes import InternalCmd, Presence, SystemCmd
from cnx.clients.smartbus.protocol.messages import GlobalConnect
from cnx.clients.smartbus.protocol.packets import HEADER, Packet
from cnx.clients.smartbus.simulator import BusServer
from tests.helpers.smartbus_office import INTERNAL, IPSC, ONE, SYSTEM, TWO, USER, data, joined
from tests.helpers.smartbus_peer import NOBODY, PATIENCE, Peer

BAD = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: bus\r\n\r\n", id="another protocol"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 9, 16, 1, 9, 17, 1, 0, 0), id="packet size 0"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 9, 16, 1, 9, 17, 1, -5, 0), id="packet size negative"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 9, 16, 1, 9, 17, 1, 10, 0), id="packet size too small"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 9, 16, 1, 9, 17, 1, 0x7FFFFFFF, 4), id="packet size huge"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 9, 16, 1, 9, 17, 1, 24, 400), id="more data than packet"),
    pytest.param(HEADER.pack(0x5B15, 1, 3, 9, 16, 1, 9, 17, 1, 24, -1), id="data size negative"),
    pytest.param(bytes(Packet(SystemCmd.INVOKE_FLOW, SYSTEM, ONE, IPSC, b"short")), id="short flow call"),
    pytest.param(bytes(Packet(SystemCmd.NOTIFY, SYSTEM, ONE, IPSC, b"short")), id="short notice"),
    pytest.param(bytes(Packet(InternalCmd.HEARTBEAT, INTERNAL, ONE, IPSC, b"x")), id="short heartbeat"),
]


@pytest.mark.parametrize("bad", BAD)
def test_malformed_input_closes_only_its_own_link(server: BusServer, bad: bytes) -> None:
    """Who breaks the protocol is closed; before that, all it sent in order is delivered."""
    with joined(server, ONE) as one, joined(server, TWO) as two:
        one.send(bytes(data(ONE, TWO, b"last words")) + bad)
        assert two.expect(USER, 1).data == b"last words"
        assert GlobalConnect.parse(two.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT).data).status == Presence.GONE
        assert one.closed()


@pytest.mark.parametrize("bad", [*BAD[:7], bytes(data(ONE, TWO)), bytes(Packet(1, 0, ONE, NOBODY, b"short"))])
def test_malformed_registration(server: BusServer, bad: bytes) -> None:
    """Who does not begin with a registration is closed and was never on the bus."""
    with Peer(server.urls[0], ONE) as peer:
        peer.send(bad)
        assert peer.closed()
    assert server.bus.clients == []


def test_unknown_commands_are_data_or_ignored(server: BusServer) -> None:
    """Internal commands without a meaning are stepped over, all others are routed."""
    with joined(server, ONE) as one, joined(server, TWO) as two:
        for cmd, cmd_type in [(3, 0), (99, 0), (14, 1), (200, 1), (0, 2), (5, 255)]:
            one.send(Packet(cmd, cmd_type, ONE, TWO, b"x"))
        assert [two.receive()[:2] for _ in range(4)] == [(14, 1), (200, 1), (0, 2), (5, 255)]


def test_silent_clients_are_given_up() -> None:
    """A client without a sign of life is closed, before and after it registered."""
    with BusServer(silence=0.3) as server:
        server.listen_tcp()
        with Peer(server.urls[0], ONE) as unregistered:
            assert unregistered.closed()
        with joined(server, ONE) as registered:
            assert registered.closed()


def test_packets_over_the_limit() -> None:
    """A packet larger than the limit closes the link; one of just that size is routed."""
    with BusServer(limit=10_000) as server:
        server.listen_tcp()
        with joined(server, ONE) as one, joined(server, TWO) as two:
            one.send(data(ONE, TWO, bytes(9980)))
            assert len(two.expect(USER, 1).data) == 9980
            one.send(data(ONE, TWO, bytes(9981)))
            assert one.closed()


def test_large_packets(server: BusServer) -> None:
    """Packets of megabytes are routed whole."""
    payload = bytes(range(256)) * 4096 * 12
    with joined(server, ONE) as one, joined(server, TWO) as two:
        sender = threading.Thread(target=one.send, args=(data(ONE, TWO, payload),))
        sender.start()
        assert two.expect(USER, 1).data == payload
        sender.join(PATIENCE)


def test_backup_shares_the_bus() -> None:
    """A client on both servers is announced once and gone once; packets find it over either."""
    with BusServer(unit=0) as master, BusServer(unit=1, bus=master.bus) as backup:
        master.listen_tcp()
        backup.listen_tcp()
        with joined(backup, TWO) as watcher, joined(master, ONE, link=0) as first:
            second = joined(backup, ONE, link=1)
            watcher.send(data(TWO, ONE, b"over the first"))
            assert first.expect(USER, 1).data == b"over the first"
            master.stop()
            watcher.send(data(TWO, ONE, b"over the second"))
            assert second.expect(USER, 1).data == b"over the second"
            second.close()
            news = [GlobalConnect.parse(watcher.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT).data) for _ in range(2)]
            assert [(notice.address, notice.status) for notice in news] == [(ONE, Presence.NEW), (ONE, Presence.GONE)]


def test_backup_needs_a_unit_of_its_own() -> None:
    """Two servers with one unit id could not be told apart."""
    master = BusServer(unit=3)
    with pytest.raises(ValueError, match="unit 3 serves this bus already"):
        BusServer(unit=3, bus=master.bus)
    with pytest.raises(ValueError, match="server's unit id must be 0 to 15"):
        BusServer(unit=16)
