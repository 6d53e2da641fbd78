"""All commands."""

from __future__ import annotations

import logging

import click

from cnx.cli.lazy import LazyGroup

__all__ = ["cnx"]


@click.group(
    cls=LazyGroup,
    lazy={
        "demo": ("cnx.cli.demo.commands:demo", "Watch a link to a simulated chiller fail and recover."),
        "simulate": ("cnx.cli.simulate:simulate", "Run a simulated device."),
        "proxy": ("cnx.cli.proxy:proxy", "Stand between clients and a server, and misbehave."),
        "record": ("cnx.cli.record:record", "Write what goes over a link to a file."),
        "replay": ("cnx.cli.record:replay", "Be the peer that was recorded in a file."),
        "doctor": ("cnx.cli.doctor:doctor", "Find out what is wrong with a URL."),
        "monitor": ("cnx.cli.monitor:monitor", "Show what comes from a URL, and stay connected."),
        "chiller": ("cnx.cli.chiller.commands:chiller", "Talk to a ThermoTek chiller."),
        "m2": ("cnx.cli.m2.commands:m2", "Talk to the M2 cell controller."),
        "smartbus": ("cnx.cli.smartbus.commands:smartbus", "Be a client of a SmartBus."),
        "tecoroute": ("cnx.cli.tecoroute:tecoroute", "Reach PLCs through the TecoRoute service."),
        "ports": ("cnx.cli.ports:ports", "List the serial ports of this machine."),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cnx")
@click.option("-v", "--verbose", count=True, help="Log what happens; twice: every byte, too.")
def cnx(verbose: int) -> None:
    """Connections to real things that stay up: sockets, serial ports, and devices behind them."""
    if verbose:
        level = logging.INFO if verbose == 1 else logging.DEBUG
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
