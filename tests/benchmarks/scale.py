"""Many connections in one process: memory, threads, processor time; and the cost of one connect and disconnect."""

from __future__ import annotations

import resource
import select
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

import cnx
from tests.benchmarks.harness import Case, Target, case, isolated, pin, server

COUNT = 1000
SECONDS = 5.0
SIGNALS = cnx.Connection.Signals


def resident() -> float:
    """Return the memory that this process occupies, in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def processor_time() -> float:
    """Return the processor time that this process has used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def on_data(data: bytes) -> None:
    """Take what comes."""


@contextmanager
def crowd(port: int, listener: cnx.Listener | None) -> Iterator[list[cnx.SocketConnection]]:
    """Give a thousand subscribed connections."""
    with ExitStack() as stack:
        connections = []
        for _ in range(COUNT):
            connection = stack.enter_context(cnx.SocketConnection("127.0.0.1", port, listener=listener))
            stack.enter_context(cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, on_data))
            connections.append(connection)
        yield connections


@contextmanager
def bare_crowd(port: int) -> Iterator[None]:
    """Keep a thousand sockets open, read by one bare epoll loop in a thread."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        sockets = {}
        for _ in range(COUNT):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            epoll.register(sock, select.EPOLLIN)
            sockets[sock.fileno()] = sock
        wake, woken = socket.socketpair()
        stack.enter_context(wake)
        stack.enter_context(woken)
        epoll.register(woken, select.EPOLLIN)

        def loop() -> None:
            while True:
                for fd, _ in epoll.poll():
                    if fd == woken.fileno():
                        return
                    on_data(sockets[fd].recv(65536))

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            wake.send(b"x")
            thread.join()


def used_while(wait: float) -> float:
    """Return the processor time used in ``wait`` seconds, as milliseconds a second."""
    before = processor_time()
    time.sleep(wait)
    return (processor_time() - before) / wait * 1e3


WAYS: dict[str, Callable[[int], object]] = {
    "bare epoll loop": bare_crowd,
    "cnx, a thread each": lambda port: crowd(port, None),
    "cnx, shared listener": lambda port: crowd(port, cnx.Listener()),
}


def measure(way: str, mode: str) -> dict[str, float]:
    """Measure one way in this process, which nothing else has used."""
    with server(mode, COUNT) as port:
        memory, threads = resident(), threading.active_count()
        with WAYS[way](port):  # type: ignore[attr-defined]
            time.sleep(1.0)
            return {
                "memory": (resident() - memory) / COUNT,
                "threads": threading.active_count() - threads,
                "processor": used_while(SECONDS),
            }


@case("idle")
def idle() -> Iterator[Case]:
    """A thousand connections on which nothing comes."""
    found = {way: isolated("tests.benchmarks.scale", "measure", way, "silent") for way in WAYS}
    each, shared = "cnx, a thread each", "cnx, shared listener"
    targets = {
        "memory": {each: Target(32, 16, upper=True), shared: Target(8, 3, upper=True)},
        "threads": {each: Target(1000, 1000, upper=True), shared: Target(2, 1, upper=True)},
        "processor": {each: Target(2, 0.1, upper=True), shared: Target(2, 0.1, upper=True)},
    }
    for key, unit in (("memory", "KiB each"), ("threads", "threads"), ("processor", "ms/s")):
        made = Case(f"{COUNT} idle connections: {key}", unit, absolute=True)
        for way, figures in found.items():
            made.way(way, lambda value=figures[key]: value, targets[key].get(way))
        yield made


@case("crowd")
def crowd_case() -> Iterator[Case]:
    """A thousand connections with one message a second each."""
    found = {way: isolated("tests.benchmarks.scale", "measure", way, "ticks") for way in WAYS}
    made = Case(f"{COUNT} connections, 1 message/s each: processor time", "us/message")
    for way, figures in found.items():
        target = Target(1.7, 1.4, upper=True) if way == "cnx, shared listener" else None
        made.way(way, lambda value=figures["processor"]: value, target)
    yield made


@case("cycle")
def cycle() -> Iterator[Case]:
    """Connecting and disconnecting."""
    pin()
    made = Case("connect and disconnect", "us")
    with server("silent") as port:

        def bare() -> None:
            socket.create_connection(("127.0.0.1", port)).close()

        def ours() -> None:
            connection = cnx.SocketConnection("127.0.0.1", port)
            connection.try_connect()
            connection.disconnect()

        made.way("bare create_connection, close", lambda: _median(bare))
        made.way("cnx", lambda: _median(ours), Target(3, 2, upper=True))
        yield made


def _median(once: Callable[[], None]) -> float:
    times = []
    for _ in range(200):
        began = perf_counter()
        once()
        times.append(perf_counter() - began)
    return statistics.median(times) * 1e6


@case("neighbours")
def neighbours() -> Iterator[Case]:
    """A subscriber that takes 10 ms on one of 100 connections: how long the others wait for their signals."""
    made = Case("99th percentile of signal latency beside a slow subscriber", "ms", absolute=True)
    ways = ("all on one shared listener", "the slow one on its own thread")
    targets = {ways[1]: Target(0.2, 0.06, upper=True)}
    for way in ways:
        made.way(
            way, lambda way=way: isolated("tests.benchmarks.scale", "slow_neighbour", way)["p99"], targets.get(way)
        )
    yield made


def slow_neighbour(way: str) -> dict[str, float]:
    """Measure the latency of 99 connections, one of whose neighbours is slow."""
    shared = cnx.Listener()
    latencies: list[float] = []
    slow_listener = None if "own" in way else shared
    with ExitStack() as stack:
        pairs = []
        for number in range(100):
            near, far = socket.socketpair()
            stack.enter_context(far)
            listener = shared if number else slow_listener
            connection = stack.enter_context(cnx.SocketConnection.from_socket(near, listener=listener))
            handler = (lambda data: time.sleep(0.01)) if not number else _stamp_to(latencies)
            stack.enter_context(cnx.subscribe(connection, SIGNALS.DATA_RECEIVED, handler))
            pairs.append(far)
        end = perf_counter() + 3.0
        while perf_counter() < end:
            for number, far in enumerate(pairs):
                if not number or number % 10 == int(perf_counter() * 10) % 10:
                    far.send(str(perf_counter()).encode())
                    time.sleep(0.001)
    return {"p99": statistics.quantiles(latencies, n=100)[98] * 1e3}


def _stamp_to(latencies: list[float]) -> Callable[[bytes], None]:
    def on_stamp(data: bytes) -> None:
        latencies.append(perf_counter() - float(data))

    return on_stamp
