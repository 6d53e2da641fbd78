"""``cnx demo``: a client keeps a connection to a simulated chiller up."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from cnx.cli.console import clean_exit, echo, stop_signal
from cnx.cli.demo.plot import save_picture
from cnx.cli.demo.story import Story
from cnx.cli.demo.view import LiveView, PlainView
from cnx.clients.chiller import ChillerClient
from cnx.clients.chiller.simulator.server import ChillerSimulator
from cnx.errors import CnxError
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe
from cnx.threads.condition import Flag

__all__ = ["demo"]

ACCELERATION = 30
"""Seconds of the simulated plant in one real second, so that temperatures change visibly."""

PERIOD = 0.25
"""Seconds between readings."""


@click.command()
@click.option("--seconds", type=click.FloatRange(3, 600), default=12.0, show_default=True, help="How long it takes.")
@click.option(
    "--plain",
    is_flag=True,
    help="Print plain lines instead of a live table; the default if not on a terminal.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default="cnx-demo.svg",
    show_default=True,
    help="Where to save the picture: .svg or .png.",
)
def demo(seconds: float, plain: bool, output: Path) -> None:
    """Connect to a simulated chiller, kill it, start it again, and watch the connection recover.

    Ends with a summary and a picture. The exit code is 0 if the connection was recovered.
    """
    if output.suffix not in (".svg", ".png"):
        raise click.UsageError(f"--output ends with .svg or .png, not {output.suffix or 'nothing'!r}")
    if not os.access(output.parent, os.W_OK):  # report it now, and not after the demonstration
        raise click.UsageError(f"--output: no file can be made in {output.parent}")
    with clean_exit(), stop_signal() as stop:
        story = run_story(seconds, plain or not sys.stdout.isatty(), stop)
        if stop.is_set():
            raise KeyboardInterrupt
        save_picture(story, output)
    for line in story.summary():
        echo(line)
    echo(f"picture: {output.resolve()}")
    sys.exit(0 if story.recovered else 1)


def run_story(seconds: float, plain: bool, stop: Flag) -> Story:
    """Run the simulator, the client and the manager, and return what happened."""
    simulator = ChillerSimulator(clock=lambda: time.monotonic() * ACCELERATION)
    url = simulator.listen_tcp()
    chiller = ChillerClient(url, setpoint=12.0)
    manager = ConnectionManager(chiller, backoff=Backoff.local())
    story = Story(url, seconds)
    subscribe(manager, manager.Signals.STATE_CHANGED, story.on_state_changed)
    simulator.start()
    try:
        with PlainView(story) if plain else LiveView(story) as view:
            manager.connect(timeout=5.0)
            chiller.start()
            while story.elapsed < seconds and not stop.is_set():
                _play(story, simulator)
                _read(story, manager, chiller)
                view.update(manager)
                stop.wait(PERIOD)
            story.end(manager.counters)
    finally:
        manager.teardown()
        simulator.stop()
    return story


def _play(story: Story, simulator: ChillerSimulator) -> None:
    """Kill and restart the simulator when it is time to."""
    if simulator.running and story.killed_at is None and story.elapsed >= story.seconds / 3:
        story.killed_at = story.note("simulator killed")
        simulator.kill()
    elif not simulator.running and story.elapsed >= story.seconds / 2:
        simulator.start()
        story.restarted_at = story.note("simulator started again")


def _read(story: Story, manager: ConnectionManager, chiller: ChillerClient) -> None:
    """Take a reading, if connected."""
    if manager.state is not State.CONNECTED:
        story.add_reading(None, None)
        return
    try:
        story.add_reading(chiller.supply_temperature(), chiller.ambient_temperature())
    except CnxError as error:
        story.note(f"a reading failed: {error}")
        story.add_reading(None, None)
