"""Serial ports over a pty, beside bare ``os.read`` and ``os.write``, and beside pyserial."""

from __future__ import annotations

import os
import statistics
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

import serial

import cnx
from tests.benchmarks.core import Countdown, round_trip, timed
from tests.benchmarks.harness import Case, Target, case
from tests.benchmarks.server import LINE

LINES = 100_000


@contextmanager
def line() -> Iterator[tuple[int, str]]:
    """Give the master side of a pty, and the name of the other side."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


@contextmanager
def feeding(master: int, lines: int) -> Iterator[None]:
    """Write lines into a pty from a thread."""

    def feed() -> None:
        block = memoryview(LINE * 1000)
        for _ in range(lines // 1000):
            rest = block
            while rest:
                rest = rest[os.write(master, rest) :]

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    yield
    thread.join()


@contextmanager
def echoing(master: int) -> Iterator[None]:
    """Answer every 50 bytes with 50 bytes."""

    def answer() -> None:
        try:
            while True:
                size = 0
                while size < 50:
                    size += len(os.read(master, 50 - size))
                os.write(master, b"a" * 48 + b"\r\n")
        except OSError:  # closed
            return

    threading.Thread(target=answer, daemon=True).start()
    yield


@case("serial-lines")
def serial_lines() -> Iterator[Case]:
    """Lines to a subscriber."""
    made = Case("serial: lines of 100 bytes", "lines/s")
    made.way("bare os.read, split, callback", lambda: timed(_bare_lines, LINES))
    made.way("cnx, one subscriber", lambda: timed(_cnx_lines, LINES), Target(0.90, 1.0))
    made.way("pyserial readline()", lambda: timed(lambda: _pyserial_lines(1000), 1000))
    yield made


def _bare_lines() -> None:
    counter = Countdown(LINES)
    tail = b""
    with line() as (master, name), feeding(master, LINES):
        port = os.open(name, os.O_RDWR | os.O_NOCTTY)
        while counter.left:
            *whole, tail = (tail + os.read(port, 4096)).split(b"\r\n")
            for each in whole:
                counter.message(each)
        os.close(port)


def _cnx_lines() -> None:
    counter = Countdown(LINES)
    with line() as (master, name):
        connection = cnx.SerialConnection(name, framing=cnx.Delimited())
        with connection, cnx.subscribe(connection, connection.Signals.MESSAGE_RECEIVED, counter.message):
            with feeding(master, LINES):
                counter.done.wait()


def _pyserial_lines(lines: int) -> None:
    with line() as (master, name), serial.Serial(name) as port, feeding(master, lines):
        for _ in range(lines):
            port.readline()


@case("serial-request")
def serial_request() -> Iterator[Case]:
    """Writes of 50 bytes, and requests and replies of 50 bytes each."""
    with ExitStack() as stack:
        master, name = stack.enter_context(line())
        answering, echo_name = stack.enter_context(line())
        stack.enter_context(echoing(answering))
        bare, bare_echo = (os.open(each, os.O_RDWR | os.O_NOCTTY) for each in (name, echo_name))
        stack.callback(os.close, bare)
        stack.callback(os.close, bare_echo)
        ours, our_echo = (stack.enter_context(cnx.SerialConnection(each)) for each in (name, echo_name))
        pyserial = stack.enter_context(serial.Serial(name))
        data = b"q" * 48 + b"\r\n"
        made = Case("serial: write of 50 bytes, p50", "us")
        writes: dict[str, tuple[Callable[[], Any], Target | None]] = {
            "bare os.write": (lambda: os.write(bare, data), None),
            "cnx write()": (lambda: ours.write(data), Target(1.5, 1.3, upper=True)),
            "pyserial write()": (lambda: pyserial.write(data), None),
        }
        for way, (write, target) in writes.items():
            made.way(way, lambda write=write: _write_p50(write, master), target)
        yield made
        made = Case("serial: request and reply, p50", "us")
        made.way("bare os.write, os.read", lambda: round_trip(lambda: _bare_request(bare_echo, data), 50, 1000))
        asked = lambda: (our_echo.write(data), our_echo.readexactly(50))  # noqa: E731
        made.way("cnx write(), readexactly()", lambda: round_trip(asked, 50, 1000), Target(1.25, 1.1, upper=True))
        yield made


def _bare_request(port: int, data: bytes) -> None:
    os.write(port, data)
    size = 0
    while size < 50:
        size += len(os.read(port, 50 - size))


def _write_p50(write: Callable[[], Any], master: int) -> float:
    times = []
    for _ in range(2000):
        began = perf_counter()
        write()
        times.append(perf_counter() - began)
        os.read(master, 4096)
    return statistics.median(times) * 1e6
