"""The subcommands of ``cnx chiller``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from click.decorators import FC

from cnx.cli.chiller.output import print_value
from cnx.cli.console import clean_exit, echo, shown, stop_signal
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


def unit_options(command: FC) -> FC:
    """Add the options ``--url`` and ``--id``."""
    command = click.option("--id", "device_id", default="01", show_default=True, help="Device id, 01 to 32.")(command)
    return click.option("--url", required=True, help="tcp://HOST:PORT or serial:///dev/NAME.")(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@contextmanager
def connected(url: str, device_id: str) -> Iterator[ChillerClient]:
    """Yield a connected client; errors end the command with a message of one line."""
    with clean_exit(), new_client(url, device_id) as client:
        yield client


def new_client(url: str, device_id: str) -> ChillerClient:
    """Return a client that is not connected yet.

    Raises:
        UsageError: an argument is invalid.
    """
    try:
        return ChillerClient(url, device_id)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@chiller.command()
@unit_options
@json_option
def status(url: str, device_id: str, as_json: bool) -> None:
    """Show everything that can be read without a side effect."""
    with connected(url, device_id) as unit:
        print_value(unit.status(), as_json)


@chiller.command("set-temperature", context_settings={"ignore_unknown_options": True})
@click.argument("celsius", type=float)
@unit_options
@json_option
def set_temperature(celsius: float, url: str, device_id: str, as_json: bool) -> None:
    """Set the set point to CELSIUS degrees Celsius."""
    with connected(url, device_id) as unit:
        try:
            unit.set_temperature(celsius)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        print_value({"setpoint": unit.setpoint()}, as_json)


@chiller.command()
@unit_options
@json_option
def start(url: str, device_id: str, as_json: bool) -> None:
    """Start pump and temperature control."""
    with connected(url, device_id) as unit:
        unit.start()
        print_value(unit.watchdog(), as_json)


@chiller.command()
@unit_options
@json_option
def stop(url: str, device_id: str, as_json: bool) -> None:
    """Put the unit in standby."""
    with connected(url, device_id) as unit:
        unit.stop()
        print_value(unit.watchdog(), as_json)


@chiller.command()
@click.option("--reset", is_flag=True, help="Put the unit in standby, then read alarms level 1, which resets them.")
@yes_option
@unit_options
@json_option
def alarms(reset: bool, yes: bool, url: str, device_id: str, as_json: bool) -> None:
    """Show flags, warnings and alarms; level 1 only with --reset, because reading it resets the alarms."""
    if reset and not yes:
        click.confirm("This stops the unit and resets its alarms. Continue?", abort=True, err=True)
    with connected(url, device_id) as unit:
        found: dict[str, Any] = {**unit.watchdog()._asdict(), "warnings": unit.warnings()}
        found |= {"system_alarms": unit.system_alarms(), "sensor_alarms": unit.sensor_alarms()}
        if reset:
            unit.stop()
            found["alarms"] = unit.read_and_reset_alarms()
        print_value(found, as_json)


@chiller.command("command")
@click.argument("text")
@yes_option
@unit_options
@json_option
def send_command(text: str, yes: bool, url: str, device_id: str, as_json: bool) -> None:
    """Send one command: number, name of eight characters and data, such as 17sCtrlT__+0200."""
    try:
        call = parse_text(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if call.command is not None and call.command.danger and not yes:
        click.confirm(f"{call.command.summary}: {call.command.danger}. Continue?", abort=True, err=True)
    with connected(url, device_id) as unit:
        answer = unit.run_command(text)
        print_value(
            {"sent": answer.call.frame.decode().rstrip(), "received": answer.frame, "value": answer.value}, as_json
        )


@chiller.command()
@click.option("--record", type=click.File("w", lazy=False), help="Write the values to a CSV file for `plot`.")
@click.option(
    "--interval",
    type=click.FloatRange(0.01, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between rounds of values.",
)
@click.option("--rounds", type=click.IntRange(1), help="Stop after this many rounds of values.")
@unit_options
@json_option
def watch(record: TextIO | None, interval: float, rounds: int | None, url: str, device_id: str, as_json: bool) -> None:
    """Show a live table until interrupted, or plain lines if the output is not a terminal.

    Connects again after a loss. On an alarm, puts the unit in standby and reads the alarms, which resets them.
    """
    from cnx.cli.chiller.watch import watch_unit

    unit = new_client(url, device_id)
    with clean_exit(), stop_signal() as stopped, shown(stopped):
        monitor = ChillerMonitor(unit, watchdog_interval=min(interval, 5.0), telemetry_interval=interval)
        watch_unit(monitor, stopped, rounds=rounds, record=record, as_json=as_json)


@chiller.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="PNG, SVG or PDF.")
def plot(recording: Path, output: Path) -> None:
    """Draw the temperatures, flow, drive and alarms in RECORDING."""
    from cnx.cli.chiller.plot import draw

    with clean_exit():
        try:
            draw(recording, output)
        except ValueError as error:
            raise click.ClickException(f"{recording}: {error}") from error
    echo(output)
