"""Many connections in one process: memory, wake-ups, processor time; connecting; and slow subscribers."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import resource
import select
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import cnx
from tests.benchmarks.harness import Case, View, case, in_new_process, percentile, server
from tests.benchmarks.measuring import SIGNALS, bare_socket, times_of
from tests.benchmarks.peers import read_str
from tests.benchmarks.server import TENTHS

COUNT = 1000
SECONDS = 1.0
SETTLED = 0.5

EACH, SHARED = "cnx, a thread each", "cnx, shared listener"
MONITORED = "asyncio, as ts_tcpip"


def resident() -> float:
    """Return the resident memory of this process, in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def wake_ups() -> int:
    """Return how often the threads of this process, except the main one, have waited and continued."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != os.getpid():
            lines = (task / "status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))
    return total


def on_data(data: bytes) -> None:
    """Ignore the data."""


@contextmanager
def crowd(port: int, shared: bool) -> Iterator[None]:
    """Keep a thousand connections open, each with a subscriber."""
    listener = cnx.Listener() if shared else None
    with ExitStack() as stack:
        for _ in range(COUNT):
            connection = stack.enter_context(cnx.SocketConnection("127.0.0.1", port, listener=listener))
            stack.enter_context(cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, on_data))
        yield


BARE = "bare epoll loop"


@contextmanager
def bare_crowd(port: int) -> Iterator[None]:
    """Keep a thousand sockets open, read by one bare epoll loop in a thread."""
    with ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(COUNT)]
        with epoll_loop(dict.fromkeys(links, on_data)):
            yield


@contextmanager
def epoll_loop(handlers: dict[socket.socket, Callable[[bytes], object]]) -> Iterator[None]:
    """Read sockets in a bare epoll loop in a thread, and pass the data of each to its handler."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        for sock in handlers:
            epoll.register(sock, select.EPOLLIN)
        by_number = {sock.fileno(): (sock.recv, handle) for sock, handle in handlers.items()}
        wake, woken = socket.socketpair()
        stack.enter_context(wake)
        stack.enter_context(woken)
        epoll.register(woken, select.EPOLLIN)

        def loop() -> None:
            while True:
                for fd, _ in epoll.poll():
                    if fd == woken.fileno():
                        return
                    receive, handle = by_number[fd]
                    handle(receive(65536))

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            wake.send(b"x")
            thread.join()


@contextmanager
def asyncio_crowd(port: int, as_ts_tcpip: bool) -> Iterator[None]:
    """Keep a thousand asyncio streams open, each read by a task, on a loop in a thread."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            on_data(data)

    async def read_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_str(reader, writer)

    async def monitor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Check every 0.1 s whether the peer is gone, as the clients of lsst.ts.tcpip do."""
        while not (reader.at_eof() or writer.is_closing()):
            await asyncio.sleep(0.1)

    async def run() -> None:
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(COUNT)]
        kinds = (read_text, monitor) if as_ts_tcpip else (read,)
        tasks = [asyncio.ensure_future(kind(*each)) for each in streams for kind in kinds]
        ready.set()
        await over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in streams:
            writer.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


WAYS: dict[str, Callable[[int], AbstractContextManager[None]]] = {
    BARE: bare_crowd,
    EACH: partial(crowd, shared=False),
    SHARED: partial(crowd, shared=True),
    "asyncio streams": partial(asyncio_crowd, as_ts_tcpip=False),
    MONITORED: partial(asyncio_crowd, as_ts_tcpip=True),
}


def measure(way: str) -> dict[str, float]:
    """Measure one idle way in this process, which has done nothing else."""
    with server("silent") as port:
        memory = resident()
        with WAYS[way](port):
            time.sleep(SETTLED)
            memory, woken = resident() - memory, wake_ups()
            time.sleep(SECONDS)
            return {"memory": memory / COUNT, "wake-ups": (wake_ups() - woken) / SECONDS}


@case("idle")
def idle() -> Iterator[Case]:
    """A thousand connections that receive nothing; each way runs in its own process."""
    found = {way: in_new_process(measure, way) for way in WAYS}
    for key, unit, bounds in (
        ("memory", "KiB each", {EACH: 32.0, SHARED: 8.0}),
        ("wake-ups", "per s", {EACH: 0.0, SHARED: 0.0}),
    ):
        made = Case(f"{COUNT} idle connections: {key}", unit, less=True, absolute=True)
        for way, figures in found.items():
            made.way(way, partial(figures.__getitem__, key), bounds.get(way))
        yield made


@case("crowd")
def crowd_case() -> Iterator[Case]:
    """A thousand connections with one message a second each; the ways take turns of 0.1 s."""
    made = Case(f"{COUNT} connections, 1 message/s each", "us/message", less=True, slices=2 * TENTHS, leader=SHARED)
    with ExitStack() as stack:
        for way, make in WAYS.items():
            if way == MONITORED:  # its monitors would run in the turns of all ways
                made.way(way, functools.cache(partial(in_new_process, monitored)))
                continue
            port = stack.enter_context(server("ticks", COUNT))
            stack.enter_context(make(port))
            control = stack.enter_context(bare_socket(port))
            made.way(way, partial(_tenth, control), 2.2 if way == SHARED else None)
        yield made


def monitored() -> float:
    """Measure the way of ts_tcpip in this process, for two seconds."""
    with server("ticks", COUNT) as port, WAYS[MONITORED](port), bare_socket(port) as control:
        return statistics.median(_tenth(control) for _ in range(2 * TENTHS))


def _tenth(control: socket.socket) -> float:
    """Send a message to each of the next tenth of the connections within 0.1 s; return the microseconds of one."""
    used = time.process_time()
    control.send(b"x")
    control.recv(1)
    return (time.process_time() - used) / (COUNT // TENTHS) * 1e6


@case("cycle")
def cycle() -> Iterator[Case]:
    """Connecting and disconnecting."""
    made = Case("connect and disconnect", "us", less=True, slices=5)
    made.views = [View("p50", statistics.median, {"cnx": 30.0})]
    with server("silent") as port:

        def bare() -> None:
            socket.create_connection(("127.0.0.1", port)).close()

        def ours() -> None:
            connection = cnx.SocketConnection("127.0.0.1", port)
            connection.try_connect()
            connection.disconnect()

        made.way("bare create_connection, close", times_of(bare, 50))
        made.way("cnx", times_of(ours, 50))
        yield made


@case("neighbours")
def neighbours() -> Iterator[Case]:
    """A subscriber that takes 10 ms on one of 100 connections: how long the others wait for their signals."""
    made = Case("99th percentile of signal latency beside a slow subscriber", "ms", less=True, absolute=True)
    made.way(BARE_APART, partial(in_new_process, slow_neighbour, BARE_APART))
    made.way(TOGETHER, partial(in_new_process, slow_neighbour, TOGETHER))
    made.way(APART, partial(in_new_process, slow_neighbour, APART), 1.0)
    yield made


BARE_APART = "bare epoll loop, the slow one on its own thread"
TOGETHER = "cnx, all on one shared listener"
APART = "cnx, the slow one on its own thread"


def slow_neighbour(way: str) -> float:
    """Return the 99th percentile of the latency in ms of 99 connections beside one with a slow subscriber."""
    latencies: list[float] = []
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(100)]
        for sock in itertools.chain(*pairs):
            stack.enter_context(sock)
        near = [pair[0] for pair in pairs]
        handlers = [be_slow, *(_stamp_to(latencies) for _ in near[1:])]
        if way == BARE_APART:
            for part in (slice(1), slice(1, None)):
                stack.enter_context(epoll_loop(dict(zip(near[part], handlers[part], strict=True))))
        else:
            shared = cnx.Listener()
            for number, (sock, handle) in enumerate(zip(near, handlers, strict=True)):
                listener = None if way == APART and not number else shared
                connection = stack.enter_context(cnx.SocketConnection.from_socket(sock, listener=listener))
                stack.enter_context(cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, handle))
        _send_stamps([pair[1] for pair in pairs])
    return percentile(99)(latencies) * 1e3


def be_slow(data: bytes) -> None:
    """Take 10 ms for the data."""
    time.sleep(0.01)


def _send_stamps(peers: list[socket.socket]) -> None:
    end = perf_counter() + 2.0
    while perf_counter() < end:
        for number, peer in enumerate(peers):
            if not number or number % 10 == int(perf_counter() * 10) % 10:
                peer.send(str(perf_counter()).encode())
                time.sleep(0.001)


def _stamp_to(latencies: list[float]) -> Callable[[bytes], None]:
    def on_stamp(data: bytes) -> None:
        latencies.append(perf_counter() - float(data))

    return on_stamp
