"""Our server and client with the original client library, and both clients' packets compared byte for byte."""

from __future__ import annotations

import contextlib
import json
import platform
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cnx.clients.smartbus import BusSignals, Packet, SmartBusClient
from cnx.clients.smartbus.protocol.codes import CmdType, Code, Presence, SystemCmd
from cnx.clients.smartbus.protocol.messages import GlobalConnect, RegisterAck
from cnx.clients.smartbus.protocol.packets import Address
from cnx.clients.smartbus.simulator import BusServer, Flow
from tests.helpers.smartbus_native import library
from tests.helpers.smartbus_native_process import NATIVE, Native
from tests.helpers.smartbus_peer import PATIENCE, SERVER, Listening, endpoint
from tests.helpers.smartbus_scene import Recorder, client_of

OURS = Address(21, 1, 9)
SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER


def missing() -> str:
    """Return why the original library cannot be used here; empty if it can."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the original SmartBus library exists for Linux on x86-64 only"
    return "" if library() else "no original SmartBus library: pip install '.[interop]'"


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def native() -> Iterator[Native]:
    """The original client, not connected."""
    process = Native()
    yield process
    process.close()


@pytest.fixture
def server() -> Iterator[BusServer]:
    """Our server."""
    with BusServer(users={"ann": "secret"}) as running:
        running.listen_tcp()
        yield running


@pytest.fixture
def ours(server: BusServer) -> Iterator[SmartBusClient]:
    """Our client on our server."""
    client = client_of(endpoint(server.urls[0])[1], *OURS[:2], user="ann", password="secret", info="ours")
    with client.connect():
        yield client


def joined(native: Native, server: BusServer) -> None:
    """Register the original client at our server."""
    native.connect(endpoint(server.urls[0])[1], user="ann", password="secret", info="native")
    assert native.next("connection")["ack"] == Code.OK


def test_registration(native: Native, server: BusServer) -> None:
    """The original client registers at our server."""
    joined(native, server)
    assert server.bus.clients == [NATIVE]


@pytest.mark.parametrize(("user", "ack"), [("ann", Code.WRONG_PASSWORD), ("bob", Code.WRONG_USER)])
def test_refusal(native: Native, server: BusServer, user: str, ack: int) -> None:
    """The original client understands our refusals."""
    native.connect(endpoint(server.urls[0])[1], user=user, password="wrong")
    assert native.next("connection")["ack"] == ack


def test_data_both_ways(native: Native, server: BusServer, ours: SmartBusClient) -> None:
    """Data of all lengths modulo four, broadcasts and megabytes cross in both directions."""
    joined(native, server)
    recorder = Recorder(ours)
    payloads = [bytes(range(1, size + 1)) for size in range(9)] + [bytes(range(256)) * 4096]
    for payload in payloads:
        assert native.do("SendData", NATIVE.client, 5, USER, *OURS, data=payload) == 0
        message = recorder.until(ours.Signals.MESSAGE_RECEIVED)["message"]
        assert message == Packet(5, USER, NATIVE, OURS, payload)
        ours.send(6, 77, *NATIVE, payload)
        assert native.data() == Packet(6, 77, OURS, NATIVE, payload)
    ours.send(7, USER, 255, 255, 9, b"to all")
    assert native.data() == Packet(7, USER, OURS, Address(255, 255, 9), b"to all")


def test_pings(native: Native, server: BusServer, ours: SmartBusClient) -> None:
    """Both clients answer each other's pings, and the server answers both."""
    joined(native, server)
    assert ours.ping(*NATIVE, b"hello?") > 0
    assert native.data() == Packet(SystemCmd.PING, SYSTEM, OURS, NATIVE, b"hello?")
    for whom in (OURS, Address(0, 0, 1)):
        assert native.do("SendPing", NATIVE.client, *whom, data=b"you?") == 0
        assert native.data() == Packet(SystemCmd.PING_ACK, SYSTEM, whom, NATIVE, b"you?")


def invoke(native: Native, flow: str, milliseconds: int = 5000, mode: int = 0) -> int:
    """Call a flow by the original client and return the invoke id."""
    return native.do("RemoteInvokeFlow", NATIVE.client, 0, 3, "proj", flow, mode, milliseconds, '["x", 1]')


def test_flows(native: Native, server: BusServer) -> None:
    """The original client calls flows of our server: one returns, one is refused, one never returns, one is silent."""
    server.flow("proj", "echo")(lambda *values: ["消息", *values])
    server.flows["proj", "refused"] = Flow(ack=-99, message="消息")
    server.flows["proj", "endless"] = Flow()
    server.flows["proj", "silent"] = Flow(ack=None)
    joined(native, server)
    number = invoke(native, "echo")
    ack, answer = native.next("ack"), native.next("return")
    assert (ack["id"], ack["ack"], ack["project"]) == (number, 1, b"proj".hex())
    assert (answer["id"], answer["ret"]) == (number, 1)
    assert json.loads(bytes.fromhex(answer["text"])) == ["消息", "x", 1]
    refused, endless, silent = (invoke(native, flow, 1000) for flow in ("refused", "endless", "silent"))
    acks = {ack["id"]: (ack["ack"], ack["text"]) for ack in (native.next("ack") for _ in range(3))}
    assert acks == {refused: (-99, "消息".encode("cp936").hex()), endless: (1, ""), silent: (-25, "")}
    returns = {answer["id"]: answer["ret"] for answer in (native.next("return") for _ in range(3))}
    assert returns == {refused: -25, endless: -25, silent: -25}


def test_global_notices(native: Native, server: BusServer) -> None:
    """Both clients learn of each other, whoever comes first, and when the other leaves."""
    joined(native, server)
    ours = client_of(endpoint(server.urls[0])[1], *OURS[:2], user="ann", password="secret", info="ours")
    recorder = Recorder(ours)
    ours.connect()
    found = native.next("global")
    assert (found["address"], found["status"], found["info"]) == ([*OURS], Presence.NEW, b"ours".hex())
    peer = recorder.until(BusSignals.PEER_CONNECTED)["peer"]
    assert (peer.address, peer.info) == (NATIVE, "native")
    ours.disconnect()
    found = native.next("global")
    assert (found["address"], found["status"]) == ([*OURS], Presence.GONE)
    ours.connect()
    native.next("global")
    native.close()
    assert recorder.until(BusSignals.PEER_DISCONNECTED)["peer"].address == NATIVE
    ours.teardown()
    with contextlib.closing(Native()) as newcomer:
        ours = client_of(endpoint(server.urls[0])[1], *OURS[:2], user="ann", password="secret", info="ours").connect()
        joined(newcomer, server)
        found = newcomer.next("global")
        assert (found["address"], found["status"], found["info"]) == ([*OURS], Presence.EXISTING, b"ours".hex())
        ours.teardown()


def test_server_restart(native: Native, server: BusServer) -> None:
    """The original client comes back to our server after a restart."""
    joined(native, server)
    server.stop()
    native.next("disconnect")
    server.start()
    while native.next("connection")["ack"] != Code.OK:
        continue
    assert native.do("SendPing", NATIVE.client, 0, 0, 1, data=b"back") == 0
    assert native.data().data == b"back"


def test_heartbeat_flood(native: Native, server: BusServer, ours: SmartBusClient) -> None:
    """Our server bears 900 heartbeats a second; others do not notice."""
    joined(native, server)
    for _ in range(100):
        assert ours.ping(*NATIVE) > 0
        native.data()


# -- byte for byte -----------------------------------------------------------------------------------------------------


def captured_register(listening: Listening) -> bytes:
    """Return the registration of the next client."""
    with listening.accept() as peer:
        packet = peer.receive()
        peer.send(RegisterAck(-6).packet(SERVER, packet.source))
        peer.closed()
    return bytes(packet)


def blanked(data: bytes, *ranges: tuple[int, int], texts: tuple[tuple[int, int], ...] = ()) -> bytes:
    """Return ``data`` with these ranges zero, and text fields (offset, size) zero after their NUL."""
    clean = bytearray(data)
    for start, end in ranges:
        clean[start:end] = bytes(end - start)
    for start, size in texts:
        nul = clean.index(0, start, start + size)
        clean[nul : start + size] = bytes(start + size - nul)
    return bytes(clean)


def test_registration_byte_for_byte(native: Native) -> None:
    """Our registration is the original's, but for the process id and the leaked pointer."""
    options = {"user": "ann", "password": "secret", "info": "信息"}
    with Listening() as listening, ThreadPoolExecutor() as pool:
        native.connect(listening.port, **options)
        theirs = captured_register(listening)
        client = client_of(listening.port, *NATIVE[:2], **options)
        attempt = pool.submit(client.try_connect)
        ours = captured_register(listening)
        assert not attempt.result(PATIENCE)
    garbage = [(10, 12), (233, 241), (497 + 148 + 266, 497 + 148 + 274)]
    texts = ((21, 20), (41, 64), (105, 128), (241, 256), (497 + 148 + 10, 256))
    assert len(ours) == 6053
    assert blanked(ours, *garbage, texts=texts) == blanked(theirs, *garbage, texts=texts)


FLOW_TEXTS, NOTE_TEXTS = ((1, 32), (33, 32)), ((1, 32), (42, 102))
PACKETS = [
    (USER, 5, (), lambda n: n.do("SendData", 1, 5, 3, *OURS, data=b"12345"), lambda c: c.send(5, 3, *OURS, b"12345")),
    (77, 200, (), lambda n: n.do("SendData", 1, -56, 77, *OURS), lambda c: c.send(200, 77, *OURS)),
    (SYSTEM, 7, (), lambda n: n.do("SendPing", 1, *OURS, data=b"abc"), lambda c: c.send_ping(*OURS, b"abc")),
    (SYSTEM, 11, FLOW_TEXTS, lambda n: invoke(n, "flow"), lambda c: c.invoke_flow(0, 3, "proj", "flow", ["x", 1])),
    (
        SYSTEM, 11, FLOW_TEXTS,
        lambda n: invoke(n, "flow", mode=1), lambda c: c.invoke_flow(0, 3, "proj", "flow", ["x", 1], need_return=False),
    ),
    (
        SYSTEM, 15, NOTE_TEXTS,
        lambda n: n.do("SendNotify", 1, 0, 3, "proj", "title", 0, 7000, "text"),
        lambda c: c.notify(0, 3, "proj", "title", "text", expires=7),
    ),
]  # fmt: skip


def comparable(packet: Packet, texts: tuple[tuple[int, int], ...]) -> Packet:
    """Return a packet without what the original leaves uninitialised."""
    unused = [(78, 112)] if packet[:2] == (11, 1) else []
    last = [(len(packet.data) - 1, len(packet.data))] if texts else []
    return packet._replace(data=blanked(packet.data, *unused, *last, texts=texts))


@pytest.mark.parametrize(("cmd_type", "cmd", "texts", "theirs", "ours"), PACKETS)
def test_packets_byte_for_byte(native: Native, cmd_type: int, cmd: int, texts: Any, theirs: Any, ours: Any) -> None:
    """What our client sends is what the original sends, in all fields that are not garbage, padding included."""
    with Listening() as listening, ThreadPoolExecutor() as pool:
        native.connect(listening.port)
        with listening.admit() as peer:
            native.next("connection")
            theirs(native)
            original, size = peer.expect(cmd_type, cmd), peer.size
            native.close()  # first: it would connect again at once
        client = client_of(listening.port, *NATIVE[:2])
        connecting = pool.submit(client.connect)
        with listening.admit() as peer:
            connecting.result(PATIENCE)
            ours(client)
            sent = peer.expect(cmd_type, cmd)
            assert peer.size == size
            client.teardown()
    assert comparable(sent, texts) == comparable(original, texts)


def test_automatic_answers_byte_for_byte(native: Native) -> None:
    """The answers to a ping and to a newcomer are the original's."""
    news = GlobalConnect(Address(30, 1, 10), 3, Presence.NEW, "peer").packet(SERVER, NATIVE)
    ping = Packet(SystemCmd.PING, SYSTEM, Address(30, 1, 10), NATIVE, b"hello?")
    answers = []
    with Listening() as listening, ThreadPoolExecutor() as pool:
        native.connect(listening.port, info="info")
        client = client_of(listening.port, *NATIVE[:2], info="info")
        for attempt in (None, client):
            connecting = pool.submit(client.connect) if attempt else None
            with listening.admit() as peer:
                peer.send(bytes(news) + bytes(ping))
                notice = peer.expect(SYSTEM, SystemCmd.GLOBAL_CONNECT_EXISTING)
                reply = peer.expect(SYSTEM, SystemCmd.PING_ACK)
                clean = blanked(notice.data, (10, 12), texts=((25, 256),))
                answers.append((notice._replace(data=clean), reply))
                if connecting is None:
                    native.close()
                else:
                    connecting.result(PATIENCE)
                    client.teardown()
    assert answers[1] == answers[0]
