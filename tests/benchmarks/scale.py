"""Many connections in one process: memory, threads, wake-ups, processor time; and one connect and disconnect."""

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
from tests.benchmarks.floor import FLOOR, Floor
from tests.benchmarks.harness import Case, Target, View, case, in_new_process, percentile, server
from tests.benchmarks.measuring import SIGNALS, bare_socket, times_of
from tests.benchmarks.peers import read_str
from tests.benchmarks.server import TENTHS

COUNT = 1000
SECONDS = 1.0
SETTLED = 0.5

EACH, SHARED, UNHEARD = "cnx, a thread each", "cnx, shared listener", "cnx, shared listener, nobody subscribed"
MONITORED = "asyncio, as ts_tcpip"


def at_most(must: float, aim: float) -> Target:
    """Return the target of what costs something."""
    return Target(must, aim, upper=True)


def resident() -> float:
    """Return the memory that this process occupies, in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def processor_time() -> float:
    """Return the processor time that this process has used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def wake_ups() -> int:
    """Return how often the threads of this process, but the main one, have waited and gone on."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != os.getpid():
            lines = (task / "status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))
    return total


def on_data(data: bytes) -> None:
    """Take what comes."""


@contextmanager
def crowd(port: int, shared: bool, heard: bool = True) -> Iterator[None]:
    """Keep a thousand connections."""
    listener = cnx.Listener() if shared else None
    with ExitStack() as stack:
        for _ in range(COUNT):
            connection = stack.enter_context(cnx.SocketConnection("127.0.0.1", port, listener=listener))
            if heard:
                stack.enter_context(cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, on_data))
        yield


BARE = "bare epoll loop"
Receive = Callable[[int], bytes]


def floor_of(sock: socket.socket) -> Receive:
    """Return what reads as little as any connection has to."""
    return Floor(sock.send, sock.recv, on_data).read


@contextmanager
def bare_crowd(port: int, receiving: Callable[[socket.socket], Receive] = lambda sock: sock.recv) -> Iterator[None]:
    """Keep a thousand sockets open, read by one bare epoll loop in a thread."""
    with ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(COUNT)]
        handlers = dict.fromkeys(links, on_data)
        with epoll_loop({sock: (receiving(sock), handler) for sock, handler in handlers.items()}):
            yield


@contextmanager
def epoll_loop(served: dict[socket.socket, tuple[Receive, Callable[[bytes], object]]]) -> Iterator[None]:
    """Serve sockets with a bare epoll loop in a thread: what reads each, and what is called with the data."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        for sock in served:
            epoll.register(sock, select.EPOLLIN)
        by_number = {sock.fileno(): both for sock, both in served.items()}
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
    """Keep a thousand asyncio streams, each read by a task, on a loop in a thread."""
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
        """Look every 0.1 s whether the peer is gone, as the clients of lsst.ts.tcpip do."""
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
IDLE_WAYS: dict[str, Callable[[int], AbstractContextManager[None]]] = {
    **WAYS,
    UNHEARD: partial(crowd, shared=True, heard=False),
}


def measure(way: str) -> dict[str, float]:
    """Measure one idle way in this process, which nothing else has used."""
    with server("silent") as port:
        memory, threads = resident(), threading.active_count()
        with IDLE_WAYS[way](port):
            time.sleep(SETTLED)
            memory, threads = resident() - memory, threading.active_count() - threads
            woken, used = wake_ups(), processor_time()
            time.sleep(SECONDS)
            return {
                "memory": memory / COUNT,
                "threads": threads,
                "processor time": (processor_time() - used) / SECONDS * 1e3,
                "wake-ups": (wake_ups() - woken) / SECONDS,
            }


@case("idle")
def idle() -> Iterator[Case]:
    """A thousand connections on which nothing comes; each way in a process of its own."""
    found = {way: in_new_process(measure, way) for way in IDLE_WAYS}
    quiet = {way: at_most(2, 0.1) for way in (EACH, SHARED, UNHEARD)}
    never = {way: at_most(0, 0) for way in (EACH, SHARED, UNHEARD)}
    for key, unit, targets in (
        ("memory", "KiB each", {EACH: at_most(32, 16), SHARED: at_most(8, 3), UNHEARD: at_most(8, 3)}),
        ("threads", "threads", {EACH: at_most(COUNT, COUNT), SHARED: at_most(2, 1), UNHEARD: at_most(2, 1)}),
        ("processor time", "ms/s", quiet),
        ("wake-ups", "per s", never),
    ):
        made = Case(f"{COUNT} idle connections: {key}", unit, absolute=True)
        for way, figures in found.items():
            made.way(way, partial(figures.__getitem__, key), targets.get(way))
        yield made


@case("crowd")
def crowd_case() -> Iterator[Case]:
    """A thousand connections with one message a second each; the ways take turns of 0.1 s."""
    made = Case(f"{COUNT} connections, 1 message/s each", "us/message", slices=3 * TENTHS)
    with ExitStack() as stack:
        for way, make in {BARE: bare_crowd, FLOOR: partial(bare_crowd, receiving=floor_of), **WAYS}.items():
            if way == MONITORED:  # its monitors would run in everybody's turn
                made.way(way, functools.cache(partial(in_new_process, monitored)))
                continue
            port = stack.enter_context(server("ticks", COUNT))
            stack.enter_context(make(port))
            control = stack.enter_context(bare_socket(port))
            made.way(way, partial(_tenth, control), at_most(1.7, 1.4) if way == SHARED else None)
        yield made


def monitored() -> float:
    """Measure the way of ts_tcpip in this process, for three seconds."""
    with server("ticks", COUNT) as port, WAYS[MONITORED](port), bare_socket(port) as control:
        return statistics.median(_tenth(control) for _ in range(3 * TENTHS))


def _tenth(control: socket.socket) -> float:
    """Let the next tenth of the connections get a message each within 0.1 s; return the microseconds that one took."""
    used = time.process_time()
    control.send(b"x")
    control.recv(1)
    return (time.process_time() - used) / (COUNT // TENTHS) * 1e6


@case("cycle")
def cycle() -> Iterator[Case]:
    """Connecting and disconnecting."""
    made = Case("connect and disconnect", "us", slices=5)
    way = "cnx"
    made.views = [View("p50", statistics.median, {way: at_most(3, 2)}), View("p99", percentile(99))]
    with server("silent") as port:

        def bare() -> None:
            socket.create_connection(("127.0.0.1", port)).close()

        def ours() -> None:
            connection = cnx.SocketConnection("127.0.0.1", port)
            connection.try_connect()
            connection.disconnect()

        listener = cnx.Listener()

        def shared() -> None:
            connection = cnx.SocketConnection("127.0.0.1", port, listener=listener)
            connection.try_connect()
            connection.disconnect()

        def threaded() -> None:
            thread = threading.Thread(target=bare)
            thread.start()
            thread.join()

        made.way("bare create_connection, close", times_of(bare, 50))
        made.way("floor: the same on a thread of its own", times_of(threaded, 50))
        made.way(way, times_of(ours, 50))
        with cnx.SocketConnection("127.0.0.1", port, listener=listener):
            made.way("cnx, on a shared listener that is there", times_of(shared, 50))
            yield made


@case("neighbours")
def neighbours() -> Iterator[Case]:
    """A subscriber that takes 10 ms on one of 100 connections: how long the others wait for their signals."""
    made = Case("99th percentile of signal latency beside a slow subscriber", "ms", absolute=True)
    made.way("bare epoll loop, the slow one on its own thread", partial(in_new_process, slow_neighbour, BARE))
    made.way(NOBODY_SLOW, partial(in_new_process, slow_neighbour, NOBODY_SLOW))
    ways = ("cnx, all on one shared listener", "cnx, the slow one on its own thread")
    for way in ways:
        made.way(way, partial(in_new_process, slow_neighbour, way), at_most(0.2, 0.06) if way == ways[1] else None)
    yield made


NOBODY_SLOW = "floor: cnx, all on one shared listener, nobody slow"


def slow_neighbour(way: str) -> float:
    """Return the 99th percentile of the latency, in ms, of 99 connections, one of whose neighbours is slow."""
    latencies: list[float] = []
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(100)]
        for sock in itertools.chain(*pairs):
            stack.enter_context(sock)
        near = [pair[0] for pair in pairs]
        handlers = [on_data if way == NOBODY_SLOW else be_slow, *(_stamp_to(latencies) for _ in near[1:])]
        if way == BARE:
            for part in (slice(1), slice(1, None)):
                stack.enter_context(
                    epoll_loop(
                        {sock: (sock.recv, handle) for sock, handle in list(zip(near, handlers, strict=True))[part]}
                    )
                )
        else:
            shared = cnx.Listener()
            for number, (sock, handle) in enumerate(zip(near, handlers, strict=True)):
                listener = None if "own" in way and not number else shared
                connection = stack.enter_context(cnx.SocketConnection.from_socket(sock, listener=listener))
                stack.enter_context(cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, handle))
        _send_stamps([pair[1] for pair in pairs])
    return percentile(99)(latencies) * 1e3


def be_slow(data: bytes) -> None:
    """Be the slow subscriber."""
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
