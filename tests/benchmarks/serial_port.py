"""Serial ports over a pty, compared with bare ``os.read`` and ``os.write``, and with pyserial.

The other side of the pty is another process on the same core. Each way has its own pty.
"""

from __future__ import annotations

import os
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import serial
from serial.threaded import ReaderThread

import cnx
from tests.benchmarks.harness import Case, View, case, other_side, percentile
from tests.benchmarks.measuring import QUESTION, SIGNALS, Countdown, ask, per_second, times_of
from tests.benchmarks.peers import Lines

LINES = 20
"""Thousands of lines in one slice; pyserial's ``readline()``, which is slow, gets one thousand."""

SUBSCRIBER, WRITING, ASKING = "cnx, one subscriber", "cnx write()", "cnx write(), readexactly()"


@contextmanager
def opened(name: str) -> Iterator[int]:
    """Open a terminal and yield its descriptor."""
    port = os.open(name, os.O_RDWR | os.O_NOCTTY)
    try:
        yield port
    finally:
        os.close(port)


@case("serial-lines")
def serial_lines() -> Iterator[Case]:
    """Lines to a subscriber."""
    made = Case("serial: lines of 100 bytes", "lines/s", slices=5, leader=SUBSCRIBER)
    with other_side("terminal-lines", 4) as names, ExitStack() as stack:
        first, second, third, fourth = names.split()
        plain = stack.enter_context(opened(first))
        bare = partial(_bare_lines, partial(os.write, plain), partial(os.read, plain))
        made.way("bare os.read, split, callback", per_second(bare, LINES, 1000))
        connection = stack.enter_context(cnx.SerialConnection(second, framing=cnx.Delimited()))
        counter = Countdown()
        stack.enter_context(cnx.subscribe(connection, SIGNALS.MESSAGE_RECEIVED, counter.message))
        ours = partial(_counted_lines, connection.write, counter)
        made.way(SUBSCRIBER, per_second(ours, LINES, 1000), 0.75)
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
    """Writes of 50 bytes; reading them from the other side is not timed."""
    made = Case("serial: write of 50 bytes", "us", less=True, slices=10, leader=WRITING)
    made.views = [View("p50", percentile(50))]
    with ExitStack() as stack:
        masters = []
        names = []
        for _ in range(3):
            master, slave = os.openpty()
            tty.setraw(slave)
            stack.callback(os.close, master)
            stack.callback(os.close, slave)
            masters.append(master)
            names.append(os.ttyname(slave))
        bare = stack.enter_context(opened(names[0]))
        ours = stack.enter_context(cnx.SerialConnection(names[1]))
        pyserial = stack.enter_context(serial.Serial(names[2]))
        write = ours.write
        made.way("bare os.write", partial(_write_times, lambda: os.write(bare, QUESTION), masters[0]))
        made.way(WRITING, partial(_write_times, lambda: write(QUESTION), masters[1]))
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
    with other_side("terminal-echo", 3) as names, ExitStack() as stack:
        first, second, third = names.split()
        bare = stack.enter_context(opened(first))
        ours = stack.enter_context(cnx.SerialConnection(second))
        pyserial = stack.enter_context(serial.Serial(third))
        made = Case("serial: request and reply", "us", less=True, slices=10)
        made.views = [View("p50", percentile(50), {ASKING: 1.40})]
        made.way("bare os.write, os.read", times_of(partial(_bare_request, bare), 200))
        made.way(ASKING, times_of(lambda: (ours.write(QUESTION), ours.readexactly(50)), 200))  # type: ignore[func-returns-value]
        asked = lambda: (pyserial.write(QUESTION), pyserial.read(50))  # noqa: E731
        made.way("pyserial write(), read()", times_of(asked, 200))
        yield made


def _bare_request(port: int) -> None:
    os.write(port, QUESTION)
    size = 0
    while size < 50:
        size += len(os.read(port, 50 - size))
