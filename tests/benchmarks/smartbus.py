"""SmartBus: packets through the server of cnx, and pings compared with a bare socket and the original library."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter, process_time
from typing import Any

from cnx import subscribe
from cnx.buffer import ReceiveBuffer
from cnx.clients.smartbus import Address, BusServer, Packet, SmartBusClient, SystemCmd
from cnx.clients.smartbus.protocol.messages import Register
from cnx.clients.smartbus.protocol.packets import PacketFraming
from tests.benchmarks.harness import Case, case, pin
from tests.helpers.smartbus_native import library

PACKETS = 50_000
PINGS = 2000
IDLE = 3.0
"""Packets, pings and seconds of one round."""

DATA = bytes(100)
newcomers = itertools.count(2)
SENDER, RECEIVER, SERVER = Address(20, 1, 9), Address(21, 1, 9), Address(0, 0, 1)
OURS = "cnx SmartBusClient, BusServer"
PING = Packet(SystemCmd.PING, 1, SENDER, SERVER, DATA)


@case("smartbus")
def throughput() -> Iterator[Case]:
    """Data packets from client to client; the server and both clients are separate processes."""
    made = Case(f"SmartBus, {len(DATA)} bytes client to client", "packets/s", absolute=True)
    with served() as port:
        made.way(OURS, lambda: routed(port), 20_000)
        yield made


@case("smartbus-ping")
def pings() -> Iterator[Case]:
    """Pings to the server, all on one core. The original library is measured where it is installed."""
    pin()
    made = Case(f"SmartBus, ping with {len(DATA)} bytes", "us", less=True, slices=3, leader=OURS)
    with served() as port:
        made.way("bare socket, BusServer", lambda: bare_pings(port))
        made.way(OURS, lambda: client_pings(port), 1.7)
        if library():
            made.way("original library, BusServer", lambda: float(run("native_pings", port)))
        yield made


@case("smartbus-idle")
def idle() -> Iterator[Case]:
    """Processor time of a registered client that does nothing, compared with the original library."""
    made = Case("SmartBus, idle client", "ms/s", less=True)
    with served() as port:
        if library():
            made.way("original library", lambda: float(run("native_idle", port)))
        made.way("cnx SmartBusClient", lambda: float(run("client_idle", port)), 0.1 if library() else None)
        yield made


def newcomer() -> Address:
    """Return ids not used lately: the server may not have noticed yet that the last client has left."""
    return SENDER._replace(client=next(newcomers) % 128)


def client_at(port: int, address: Address) -> SmartBusClient:
    """Return a client that is not connected."""
    unit, client, kind = address
    return SmartBusClient("127.0.0.1", port, unit_id=unit, client_id=client, client_type=kind)


def routed(port: int) -> float:
    """Return the packets per second from the first one sent to the last one received."""
    with other("receive", port) as process, client_at(port, SENDER) as client:
        assert process.stdout is not None
        process.stdout.readline()
        begin = perf_counter()
        for _ in range(PACKETS):
            client.send(1, 3, *RECEIVER, DATA)
        process.stdout.readline()
        return PACKETS / (perf_counter() - begin)


def receive(port: int) -> None:
    """Receive all packets; print a line before and after."""
    done = threading.Event()
    left = PACKETS

    def on_message(message: Packet) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    with client_at(port, RECEIVER) as client, subscribe(client, client.Signals.MESSAGE_RECEIVED, on_message):
        print("ready", flush=True)
        done.wait(60)
        print("done", flush=True)


def median_of(ping: Callable[[], object]) -> float:
    """Return the median round trip in microseconds."""
    times = []
    for _ in range(PINGS):
        begin = perf_counter()
        ping()
        times.append(perf_counter() - begin)
    return median(times) * 1e6


def bare_pings(port: int) -> float:
    """Ping by a blocking socket and the framing."""
    framing, buffer, request = PacketFraming(), ReceiveBuffer(), bytes(PING)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def exchange(data: bytes) -> None:
            sock.sendall(data)
            while framing.take(buffer) is None:
                received = sock.recv(65536)
                if not received:
                    raise EOFError("the server closed the connection")
                buffer.append(received)

        exchange(bytes(Register().packet(newcomer(), SERVER)))
        return median_of(lambda: exchange(request))


def client_pings(port: int) -> float:
    """Ping by the client."""
    with client_at(port, newcomer()) as client:
        return median_of(lambda: client.ping(*SERVER, DATA))


def client_idle(port: int) -> float:
    """Return the processor time of our client, milliseconds a second."""
    with client_at(port, SENDER):
        return busy()


def busy() -> float:
    """Return the processor time of this process while it waits, milliseconds a second."""
    pause = threading.Event()
    pause.wait(1.0)
    begin = process_time()
    pause.wait(IDLE)
    return (process_time() - begin) / IDLE * 1000


class Native:
    """The original library in this process, registered. The process has to leave by ``_exit``."""

    def __init__(self, port: int) -> None:
        path = library()
        assert path is not None
        self.output = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the library prints
        self._library = ctypes.CDLL(path)
        self.answered = threading.Event()
        self._registered = threading.Event()
        pointer, byte, number = ctypes.c_void_p, ctypes.c_byte, ctypes.c_int
        on_connection = ctypes.CFUNCTYPE(None, pointer, byte, number, number)(self._on_connection)
        on_data = ctypes.CFUNCTYPE(None, pointer, byte, pointer, pointer, number)(lambda *_: self.answered.set())
        self._callbacks = on_connection, on_data
        self._library.SmartBusNetCli_Init(SENDER.unit)
        self._library.SmartBusNetCli_SetCallBackFn(on_connection, on_data, None, None, None, None)
        where = (b"127.0.0.1", port, None, 0xFFFF, b"", b"", b"")
        self._library.SmartBusNetCli_CreateConnect(SENDER.client, SENDER.type, *where)
        assert self._registered.wait(10)

    def _on_connection(self, arg: int, client: int, access_point: int, ack: int) -> None:
        if ack == 0:  # the first attempt may meet the link of the last client that had these ids
            self._registered.set()

    def ping(self) -> None:
        """Ping the server and wait for its answer."""
        self.answered.clear()
        self._library.SmartBusNetCli_SendPing(SENDER.client, *SERVER, DATA, len(DATA))
        assert self.answered.wait(10)

    def leave(self, figure: float) -> None:
        """Print a figure and end the process."""
        os.write(self.output, f"{figure}\n".encode())
        os._exit(0)


def native_pings(port: int) -> None:
    """Ping by the original library."""
    native = Native(port)
    native.leave(median_of(native.ping))


def native_idle(port: int) -> None:
    """Print the processor time of the original library, milliseconds a second."""
    Native(port).leave(busy())


def serve() -> None:
    """Run a server until the process is killed."""
    with BusServer() as server:
        print(server.listen_tcp().rpartition(":")[2], flush=True)
        threading.Event().wait()


@contextmanager
def other(function: str, *arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a function of this module in another process."""
    command = [sys.executable, "-m", "tests.benchmarks.smartbus", function, json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run(function: str, *arguments: Any) -> str:
    """Return what a function of this module prints in another process."""
    with other(function, *arguments) as process:
        assert process.stdout is not None
        return process.stdout.readline()


@contextmanager
def port_of(function: str) -> Iterator[int]:
    """Run a server in another process and give its port."""
    with other(function) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def served() -> Any:
    """Run our server in another process."""
    return port_of("serve")


if __name__ == "__main__":
    found = globals()[sys.argv[1]](*json.loads(sys.argv[2]))
    if found is not None:
        print(found, flush=True)
