"""The bus server, seen by bare clients: registration, routing, notices, flows, bad clients."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator

import pytest

from cnx.clients.smartbus.protocol import HEADER, Address, Packet
from cnx.clients.smartbus.protocol_codes import CmdType, Code, InternalCmd, Presence, SystemCmd
from cnx.clients.smartbus.protocol_flows import FlowAck, FlowReturn, InvokeFlow, Notify
from cnx.clients.smartbus.protocol_messages import GlobalConnect, Heartbeat, HeartbeatAck, Register
from cnx.clients.smartbus.simulator import BusServer, Flow
from cnx.clients.smartbus.simulator_outbox import Outbox
from tests.clients.smartbus.peer import NOBODY, PATIENCE, Peer

ONE, TWO, THREE = Address(16, 1, 9), Address(17, 1, 9), Address(17, 2, 10)
IPSC = Address(0, 3, 2)
SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER


class RecordingServer(BusServer):
    """A server that keeps what was for it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.notices: queue.Queue[tuple[Address, Notify]] = queue.Queue()
        self.data: queue.Queue[Packet] = queue.Queue()

    def on_notify(self, source: Address, notice: Notify) -> None:
        """Keep a notice."""
        self.notices.put((source, notice))

    def on_data(self, packet: Packet) -> None:
        """Keep data."""
        self.data.put(packet)


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """A server that lets everybody in."""
    with RecordingServer() as running:
        running.listen_tcp()
        yield running


def joined(server: BusServer, address: Address, **fields: object) -> Peer:
    """Return a registered client."""
    peer = Peer(server.urls[0], address)
    assert peer.register(**fields) == Code.OK
    return peer


def data(source: Address, destination: Address, payload: bytes = b"data", cmd: int = 1) -> Packet:
    """Return a data packet."""
    return Packet(cmd, USER, source, destination, payload)


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


def call(flow: str, parameters: str = "[]", mode: int = 0, unit: int = 0) -> Packet:
    """Return a flow call."""
    return InvokeFlow("proj", flow, 7, parameters, mode).packet(ONE, IPSC._replace(unit=unit))


def test_flow_that_returns(server: BusServer) -> None:
    """A flow is acknowledged, then what its function returned comes back, from the process addressed."""
    server.flow("proj", "add")(lambda a, b: a + b)
    server.flow("proj", "pair")(lambda: ("x", 1))
    server.flow("proj", "nothing")(lambda: None)
    with joined(server, ONE) as one:
        for flow, parameters, text in [("add", "[1, 2]", "[3]"), ("pair", "", '["x", 1]'), ("nothing", "[]", "[]")]:
            one.send(call(flow, parameters))
            ack = one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_ACK)
            assert (ack.source, FlowAck.parse(ack.data)) == (IPSC, FlowAck("proj", 7))
            answer = one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_RET)
            assert (answer.source, FlowReturn.parse(answer.data)) == (IPSC, FlowReturn("proj", 7, text))


def test_flows_that_do_not_return(server: BusServer) -> None:
    """Unknown, refused, crashed and silent flows, and calls without return, each in their own way."""
    server.flow("proj", "crash")(lambda: 1 / 0)
    server.flow("proj", "wanted")(lambda: "done")
    server.flows["proj", "refused"] = Flow(ack=Code.OTHER, message="消息")
    server.flows["proj", "silent"] = Flow(ack=None)
    server.flows["proj", "endless"] = Flow()
    with joined(server, ONE) as one:
        for flow, ack in [("unknown", Code.NO_DESTINATION), ("refused", Code.OTHER), ("crash", 1), ("endless", 1)]:
            one.send(call(flow))
            assert FlowAck.parse(one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_ACK).data).ack == ack
        one.send(call("silent"))
        one.send(call("wanted", mode=1))
        one.send(call("wanted", "no json"))
        one.send(call("wanted", unit=9))
        acks = sorted(FlowAck.parse(one.receive().data).ack for _ in range(3))
        assert acks == sorted([1, Code.ARGUMENT, Code.NO_NODE])
        one.send(call("wanted"))
        assert one.receive().cmd == SystemCmd.INVOKE_FLOW_ACK
        assert one.receive().cmd == SystemCmd.INVOKE_FLOW_RET


def test_slow_flow_holds_up_nobody(server: BusServer) -> None:
    """Flows run beside each other and beside everything else."""
    release = threading.Event()
    server.flow("proj", "slow")(lambda: release.wait(PATIENCE))
    server.flow("proj", "fast")(lambda: "fast")
    with joined(server, ONE) as one:
        one.send(call("slow"))
        one.send(call("fast"))
        assert FlowReturn.parse(one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_RET).data).text == '["fast"]'
        release.set()
        assert FlowReturn.parse(one.expect(SYSTEM, SystemCmd.INVOKE_FLOW_RET).data).text == "[true]"


def test_notice(server: RecordingServer) -> None:
    """A notice reaches the server and is not answered."""
    notice = Notify("proj", "title", "消息", 1, 7000)
    with joined(server, ONE) as one:
        one.send(notice.packet(ONE, IPSC))
        assert server.notices.get(timeout=PATIENCE) == (ONE, notice)


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
    with pytest.raises(ValueError, match="server's unit id is 0 to 15"):
        BusServer(unit=16)


def test_server_stops_with_clients_and_flows(server: BusServer) -> None:
    """A stop ends clients and waits for flows; started again, the server takes clients."""
    started = threading.Event()
    server.flow("proj", "wait")(lambda: started.set() or server.wait(PATIENCE))
    with joined(server, ONE) as one, joined(server, TWO) as two:
        one.send(call("wait"))
        assert started.wait(PATIENCE)
        server.stop()
        assert one.closed()
        assert two.closed()
    assert not [thread for thread in threading.enumerate() if "outbox" in thread.name or "cnx flow" in thread.name]
    server.start()
    joined(server, ONE).close()


class Stuck:
    """A session whose client takes nothing until it is released."""

    address = "stuck"

    def __init__(self) -> None:
        self.released = threading.Event()
        self.writing = threading.Event()
        self.was_reset = threading.Event()
        self.written: queue.Queue[bytes] = queue.Queue()

    def write(self, data: bytes, timeout: float = PATIENCE) -> None:
        """Wait, then keep the data."""
        self.writing.set()
        self.released.wait(PATIENCE)
        self.written.put(data)

    def reset(self) -> None:
        """Remember it."""
        self.was_reset.set()


def test_outbox_is_bounded_and_holds_senders_back() -> None:
    """A full outbox makes its senders wait; nothing is lost when the client reads on."""
    session = Stuck()
    outbox = Outbox(session, b"first", size=10)
    outbox.start()
    assert session.writing.wait(PATIENCE)
    assert outbox.put(b"12345678")
    sender = threading.Thread(target=outbox.put, args=(b"longer than the size",))
    sender.start()
    session.released.set()
    sender.join(PATIENCE)
    assert outbox.put(b"last")
    written = b""
    while not written.endswith(b"last"):
        written += session.written.get(timeout=PATIENCE)
    assert written == b"first12345678longer than the sizelast"
    outbox.close(PATIENCE)
    assert not outbox.put(b"late")


def test_client_that_takes_nothing_is_cut_off() -> None:
    """A sender waits for so long and no longer; the stuck client is reset."""
    session = Stuck()
    outbox = Outbox(session, b"first", size=10, patience=0.05)
    outbox.start()
    assert session.writing.wait(PATIENCE)
    assert outbox.put(b"12345678")
    assert not outbox.put(b"abc")
    assert session.was_reset.is_set()
    session.released.set()
    outbox.close(PATIENCE)
