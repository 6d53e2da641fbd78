"""Requests and replies of 50 bytes, one by one: alone, beside a thread that computes, and without a record."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import cnx
from tests.benchmarks import peers
from tests.benchmarks.harness import Case, View, case, percentile, server
from tests.benchmarks.measuring import QUESTION, SIGNALS, bare_socket, connected, times_of

Ways = dict[str, Callable[[], Any]]

REQUESTS = 400
BUSY_REQUESTS = 100
RECORDED_REQUESTS = 200
"""In one slice."""

BARE, READING, REQUEST, HEARD = (
    "bare sendall, recv",
    "cnx write(), readexactly()",
    "cnx request()",
    "cnx write(), readexactly(), one subscriber",
)


@case("request")
def request() -> Iterator[Case]:
    """Client and server on one core."""
    made = Case("request and reply", "us", less=True, slices=10, leader=READING)
    made.views = [
        View("p50", statistics.median, {READING: 1.50, REQUEST: 1.50, HEARD: 1.60}),
        View("p99", percentile(99), {READING: 1.7, REQUEST: 1.7, HEARD: 1.7}),
    ]
    with server("echo") as port, ExitStack() as stack:
        for way, once in {**_ways(port, stack), **_foreign(port, stack)}.items():
            made.way(way, times_of(once, REQUESTS))
        loop, reader, writer = stack.enter_context(peers.streams(port))

        async def trip() -> None:
            writer.write(QUESTION)
            await reader.readexactly(50)

        async def tcpip_trip() -> None:
            writer.write(QUESTION)
            await writer.drain()
            await peers.read_str(reader, writer)

        run = loop.run_until_complete
        made.way("asyncio streams", lambda: run(_times_of_coroutine(trip)))
        made.way("asyncio, as ts_tcpip write_str(), read_str()", lambda: run(_times_of_coroutine(tcpip_trip)))
        yield made


@case("busy")
def busy() -> Iterator[Case]:
    """Beside a Python thread that computes; client and server have a core each.

    Every way then waits for the interpreter lock once or twice, for about 5 ms each (``sys.getswitchinterval``).
    """
    made = Case("request and reply beside a busy thread", "us", less=True, slices=3)
    with server("echo", core=1) as port, ExitStack() as stack:
        ways = _ways(port, stack)
        del ways[REQUEST], ways[HEARD]
        stack.enter_context(computing())
        for name, once in ways.items():
            made.way(name, times_of(once, BUSY_REQUESTS), 1.2 if name == READING else None)
        yield made


@case("recorder")
def recorder() -> Iterator[Case]:
    """With the record of the last pieces of data, which is the default, and without."""
    made = Case("request and reply, recorded", "us", less=True, slices=20)
    made.views = [View("p50", statistics.median, {"cnx": 1.15})]
    with server("echo") as port, ExitStack() as stack:
        for name, settings in (("cnx, record=0", {"record": 0}), ("cnx", {})):
            made.way(name, times_of(_asking(stack.enter_context(connected(port, **settings))), RECORDED_REQUESTS))
        yield made


def _asking(connection: cnx.SocketConnection) -> Callable[[], object]:
    return lambda: (connection.write(QUESTION), connection.readexactly(50))  # type: ignore[func-returns-value]


def _ways(port: int, stack: ExitStack) -> Ways:
    """Return the bare loop, the ways of cnx, and a thread that reads, as many programs have it."""
    plain, shared = (stack.enter_context(bare_socket(port)) for _ in range(2))
    quiet, asked, heard = (stack.enter_context(connected(port)) for _ in range(3))
    stack.enter_context(cnx.subscribe(heard, SIGNALS.DATA_RECEIVED, _take))
    hand_over = peers.HandOver(shared)
    return {
        BARE: lambda: (plain.sendall(QUESTION), plain.recv(65536)),  # type: ignore[func-returns-value]
        READING: _asking(quiet),
        REQUEST: lambda: asked.request(QUESTION),
        HEARD: _asking(heard),
        "a thread that reads, and a condition": lambda: hand_over.request(QUESTION),
    }


def _take(data: bytes) -> None:
    """Ignore the data."""


def _foreign(port: int, stack: ExitStack) -> Ways:
    """Return the peers that are installed (``pip install '.[bench]'``), with servers of their own."""
    lines = stack.enter_context(peers.reader_thread(port))
    found: Ways = {"serial.threaded on socket://": lambda: _threaded_trip(lines)}
    if find_spec("websockets") is not None:
        link = stack.enter_context(peers.websocket(stack.enter_context(server("websocket-echo"))))
        found["websockets.sync"] = lambda: (link.send(QUESTION), link.recv())
    if find_spec("pymodbus") is not None:
        from pymodbus.client import ModbusTcpClient

        client = ModbusTcpClient("127.0.0.1", port=stack.enter_context(server("modbus")))
        client.connect()  # type: ignore[no-untyped-call]
        stack.callback(client.close)
        found["pymodbus read_holding_registers()"] = lambda: client.read_holding_registers(0, count=20)
    return found


def _threaded_trip(lines: peers.Lines) -> None:
    lines.counter.begin(1)
    lines.write(QUESTION)
    lines.counter.done.wait()


async def _times_of_coroutine(once: Callable[[], Any]) -> list[float]:
    for _ in range(REQUESTS // 5):
        await once()
    times = []
    for _ in range(REQUESTS):
        began = perf_counter()
        await once()
        times.append((perf_counter() - began) * 1e6)
    return times


@contextmanager
def computing() -> Iterator[None]:
    """Keep a Python thread busy."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
