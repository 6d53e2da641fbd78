"""``cnx chiller``: ThermoTek chillers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from click.decorators import FC

from cnx.cli.chiller.output import show
from cnx.cli.console import clean_exit, shown, stop_signal
from cnx.clients.chiller import ChillerClient, ChillerMonitor
from cnx.clients.chiller.protocol.frames import parse_text

__all__ = ["chiller"]


@click.group()
def chiller() -> None:
    """Talk to a ThermoTek chiller (T257P and others) over TCP or a serial port.

    \b
    cnx chiller status --url tcp://adapter:4001
    cnx chiller watch --url 'serial:///dev/ttyUSB0?xonxoff=yes' --record night.csv
    """


def reaches_a_unit(command: FC) -> FC:
    """Add the options that say which unit."""
    command = click.option("--id", "device_id", default="01", show_default=True, help="Device id, 01 to 32.")(command)
    return click.option("--url", required=True, help="Where: tcp://HOST:PORT or serial:///dev/NAME.")(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
sure = click.option("--yes", is_flag=True, help="Do not ask.")


@contextmanager
def connected(url: str, device_id: str) -> Iterator[ChillerClient]:
    """Give a connected client; errors end the command with one line."""
    with clean_exit(), client(url, device_id) as made:
        yield made


def client(url: str, device_id: str) -> ChillerClient:
    """Return a client, or fail with the usage of the command."""
    try:
        return ChillerClient(url, device_id)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@chiller.command()
@reaches_a_unit
@as_json
def status(url: str, device_id: str, as_json: bool) -> None:
    """Show everything that can be read without a side effect."""
    with connected(url, device_id) as unit:
        show(unit.status(), as_json)


@chiller.command("set-temperature", context_settings={"ignore_unknown_options": True})
@click.argument("celsius", type=float)
@reaches_a_unit
@as_json
def set_temperature(celsius: float, url: str, device_id: str, as_json: bool) -> None:
    """Set the set point to CELSIUS degrees."""
    with connected(url, device_id) as unit:
        try:
            unit.set_temperature(celsius)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        show({"setpoint": unit.setpoint()}, as_json)


@chiller.command()
@reaches_a_unit
@as_json
def start(url: str, device_id: str, as_json: bool) -> None:
    """Run pump and temperature control."""
    with connected(url, device_id) as unit:
        unit.start()
        show(unit.watchdog(), as_json)


@chiller.command()
@reaches_a_unit
@as_json
def stop(url: str, device_id: str, as_json: bool) -> None:
    """Go to standby."""
    with connected(url, device_id) as unit:
        unit.stop()
        show(unit.watchdog(), as_json)


@chiller.command()
@click.option("--reset", is_flag=True, help="Go to standby, then read level 1, which resets it in the unit.")
@sure
@reaches_a_unit
@as_json
def alarms(reset: bool, yes: bool, url: str, device_id: str, as_json: bool) -> None:
    """Show flags, warnings and alarms; level 1 only with --reset, as reading it resets it."""
    if reset and not yes:
        click.confirm("This stops the unit and resets its alarms. Go on?", abort=True, err=True)
    with connected(url, device_id) as unit:
        found: dict[str, Any] = {**unit.watchdog()._asdict(), "warnings": unit.warnings()}
        found |= {"system_alarms": unit.system_alarms(), "sensor_alarms": unit.sensor_alarms()}
        if reset:
            unit.stop()
            found["alarms"] = unit.read_and_reset_alarms()
        show(found, as_json)


@chiller.command("command")
@click.argument("text")
@sure
@reaches_a_unit
@as_json
def run(text: str, yes: bool, url: str, device_id: str, as_json: bool) -> None:
    """Send one command: number, name of eight characters and data, such as 17sCtrlT__+0200."""
    try:
        call = parse_text(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if call.command is not None and call.command.danger and not yes:
        click.confirm(f"{call.command.summary}: {call.command.danger}. Go on?", abort=True, err=True)
    with connected(url, device_id) as unit:
        answer = unit.run_command(text)
        show({"sent": answer.call.frame.decode().rstrip(), "received": answer.frame, "value": answer.value}, as_json)


@chiller.command()
@click.option("--record", type=click.File("w", lazy=False), help="Write a CSV file that `plot` draws.")
@click.option("--interval", type=click.FloatRange(0.01, 3600), default=2.0, show_default=True, help="Seconds a round.")
@click.option("--rounds", type=click.IntRange(1), help="End after so many rounds of values.")
@reaches_a_unit
@as_json
def watch(record: TextIO | None, interval: float, rounds: int | None, url: str, device_id: str, as_json: bool) -> None:
    """Show a live table, or lines where there is no terminal, and stay connected until interrupted.

    An alarm puts the unit in standby, and its details are read, which resets them in the unit.
    """
    from cnx.cli.chiller.watch import watch_unit

    unit = client(url, device_id)
    with clean_exit(), stop_signal() as stopped, shown(stopped):
        monitor = ChillerMonitor(unit, watchdog_interval=min(interval, 5.0), telemetry_interval=interval)
        watch_unit(monitor, stopped, rounds=rounds, record=record, as_json=as_json)


@chiller.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="PNG, SVG or PDF.")
def plot(recording: Path, output: Path) -> None:
    """Draw temperatures, flow, drive and alarms of a RECORDING."""
    from cnx.cli.chiller.plot import draw

    with clean_exit():
        try:
            draw(recording, output)
        except ValueError as error:
            raise click.ClickException(f"{recording}: {error}") from error
    click.echo(output)
