"""``cnx ports``"""

from __future__ import annotations

import click
from serial.tools import list_ports

from cnx.cli.console import echo, echo_json

__all__ = ["ports"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def ports(as_json: bool) -> None:
    """List the serial ports of this machine, with the plugged-in devices and the URLs to use."""
    found = sorted(list_ports.comports())
    if not found and not as_json:
        echo("no serial ports found", err=True)
    for port in found:
        url = f"serial://{port.device}"
        if as_json:
            echo_json({"url": url, "description": port.description, "hardware": port.hwid})
        else:
            echo(f"{url}  {port.description}  [{port.hwid}]")
