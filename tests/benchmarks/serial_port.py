"""Serial ports over a pty, beside bare ``os.read`` and ``os.write``, and beside pyserial.

The other side of the pty is a process of its own, on the same core. Every way has a pty of its own.
"""

from __future__ import annotations

import os
import select
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import serial
from serial.threaded import ReaderThread

import cnx
from tests.benchmarks.floor import FLOOR, Floor
from tests.benchmarks.harness import Case, Target, View, case, other_side, percentile
from tests.benchmarks.measuring import QUESTION, SIGNALS, Countdown, ask, per_second, times_of
from tests.benchmarks.peers import Lines

LINES = 20
"""Thousands of lines in one slice; one thousand where one line takes longer than a hundred of others."""


@contextmanager
def opened(name: str) -> Iterator[int]:
    """Give the descriptor of a terminal."""
    port = os.open(name, os.O_RDWR | os.O_NOCTTY)
    try:
        yield port
    finally:
        os.close(port)


@case("serial-lines")
def serial_lines() -> Iterator[Case]:
    """Lines to a subscriber."""
    made = Case("serial: lines of 100 bytes", "lines/s", slices=5)
    with other_side("terminal-lines", 5) as names, ExitStack() as stack:
        first, second, third, fourth, fifth = names.split()
        plain, bones = (stack.enter_context(opened(name)) for name in (first, fifth))
        bare = partial(_bare_lines, partial(os.write, plain), partial(os.read, plain))
        made.way("bare os.read, split, callback", per_second(bare, LINES, 1000))
        floor = Floor(partial(os.write, bones), partial(os.read, bones))
        made.way(FLOOR, per_second(partial(_bare_lines, floor.write, floor.read), LINES, 1000))
        connection = stack.enter_context(cnx.SerialConnection(second, framing=cnx.Delimited()))
        counter = Countdown()
        stack.enter_context(cnx.subscribe(connection, SIGNALS.MESSAGE_RECEIVED, counter.message))
        ours = partial(_counted_lines, connection.write, counter)
        made.way("cnx, one subscriber", per_second(ours, LINES, 1000), Target(0.90, 1.0))
        port = stack.enter_context(serial.Serial(third))
        made.way("pyserial readline()", per_second(partial(_pyserial_lines, port), 1, 1000))
        protocol = stack.enter_context(ReaderThread(serial.Serial(fourth), Lines))
        threaded = partial(_counted_lines, protocol.write, protocol.counter)
        made.way("serial.threaded.ReaderThread, LineReader", per_second(threaded, LINES, 1000))
        yield made


def _bare_lines(write: Callable[[bytes], Any], read: Callable[[int], bytes], thousands: int) -> None:
    counter = Countdown(thousands * 1000)
    message = counter.message
    tail = b""
    ask(write, thousands)
    while counter.left:
        *whole, tail = (tail + read(4096)).split(b"\r\n")
        for each in whole:
            message(each)


def _counted_lines(write: Callable[[bytes], Any], counter: Countdown, thousands: int) -> None:
    counter.begin(thousands * 1000)
    ask(write, thousands)
    counter.done.wait()


def _pyserial_lines(port: serial.Serial, thousands: int) -> None:
    ask(port.write, thousands)
    for _ in range(thousands * 1000):
        port.readline()


@case("serial-write")
def serial_write() -> Iterator[Case]:
    """Writes of 50 bytes; what was written is read from the other side at once, which is not timed."""
    made = Case("serial: write of 50 bytes, p50", "us", slices=10)
    with ExitStack() as stack:
        masters = []
        names = []
        for _ in range(4):
            master, slave = os.openpty()
            tty.setraw(slave)
            stack.callback(os.close, master)
            stack.callback(os.close, slave)
            masters.append(master)
            names.append(os.ttyname(slave))
        bare = stack.enter_context(opened(names[0]))
        ours = stack.enter_context(cnx.SerialConnection(names[1]))
        pyserial = stack.enter_context(serial.Serial(names[2]))
        bones = stack.enter_context(opened(names[3]))
        write, least = ours.write, Floor(partial(os.write, bones), partial(os.read, bones)).write
        made.way("bare os.write", partial(_write_times, lambda: os.write(bare, QUESTION), masters[0]))
        made.way(FLOOR, partial(_write_times, lambda: least(QUESTION), masters[3]))
        target = Target(1.5, 1.3, upper=True)
        made.way("cnx write()", partial(_write_times, lambda: write(QUESTION), masters[1]), target)
        made.way("pyserial write()", partial(_write_times, lambda: pyserial.write(QUESTION), masters[2]))
        yield made


def _write_times(write: Callable[[], Any], master: int) -> list[float]:
    times = []
    for _ in range(200):
        began = perf_counter()
        write()
        times.append((perf_counter() - began) * 1e6)
        os.read(master, 4096)
    return times


@case("serial-request")
def serial_request() -> Iterator[Case]:
    """Requests and replies of 50 bytes each."""
    with other_side("terminal-echo", 4) as names, ExitStack() as stack:
        first, second, third, fourth = names.split()
        bare = stack.enter_context(opened(first))
        ours = stack.enter_context(cnx.SerialConnection(second))
        pyserial = stack.enter_context(serial.Serial(third))
        way = "cnx write(), readexactly()"
        made = Case("serial: request and reply", "us", slices=10)
        made.views = [View("p50", percentile(50), {way: Target(1.25, 1.1, upper=True)}), View("p99", percentile(99))]
        made.way("bare os.write, os.read", times_of(partial(_bare_request, bare), 200))
        floor = _polling_floor(stack.enter_context(opened(fourth)))
        made.way(f"{FLOOR}, poll", times_of(lambda: (floor.write(QUESTION), floor.read(50)), 200))  # type: ignore[func-returns-value]
        made.way(way, times_of(lambda: (ours.write(QUESTION), ours.readexactly(50)), 200))  # type: ignore[func-returns-value]
        asked = lambda: (pyserial.write(QUESTION), pyserial.read(50))  # noqa: E731
        made.way("pyserial write(), read()", times_of(asked, 200))
        yield made


def _polling_floor(port: int) -> Floor:
    """Return a floor that asks first, as a read of a terminal that blocks cannot be ended."""
    poll = select.poll()
    poll.register(port, select.POLLIN)

    def receive(size: int) -> bytes:
        poll.poll()
        return os.read(port, size)

    return Floor(partial(os.write, port), receive)


def _bare_request(port: int) -> None:
    os.write(port, QUESTION)
    size = 0
    while size < 50:
        size += len(os.read(port, 50 - size))
