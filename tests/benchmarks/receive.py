"""Receiving: bulk, lines and JSON, compared with a bare blocking socket, PyDispatcher alone, and other libraries.

Each way has its own connection, which stays open: only receiving is timed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from socket import socket
from typing import Any

from pydispatch import dispatcher

import cnx
from tests.benchmarks import peers
from tests.benchmarks.harness import Case, case, server
from tests.benchmarks.measuring import SIGNALS, Countdown, ask, bare_socket, connected, per_second
from tests.benchmarks.server import JSON

PIECE = 65536
"""Bytes that the bare loop asks for."""

MIB = 48
LINES = 100
JSON_LINES = 30
"""MiB, thousands of lines, and thousands of JSON lines in one slice of the fast ways; slow ways do less."""

SUBSCRIBER = "cnx, one subscriber"

Take = Callable[[int], object]


@case("bulk")
def bulk() -> Iterator[Case]:
    """Bytes as fast as they arrive."""
    made = Case("bulk", "MB/s", slices=4, leader=SUBSCRIBER)
    with server("bulk") as port, ExitStack() as stack:

        def way(name: str, take: Take, mib: int, bound: float | None = None) -> None:
            made.way(name, per_second(take, mib, (1 << 20) / 1e6), bound)

        way("bare recv_into, 64 KiB", partial(_bare_bulk, stack.enter_context(bare_socket(port))), MIB)
        reading = stack.enter_context(connected(port))
        way("cnx read()", partial(_read_bulk, reading), MIB, 0.80)
        heard = stack.enter_context(connected(port))
        counter = Countdown()
        stack.enter_context(cnx.subscribe(heard, SIGNALS.DATA_RECEIVED, counter.data))
        way(SUBSCRIBER, partial(_signal_bulk, heard, counter), MIB, 0.80)
        way("dispatcher.send per 64 KiB", partial(_dispatcher_bulk, stack.enter_context(bare_socket(port))), MIB)
        loop, reader, writer = stack.enter_context(peers.streams(port))
        way("asyncio streams", lambda count: loop.run_until_complete(_asyncio_bulk(reader, writer, count)), MIB // 4)
        if find_spec("websockets") is not None:
            link = stack.enter_context(peers.websocket(stack.enter_context(server("websocket-bulk"))))
            way("websockets.sync", partial(_websocket_bulk, link), MIB // 4)
        yield made


def _bare_bulk(sock: socket, mib: int) -> None:
    view = memoryview(bytearray(PIECE))
    left = mib << 20
    ask(sock.sendall, mib)
    while left > 0:
        left -= sock.recv_into(view)


def _read_bulk(connection: cnx.SocketConnection, mib: int) -> None:
    left = mib << 20
    ask(connection.write, mib)
    while left > 0:
        left -= len(connection.read(1 << 20))


def _signal_bulk(connection: cnx.SocketConnection, counter: Countdown, mib: int) -> None:
    counter.begin(mib << 20)
    ask(connection.write, mib)
    counter.done.wait()


def _dispatcher_bulk(sock: socket, mib: int) -> None:
    counter = Countdown(mib << 20)
    sender = object()
    dispatcher.connect(counter.data, signal="data", sender=sender)
    ask(sock.sendall, mib)
    while counter.left > 0:
        dispatcher.send(signal="data", sender=sender, data=sock.recv(65536))


async def _asyncio_bulk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mib: int) -> None:
    left = mib << 20
    ask(writer.write, mib)
    while left > 0:
        left -= len(await reader.read(65536))


def _websocket_bulk(link: Any, mib: int) -> None:
    left = mib << 20
    ask(link.send, mib)
    while left > 0:
        left -= len(link.recv())


@case("lines")
def lines() -> Iterator[Case]:
    """Lines of 100 bytes, each of which is counted by a function."""
    made = Case("lines of 100 bytes", "lines/s", slices=4, leader=SUBSCRIBER)
    with server("lines") as port, ExitStack() as stack:

        def way(name: str, take: Take, thousands: float, bound: float | None = None) -> None:
            made.way(name, per_second(take, round(thousands), 1000), bound)

        way("bare recv, split, callback", partial(_bare_lines, stack.enter_context(bare_socket(port))), LINES)
        for name, count, bound in ((SUBSCRIBER, 1, 0.85), ("cnx, ten subscribers", 10, 0.20)):
            heard = stack.enter_context(connected(port, framing=cnx.Delimited(b"\r\n")))
            way(name, _subscribed(stack, heard, count), LINES / count**0.5, bound)
        reading = stack.enter_context(connected(port))
        way("cnx readline()", partial(_readline, reading), LINES, 0.60)
        loop, reader, writer = stack.enter_context(peers.streams(port))
        run = loop.run_until_complete
        way("asyncio readline()", lambda count: run(_asyncio_lines(reader, writer, count)), LINES / 4)
        way("asyncio, as ts_tcpip read_str()", lambda count: run(_tcpip_lines(reader, writer, count)), LINES / 5)
        way("dispatcher.send per line", partial(_dispatcher_lines, stack.enter_context(bare_socket(port))), LINES / 20)
        if find_spec("websockets") is not None:
            link = stack.enter_context(peers.websocket(stack.enter_context(server("websocket-lines"))))
            way("websockets.sync, a message each", partial(_websocket_lines, link), LINES / 20)
        yield made


def _bare_lines(sock: socket, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    message = counter.message
    tail = b""
    ask(sock.sendall, thousands)
    while counter.left:
        *whole, tail = (tail + sock.recv(65536)).split(b"\r\n")
        for line in whole:
            message(line)


def _subscribed(stack: ExitStack, connection: cnx.SocketConnection, count: int) -> Take:
    counters = [Countdown() for _ in range(count)]
    for counter in counters:
        stack.enter_context(cnx.subscribe(connection, SIGNALS.MESSAGE_RECEIVED, counter.message))

    def take(thousands: int) -> None:
        for counter in counters:
            counter.begin(thousands * 1000)
        ask(connection.write, thousands)
        for counter in counters:
            counter.done.wait()

    return take


def _readline(connection: cnx.SocketConnection, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    message, readline = counter.message, connection.readline
    ask(connection.write, thousands)
    while counter.left:
        message(readline())


async def _asyncio_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    ask(writer.write, thousands)
    while counter.left:
        counter.message(await reader.readline())


async def _tcpip_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    ask(writer.write, thousands)
    while counter.left:
        counter.message(await peers.read_str(reader, writer))


def _dispatcher_lines(sock: socket, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    sender = object()
    dispatcher.connect(counter.message, signal="line", sender=sender)
    tail = b""
    ask(sock.sendall, thousands)
    while counter.left:
        *whole, tail = (tail + sock.recv(65536)).split(b"\r\n")
        for line in whole:
            dispatcher.send(signal="line", sender=sender, message=line)


def _websocket_lines(link: Any, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    ask(link.send, thousands)
    while counter.left:
        counter.message(link.recv())


@case("json")
def json_lines() -> Iterator[Case]:
    """Lines of JSON."""
    made = Case(f"JSON lines of {len(JSON)} bytes", "lines/s", slices=4, leader=SUBSCRIBER)
    with server("json") as port, ExitStack() as stack:

        def way(name: str, take: Take, bound: float | None = None) -> None:
            made.way(name, per_second(take, JSON_LINES, 1000), bound)

        way("bare recv, split, json.loads", partial(_bare_json, stack.enter_context(bare_socket(port))))
        heard = stack.enter_context(connected(port, framing=cnx.JsonLines()))
        way(SUBSCRIBER, _subscribed(stack, heard, 1), 1.3)
        if find_spec("msgspec") is not None:
            import msgspec

            fast = stack.enter_context(connected(port, framing=cnx.JsonLines(loads=msgspec.json.Decoder().decode)))
            way(f"{SUBSCRIBER}, msgspec", _subscribed(stack, fast, 1), 2.7)
        loop, reader, writer = stack.enter_context(peers.streams(port))
        run = loop.run_until_complete
        way("asyncio readline(), json.loads", lambda count: run(_asyncio_json(reader, writer, count)))
        way("asyncio, as ts_tcpip read_json()", lambda count: run(_tcpip_json(reader, writer, count)))
        yield made


def _bare_json(sock: socket, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    tail = b""
    ask(sock.sendall, thousands)
    while counter.left:
        *whole, tail = (tail + sock.recv(65536)).split(b"\r\n")
        for line in whole:
            counter.message(json.loads(line))


async def _asyncio_json(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    ask(writer.write, thousands)
    while counter.left:
        counter.message(json.loads(await reader.readline()))


async def _tcpip_json(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    ask(writer.write, thousands)
    while counter.left:
        counter.message(json.loads(await peers.read_str(reader, writer)))
