"""``cnx m2``: the M2 cell controller on the command line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cnx.cli.console import clean_exit, echo, echo_json, shown, stamp, stop_signal
from cnx.cli.m2.recording import Recorder, columns_of, read_recording
from cnx.cli.simulate import run_simulator
from cnx.clients.m2 import (
    COMMANDS,
    TELEMETRY,
    CommandStatus,
    Kind,
    M2Client,
    MsgType,
    kind_of,
)
from cnx.clients.m2.protocol.fields import Command, Field
from cnx.clients.m2.protocol.messages import COMMAND_PORT, TELEMETRY_PORT, parse_reply
from cnx.clients.m2.protocol.table import command as entry_of
from cnx.clients.m2.simulator.server import M2Simulator
from cnx.connections.connection import Connection
from cnx.deadline import Deadline
from cnx.errors import DeviceError
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe

__all__ = ["m2", "simulate_m2"]

Decorated = Callable[..., Any]


def at_port(port: int) -> Callable[[Decorated], Decorated]:
    """Add the options for the address of the controller."""

    def decorate(function: Decorated) -> Decorated:
        function = click.option("--port", type=click.IntRange(1, 65535), default=port, show_default=True)(function)
        return click.option("--host", default="127.0.0.1", show_default=True, help="Host of the controller.")(function)

    return decorate


@click.group()
def m2() -> None:
    """Talk to the Rubin M2 cell controller, or to ``cnx simulate m2``.

    The controller accepts one client on each port: commands and events on one, telemetry on the other.
    """


@m2.command()
@at_port(COMMAND_PORT)
@click.option("--json", "as_json", is_flag=True, help="Print each message as JSON.")
@click.option("--count", type=click.IntRange(1), help="Stop after this many messages.")
def listen(host: str, port: int, as_json: bool, count: int | None) -> None:
    """Print events as they arrive, and reconnect until interrupted."""
    with clean_exit():
        follow(M2Client(host, port), show_as(as_json), count)


@m2.command()
@click.argument("topics", nargs=-1)
@at_port(TELEMETRY_PORT)
@click.option("--json", "as_json", is_flag=True, help="Print each message as JSON.")
@click.option("--count", type=click.IntRange(1), help="Stop after this many messages.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Write a CSV file instead of printing.")
def telemetry(
    topics: tuple[str, ...], host: str, port: int, as_json: bool, count: int | None, record: Path | None
) -> None:
    """Print telemetry as it arrives, all of it or some TOPICS, and reconnect until interrupted.

    \b
    cnx m2 telemetry position zenithAngle
    cnx m2 telemetry position --record position.csv
    """
    unknown = [topic for topic in topics if topic not in TELEMETRY]
    if unknown:
        raise click.UsageError(f"unknown topic {unknown[0]!r}; the topics: {', '.join(TELEMETRY)}")
    client = M2Client(host, port)
    with clean_exit():
        if record is None:
            follow(client, show_as(as_json), count, topics)
            return
        with record.open("w", newline="", encoding="utf-8") as file:
            recorder = Recorder(file, topics or tuple(TELEMETRY))
            follow(client, recorder.take, count, topics)
            recorder.finish()
        echo(f"{recorder.rows} rows in {record}")


@m2.command()
@click.argument("name")
@click.argument("parameters", nargs=-1, metavar="[KEY=VALUE]...")
@at_port(COMMAND_PORT)
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds; the timeout of the command if omitted.")
@click.option("--json", "as_json", is_flag=True, help="Print the result and the events before it as JSON.")
def command(name: str, parameters: tuple[str, ...], host: str, port: int, timeout: float | None, as_json: bool) -> None:
    """Send a command and wait for its result; the exit code is 0 if it succeeded.

    Values are JSON, or names of members; cnx m2 commands lists them.

    \b
    cnx m2 command power powerType=MOTOR status=true
    cnx m2 command getInnerLoopControlMode addresses=[0,83]
    """
    try:
        entry = entry_of(name)
        values = entry.check(dict(parse_parameter(entry, text) for text in parameters))
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    with clean_exit(), M2Client(host, port) as client:
        execute(client, entry, values, Deadline(entry.timeout if timeout is None else timeout), as_json)


@m2.command()
def commands() -> None:
    """List the commands with their parameters."""
    for entry in COMMANDS.values():
        echo(f"{entry.name}: {entry.summary}")
        for field in entry.parameters:
            count = (
                "" if field.size is None else " list of" if field.size[0] != field.size[1] else f" {field.size[0]} x"
            )
            limits = f" ({field.range})" if field.range else ""
            echo(f"    {field.name}{' (optional)' if field.optional else ''}:{count} {field.kind}{limits}")


@m2.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("columns", nargs=-1)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="SVG or PNG; RECORDING.svg if omitted.")
def plot(recording: Path, columns: tuple[str, ...], output: Path | None) -> None:
    """Plot COLUMNS of a recording, such as position.x or position; all that change if omitted."""
    from cnx.cli.m2.plot import draw

    try:
        times, series = read_recording(recording)
        chosen = columns_of(series, columns)
    except ValueError as error:
        raise click.UsageError(f"{recording}: {error}") from error
    path = output or recording.with_suffix(".svg")
    with clean_exit():
        try:
            draw(path, times, {name: series[name] for name in chosen})
        except ValueError as error:
            raise click.UsageError(f"{path}: {error}") from error
        echo(path)


@click.command("m2")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--command-port", type=click.IntRange(0, 65535), default=COMMAND_PORT, show_default=True)
@click.option("--telemetry-port", type=click.IntRange(0, 65535), default=TELEMETRY_PORT, show_default=True)
@click.option("--strict", is_flag=True, help="Refuse a command whose sequence id does not follow the one before.")
@click.option("--greet-all", is_flag=True, help="Send the welcome messages to every client, not only to the first.")
def simulate_m2(host: str, command_port: int, telemetry_port: int, strict: bool, greet_all: bool) -> None:
    """Simulate the M2 cell controller: commands on one port, telemetry on the other; port 0 takes a free one."""
    with clean_exit():
        simulator = M2Simulator(strict=strict, greets_all=greet_all)
        simulator.listen_ports(host, command_port, telemetry_port)
    run_simulator(simulator)


def follow(client: M2Client, take: Callable[[Any], object], count: int | None, topics: tuple[str, ...] = ()) -> None:
    """Pass messages to ``take`` until there are enough, or until interrupted; reconnect after a loss.

    Args:
        client: not connected yet.
        take: gets each message.
        count: how many messages; ``None`` for no limit.
        topics: the topics to pass on; all if empty.

    Raises:
        OSError: ``take`` raised it, for example because the pipe is closed or the disk is full.
        CnxError: reconnecting is pointless.
    """
    numbers = itertools.count(1)
    failures: list[BaseException] = []
    with stop_signal() as stop, shown(stop):

        def on_message(message: Any) -> None:
            if stop.is_set() or (topics and not (isinstance(message, dict) and message.get("id") in topics)):
                return
            try:
                take(message)
            except OSError as error:
                failures.append(error)
                stop.set()
            if next(numbers) == count:
                stop.set()

        def on_change(old: State, new: State, reason: BaseException | None) -> None:
            if new is State.RECOVERING:
                echo(f"* {reason}; trying again", err=True)
            elif new is State.DISCONNECTED:
                stop.set()

        subscribe(client, Connection.Signals.MESSAGE_RECEIVED, on_message)
        manager = ConnectionManager(client)
        subscribe(manager, manager.Signals.STATE_CHANGED, on_change)
        manager.connect(wait=False)
        stop.wait()
        if manager.state is State.DISCONNECTED and manager.reason is not None:
            failures.append(manager.reason)
        manager.teardown()
    if failures:
        raise failures[0]


def show_as(as_json: bool) -> Callable[[Any], None]:
    """Return a function that prints a message."""
    if as_json:
        return lambda message: echo_json(message)
    return lambda message: echo(f"{stamp()} {describe(message)}")


def describe(message: Any) -> str:
    """Return a message as one line of text."""
    if not isinstance(message, dict):
        return json.dumps(message)
    fields = " ".join(f"{key}={json.dumps(value)}" for key, value in message.items() if key != "id")
    return f"{message.get('id')} {fields}".rstrip()


def parse_parameter(entry: Command, text: str) -> tuple[str, Any]:
    """Return name and value of ``KEY=VALUE``; raises ValueError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not KEY=VALUE")
    fields = {field.name: field for field in entry.parameters}
    return name, parse_value(fields[name], value) if name in fields else value


def parse_value(field: Field, text: str) -> Any:
    """Return the value of a parameter given as text; raises ValueError."""
    if field.type is str:
        return text
    members = getattr(field.type, "__members__", {})
    if text.upper() in members:
        return members[text.upper()]
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{field.name}={text}: the value must be {field.kind}, as JSON") from None


def execute(client: M2Client, entry: Command, values: dict[str, Any], deadline: Deadline, as_json: bool) -> None:
    """Send a command, wait for its result, and print the events in between."""
    client.write_message(MsgType.COMMAND, entry.name, values)
    events = []
    while True:
        message = client.receive(timeout=deadline.remaining())
        if kind_of(message) is not Kind.REPLY:
            events.append(message)
            continue
        status, sequence_id = parse_reply(message)
        if sequence_id != client.last_sequence_id:
            continue
        if status is CommandStatus.ACK:
            events.clear()  # events before that have another cause
            continue
        break
    if as_json:
        echo_json({"command": entry.name, "status": status.value, "events": events})
    else:
        for event in events:
            echo(describe(event))
        echo(f"{entry.name}: {status.value}")
    if status is not CommandStatus.SUCCESS:
        raise DeviceError(f"the controller answered {entry.name} with {status.value}; it gives no reason")
