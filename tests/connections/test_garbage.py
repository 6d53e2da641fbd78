"""A peer that floods a connection with garbage causes few log lines, whatever the framing or the client is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from cnx import (
    CnxError,
    Connection,
    Delimited,
    FixedSize,
    Framing,
    JsonLines,
    LengthPrefixed,
    ProtocolError,
    Raw,
    subscribe,
)
from cnx.clients.chiller.client.line import ChillerLine
from cnx.clients.chiller.protocol.frames import call_of
from cnx.clients.m2 import M2Client, M2Controller, M2Lines, M2Signals
from cnx.clients.smartbus import SmartBusClient
from cnx.clients.smartbus.protocol.packets import Packet, PacketFraming
from cnx.clients.tecoroute import Connector
from cnx.testing import PATIENCE, connection_pair, wait_until
from tests.helpers.floods import MEBIBYTE, Flood
from tests.helpers.inside import is_emitting, is_reading
from tests.helpers.smartbus_peer import SERVER, US, Listening

MOST_LINES = 100

GARBAGE = [
    b"\n",
    b"\r\n",
    b"\xff\r\n",
    b"x",
    b"#\r",
    b"#01040rSupplyT+0200FF\r",
    b"[" * 500 + b"\r\n",
    b"\0",
    b"HTTP/1.1\r\n",
]
FRAMINGS: list[Framing] = [
    Raw(),
    Delimited(b"\n"),
    LengthPrefixed(1),
    FixedSize(1),
    JsonLines(),
    M2Lines(),
    PacketFraming(),
]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """Give the log lines; after the test there are few. (What logs every byte was asked to.)"""
    caplog.set_level(logging.DEBUG, logger="cnx")
    caplog.set_level(logging.INFO, logger="cnx.transports.tapped")
    yield caplog.get_records("call")
    assert len(caplog.get_records("call")) < MOST_LINES, [
        record.getMessage() for record in caplog.get_records("call")[:5]
    ]


def fail(message: object) -> None:
    """Fail at every message."""
    raise ValueError(message)


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: type(framing).__name__)
def test_framings(framing: Framing, garbage: bytes) -> None:
    """Although a handler raises at every message: the link ends, or all of it has been emitted."""
    with connection_pair(framing=framing) as (connection, peer):
        subscribe(connection, connection.Signals.MESSAGE_RECEIVED, fail)
        data = b"".join([garbage] * (MEBIBYTE // len(garbage) // 16))

        def send() -> None:
            with suppress(OSError):
                peer.sendall(data)

        sending = threading.Thread(target=send)
        sending.start()
        wait_until(lambda: connection.traffic.bytes_received == len(data) or not connection.connected, "the flood")
        wait_until(lambda: not is_reading(connection) and not is_emitting(connection), "the messages")
        connection.disconnect()
        sending.join(PATIENCE)


@contextmanager
def flooded(garbage: bytes) -> Iterator[int]:
    """Run a server that floods each client, and give its port."""
    with Flood(garbage) as server:
        yield int(server.listen_tcp().rpartition(":")[2])


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
def test_m2(garbage: bytes) -> None:
    """A command ends with the link, or at its timeout; so does taking messages one by one."""
    with flooded(garbage) as port:
        controller = M2Controller("127.0.0.1", port, port)
        with suppress(CnxError):
            controller.connect()
            controller.command("clearErrors", timeout=1.0)
        controller.teardown()
        client = M2Client("127.0.0.1", port, timeout=1.0)
        with suppress(CnxError):
            client.connect()
            while True:
                client.receive()
        client.teardown()


BAD_LINES = [b"\r\n", b"\xff\r\n", b"x\r\n", b"null\r\n", b"{\r\n"]


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("way", ["subscribers", "receive"])
@pytest.mark.parametrize("garbage", BAD_LINES)
def test_a_thousand_bad_lines_end_the_link(garbage: bytes, way: str) -> None:
    """With an error that says so; all of these lines were reported, and no more."""
    with flooded(garbage) as port:
        client = M2Client("127.0.0.1", port, timeout=PATIENCE)
        broken: list[BaseException] = []
        reasons: list[BaseException] = []
        over = threading.Event()
        subscribe(client, Connection.Signals.DISCONNECTED, lambda reason: (reasons.append(reason), over.set()))
        if way == "subscribers":
            subscribe(client, M2Signals.BROKEN, broken.append)
        client.connect()
        if way == "receive":
            with pytest.raises(CnxError):
                client.receive()
        assert over.wait(PATIENCE)
        assert isinstance(reasons[0], ProtocolError)
        assert "1000 lines in a row are no messages" in str(reasons[0])
        assert len(broken) == (1000 if way == "subscribers" else 0)
        client.teardown()


def test_bad_lines_between_good_ones_do_not_end_the_link() -> None:
    """However many there are: they are not in a row."""
    with Flood(b'x\r\n{"id": "a"}\r\n') as server:
        client = M2Client("127.0.0.1", int(server.listen_tcp().rpartition(":")[2]))
        count = 0
        enough = threading.Event()

        def on_message(message: object) -> None:
            nonlocal count
            count += 1
            if count == 5000:
                enough.set()

        subscribe(client, Connection.Signals.MESSAGE_RECEIVED, on_message)
        client.connect()
        assert enough.wait(PATIENCE)
        assert client.connected
        client.teardown()


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
def test_chiller(garbage: bytes) -> None:
    """Commands fail within their time."""
    with flooded(garbage) as port:
        line = ChillerLine(f"tcp://127.0.0.1:{port}", reply_timeout=0.2)
        line.connect()
        for _ in range(5):
            with suppress(CnxError):
                line.exchange(call_of(1, 4))
        line.teardown()


@pytest.mark.usefixtures("lines")
def test_a_thousand_bad_frames_end_the_line() -> None:
    """Of a chiller: what comes is from something else, or at another baud rate."""
    with flooded(b"#x\r") as port:
        line = ChillerLine(f"tcp://127.0.0.1:{port}", reply_timeout=PATIENCE)
        line.connect()
        errors = []
        for _ in range(3):
            with pytest.raises(CnxError) as raised:
                line.exchange(call_of(1, 4))
            errors.append(str(raised.value))
        line.teardown()
    assert any("1000 frames in a row are no replies" in error for error in errors), errors


PACKETS = [bytes(Packet(cmd, kind, SERVER, US, b"garbage")) for cmd in (0, 2, 3, 0x10, 0x7F) for kind in (0, 1, 2, 9)]


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("garbage", [*GARBAGE, *PACKETS], ids=lambda garbage: repr(garbage[:20]))
def test_smartbus(garbage: bytes) -> None:
    """Also packets that are well-formed and mean nothing."""
    listening = Listening()
    client = SmartBusClient("127.0.0.1", listening.port, unit_id=US.unit, client_id=US.client, client_type=US.type)

    def serve() -> None:
        with suppress(OSError):
            peer = listening.admit()
            peer.socket.sendall(garbage * (MEBIBYTE // len(garbage) // 16))
            peer.socket.close()

    serving = threading.Thread(target=serve)
    serving.start()
    with suppress(CnxError):
        client.connect()
        wait_until(lambda: not client.connected, "the end")
    client.teardown()
    serving.join(PATIENCE)
    listening.socket.close()


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize(
    "garbage", [*GARBAGE, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"], ids=lambda g: repr(g[:20])
)
def test_tecoroute(garbage: bytes) -> None:
    """Which fails to log in."""
    with flooded(garbage) as port:
        client = Connector(
            "user", "password", "PLC", tecoroute_host="127.0.0.1", tecoroute_port=port, connect_timeout=1.0
        )
        assert not client.try_connect()
        client.teardown()
