"""The chiller: a command compared with a bare socket, and the utilization of a bus."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from time import perf_counter

from cnx.clients.chiller import ChillerBus, ChillerClient, compute_checksum
from cnx.clients.chiller.simulator import ChillerSimulator
from tests.benchmarks.harness import CORE, Case, case, pin

COMMANDS = 3000
"""Commands of one round."""


def framed(text: bytes) -> bytes:
    """Return the frame with this text: its checksum and the end follow."""
    return text + compute_checksum(text).encode() + b"\r"


ASK = framed(b".0104rSupplyT")
ANSWERS = [framed(b"#01040rSupplyT%+05d" % tenths) for tenths in range(205, 245)]
"""The replies of a unit that holds its temperature within 2 degrees: not always the same."""

WATCHDOG, STANDBY = b".0101WatchDog01\r", b"#01010WatchDog1000E7\r"
IDS = range(2, 33)
BAUDRATE = 9600
LINE_SECONDS = (len(ASK) + len(ANSWERS[0])) * 10 / BAUDRATE


@case("chiller")
def commands() -> Iterator[Case]:
    """Commands over TCP to a unit that answers at once, client and unit on one core."""
    pin()
    made = Case("chiller, one command", "us", less=True)
    with unit() as port:
        made.way("bare socket, same frames", lambda: bare(port))
        made.way("cnx ChillerClient", lambda: client(port), 2.2)
        yield made


@case("chiller-bus")
def bus() -> Iterator[Case]:
    """31 units on a line of 9600 baud, asked as fast as they answer: the share of the time that the line is in use."""
    made = Case("chiller bus, 31 units at 9600 baud", "% busy")
    made.way("the line itself", lambda: 100.0)
    made.way("cnx ChillerBus, one thread for each unit", busy, 0.90)
    yield made


def bare(port: int) -> float:
    """Return the microseconds of a command over a plain socket."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = perf_counter()
        for _ in range(COMMANDS):
            sock.sendall(ASK)
            reply = sock.recv(65536)
            while not reply.endswith(b"\r"):
                reply += sock.recv(65536)
        return (perf_counter() - began) / COMMANDS * 1e6


def client(port: int) -> float:
    """Return the microseconds of a command of the client."""
    with ChillerClient(f"tcp://127.0.0.1:{port}") as chiller:
        began = perf_counter()
        for _ in range(COMMANDS):
            chiller.supply_temperature()
        return (perf_counter() - began) / COMMANDS * 1e6


def busy() -> float:
    """Return the share of the time that a bus is in use, in per cent."""
    with ChillerSimulator(IDS, baudrate=BAUDRATE) as simulator, ChillerBus(simulator.listen_tcp()) as line:
        units = [line.unit(number) for number in IDS]
        with ThreadPoolExecutor(len(units)) as pool:
            began = perf_counter()
            answers = list(pool.map(lambda chiller: chiller.supply_temperature(), units))
            return len(answers) * LINE_SECONDS / (perf_counter() - began) * 100


@contextmanager
def unit() -> Iterator[int]:
    """Run a unit that answers two commands and does nothing else, in its own process; yield its port."""
    command = [sys.executable, "-m", "tests.benchmarks.chiller"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serve() -> None:
    """Answer one client after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            answers = cycle(ANSWERS)
            while command := connection.recv(64):
                connection.sendall(next(answers) if command == ASK else STANDBY)


if __name__ == "__main__":
    pin(CORE)
    serve()
