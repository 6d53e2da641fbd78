"""The stop matrix of all kinds of connections: whoever asks, whatever the peer does, it stops in time.

By default every pair of a kind and a fault is tried with one way to ask, so that each way meets every kind and every
fault. With ``CNX_FULL_MATRIX=1`` all combinations are.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from cnx import Cancelled, CnxError, Connection, ConnectionManager, State, subscribe
from cnx.faults import (
    Fault,
    accept_close,
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    garbage,
    half_open,
    hang_tls,
    huge_frame,
    merge,
    refuse,
    reset,
    slow_accept,
    split,
    truncate,
    unplug,
    wrong_certificate,
)
from cnx.faults.plan import Plan
from tests.echo import PATIENCE, eventually
from tests.things import THINGS, UNTRUSTED, Thing

BOUND = 2.2
"""Seconds within which a stop is over."""

FULL = bool(os.environ.get("CNX_FULL_MATRIX"))
LONG = 3600.0
ALWAYS = 1 << 30

AT_WORK: list[Fault] = [
    *(delay(LONG), delay(0.005, jitter=0.005, direction="both"), bandwidth(5), split(1), merge(100, within=LONG)),
    *(corrupt(1.0), duplicate(1.0), drop(1.0), truncate(3), garbage(), huge_frame(1 << 22)),
    *(reset(0.01), half_open(), unplug(0.0, seconds=LONG)),
]
"""What begins when the connection is up."""

AT_ARRIVAL: list[Fault] = [refuse(ALWAYS), accept_close(ALWAYS), slow_accept(LONG)]
WITHOUT_ARRIVAL = ("udp", "serial")
TLS_ALONE: list[Fault] = [hang_tls(ALWAYS), wrong_certificate(UNTRUSTED)]


class Scene:
    """A managed connection that is in trouble, and a thread that uses it all the time."""

    def __init__(self, thing: Thing, fault: Fault) -> None:
        self.thing = thing
        self.manager = thing.manager()
        self.told: list[BaseException | None] = []  # for each link None, then the reason of its end
        self.took = float("inf")
        self.over = threading.Event()
        self._user = threading.Thread(target=self._use, name="user", daemon=True)
        self._subscriptions = [
            subscribe(thing.connection, Connection.Signals.CONNECTED, lambda: self.told.append(None)),
            subscribe(thing.connection, Connection.Signals.DISCONNECTED, lambda reason: self.told.append(reason)),
        ]
        self._get_into_trouble(Plan([fault]), fault in AT_WORK)

    def _get_into_trouble(self, plan: Plan, at_work: bool) -> None:
        simulator, manager = self.thing.simulator, self.manager
        if at_work:
            manager.connect(PATIENCE)
            simulator.inject(plan)
        else:
            simulator.inject(plan)
            manager.connect(wait=False)
        self._user.start()
        assert eventually(
            lambda: plan.trace or manager.reason or self.over.is_set() or (at_work and not simulator.sessions)
        )

    def _use(self) -> None:
        with contextlib.suppress(CnxError):
            for number in itertools.count():
                if self.over.is_set():
                    break
                self.thing.exchange(number, 30.0)
        self.over.set()

    def stop(self, *arguments: object, **named: object) -> None:
        """Tear the manager down, and note how long that took."""
        began = monotonic()
        self.manager.teardown()
        self.took = monotonic() - began
        self.over.set()

    def check(self) -> None:
        """Everything is over, the calls that were waiting too, and every link has one end with a reason."""
        assert self.took < BOUND
        assert self.manager.state is State.TORNDOWN
        self._user.join(PATIENCE)
        assert not self._user.is_alive(), "a call goes on after the stop"
        assert eventually(lambda: len(self.told) % 2 == 0), "no end was told"
        assert not self.thing.connection.connected
        for connected, reason in pairs(self.told):
            assert connected is None
            assert isinstance(reason, CnxError)
            assert str(reason)
            assert not isinstance(reason, Cancelled) or "()" in str(reason), "an end that was asked for says by what"

    def end(self) -> None:
        """Hear no more."""
        for subscription in self._subscriptions:
            subscription.cancel()


@pytest.fixture(scope="module")
def record() -> Iterator[list[float]]:
    """How long each stop took; told at the end, for who runs this with ``-s``."""
    times: list[float] = []
    yield times
    print(f"\n{len(times)} stops, the longest in {max(times):.3f} s")


def pairs(told: list[BaseException | None]) -> list[tuple[BaseException | None, BaseException | None]]:
    """Return what was told by links."""
    return list(zip(told[::2], told[1::2], strict=True))


@contextmanager
def trouble(kind: str, fault: Fault, folder: Path) -> Iterator[Scene]:
    """Give a scene; its simulator ends after the block."""
    thing = THINGS[kind](folder)
    with thing.simulator:
        scene = Scene(thing, fault)
        try:
            yield scene
        finally:
            scene.manager.teardown()
            scene.end()


# -- who asks ----------------------------------------------------------------------------------------------------------


def main(scene: Scene) -> None:
    """The main thread."""
    scene.stop()


def timer(scene: Scene) -> None:
    """A timer thread."""
    thread = threading.Timer(0.0, scene.stop)
    thread.start()
    thread.join(PATIENCE)


def handler(scene: Scene) -> None:
    """A handler: of the end of the link, on the thread that tells it, or of the change of state where there is none."""
    done = threading.Event()

    def stop() -> None:
        if not done.is_set():
            scene.stop()
            done.set()

    with subscribe(scene.thing.connection, Connection.Signals.RAISE_ALARM, stop):
        with subscribe(scene.manager, ConnectionManager.Signals.STATE_CHANGED, stop):
            scene.thing.connection.raise_alarm("the test wants it")
            scene.manager.disconnect()
            assert done.wait(PATIENCE)


def signal_handler(scene: Scene) -> None:
    """A signal handler, which interrupts the main thread while that waits."""
    with alarm(scene.stop):
        with contextlib.suppress(CnxError):
            scene.manager.wait_until(State.TORNDOWN, PATIENCE)


def keyboard_interrupt(scene: Scene) -> None:
    """A program that is interrupted, and stops on its way out."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), alarm(interrupt):
        try:
            scene.manager.wait_until(State.TORNDOWN, PATIENCE)
        finally:
            scene.stop()


@contextmanager
def alarm(strike: Callable[..., object]) -> Iterator[None]:
    """Let a signal come in a moment."""
    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


WAYS = [main, timer, handler, signal_handler, keyboard_interrupt]
FAULTS = [*AT_WORK, *AT_ARRIVAL, *TLS_ALONE]


def cells() -> list[tuple[str, Fault, Callable[[Scene], None]]]:
    """Return what is tried."""
    found = []
    for (row, kind), (column, fault) in itertools.product(enumerate(THINGS), enumerate(FAULTS)):
        if (fault not in AT_ARRIVAL or kind not in WITHOUT_ARRIVAL) and (fault not in TLS_ALONE or kind == "tls"):
            ways = WAYS if FULL else [WAYS[(row + column) % len(WAYS)]]
            found += [(kind, fault, way) for way in ways]
    return found


@pytest.mark.parametrize(
    ("kind", "fault", "way"), [pytest.param(*cell, id=f"{cell[0]}-{cell[1]}-{cell[2].__name__}") for cell in cells()]
)
def test_stops(kind: str, fault: Fault, way: Callable[[Scene], None], tmp_path: Path, record: list[float]) -> None:
    """A stop is over in time, ends all calls, is told once for each link with its reason, and leaves nothing."""
    with trouble(kind, fault, tmp_path) as scene:
        way(scene)
        scene.check()
        record.append(scene.took)


@pytest.mark.parametrize("kind", THINGS)
@pytest.mark.parametrize("fault", AT_WORK if FULL else [half_open(), split(1)], ids=str)
def test_garbage_collected(kind: str, fault: Fault, tmp_path: Path, record: list[float]) -> None:
    """A connection that nobody holds any more ends by itself; the fixture of all tests sees that nothing is left."""
    thing = THINGS[kind](tmp_path)
    simulator = thing.simulator
    with simulator, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        thing.connection.connect(PATIENCE)
        simulator.inject(Plan([fault]))
        began = monotonic()
        del thing
        gc.collect()
        took = monotonic() - began
    assert took < BOUND
    record.append(took)


EXIT = """
import pathlib
from cnx.faults import *
from tests.test_stop_clients import Scene, THINGS
thing = THINGS[{kind!r}](pathlib.Path({folder!r}))
thing.simulator.start()
scene = Scene(thing, {fault!r})
{register}
print("ready", flush=True)
"""


@pytest.mark.parametrize(
    "register", ["import atexit; atexit.register(scene.manager.teardown)", ""], ids=["atexit", "no"]
)
@pytest.mark.parametrize(
    ("kind", "fault"),
    list(itertools.product(THINGS, [half_open(), split(1), slow_accept(LONG)]))
    if FULL
    else [("tls", slow_accept(LONG)), ("chiller", half_open()), ("m2", split(1))],
    ids=str,
)
def test_interpreter_ends(kind: str, fault: Fault, register: str, tmp_path: Path) -> None:
    """The end of the interpreter is not held up, whether the program stops or forgets to."""
    code = EXIT.format(kind=kind, folder=str(tmp_path), fault=fault, register=register)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert "Traceback" not in done.stderr
