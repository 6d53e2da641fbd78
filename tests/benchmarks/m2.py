"""The M2 controller: telemetry compared with asyncio, and commands compared with a bare socket."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from cnx import Connection, subscribe
from cnx.clients.m2 import M2Client, M2Controller, M2Lines, M2Signals
from cnx.clients.m2.simulator import M2Simulator
from tests.benchmarks.harness import CORE, Case, View, case, percentile, pin

MESSAGES = 200_000
COMMANDS = 200
"""Commands of one slice, after some that are not counted."""

FIRST = 40
ALL = FIRST + COMMANDS

MESSAGE = (
    b'{"id": "positionIMS", "x": 10.01234, "y": -3.4412, "z": 0.00231, "xRot": 0.0123412, "yRot": -0.0034124, '
    b'"zRot": 7.854775343815474e-12, "n": 1234567}\r\n'
)
BATCH = 1000


@case("m2")
def telemetry() -> Iterator[Case]:
    """Telemetry messages of 150 bytes to one subscriber, client and controller on one core."""
    pin()
    signal = Connection.Signals.MESSAGE_RECEIVED
    made = Case(f"M2 telemetry of {len(MESSAGE)} bytes", "messages/s")
    with other_side("telemetry") as (port, _):
        made.way("asyncio readline + json.loads", lambda: with_asyncio(port))
        made.way("cnx M2Client", lambda: with_client(port, None, signal), 1.3)
        made.way("cnx M2Client, by kind", lambda: with_client(port, None, M2Signals.TELEMETRY), 1.3)
        if find_spec("msgspec") is not None:
            import msgspec

            made.way("cnx M2Client, msgspec", lambda: with_client(port, msgspec.json.Decoder().decode, signal), 2.7)
        yield made


@case("m2-command")
def commands() -> Iterator[Case]:
    """Commands to the simulator, and their results."""
    pin()
    made = Case("M2 command and result", "us", less=True, slices=10)
    made.views = [View("p50", percentile(50), {"cnx M2Controller": 1.9})]
    with other_side("simulator") as ports:
        made.way("bare sockets, same bytes", lambda: bare_commands(*ports))
        made.way("cnx M2Controller", lambda: client_commands(*ports))
        yield made


def with_asyncio(port: int) -> float:
    """Return the messages per second of asyncio streams with the standard decoder."""
    counter = itertools.count(1)

    def handle(message: Any) -> None:
        next(counter)

    async def read() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = perf_counter()
        writer.write(b"g")
        for _ in range(MESSAGES):
            handle(json.loads(await reader.readline()))
        speed = MESSAGES / (perf_counter() - began)
        writer.close()
        return speed

    return asyncio.run(read())


def with_client(port: int, loads: Callable[[bytes], Any] | None, signal: object) -> float:
    """Return the messages per second of an M2 client with one subscriber."""
    done = threading.Event()
    counter = itertools.count(1)

    def handle(message: Any) -> None:
        if next(counter) == MESSAGES:
            done.set()

    client = M2Client("127.0.0.1", port, framing=M2Lines(loads=loads))
    with subscribe(client, signal, handle), client:
        began = perf_counter()
        client.write(b"g")
        done.wait()
        return MESSAGES / (perf_counter() - began)


def bare_commands(command_port: int, telemetry_port: int) -> list[float]:
    """Return the microseconds of commands over plain sockets, while a thread receives the telemetry."""
    with (
        socket.create_connection(("127.0.0.1", command_port)) as sock,
        socket.create_connection(("127.0.0.1", telemetry_port)) as telemetry,
    ):
        receiving = threading.Thread(target=receive_all, args=(telemetry,))
        receiving.start()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for number in range(1, ALL + 1):
            line = b'{"id": "cmd_setMirrorHome", "sequence_id": %d}\r\n' % number
            began = perf_counter()
            sock.sendall(line)
            while b'"success"' not in sock.recv(65536):
                pass
            times.append((perf_counter() - began) * 1e6)
        telemetry.shutdown(socket.SHUT_RDWR)
        receiving.join()
        return times[FIRST:]


def receive_all(sock: socket.socket) -> None:
    """Receive until the end."""
    while sock.recv(65536):
        pass


def client_commands(command_port: int, telemetry_port: int) -> list[float]:
    """Return the microseconds of each command of the controller."""
    times = []
    with M2Controller("127.0.0.1", command_port, telemetry_port) as controller:
        for _ in range(ALL):
            began = perf_counter()
            controller.command("setMirrorHome")
            times.append((perf_counter() - began) * 1e6)
    return times[FIRST:]


@contextmanager
def other_side(mode: str) -> Iterator[tuple[int, int]]:
    """Run the controller's side in its own process; yield its ports."""
    command = [sys.executable, "-m", "tests.benchmarks.m2", mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first, second = process.stdout.readline().split()
        yield int(first), int(second)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def send_telemetry() -> None:
    """Send all messages to each client after its first byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], 0, flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            for _ in range(MESSAGES // BATCH):
                connection.sendall(MESSAGE * BATCH)


def simulate() -> None:
    """Run the simulator until killed."""
    simulator = M2Simulator()
    print(*simulator.listen_ports(command_port=0, telemetry_port=0), flush=True)
    with simulator:
        threading.Event().wait()


if __name__ == "__main__":
    pin(CORE)
    simulate() if sys.argv[1] == "simulator" else send_telemetry()
