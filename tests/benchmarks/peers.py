"""Other libraries at the same work, in the same run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from tests.benchmarks.core import BULK, LINES, Countdown, ask, bare_socket, connected, round_trip, timed
from tests.benchmarks.harness import Case, case, pin, server

QUESTION = b"q" * 48 + b"\r\n"


@case("peers-bulk")
def peers_bulk() -> Iterator[Case]:
    """Bulk receive."""
    pin()
    total = (BULK // 4) << 20
    made = Case("bulk: peers", "MB/s")
    with server("bulk") as port:
        made.way("bare recv", lambda: timed(lambda: _bare(port, total), total / 1e6))
        made.way("cnx read()", lambda: timed(lambda: _cnx(port, total), total / 1e6))
        made.way("asyncio streams", lambda: timed(lambda: asyncio.run(_asyncio_bulk(port, total)), total / 1e6))
        yield made


def _bare(port: int, total: int) -> None:
    with bare_socket(port) as sock:
        ask(sock.sendall, BULK // 4)
        while total > 0:
            total -= len(sock.recv(65536))


def _cnx(port: int, total: int) -> None:
    with connected(port) as connection:
        ask(connection.write, BULK // 4)
        while total > 0:
            total -= len(connection.read(65536))


async def _asyncio_bulk(port: int, total: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ask(writer.write, BULK // 4)
    while total > 0:
        total -= len(await reader.read(65536))
    writer.close()
    await writer.wait_closed()


@case("peers-lines")
def peers_lines() -> Iterator[Case]:
    """Lines of 100 bytes."""
    pin()
    count = max(1, LINES // 10)
    total = count * 10_000
    made = Case("lines: peers", "lines/s")
    with server("lines") as port:
        made.way("bare recv, split, callback", lambda: timed(lambda: _bare_lines(port, count, total), total))
        made.way("cnx readline()", lambda: timed(lambda: _cnx_lines(port, count, total), total))
        made.way("asyncio readline()", lambda: timed(lambda: asyncio.run(_asyncio_lines(port, count, total)), total))
        made.way("asyncio, as ts_tcpip reads", lambda: timed(lambda: asyncio.run(_tcpip(port, count, total)), total))
        # one byte a callback: a thousandth of the lines is enough
        made.way("serial.threaded on socket://", lambda: timed(lambda: _reader_thread(port, 1000), 1000))
        yield made


def _bare_lines(port: int, count: int, total: int) -> None:
    counter = Countdown(total)
    tail = b""
    with bare_socket(port) as sock:
        ask(sock.sendall, count)
        while counter.left:
            *whole, tail = (tail + sock.recv(65536)).split(b"\r\n")
            for line in whole:
                counter.message(line)


def _cnx_lines(port: int, count: int, total: int) -> None:
    with connected(port) as connection:
        ask(connection.write, count)
        for _ in range(total):
            connection.readline()


async def _asyncio_lines(port: int, count: int, total: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ask(writer.write, count)
    for _ in range(total):
        await reader.readline()
    writer.close()
    await writer.wait_closed()


async def _tcpip(port: int, count: int, total: int) -> None:
    """Read as lsst.ts.tcpip does: check, read up to the terminator, strip it, decode."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ask(writer.write, count)

    async def read_str() -> str:
        if reader.at_eof() or writer.is_closing():
            raise ConnectionError("not connected")
        data = await reader.readuntil(b"\r\n")
        return data[:-2].decode("utf-8")

    for _ in range(total):
        await read_str()
    writer.close()
    await writer.wait_closed()


def _reader_thread(port: int, lines: int) -> None:
    import serial
    from serial.threaded import LineReader, ReaderThread

    done = threading.Event()

    class Lines(LineReader):  # type: ignore[misc]
        left = lines

        def handle_line(self, line: str) -> None:
            self.left -= 1
            if not self.left:
                done.set()

    url = serial.serial_for_url(f"socket://127.0.0.1:{port}", timeout=1)
    with ReaderThread(url, Lines):
        url.write((1).to_bytes(8, "big"))
        done.wait()


@case("peers-request")
def peers_request() -> Iterator[Case]:
    """Request and reply; websockets and pymodbus bring servers and frames of their own."""
    pin()
    with ExitStack() as stack:
        port = stack.enter_context(server("echo"))
        plain = stack.enter_context(bare_socket(port))
        ours = stack.enter_context(connected(port))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        reader, writer = loop.run_until_complete(asyncio.open_connection("127.0.0.1", port))
        stack.callback(writer.close)
        ways: dict[str, Callable[[], Any]] = {
            "bare sendall, recv": lambda: (plain.sendall(QUESTION), plain.recv(65536)),
            "cnx write(), readexactly()": lambda: (ours.write(QUESTION), ours.readexactly(50)),
            **_foreign(stack),
        }
        made = Case("request and reply: peers, p50", "us")
        for name, once in ways.items():
            made.way(name, lambda once=once: round_trip(once, 50, 1000))
        made.way("asyncio streams", lambda: loop.run_until_complete(_asyncio_trips(reader, writer)))
        yield made


async def _asyncio_trips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    import statistics
    from time import perf_counter

    times = []
    for _ in range(1000):
        began = perf_counter()
        writer.write(QUESTION)
        await reader.readexactly(50)
        times.append(perf_counter() - began)
    return statistics.median(times) * 1e6


def _foreign(stack: ExitStack) -> dict[str, Callable[[], Any]]:
    """Return the peers that are installed (``pip install 'cnx[bench]'``)."""
    found: dict[str, Callable[[], Any]] = {}
    if find_spec("websockets") is not None:
        from websockets.sync.client import connect

        link = stack.enter_context(connect(f"ws://127.0.0.1:{stack.enter_context(server('websocket'))}"))
        text = b"q" * 50
        found["websockets.sync"] = lambda: (link.send(text), link.recv())
    if find_spec("pymodbus") is not None:
        from pymodbus.client import ModbusTcpClient

        client = ModbusTcpClient("127.0.0.1", port=stack.enter_context(server("modbus")))
        client.connect()
        stack.callback(client.close)
        found["pymodbus read_holding_registers()"] = lambda: client.read_holding_registers(0, count=20)
    return found
