"""Every kind of connection with a simulator of its peer, and an exchange whose answer tells whether it is right."""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cnx import (
    Backoff,
    Connection,
    ConnectionLost,
    ConnectionManager,
    StreamConnection,
    TimedOut,
    UdpConnection,
    connection,
)
from cnx.clients.chiller import ChillerClient
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.clients.m2 import CommandStatus, M2Controller
from cnx.clients.m2.simulator import M2Simulator
from cnx.clients.smartbus import BusServer, Pulse, SmartBusClient
from cnx.clients.tecoroute import Connector, Pace, TecorouteSimulator
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts
from cnx.simulation import Simulator
from tests.helpers.certificates import certificates
from tests.helpers.echo import Echo

__all__ = ["THINGS", "UNTRUSTED", "Thing"]

SERVER_CONTEXT, CLIENT_CONTEXT = certificates()
UNTRUSTED, _ = certificates()
"""A context for servers that no client here trusts."""

Exchange = Callable[[int, float], bool]
"""Ask for something that belongs to a number, wait at most so many seconds, and say whether the answer is right."""


@dataclass
class Thing:
    """One peer, which does not run yet, and one client of it."""

    simulator: Simulator
    connection: Connection
    exchange: Exchange

    def manager(self) -> ConnectionManager:
        """Return a manager that does not wait for long."""
        return ConnectionManager(self.connection, backoff=Backoff(first=0.005, cap=0.05))


def _echo(simulator: Simulator, url: str, tls: ssl.SSLContext | None = None) -> Thing:
    settings = {"tls": tls, "server_hostname": "localhost"} if tls else {}
    client = connection(url, **settings)
    assert isinstance(client, StreamConnection)

    def exchange(number: int, timeout: float) -> bool:
        message = b"%020d" % number + bytes(number % 997) + b"\n"
        client.write(message, timeout=timeout)
        while (answer := client.readuntil(b"\n", timeout=timeout)) != message:
            if not url.startswith("serial:") or not _is_late(answer, number):
                return False
        return True

    return Thing(simulator, client, exchange)


def _is_late(answer: bytes, number: int) -> bool:
    """Whether a line can have been on its way before it was opened: pieces of earlier messages, cut anywhere."""
    numbers = [int(digits[-20:]) for digits in re.findall(rb"\d+", answer)]
    return max(numbers, default=0) <= number and not answer.strip(b"0123456789\0\n")


def tcp(folder: Path) -> Thing:
    """TCP."""
    echo = Echo()
    return _echo(echo, echo.listen_tcp())


def tls(folder: Path) -> Thing:
    """TLS, verified."""
    echo = Echo()
    return _echo(echo, echo.listen_tcp(tls=SERVER_CONTEXT), CLIENT_CONTEXT)


def unix(folder: Path) -> Thing:
    """A unix socket."""
    echo = Echo()
    return _echo(echo, echo.listen_unix(str(folder / "socket")))


def serial(folder: Path) -> Thing:
    """A serial line."""
    echo = Echo()
    return _echo(echo, echo.listen_pty())


def udp(folder: Path) -> Thing:
    """Datagrams."""
    echo = Echo()
    client = connection(echo.listen_udp(), UdpConnection)
    assert isinstance(client, UdpConnection)

    def exchange(number: int, timeout: float) -> bool:
        message = b"%020d" % number
        client.send(message, timeout=timeout)
        while (answer := client.receive(timeout=timeout)[::-1]) != message:
            if len(answer) == len(message) and answer > message:  # neither late, nor cut on the way
                return False
        return True

    return Thing(echo, client, exchange)


def chiller(folder: Path) -> Thing:
    """A chiller, over TCP."""
    simulator = ChillerSimulator()
    client = ChillerClient(simulator.listen_tcp(), reply_timeout=3.0)
    unsure: deque[float] = deque(maxlen=20)  # set on a link that was lost: the unit may still do it, after a later one

    def exchange(number: int, timeout: float) -> bool:
        client.reply_timeout = timeout
        wanted = 10.0 + number % 100 / 10
        try:
            client.set_temperature(wanted)
        except (ConnectionLost, TimedOut):
            unsure.append(wanted)
            raise
        return client.setpoint() in (wanted, *unsure)

    return Thing(simulator, client, exchange)


def tecoroute(folder: Path) -> Thing:
    """A PLC through the TecoRoute service."""
    simulator = TecorouteSimulator(Accounts(plcs={"AB_1234": MODELS["echo"]}))
    host, port = _endpoint(simulator.listen_tcp())
    client = Connector("BroukPytlik", "ferda1", "AB_1234", tecoroute_host=host, tecoroute_port=port, pace=Pace(0.0))

    def exchange(number: int, timeout: float) -> bool:
        datagram = b"%020d" % number
        return client.request(datagram, timeout=timeout) == datagram

    return Thing(simulator, client, exchange)


def smartbus(folder: Path) -> Thing:
    """A SmartBus, with a flow that returns what it is given."""
    server = BusServer()
    server.flow("test", "same")(lambda *values: list(values))
    host, port = _endpoint(server.listen_tcp())
    client = SmartBusClient(
        host, port, unit_id=20, client_id=1, client_type=9, pulse=Pulse(heartbeat=0.2, reconnect_delay=0.01)
    )

    def exchange(number: int, timeout: float) -> bool:
        call = client.invoke_flow(0, 0, "test", "same", [number], timeout=timeout)
        return call.result(timeout) == [number]

    return Thing(server, client, exchange)


def m2(folder: Path) -> Thing:
    """The M2 cell controller, both ports."""
    simulator = M2Simulator(telemetry_period=0.02)
    ports = simulator.listen_ports(command_port=0, telemetry_port=0)
    client = M2Controller("127.0.0.1", *ports)

    def exchange(number: int, timeout: float) -> bool:
        return client.command("clearErrors", timeout=timeout).status is CommandStatus.SUCCESS

    return Thing(simulator, client, exchange)


def _endpoint(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


THINGS: dict[str, Callable[[Path], Thing]] = {
    kind.__name__: kind for kind in (tcp, tls, unix, udp, serial, tecoroute, chiller, smartbus, m2)
}
"""By name; each is given a folder to make files in."""
