"""``cnx simulate``: simulated devices."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import click

from cnx.cli.console import clean_exit, echo, stop_signal
from cnx.cli.lazy import LazyGroup
from cnx.clients.chiller.simulator.quirks import T257P
from cnx.clients.chiller.simulator.server import ChillerSimulator
from cnx.simulation import Simulator

__all__ = ["run_simulator", "simulate"]


@click.group(
    cls=LazyGroup,
    lazy={
        "m2": ("cnx.cli.m2.commands:simulate_m2", "Run the M2 cell controller."),
        "smartbus": ("cnx.cli.smartbus.commands:simulate_smartbus", "Run a SmartBus server."),
        "tecoroute": ("cnx.cli.tecoroute:simulate_tecoroute", "Run a TecoRoute service with PLCs behind it."),
    },
)
def simulate() -> None:
    """Run a simulated device until interrupted; its URL is printed first."""


def run_simulator(simulator: Simulator) -> None:
    """Run a simulator that already listens, until SIGINT or SIGTERM."""
    with clean_exit(), stop_signal() as stop, simulator:
        for url in simulator.urls:
            echo(url)
            warn_if_open(url)
        stop.wait()


def warn_if_open(url: str) -> None:
    """Print a warning if other machines can connect."""
    host = urlsplit(url).hostname
    if host and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        warning = f"WARNING: every machine that can reach {url} can use it without a password"
        echo(warning, fg="red", bold=True, err=True)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{address!r} is not HOST:PORT", param_hint="--tcp")
    return host.strip("[]") or "127.0.0.1", int(port)


@simulate.command(short_help="Run ThermoTek chillers.")
@click.option("--tcp", metavar="HOST:PORT", help="Where to listen; port 0: any free one.")
@click.option("--pty", is_flag=True, help="Listen on a pseudo-terminal, which clients open like a serial port.")
@click.option(
    "--id",
    "device_ids",
    type=click.IntRange(1, 32),
    multiple=True,
    help="Device id; repeat it for a bus with several devices.",
)
@click.option("--baudrate", type=click.IntRange(1), help="Simulate the speed of a serial line.")
@click.option("--t257p", is_flag=True, help="Simulate a T257P: no number 16, and constant readings.")
def chiller(tcp: str | None, pty: bool, device_ids: tuple[int, ...], baudrate: int | None, t257p: bool) -> None:
    """Run one or more ThermoTek chillers with a thermal model."""
    if tcp is None and not pty:
        tcp = "127.0.0.1:4001"
    with clean_exit():
        simulator = ChillerSimulator(device_ids or (1,), quirks=T257P if t257p else None, baudrate=baudrate)
        if tcp is not None:
            try:
                simulator.listen_tcp(*split_address(tcp))
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--tcp") from error
        if pty:
            simulator.listen_pty()
    run_simulator(simulator)
