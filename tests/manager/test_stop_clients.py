"""The stop matrix of all kinds of connections in trouble: whoever asks, whatever the peer does, it stops in time.

By default every pair of a kind and a fault is tried with one way to ask, so that each way meets every kind and every
fault. With ``CNX_FULL_MATRIX=1`` all combinations are.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from cnx import CnxError
from cnx.faults import Fault, half_open, slow_accept, split
from cnx.faults.plan import Plan
from cnx.testing import PATIENCE, eventually
from tests.helpers.kinds_of_connections import THINGS, Thing
from tests.helpers.processes import PROCESS_PATIENCE
from tests.helpers.stop_scenes import AT_WORK, BOUND, FULL, LONG, WAYS, Scene, faults_of


class Trouble(Scene):
    """A managed connection that is in trouble, and a thread that uses it all the time."""

    def __init__(self, thing: Thing, fault: Fault) -> None:
        super().__init__(thing, thing.manager())
        self.over = threading.Event()
        self._user = threading.Thread(target=self._use, name="user", daemon=True)
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
                if self.stopped.is_set():
                    break
                self.thing.exchange(number, 30.0)
        self.over.set()

    def check(self) -> None:
        """The calls that were waiting are over, too."""
        super().check()
        self._user.join(PATIENCE)
        assert not self._user.is_alive(), "a call goes on after the stop"


@pytest.fixture(scope="module")
def record() -> Iterator[list[float]]:
    """How long each stop took; told at the end, for who runs this with ``-s``."""
    times: list[float] = []
    yield times
    print(f"\n{len(times)} stops, the longest in {max(times):.3f} s")


@contextmanager
def trouble(kind: str, fault: Fault, folder: Path) -> Iterator[Trouble]:
    """Give a scene; its simulator ends after the block."""
    thing = THINGS[kind](folder)
    with thing.simulator:
        scene = Trouble(thing, fault)
        try:
            yield scene
        finally:
            scene.manager.teardown()
            scene.end()


def cells() -> list[tuple[str, Fault, Callable[[Scene], None]]]:
    """Return what is tried."""
    found = []
    for row, kind in enumerate(THINGS):
        for column, fault in enumerate(faults_of(kind)):
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
from tests.manager.test_stop_clients import THINGS, Trouble
thing = THINGS[{kind!r}](pathlib.Path({folder!r}))
thing.simulator.start()
scene = Trouble(thing, {fault!r})
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
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert "Traceback" not in done.stderr
