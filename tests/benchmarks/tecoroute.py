"""Speed of the TecoRoute connector beside the published package; by hand: ``python -m tests.benchmarks.tecoroute``.

Both talk in turns to the same simulated service, which runs in its own process; the results are medians of the paired
ratios. The package is that of this interpreter, or of the one named by ``CNX_TECOROUTE_PYTHON``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

import cnx
from cnx.clients.tecoroute import Connector, Pace, set_clock
from tests.helpers.processes import started

PYTHON = os.environ.get("CNX_TECOROUTE_PYTHON", sys.executable)
PEER = Path(__file__).with_name("tecoroute_peer.py")
MESSAGE = set_clock(datetime(2025, 10, 17, 14, 30, 45))
AT_ONCE = Pace(0.0)
MANY = 1000

Workload = Callable[[Connector, int], None]
Figures = tuple[float, float]
"""Seconds, and seconds of processor time."""


@contextmanager
def service(*options: str) -> Iterator[int]:
    """Run the simulated service in a process of its own; give its port."""
    command = [sys.executable, "-m", "cnx.cli.main", "simulate", "tecoroute", "--tcp", "127.0.0.1:0", *options]
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(urlsplit(process.stdout.readline().strip()).port or 0)


def connector_to(port: int, listener: cnx.Listener | None = None) -> Connector:
    """Return a connector to the service."""
    return Connector("BroukPytlik", "ferda1", "AB_1234", "Mosaic", "127.0.0.1", port, pace=AT_ONCE, listener=listener)


def burst(connector: Connector, count: int) -> None:
    """Send all messages at once and receive all answers."""
    for _ in range(count):
        connector.send(MESSAGE)
    for _ in range(count):
        connector.receive()


def one_by_one(connector: Connector, count: int) -> None:
    """Send each message after the answer to the last one."""
    for _ in range(count):
        connector.request(MESSAGE)


def window(connector: Connector, count: int) -> None:
    """Keep 64 messages outstanding."""
    for _ in range(64):
        connector.send(MESSAGE)
    for _ in range(count - 64):
        connector.receive()
        connector.send(MESSAGE)
    for _ in range(64):
        connector.receive()


def window_by_handler(connector: Connector, count: int) -> None:
    """Keep 64 messages outstanding; the handler of an answer sends the next one."""
    left = count - 64
    done = threading.Event()
    answers = 0

    def on_datagram(datagram: bytes) -> None:
        nonlocal left, answers
        answers += 1
        if left:
            left -= 1
            connector.send(MESSAGE)
        elif answers == count:
            done.set()

    with cnx.subscribe(connector, Connector.PlcSignals.DATAGRAM_RECEIVED, on_datagram):
        for _ in range(64):
            connector.send(MESSAGE)
        done.wait(60)


def measure(workload: Workload, port: int, count: int) -> Figures:
    """Return the figures of a workload with this connector."""
    with connector_to(port) as connector:
        one_by_one(connector, 3)
        begin, busy = time.perf_counter(), time.process_time()
        workload(connector, count)
        return time.perf_counter() - begin, time.process_time() - busy


def measure_published(workload: str, port: int, count: int) -> Figures:
    """Return the figures of a workload of the published package.

    Isolated, because this very module has the package's name and stands beside the script.
    """
    command = [PYTHON, "-I", str(PEER), workload, str(port), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    seconds, busy = json.loads(done.stdout)
    return seconds, busy


def compare(
    title: str, count: int, rounds: int, options: list[str], **workloads: Callable[[Connector, int], None]
) -> None:
    """Measure this connector and the published package in turns; print rates and ratios."""
    name = next(iter(workloads)).replace("_", "-")
    figures: dict[str, list[Figures]] = {"published": [], **{way: [] for way in workloads}}
    with service(*options) as port:
        for _ in range(rounds):
            figures["published"].append(measure_published(name, port, count))
            for way, workload in workloads.items():
                figures[way].append(measure(workload, port, count))
    click.echo(f"\n{title}")
    for way, values in figures.items():
        pairs = list(zip(figures["published"], values, strict=True))
        seconds, busy = (statistics.median(value[index] for value in values) for index in (0, 1))
        speed = statistics.median(theirs[0] / ours[0] for theirs, ours in pairs)
        saving = statistics.median(theirs[1] / ours[1] for theirs, ours in pairs)
        click.echo(
            f"  {way:20} {seconds:8.4f} s {count / seconds:10,.0f}/s  x {speed:5.2f}"
            f"   processor {busy / count * 1e6:7.1f} us/message, 1 / {saving:5.2f}"
        )


def resident() -> int:
    """Return the memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def idle(seconds: float, *, shared: bool) -> None:
    """Open many connectors, leave them idle, and print what each of them needs."""
    listener = cnx.Listener("shared") if shared else None
    with service() as port:
        before = resident()
        connectors = [connector_to(port, listener).connect() for _ in range(MANY)]
        memory = (resident() - before) / MANY / 1024
        busy = time.process_time()
        time.sleep(seconds)
        busy = (time.process_time() - busy) / MANY * 60 / seconds * 1000
        memory = max(memory, (resident() - before) / MANY / 1024)
        up = sum(connector.connected for connector in connectors)
        keepalives = sum(connector.statistics.keepalives for connector in connectors)
        begin = time.perf_counter()
        for connector in connectors:
            connector.teardown()
        ended = time.perf_counter() - begin
    kind = "one thread for all" if shared else "a thread each"
    click.echo(
        f"  {kind:20} {up} up, {memory:.1f} KiB each, {busy:.2f} ms of processor time a minute each"
        f" ({keepalives} keepalives in {seconds:g} s); ended in {ended:.2f} s"
    )


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--idle-seconds", default=60.0, show_default=True, help="How long connectors are left idle.")
def main(rounds: int, idle_seconds: float) -> None:
    """Run all comparisons."""
    compare("100 messages at once, each answered after 50 ms", 100, rounds, ["--delay", "0.05"], burst=burst)
    compare("one by one", 2000, rounds, [], one_by_one=one_by_one)
    compare("64 outstanding", 10_000, rounds, [], window=window, window_by_handler=window_by_handler)
    click.echo(f"\n{MANY} idle connectors")
    idle(idle_seconds, shared=True)
    idle(idle_seconds, shared=False)


if __name__ == "__main__":
    main()
