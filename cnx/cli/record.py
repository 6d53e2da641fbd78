"""``cnx record`` and ``cnx replay``"""

from __future__ import annotations

import math
from pathlib import Path

import click

from cnx.cli.console import clean_exit, echo, insecure_option, open_url, stop_signal
from cnx.cli.proxy import OutspokenProxy
from cnx.cli.simulate import run_simulator
from cnx.connections.connection import Connection
from cnx.connections.transport import TransportConnection
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.recording.history import load
from cnx.recording.tape import Tape
from cnx.replay import Replay
from cnx.signals.subscriptions import subscribe
from cnx.simulation import Session
from cnx.transports.tapped import TappedTransport
from cnx.transports.transport import Transport

__all__ = ["record", "replay"]


class RecordedTransport(TappedTransport):
    """Records what is sent before it is sent, so that no answer is recorded before its request."""

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        """Record and write it."""
        self._tap(">", bytes(data))
        return self.inner.write(data, timeout)


class RecordingProxy(OutspokenProxy):
    """A proxy for one client at a time that records what it passes on."""

    def __init__(self, target: str, tape: Tape) -> None:
        super().__init__(target, max_sessions=1)
        self._tape = tape

    def reach(self, session: Session) -> Transport | None:
        """Connect to the server for one client, and record the traffic."""
        self._tape.say("opened")
        transport = super().reach(session)
        return None if transport is None else RecordedTransport(transport, self._tape.note)

    def on_unreachable(self, session: Session, error: Exception) -> None:
        """Record it, too."""
        super().on_unreachable(session, error)
        self._tape.say(f"failed: {error}")

    def serve(self, session: Session) -> None:
        """Serve one client, and record its end."""
        try:
            super().serve(session)
        finally:
            self._tape.say("disconnected: the link ended")


def made_tape(path: Path, overwrite: bool) -> Tape:
    """Return a new tape, or fail with a usage error, also if that would destroy another recording."""
    if not overwrite and path.is_file() and path.stat().st_size:
        raise click.UsageError(f"{path} exists already; choose another name, or replace it with --overwrite")
    try:
        return Tape(path)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.command()
@click.argument("url")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--listen", metavar="URL", help="Listen here for one client at a time, and pass on its data to URL.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@insecure_option
def record(url: str, file: Path, listen: str | None, overwrite: bool, insecure: bool) -> None:
    """Record the traffic of a connection to URL in FILE, and stay connected until interrupted.

    FILE must not exist yet. It is text (.txt, .log) or a capture for Wireshark and "cnx replay" (.pcapng). With
    --listen, cnx is a proxy between a client and URL, and FILE has both directions; the address that the client has to
    use is printed.

    \b
    cnx record tcp://192.168.0.10:4001 night.txt
    cnx record 'serial:///dev/ttyUSB0?baudrate=9600' session.pcapng --listen tcp://127.0.0.1:4001
    """
    if insecure and listen is not None:
        raise click.BadParameter("with --listen, no certificate is involved", param_hint="--insecure")
    with clean_exit():
        if listen is None:
            record_alone(open_url(url, insecure), file, overwrite)
        else:
            record_between(url, file, listen, overwrite)


def record_alone(watched: TransportConnection, file: Path, overwrite: bool) -> None:
    """Connect, and record what arrives."""
    signals = Connection.Signals
    with made_tape(file, overwrite) as tape, stop_signal() as stop:
        subscribe(watched, signals.CONNECTED, lambda: tape.say("opened"))
        subscribe(watched, signals.DATA_RECEIVED, lambda data: tape.note("<", data))
        subscribe(watched, signals.DISCONNECTED, lambda reason: tape.say(f"disconnected: {reason}"))
        manager = ConnectionManager(watched)

        def on_change(old: State, new: State, reason: BaseException | None) -> None:
            if old is State.CONNECTING and new is State.RECOVERING:  # a loss is recorded as an end
                tape.say(f"failed: {reason}")
                echo(f"trying again, after: {reason}", err=True)

        subscribe(manager, manager.Signals.STATE_CHANGED, on_change)
        manager.connect(wait=False)
        stop.wait()
        manager.teardown()


def record_between(url: str, file: Path, listen: str, overwrite: bool) -> None:
    """Pass on data between a client and the server, and record it."""
    with made_tape(file, overwrite) as tape:
        try:
            between = RecordingProxy(url, tape)
            between.listen(listen)
        except (TypeError, ValueError) as error:
            raise click.UsageError(str(error)) from error
        run_simulator(between)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--listen", default="tcp://127.0.0.1:0", show_default=True, metavar="URL", help="Where clients connect.")
@click.option("--speed", default=1.0, show_default=True, help='2 is twice as fast; "inf" has no pauses.')
def replay(file: Path, listen: str, speed: float) -> None:
    """Act as the peer recorded in FILE (.pcapng): answer as it did, in the recorded order, until interrupted.

    The address is printed first, then every difference between what a client sends and the recording. The exit code is
    1 if there was a difference.
    """
    if math.isnan(speed) or speed <= 0:
        raise click.BadParameter("must be above 0", param_hint="--speed")
    with clean_exit():
        recording = load(file)
        try:
            simulator = Replay(recording, speed=speed, on_difference=lambda difference: echo(str(difference)))
            simulator.listen(listen)
        except (TypeError, ValueError) as error:
            raise click.UsageError(str(error)) from error
    run_simulator(simulator)
    if simulator.differences:
        raise click.exceptions.Exit(1)
