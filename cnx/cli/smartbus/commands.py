"""``cnx smartbus`` and ``cnx simulate smartbus``: the data bus of Hesong IPSC on the command line."""

from __future__ import annotations

import functools
import importlib
import json
import statistics
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import click

from cnx.cli.console import clean_exit, echo, shown, stop_signal
from cnx.cli.simulate import run_simulator
from cnx.cli.smartbus.listen import listen_until
from cnx.cli.smartbus.output import Output
from cnx.cli.smartbus.url import client_at
from cnx.clients.smartbus import BusServer, CmdType, Flow, SmartBusClient
from cnx.errors import TimedOut

__all__ = ["simulate_smartbus", "smartbus"]

BYTE = click.IntRange(0, 255)
Decorated = Callable[..., Any]


@click.group()
def smartbus() -> None:
    """Connect to a SmartBus, or to ``cnx simulate smartbus``.

    The password is read from --password-file or the environment variable SMARTBUS_PASSWORD. If neither is given and
    the URL names a user, the command asks for it.
    """


def on_bus(function: Decorated) -> Decorated:
    """Make a command of a function, whose first arguments are a client and an output, with the options for them."""

    @click.option(
        "--url", required=True, help="smartbus://USER@HOST:PORT/?unit=20&client=1&type=9; also backup=HOST:PORT."
    )
    @click.option("--password-file", type=click.File(encoding="utf-8"), help="File with the password; - is stdin.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
    @functools.wraps(function)
    def command(url: str, password_file: TextIO | None, as_json: bool, **values: Any) -> None:
        client = client_at(url, password_file)
        with clean_exit():
            try:
                function(client, Output(as_json), **values)
            except (TypeError, ValueError) as error:
                raise click.UsageError(str(error)) from error
            finally:
                client.teardown()

    return command


@smartbus.command()
@on_bus
@click.option("--count", type=click.IntRange(1), help="Stop after this many packets.")
def listen(client: SmartBusClient, output: Output, count: int | None) -> None:
    """Print data, and clients that come and leave, until interrupted. Reconnects after a loss."""
    with stop_signal() as stop, shown(stop):
        listen_until(stop, client, output, count)


@smartbus.command()
@on_bus
@click.argument("unit", type=BYTE)
@click.argument("client_id", metavar="CLIENT", type=BYTE)
@click.argument("client_type", metavar="TYPE", type=BYTE)
@click.option("--data", default="", help="Data that the answer repeats.")
@click.option("--count", type=click.IntRange(1), default=4, show_default=True)
@click.option("--interval", type=click.FloatRange(0, 3600), default=1.0, show_default=True, help="Seconds.")
@click.option("--timeout", type=click.FloatRange(0.001, 3600), default=10.0, show_default=True, help="Seconds.")
def ping(
    client: SmartBusClient,
    output: Output,
    unit: int,
    client_id: int,
    client_type: int,
    data: str,
    count: int,
    interval: float,
    timeout: float,
) -> None:
    """Ping a client, or a server with CLIENT 0 and TYPE 1. The exit code is 0 if all pings were answered."""
    times: list[float] = []
    pause = threading.Event()
    with client:
        for number in range(count):
            if number:
                pause.wait(interval)
            try:
                seconds = client.ping(unit, client_id, client_type, data, timeout=timeout)
            except TimedOut as error:
                output.say(f"{number + 1}: {error}", number=number + 1, milliseconds=None)
                continue
            times.append(seconds * 1000)
            output.say(f"{number + 1}: {times[-1]:.3f} ms", number=number + 1, milliseconds=times[-1])
    if len(times) < count:
        raise click.ClickException(f"{count - len(times)} of {count} pings were not answered")
    echo(f"{count} answered, median {statistics.median(times):.3f} ms", err=True)


@smartbus.command()
@on_bus
@click.argument("unit", type=BYTE)
@click.argument("client_id", metavar="CLIENT", type=BYTE)
@click.argument("client_type", metavar="TYPE", type=BYTE)
@click.argument("text")
@click.option("--cmd", type=BYTE, default=0, show_default=True, help="Command; applications choose its meaning.")
@click.option("--cmd-type", type=click.IntRange(1, 255), default=int(CmdType.USER), show_default=True)
@click.option("--hex", "as_hex", is_flag=True, help="TEXT is hexadecimal.")
def send(
    client: SmartBusClient,
    output: Output,
    unit: int,
    client_id: int,
    client_type: int,
    text: str,
    cmd: int,
    cmd_type: int,
    as_hex: bool,
) -> None:
    """Send TEXT to a client; CLIENT 255 is all clients, UNIT 255 all units. The bus does not confirm delivery."""
    data = parse_hex(text) if as_hex else text.encode(client.encoding)
    with client:
        client.send(cmd, cmd_type, unit, client_id, client_type, data)
        client.ping(client.access_point, 0, 1)  # when the server answers, it has read all that was sent before
    output.say(f"{len(data)} bytes sent", sent=len(data))


@smartbus.command()
@on_bus
@click.argument("server", type=click.IntRange(0, 15))
@click.argument("process", type=BYTE)
@click.argument("project")
@click.argument("flow")
@click.argument("parameters", nargs=-1)
@click.option("--timeout", type=click.FloatRange(0.001, 86400), default=30.0, show_default=True, help="Seconds.")
@click.option("--no-return", is_flag=True, help="Wait only until the flow has started.")
def invoke(
    client: SmartBusClient,
    output: Output,
    server: int,
    process: int,
    project: str,
    flow: str,
    parameters: tuple[str, ...],
    timeout: float,
    no_return: bool,
) -> None:
    """Call a FLOW of a PROJECT, and print the values that it returns.

    PARAMETERS are JSON values; anything else is taken as text.

    \b
    cnx smartbus invoke 0 0 shop price '"apple"' 3 --url 'smartbus://localhost:8089/?unit=20'
    """
    values = [parse_value(text) for text in parameters]
    with client:
        call = client.invoke_flow(server, process, project, flow, values, not no_return, timeout)
        call.acknowledged()
        result = [] if no_return else call.result()
    shown = "started" if no_return else json.dumps(result, ensure_ascii=False)
    output.say(shown, invoke_id=call.invoke_id, result=None if no_return else result)


@smartbus.command()
@on_bus
@click.argument("server", type=click.IntRange(0, 15))
@click.argument("process", type=BYTE)
@click.argument("project")
@click.argument("title")
@click.argument("text")
@click.option("--expires", type=click.FloatRange(0.001, 86400), default=60.0, show_default=True, help="Seconds.")
def notify(
    client: SmartBusClient,
    output: Output,
    server: int,
    process: int,
    project: str,
    title: str,
    text: str,
    expires: float,
) -> None:
    """Send a notice to a flow server. The bus does not confirm delivery."""
    with client:
        number = client.notify(server, process, project, title, text, expires=expires)
        client.ping(client.access_point, 0, 1)
    output.say(f"notice {number} sent", invoke_id=number)


@smartbus.command()
@on_bus
@click.option("--wait", type=click.FloatRange(0, 3600), default=1.0, show_default=True, help="Seconds to listen.")
def peers(client: SmartBusClient, output: Output, wait: float) -> None:
    """List the other clients on the bus that report within --wait seconds."""
    with client:
        threading.Event().wait(wait)
        for peer in client.peers:
            output.peer(peer)


@click.command("smartbus")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8089, show_default=True, help="Port; 0: any free port.")
@click.option("--backup-port", type=click.IntRange(0, 65535), help="Port of a backup server; 0: any free port.")
@click.option(
    "--unit",
    type=click.IntRange(0, 14),
    default=0,
    show_default=True,
    help="Unit id; a backup server gets the next.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME:PASSWORDFILE",
    help="A user to accept; all if omitted.",
)
@click.option("--flows", metavar="MODULE", help="Python module whose FLOWS maps (project, flow) to functions.")
def simulate_smartbus(
    host: str, port: int, backup_port: int | None, unit: int, users: tuple[str, ...], flows: str | None
) -> None:
    """Run a SmartBus server, and a backup server if --backup-port is given."""
    known = dict(map(parse_user, users)) or None
    functions = load_flows(flows) if flows else {}
    master = BusServer(unit=unit, users=known, flows=functions)
    backup = None
    with clean_exit():
        master.listen_tcp(host, port)
        if backup_port is not None:
            backup = BusServer(unit=unit + 1, users=known, flows=functions, bus=master.bus)
            echo(f"backup {backup.listen_tcp(host, backup_port)}", err=True)
    with backup or nullcontext():
        run_simulator(master)


def parse_value(text: str) -> Any:
    """Return the value of ``text`` as JSON, or ``text`` itself if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_hex(text: str) -> bytes:
    """Return the bytes that ``text`` gives in hexadecimal; raises ValueError."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError(f"TEXT must be hexadecimal, two digits for each byte, not {text!r}") from error


def parse_user(text: str) -> tuple[str, str]:
    """Return name and password of ``NAME:PASSWORDFILE``; raises ``click.BadParameter``."""
    name, _, file = text.partition(":")
    try:
        return name, Path(file).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise click.BadParameter(f"no password for {name!r}: {error}", param_hint="--user") from error


def load_flows(module: str) -> dict[tuple[str, str], Flow]:
    """Return the flows of a Python module in the working directory or on the path; raises ``click.BadParameter``."""
    sys.path.insert(0, "")
    try:
        table = importlib.import_module(module).FLOWS
        return {key: value if isinstance(value, Flow) else Flow(value) for key, value in table.items()}
    except (ImportError, AttributeError) as error:
        raise click.BadParameter(f"no FLOWS in module {module}: {error}", param_hint="--flows") from error
