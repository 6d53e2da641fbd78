"""The stop matrix: whoever asks, and whatever the connection is doing, it stops in time and leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from cnx import Connection, ConnectionManager, State, subscribe
from cnx.testing import PATIENCE, wait_until
from tests.helpers.processes import PROCESS_PATIENCE
from tests.helpers.stop_situations import SITUATIONS, Scene

BOUND = 2.2
"""Seconds within which a stop is over."""


class Stopper:
    """Tears a manager down, and notes how long that took."""

    def __init__(self, manager: ConnectionManager) -> None:
        self.manager = manager
        self.done = threading.Event()
        self.took = float("inf")

    def __call__(self, *arguments: object, **named: object) -> None:
        """Stop, once."""
        if self.done.is_set():
            return
        began = monotonic()
        self.manager.teardown()
        self.took = monotonic() - began
        self.done.set()


def from_main(scene: Scene, stop: Stopper) -> None:
    """The main thread asks."""
    stop()


def from_timer(scene: Scene, stop: Stopper) -> None:
    """A timer thread asks."""
    timer = threading.Timer(0.0, stop)
    timer.start()
    timer.join(PATIENCE)


def from_handler(scene: Scene, stop: Stopper) -> None:
    """A handler asks, on the thread that tells: of data where there is a link, of the change of state elsewhere."""
    subscribe(scene.manager.connection, Connection.Signals.DATA_RECEIVED, lambda data: stop())
    subscribe(scene.manager, ConnectionManager.Signals.STATE_CHANGED, lambda new: stop())
    if scene.manager.state is State.CONNECTED:
        scene.prod()
    else:
        scene.manager.disconnect()


def from_signal_handler(scene: Scene, stop: Stopper) -> None:
    """A signal handler asks, which interrupts the main thread while that waits."""
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        scene.manager.wait_until("torndown", PATIENCE)
        assert stop.done.wait(PATIENCE)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("ask", [from_main, from_timer, from_handler, from_signal_handler])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_stops(situation: str, ask: Callable[[Scene, Stopper], None]) -> None:
    """A teardown is over in time, and no thread or descriptor is left (which the fixture of all tests sees to)."""
    with SITUATIONS[situation]() as scene:
        stop = Stopper(scene.manager)
        ask(scene, stop)
        assert stop.done.wait(PATIENCE)
        assert stop.took < BOUND
        assert scene.manager.state is State.TORNDOWN
        wait_until(lambda: not scene.manager.connection.connected, "the end of the link")


EXIT = """
import atexit
from tests.helpers.stop_situations import SITUATIONS
scene = SITUATIONS[{situation!r}]().__enter__()
{register}
print("ready", flush=True)
"""


@pytest.mark.parametrize("register", ["atexit.register(scene.manager.teardown)", ""], ids=["atexit", "nothing"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_interpreter_ends(situation: str, register: str) -> None:
    """The end of the interpreter is not held up, whether the program tears down or forgets to."""
    code = EXIT.format(situation=situation, register=register)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ready\n"
    assert "Traceback" not in done.stderr
