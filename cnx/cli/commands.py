"""All commands."""

from __future__ import annotations

import logging

import click

from cnx.cli.lazy import LazyGroup

__all__ = ["cnx"]


@click.group(
    cls=LazyGroup,
    lazy={
        "demo": ("cnx.cli.demo.commands:demo", "Watch a connection to a simulated chiller fail and recover."),
        "simulate": ("cnx.cli.simulate:simulate", "Run a simulated device."),
        "proxy": ("cnx.cli.proxy:proxy", "Pass on data between clients and a server, with faults."),
        "record": ("cnx.cli.record:record", "Record the traffic of a connection in a file."),
        "replay": ("cnx.cli.record:replay", "Act as the recorded peer."),
        "doctor": ("cnx.cli.doctor:doctor", "Find out what is wrong with a URL."),
        "monitor": ("cnx.cli.monitor:monitor", "Print what arrives from a URL, and stay connected."),
        "chiller": ("cnx.cli.chiller.commands:chiller", "Talk to a ThermoTek chiller."),
        "m2": ("cnx.cli.m2.commands:m2", "Talk to the M2 cell controller."),
        "smartbus": ("cnx.cli.smartbus.commands:smartbus", "Use a SmartBus as a client."),
        "tecoroute": ("cnx.cli.tecoroute:tecoroute", "Reach PLCs through the TecoRoute service."),
        "ports": ("cnx.cli.ports:ports", "List the serial ports of this machine."),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cnx")
@click.option("-v", "--verbose", count=True, help="Log what happens; -vv also logs every byte.")
def cnx(verbose: int) -> None:
    """Connections to devices that stay up: sockets, serial ports, and protocols on top of them."""
    if verbose:
        level = logging.INFO if verbose == 1 else logging.DEBUG
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
