"""``cnx tecoroute``: PLCs behind the TecoRoute service."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

import click

from cnx.cli.console import clean_exit, echo, stamp, stop_signal
from cnx.cli.simulate import run_simulator, split_address
from cnx.clients.tecoroute import TecorouteSimulator, UdpConnector
from cnx.clients.tecoroute.simulator.faults import FAULTS
from cnx.clients.tecoroute.simulator.server import KEEPALIVES
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts, Model
from cnx.manager.lifecycle import State
from cnx.signals.subscriptions import subscribe
from cnx.threads.starting import start_thread

__all__ = ["simulate_tecoroute", "tecoroute"]

PASSWORD = "TECOROUTE_PASSWORD"
PASSWORD_LIMIT = 4096


@click.group()
def tecoroute() -> None:
    """Reach Tecomat PLCs through the TecoRoute service."""


@tecoroute.command()
@click.option(
    "-m", "--mode", type=click.Choice(["udp"]), required=True, help="udp: open a UDP port for EPSNET programs."
)
@click.option("-H", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "-P",
    "--port",
    type=click.IntRange(0, 65535),
    default=61682,
    show_default=True,
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="NETWORK",
    help="Address or network that may send, such as 10.1.0.0/16; repeatable; all if omitted.",
)
@click.option("-u", "--username", required=True, help="User of the service.")
@click.option(
    "-S", "--password-file", type=click.File(encoding="utf-8"), help="File with the password; - for standard input."
)
@click.option("-s", "--password", help="The password; other users of this machine can see it.")
@click.option("-l", "--plc", required=True, help="Name of the PLC.")
@click.option(
    "-a", "--application", default="Mosaic", show_default=True, help="Application that is enabled for the user."
)
@click.option("--tecoroute-host", default="route.tecomat.com", show_default=True, help="Host of the service.")
@click.option(
    "--tecoroute-port", type=click.IntRange(1, 65535), default=61682, show_default=True, help="Port of the service."
)
@click.option(
    "--latency-threshold", type=float, default=0.8, show_default=True, help="Seconds from which an answer is slow."
)
@click.option(
    "--latency-count", type=int, default=2, show_default=True, help="Slow answers in a row that end the link."
)
@click.option("--once", is_flag=True, help="End when the tunnel cannot be connected or is lost.")
@click.option("--persist", is_flag=True, help="Try again ten minutes after the service refused user or PLC.")
@click.option("--lenient", is_flag=True, help="Ignore the HTTP status in the login.")
def connect(
    mode: str,
    host: str,
    port: int,
    allow: tuple[str, ...],
    password: str | None,
    password_file: TextIO | None,
    once: bool,
    lenient: bool,
    **settings: Any,
) -> None:
    """Open a local UDP port that leads to a PLC, until interrupted.

    The password comes from --password-file, the environment variable TECOROUTE_PASSWORD, or is asked for.
    """
    secret = find_password(password, password_file)
    try:
        udp = UdpConnector(host, port, password=secret, allow=allow or None, strict=not lenient, **settings)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    with clean_exit():
        serve(udp, once)


def find_password(password: str | None, file: TextIO | None) -> str:
    """Return the password from the option, the file, the environment or a prompt."""
    if password is not None and file is not None:
        raise click.UsageError("give --password or --password-file, not both")
    if password is not None:
        return password
    if file is not None:
        return read_password(file)
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        raise click.UsageError(f"no password: use --password-file or the environment variable {PASSWORD}")
    return str(click.prompt("Password", hide_input=True, err=True))


def read_password(file: TextIO) -> str:
    """Return the content of a password file without its last line end; raises UsageError if it is not a password."""
    try:
        content = file.read(PASSWORD_LIMIT + 1)
    except UnicodeDecodeError:
        raise click.UsageError(f"the password file {file.name} is not text in UTF-8") from None
    if len(content) > PASSWORD_LIMIT:
        raise click.UsageError(f"the password file {file.name} has more than {PASSWORD_LIMIT} characters")
    return content.removesuffix("\n").removesuffix("\r")


def serve(udp: UdpConnector, once: bool) -> None:
    """Run a UDP connector until a signal arrives or it ends by itself; raises the error that ended it."""
    failures: list[BaseException] = []
    with stop_signal() as stop:

        def run() -> None:
            try:
                udp.run(once=once)
            except Exception as error:
                failures.append(error)
            finally:
                stop.set()

        signals = udp.connector.Signals
        subscribe(udp.connector, signals.CONNECTED, lambda: say(f"connected to {udp.name}, for UDP at {udp.address}"))
        subscribe(udp.connector, signals.RAISE_ALARM, lambda reason: say(f"lost: {reason}"))
        subscribe(udp.manager, udp.manager.Signals.STATE_CHANGED, report)
        runner = start_thread(run, "cnx tecoroute")
        stop.wait()
        while runner.is_alive():  # the signal may have arrived before run() began, which then does not see this close()
            udp.close()
            runner.join(0.1)
    if failures:
        raise failures[0]
    counts = udp.statistics
    say(f"closed; {counts.received} datagrams received, {counts.forwarded} forwarded, {counts.answered} answered")


def report(new: State, reason: BaseException | None) -> None:
    """Print that the tunnel is being connected again."""
    if new is State.RECOVERING:
        say(f"trying again, after: {reason}")


def say(text: str) -> None:
    """Print a line with the time to standard error."""
    echo(f"{stamp()} {text}", err=True)


@click.command("tecoroute")
@click.option(
    "--tcp",
    metavar="HOST:PORT",
    default="127.0.0.1:61682",
    show_default=True,
    help="Where to listen; port 0: any free one.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME:PASSWORD",
    default=["BroukPytlik:ferda1"],
    show_default=True,
    help="A user; repeatable.",
)
@click.option(
    "--plc", "plcs", multiple=True, default=["AB_1234=echo"], metavar="NAME[=MODEL]", help="A PLC; repeatable."
)
@click.option(
    "--keepalive", type=click.Choice(list(KEEPALIVES)), default="none", show_default=True, help="Answer to a keepalive."
)
@click.option(
    "--delay",
    type=click.FloatRange(0, 3600),
    default=0.0,
    show_default=True,
    help="Seconds from a request to its answer.",
)
@click.option("--serial", is_flag=True, help="Handle one request after the other instead of all at the same time.")
@click.option("--fault", "faults", multiple=True, metavar="WHERE=FAULT", help="Send a faulty answer; repeatable.")
def simulate_tecoroute(
    tcp: str,
    users: tuple[str, ...],
    plcs: tuple[str, ...],
    keepalive: str,
    delay: float,
    serial: bool,
    faults: tuple[str, ...],
) -> None:
    """Run a TecoRoute service with PLCs behind it.

    Models of PLCs: echo, acknowledge, silent. WHERE is /INDEX.XML, /IAM.TXT, /PLC.TXT or the number of a data request
    of a connection. An unknown FAULT prints the list of faults.
    """
    try:
        accounts = Accounts(dict(pair(user, ":") for user in users), dict(map(parse_plc, plcs)))
        simulator = TecorouteSimulator(
            accounts,
            keepalive=keepalive,
            delay=delay,
            pipelined=not serial,
            faults=dict(map(parse_fault, faults)),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with clean_exit():
        simulator.listen_tcp(*split_address(tcp))
    run_simulator(simulator)


def pair(text: str, separator: str) -> tuple[str, str]:
    """Return the text before and after a separator; raises ValueError."""
    first, found, second = text.partition(separator)
    if not first or not found:
        raise ValueError(f"{text!r} has no {separator!r}")
    return first, second


def parse_plc(text: str) -> tuple[str, Model]:
    """Return name and model of a PLC; raises ValueError."""
    name, _, model = text.partition("=")
    if (model or "echo") not in MODELS:
        raise ValueError(f"{model!r} is not a model of a PLC; the models are {', '.join(MODELS)}")
    return name, MODELS[model or "echo"]


def parse_fault(text: str) -> tuple[str | int, str]:
    """Return which answer is faulty, and the name of the fault; raises ValueError."""
    where, fault = pair(text, "=")
    if fault not in FAULTS:
        raise ValueError(f"{fault!r} is not a fault; the faults are {', '.join(FAULTS)}")
    return int(where) if where.isdecimal() else where, fault
