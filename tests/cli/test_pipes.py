"""Commands whose reader goes away, as ``head`` does, and those that do not mind."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from cnx.clients.chiller import ChillerClient
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.clients.m2.simulator import M2Simulator
from cnx.clients.smartbus import BusServer
from cnx.simulation import Session, Simulator
from tests.helpers.commands import running


class Silent(Simulator):
    """Never says anything."""

    def serve(self, session: Session) -> None:
        """Serve."""
        while session.read():
            pass


@contextmanager
def monitor() -> Iterator[list[str]]:
    """Give a command that waits for what never comes."""
    with Silent() as server:
        yield ["monitor", server.listen_tcp()]


@contextmanager
def m2() -> Iterator[list[str]]:
    """Give a command that prints twenty times a second, on the thread that listens."""
    simulator = M2Simulator()
    _, port = simulator.listen_ports(command_port=0, telemetry_port=0)
    with simulator:
        yield ["m2", "telemetry", "--port", str(port)]


@contextmanager
def chiller() -> Iterator[list[str]]:
    """Give a command that prints on a thread that asks."""
    with ChillerSimulator() as simulator:
        yield ["chiller", "watch", "--interval", "0.1", "--url", simulator.listen_tcp()]


@contextmanager
def smartbus() -> Iterator[list[str]]:
    """Give a command that waits for others."""
    with BusServer() as server:
        address = server.listen_tcp().removeprefix("tcp://")
        yield ["smartbus", "listen", "--url", f"smartbus://{address}/?unit=20&client=1"]


@pytest.mark.parametrize("scene", [monitor, m2, chiller, smartbus], ids=lambda scene: scene.__name__)
def test_command_ends_with_its_reader(scene: Callable[[], AbstractContextManager[list[str]]]) -> None:
    """At once, without complaint, whether it is printing or waiting."""
    with scene() as arguments, running(*arguments) as command:
        if arguments[0] != "smartbus":  # where nobody else comes, there is nothing to print
            assert command.line()
        command.output.close()
        assert command.wait() == (0, "")


def test_simulator_goes_on() -> None:
    """A script that has read the URL needs no more of the output, but needs the device."""
    with running("simulate", "chiller", "--tcp", "127.0.0.1:0") as command:
        url = command.line()
        command.output.close()
        for _ in range(2):
            with ChillerClient(url, reply_timeout=10.0) as client:
                client.watchdog()
        command.send(signal.SIGINT)
        assert command.wait() == (0, "")
