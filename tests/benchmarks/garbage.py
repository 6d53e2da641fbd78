"""One MiB of garbage, for every framing and for every client: the processor time and the memory that it takes."""

from __future__ import annotations

import logging
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import cnx
from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.client.line import ChillerLine
from cnx.clients.chiller.protocol.frames import Frames, call_of
from cnx.clients.m2 import M2Controller, M2Lines
from cnx.clients.m2.client.client import fastest_decoder
from cnx.clients.smartbus import SmartBusClient
from cnx.clients.smartbus.protocol.packets import Packet, PacketFraming
from cnx.clients.tecoroute import Connector
from cnx.clients.tecoroute.protocol.http import ResponseReader
from tests.benchmarks.harness import Case, case, in_new_process
from tests.helpers.floods import MEBIBYTE, Flood
from tests.helpers.smartbus_peer import SERVER, US, Listening

CHUNK = 64 * 1024
MOST_SECONDS, MOST_MEMORY = 1.0, 16.0
BARE = "bare count of lines"

KINDS = [
    *(
        b"\n",
        b"\r",
        b"\r\n",
        b"\xff\r\n",
        b"x\r\n",
        b'x\r\n{"id":"a"}\r\n',
        b"null\r\n",
        b"{\r\n",
        b"[" * 500 + b"\r\n",
    ),
    *(b"x", b"\0", b"#", b"#\r", b"#x\r", b"#01040rSupplyT+0200FF\r", b"HTTP/1.1\r\n", b"HTTP/1.1 200 \r\n\r\n"),
    *(bytes(Packet(cmd, kind, SERVER, US)) for cmd, kind in ((0, 0), (2, 0), (3, 1), (0x7F, 9))),
]

FRAMINGS: dict[str, Callable[[], cnx.Framing]] = {
    "Delimited": partial(cnx.Delimited, b"\n"),
    "LengthPrefixed": partial(cnx.LengthPrefixed, 1),
    "FixedSize": partial(cnx.FixedSize, 1),
    "JsonLines": cnx.JsonLines,
    "M2Lines": partial(M2Lines, loads=fastest_decoder()),
    "M2Lines, standard decoder": M2Lines,
    "Frames of a chiller": partial(Frames, b"#"),
    "PacketFraming of a SmartBus": PacketFraming,
    "ResponseReader of TecoRoute": ResponseReader,
}


def cut(framing: Callable[[], cnx.Framing], garbage: bytes) -> None:
    """Take all messages, or everything up to the first error, which would end the link."""
    made, buffer = framing(), ReceiveBuffer()
    chunk = garbage * (CHUNK // len(garbage))
    with suppress(cnx.CnxError):
        for _ in range(MEBIBYTE // CHUNK):
            buffer.append(chunk)
            while made.take_all(buffer):
                pass


def ignore(message: object) -> None:
    """Do nothing with a message."""


def emit(framing: Callable[[], cnx.Framing], garbage: bytes) -> None:
    """Receive all of it over a link with a subscriber."""
    near, far = socket.socketpair()
    data = garbage * (MEBIBYTE // len(garbage))

    def send() -> None:
        with suppress(OSError):
            far.sendall(data)
        far.close()

    over = threading.Event()
    connection = cnx.SocketConnection.from_socket(near, framing=framing())
    cnx.subscribe(connection, connection.Signals.DISCONNECTED, over.set)
    cnx.subscribe(connection, connection.Signals.MESSAGE_RECEIVED, ignore)
    connection.connect()
    sending = threading.Thread(target=send)
    sending.start()
    over.wait()
    connection.teardown()
    sending.join()


def m2(garbage: bytes) -> None:
    """Wait for the result of a command."""
    with Flood(garbage) as server, suppress(cnx.CnxError):
        port = int(server.listen_tcp().rpartition(":")[2])
        with M2Controller("127.0.0.1", port, port) as client:
            client.command("clearErrors", timeout=1.0)


def chiller(garbage: bytes) -> None:
    """Wait for the replies of two commands."""
    with Flood(garbage) as server, suppress(cnx.CnxError), ChillerLine(server.listen_tcp(), reply_timeout=0.3) as line:
        for _ in range(2):
            with suppress(cnx.CnxError):
                line.exchange(call_of(1, 4))


def smartbus(garbage: bytes) -> None:
    """Receive it after the registration."""
    listening = Listening()

    def serve() -> None:
        with suppress(OSError):
            peer = listening.admit()
            peer.socket.sendall(garbage * (MEBIBYTE // len(garbage)))
            peer.socket.close()

    serving = threading.Thread(target=serve)
    serving.start()
    over = threading.Event()
    client = SmartBusClient("127.0.0.1", listening.port, unit_id=US.unit, client_id=US.client, client_type=US.type)
    cnx.subscribe(client, client.Signals.DISCONNECTED, over.set)
    with suppress(cnx.CnxError):
        client.connect()
        over.wait(10.0)
    client.teardown()
    serving.join()
    listening.socket.close()


def tecoroute(garbage: bytes) -> None:
    """Fail to log in."""
    with Flood(garbage) as server:
        port = int(server.listen_tcp().rpartition(":")[2])
        client = Connector("u", "p", "PLC", tecoroute_host="127.0.0.1", tecoroute_port=port, connect_timeout=0.5)
        client.try_connect()
        client.teardown()


def count_lines(garbage: bytes) -> None:
    """Do about the least that can be done."""
    (garbage * (MEBIBYTE // len(garbage))).count(b"\n")


WAYS: dict[str, Callable[[bytes], None]] = {
    BARE: count_lines,
    **{f"cnx, {name}": partial(cut, framing) for name, framing in FRAMINGS.items()},
    **{f"cnx, link with {name}": partial(emit, framing) for name, framing in FRAMINGS.items()},
    "cnx, M2 controller": m2,
    "cnx, chiller": chiller,
    "cnx, SmartBus": smartbus,
    "cnx, TecoRoute": tecoroute,
}


def measure(way: str) -> dict[str, float]:
    """Return the most processor time and the most memory, one after the other, that one kind of garbage takes."""
    logging.getLogger("cnx").propagate = False
    run = WAYS[way]
    run(b"x\r\n")  # what is imported only now does not count
    seconds, peaks = [], []
    for garbage in KINDS:
        began = time.process_time()
        run(garbage)
        seconds.append(time.process_time() - began)
    tracemalloc.start()
    for garbage in KINDS[:9:4]:  # that is slow
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        run(garbage)
        _, peak = tracemalloc.get_traced_memory()
        peaks.append(peak - before)
    tracemalloc.stop()
    return {"processor time": max(seconds), "memory": max(peaks) / MEBIBYTE}


@case("garbage")
def garbage() -> Iterator[Case]:
    """One MiB of each kind; each way runs in its own process."""
    found = {way: in_new_process(measure, way) for way in WAYS}
    for key, unit, bound in (("processor time", "s", MOST_SECONDS), ("memory", "MiB", MOST_MEMORY)):
        made = Case(f"1 MiB of garbage: {key}", unit, less=True, absolute=True)
        for way, figures in found.items():
            unbound = way == BARE or way.startswith("cnx, link with")  # a million messages are emitted there
            made.way(way, partial(figures.__getitem__, key), None if unbound else bound)
        yield made
