"""The core: bulk, lines, JSON, request and reply, beside a bare blocking socket and beside PyDispatcher itself."""

from __future__ import annotations

import ctypes
import json
import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from pydispatch import dispatcher

import cnx
from tests.benchmarks.harness import Case, Target, case, pin, server
from tests.benchmarks.server import JSON, LINE, PAYLOADS

BULK, LINES, REQUESTS = 128, 40, 4000
"""Payloads of 1 MiB, payloads of 10,000 lines, and requests in one round."""

SIGNALS = cnx.Connection.Signals


def ask(write: Callable[[bytes], Any], count: int) -> None:
    """Have the server send ``count`` payloads."""
    write(count.to_bytes(8, "big"))


@contextmanager
def bare_socket(port: int) -> Iterator[socket.socket]:
    """Give a plain connected socket."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


@contextmanager
def connected(port: int, **settings: Any) -> Iterator[cnx.SocketConnection]:
    """Give a cnx connection."""
    with cnx.SocketConnection("127.0.0.1", port, **settings) as connection:
        yield connection


class Countdown:
    """A subscriber that waits for a number of bytes or messages."""

    def __init__(self, total: int) -> None:
        self.left = total
        self.done = threading.Event()

    def data(self, data: bytes) -> None:
        """Count bytes."""
        self.left -= len(data)
        if self.left <= 0:
            self.done.set()

    def message(self, message: Any) -> None:
        """Count a message."""
        self.left -= 1
        if not self.left:
            self.done.set()


def timed(work: Callable[[], None], amount: float) -> float:
    """Return ``amount`` per second."""
    began = perf_counter()
    work()
    return amount / (perf_counter() - began)


# -- bulk ----------------------------------------------------------------------------------------------------------


@case("bulk")
def bulk() -> Iterator[Case]:
    """Bytes as fast as they come."""
    pin()
    total = BULK << 20
    made = Case("bulk, 64 KiB reads", "MB/s")
    with server("bulk") as port:
        made.way("bare recv_into", lambda: timed(lambda: _bare_bulk(port, total), total / 1e6))
        made.way("cnx read()", lambda: timed(lambda: _read_bulk(port, total), total / 1e6), Target(0.90, 0.95))
        made.way("cnx read_into()", lambda: timed(lambda: _into_bulk(port, total), total / 1e6), Target(0.90, 0.95))
        made.way(
            "cnx, one subscriber", lambda: timed(lambda: _signal_bulk(port, total), total / 1e6), Target(0.80, 0.88)
        )
        made.way("dispatcher.send per chunk", lambda: timed(lambda: _dispatcher_bulk(port, total), total / 1e6))
        yield made


def _bare_bulk(port: int, total: int) -> None:
    view = memoryview(bytearray(65536))
    with bare_socket(port) as sock:
        ask(sock.sendall, BULK)
        while total > 0:
            total -= sock.recv_into(view)


def _read_bulk(port: int, total: int) -> None:
    with connected(port) as connection:
        ask(connection.write, BULK)
        while total > 0:
            total -= len(connection.read(65536))


def _into_bulk(port: int, total: int) -> None:
    block = ctypes.c_char * 65536

    class Block(ctypes.Structure):
        _fields_ = [("data", block)]

    target = Block()
    with connected(port) as connection:
        ask(connection.write, BULK)
        while total > 0:
            connection.read_into(target)
            total -= 65536


def _signal_bulk(port: int, total: int) -> None:
    counter = Countdown(total)
    with connected(port) as connection, cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, counter.data):
        ask(connection.write, BULK)
        counter.done.wait()


def _dispatcher_bulk(port: int, total: int) -> None:
    counter = Countdown(total)
    sender = object()
    dispatcher.connect(counter.data, signal="data", sender=sender)
    with bare_socket(port) as sock:
        ask(sock.sendall, BULK)
        while counter.left > 0:
            dispatcher.send(signal="data", sender=sender, data=sock.recv(65536))


# -- lines ---------------------------------------------------------------------------------------------------------


@case("lines")
def lines() -> Iterator[Case]:
    """Lines of 100 bytes."""
    pin()
    total = LINES * 10_000
    made = Case("lines of 100 bytes", "lines/s")
    with server("lines") as port:
        made.way("bare recv, split, callback", lambda: timed(lambda: _bare_lines(port, total), total))
        one, ten = Target(0.88, 0.95), Target(0.20, 0.28)
        made.way("cnx, one subscriber", lambda: timed(lambda: _signal_lines(port, total, 1), total), one)
        made.way("cnx, ten subscribers", lambda: timed(lambda: _signal_lines(port, total, 10), total), ten)
        made.way("cnx readline()", lambda: timed(lambda: _readline(port, total), total), Target(0.75, 0.85))
        made.way("asyncio readline()", lambda: timed(lambda: _asyncio_lines(port, total), total))
        yield made


def _bare_lines(port: int, total: int) -> None:
    counter = Countdown(total)
    message = counter.message
    tail = b""
    with bare_socket(port) as sock:
        ask(sock.sendall, LINES)
        while counter.left:
            *whole, tail = (tail + sock.recv(65536)).split(b"\r\n")
            for line in whole:
                message(line)


def _signal_lines(port: int, total: int, subscribers: int) -> None:
    counters = [Countdown(total) for _ in range(subscribers)]
    with ExitStack() as stack:
        connection = stack.enter_context(connected(port, framing=cnx.Delimited(b"\r\n")))
        for counter in counters:
            stack.enter_context(cnx.subscribe(connection, SIGNALS.MESSAGE_RECEIVED, counter.message))
        ask(connection.write, LINES)
        for counter in counters:
            counter.done.wait()


def _readline(port: int, total: int) -> None:
    with connected(port) as connection:
        ask(connection.write, LINES)
        counter = Countdown(total)
        message, readline = counter.message, connection.readline
        while counter.left:
            message(readline())


def _asyncio_lines(port: int, total: int) -> None:
    import asyncio

    async def read() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ask(writer.write, LINES)
        counter = Countdown(total)
        while counter.left:
            counter.message(await reader.readline())
        writer.close()
        await writer.wait_closed()

    asyncio.run(read())


# -- JSON ----------------------------------------------------------------------------------------------------------


@case("json")
def json_lines() -> Iterator[Case]:
    """Lines of JSON."""
    pin()
    count = LINES // 4
    total = count * 10_000
    made = Case(f"JSON lines of {len(JSON)} bytes", "lines/s")
    with server("json") as port:
        made.way("bare recv, split, json.loads", lambda: timed(lambda: _bare_json(port, count, total), total))
        target = Target(1.10, 1.6)
        made.way("cnx, one subscriber", lambda: timed(lambda: _signal_json(port, count, total, None), total), target)
        for name, loads in _fast_decoders().items():
            run = lambda loads=loads: timed(lambda: _signal_json(port, count, total, loads), total)  # noqa: E731
            made.way(f"cnx, one subscriber, {name}", run, Target(2.7, 3.3))
        yield made


def _fast_decoders() -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {}
    try:
        import msgspec

        found["msgspec"] = msgspec.json.Decoder().decode
    except ImportError:
        pass
    try:
        import orjson

        found["orjson"] = orjson.loads
    except ImportError:
        pass
    return found


def _bare_json(port: int, count: int, total: int) -> None:
    counter = Countdown(total)
    tail = b""
    with bare_socket(port) as sock:
        ask(sock.sendall, count)
        while counter.left:
            *whole, tail = (tail + sock.recv(65536)).split(b"\r\n")
            for line in whole:
                counter.message(json.loads(line))


def _signal_json(port: int, count: int, total: int, loads: Callable[[bytes], Any] | None) -> None:
    counter = Countdown(total)
    with connected(port, framing=cnx.JsonLines(loads=loads)) as connection:
        with cnx.subscribe(connection, SIGNALS.MESSAGE_RECEIVED, counter.message):
            ask(connection.write, count)
            counter.done.wait()


# -- request and reply ---------------------------------------------------------------------------------------------


@case("request")
def request() -> Iterator[Case]:
    """Requests of 50 bytes, one by one; times in microseconds, at the median and at the 99th percentile."""
    pin()
    with server("echo") as port, ExitStack() as stack:
        plain = stack.enter_context(bare_socket(port))
        quiet = stack.enter_context(connected(port))
        heard = stack.enter_context(connected(port))
        stack.enter_context(cnx.subscribe(heard, SIGNALS.DATA_RECEIVED, lambda data: None))
        question = b"q" * 48 + b"\r\n"

        def bare() -> None:
            plain.sendall(question)
            plain.recv(65536)

        ways: dict[str, Callable[[], None]] = {
            "bare sendall, recv": bare,
            "cnx write(), readexactly()": lambda: (quiet.write(question), quiet.readexactly(50)),  # type: ignore[dict-item,return-value]
            "cnx request()": lambda: quiet.request(question),  # type: ignore[dict-item,return-value]
            "cnx write(), readexactly(), one subscriber": lambda: (heard.write(question), heard.readexactly(50)),  # type: ignore[dict-item,return-value]
        }
        targets = {"cnx write(), readexactly()": 1.15, "cnx write(), readexactly(), one subscriber": 1.35}
        for name, percentile in (("p50", 50), ("p99", 99)):
            made = Case(f"request and reply, {name}", "us")
            for way, once in ways.items():
                must = targets.get(way) if percentile == 50 else 1.4
                target = Target(must, must - 0.1, upper=True) if must else None
                made.way(way, lambda once=once, percentile=percentile: round_trip(once, percentile, REQUESTS), target)
            yield made


def round_trip(once: Callable[[], Any], percentile: int, count: int) -> float:
    """Return a percentile of the time that ``once`` takes, in microseconds."""
    times = []
    for _ in range(count):
        began = perf_counter()
        once()
        times.append(perf_counter() - began)
    return statistics.quantiles(times, n=100)[percentile - 1] * 1e6


# -- signals -------------------------------------------------------------------------------------------------------


@case("emit")
def emit() -> Iterator[Case]:
    """One signal to plain subscribers, by ``dispatcher.send`` and by the outlet of a connection."""
    from cnx.outlet import Outlet

    class Sender:
        pass

    for count, must, aim in ((1, 0.13, 0.10), (10, 0.06, 0.05), (0, 0.18, 0.14)):
        sender = Sender()
        handlers = [_handler() for _ in range(count)]
        for handler in handlers:
            dispatcher.connect(handler, signal=SIGNALS.DATA_RECEIVED, sender=sender)
        outlet = Outlet(sender, SIGNALS.DATA_RECEIVED, "data")
        made = Case(f"emit to {count}", "ns")
        send = dispatcher.send
        made.way("dispatcher.send", lambda s=sender, send=send: _each(lambda: send(SIGNALS.DATA_RECEIVED, s, data=b"")))
        made.way("outlet", lambda o=outlet: _each(lambda: o.emit(b"")), Target(must, aim, upper=True))
        yield made


def _handler() -> Callable[[bytes], None]:
    def on_data(data: bytes) -> None:
        pass

    return on_data


def _each(once: Callable[[], Any]) -> float:
    began = perf_counter()
    for _ in range(20_000):
        once()
    return (perf_counter() - began) / 20_000 * 1e9


assert len(LINE) == 100
assert len(PAYLOADS["bulk"]) == 1 << 20
