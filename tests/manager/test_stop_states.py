"""The stop matrix by state: in every state of the manager, whoever asks, whatever the peer begins to do.

By default every pair of a kind and a state is tried with one fault and one way to ask, so that each way and each
fault meets every state. With ``CNX_FULL_MATRIX=1`` all combinations are.
"""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnx import (
    Backoff,
    Connection,
    ConnectionManager,
    SerialConnection,
    SocketConnection,
    State,
    UdpConnection,
    UnixConnection,
)
from cnx.clients.m2 import M2Controller
from cnx.deadline import Deadline
from cnx.faults import Fault, half_open, slow_accept, split
from cnx.faults.plan import Plan
from cnx.testing import PATIENCE, NewThreads, eventually
from tests.helpers.kinds_of_connections import THINGS, Thing
from tests.helpers.processes import PROCESS_PATIENCE
from tests.helpers.stop_scenes import FULL, LONG, WAYS, Scene, faults_of, handler

ASKS_FOR_NOTHING = ("tcp", "unix", "udp", "serial", "m2")
"""Kinds whose attempts are over at once, whatever the peer does."""

OURS = ("cnx manager", "cnx listener", "cnx calls", "cnx release")


def new_manager(thing: Thing) -> ConnectionManager:
    """Return a manager whose second attempt is far away, so that it stays where it is."""
    return ConnectionManager(thing.connection, backoff=Backoff(first=LONG, cap=LONG, jitter=0.0))


def bring(kind: str, thing: Thing, manager: ConnectionManager, state: State, fault: Fault) -> None:
    """Bring a manager into a state; from then on its peer misbehaves."""
    if state is State.CONNECTING:
        hold_an_attempt(kind, thing, manager)
    elif state is not State.READY:
        manager.connect(PATIENCE)
        leave_connected(thing, manager, state)
    assert manager.state is state
    thing.simulator.inject(None)
    thing.simulator.inject(Plan([fault]))


def leave_connected(thing: Thing, manager: ConnectionManager, state: State) -> None:
    """Go on from ``connected`` to another state."""
    if state is State.RECOVERING:
        thing.connection.raise_alarm("the test wants it")
    elif state is State.DISCONNECTED:
        manager.disconnect()
    elif state is State.TORNDOWN:
        manager.teardown()
    assert eventually(lambda: manager.state is state)


def hold_an_attempt(kind: str, thing: Thing, manager: ConnectionManager) -> None:
    """Begin an attempt that does not end by itself, as it gets no answer."""
    plan, begun = Plan([slow_accept(LONG)]), threading.Event()
    if kind in ASKS_FOR_NOTHING:
        client = thing.connection
        log_in_for_ever(client.commands if isinstance(client, M2Controller) else client, begun)
    else:
        thing.simulator.inject(plan)
    manager.connect(wait=False)
    assert eventually(lambda: begun.is_set() or plan.trace)


def log_in_for_ever(client: Connection, begun: threading.Event) -> None:
    """Give a client that needs no login one that waits for what does not come."""

    def prepare(deadline: Deadline) -> None:
        begun.set()
        if type(client) in (SocketConnection, UnixConnection, SerialConnection):
            while client.read(4096, timeout=None):
                pass
        elif isinstance(client, UdpConnection):
            while True:
                client.receive(timeout=None)
        deadline.pause(LONG)
        deadline.check("logging in")

    client.prepare = prepare  # type: ignore[attr-defined]


def cells() -> list[tuple[str, State, Fault, Callable[[Scene], None]]]:
    """Return what is tried. After a teardown nothing is told any more, so no handler can ask."""
    found = []
    for (row, kind), (column, state) in itertools.product(enumerate(THINGS), enumerate(State)):
        ways = [way for way in WAYS if way is not handler or state is not State.TORNDOWN]
        faults = faults_of(kind)
        if FULL:
            found += [(kind, state, fault, way) for fault in faults for way in ways]
        else:
            found.append((kind, state, faults[(6 * row + column) % len(faults)], ways[(row + column) % len(ways)]))
    return found


@pytest.fixture(scope="module")
def record() -> Iterator[list[float]]:
    """How long each stop took; told at the end, for who runs this with ``-s``."""
    times: list[float] = []
    yield times
    print(f"\n{len(times)} stops, the longest in {max(times, default=0.0):.3f} s")


@pytest.mark.parametrize(
    ("kind", "state", "fault", "way"),
    [pytest.param(*cell, id=f"{cell[0]}-{cell[1].value}-{cell[2]}-{cell[3].__name__}") for cell in cells()],
)
def test_stops(
    kind: str, state: State, fault: Fault, way: Callable[[Scene], None], tmp_path: Path, record: list[float]
) -> None:
    """A stop is over in time, is told once for each link with its reason, and leaves nothing."""
    thing = THINGS[kind](tmp_path)
    with thing.simulator:
        scene = Scene(thing, new_manager(thing))
        try:
            bring(kind, thing, scene.manager, state, fault)
            way(scene)
            scene.check()
            record.append(scene.took)
        finally:
            scene.manager.teardown()
            scene.end()


@pytest.mark.parametrize(
    ("kind", "state", "fault"), list(dict.fromkeys((kind, state, fault) for kind, state, fault, _ in cells())), ids=str
)
def test_forgotten(kind: str, state: State, fault: Fault, tmp_path: Path, new_threads: NewThreads) -> None:
    """A manager and its connection that nobody holds any more end by themselves, in every state."""
    thing = THINGS[kind](tmp_path)
    simulator, forgotten = thing.simulator, weakref.ref(thing.connection)

    def is_gone() -> bool:
        gc.collect()
        return forgotten() is None and not any(map(new_threads, OURS))

    with simulator, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        manager = new_manager(thing)
        bring(kind, thing, manager, state, fault)
        del thing, manager
        assert eventually(is_gone), (forgotten(), new_threads())


EXIT = """
import pathlib
from cnx import State
from cnx.faults import *
from tests.manager.test_stop_states import THINGS, bring, new_manager
thing = THINGS[{kind!r}](pathlib.Path({folder!r}))
thing.simulator.start()
manager = new_manager(thing)
bring({kind!r}, thing, manager, State({state!r}), {fault!r})
{register}
print("ready", flush=True)
"""

ENDS = [
    (kind, state, half_open() if (row + column) % 2 else split(1))
    for (row, kind), (column, state) in itertools.product(enumerate(THINGS), enumerate(State))
    if FULL or row == column
]


@pytest.mark.parametrize("register", ["import atexit; atexit.register(manager.teardown)", ""], ids=["atexit", "no"])
@pytest.mark.parametrize(("kind", "state", "fault"), ENDS, ids=str)
def test_interpreter_ends(kind: str, state: State, fault: Fault, register: str, tmp_path: Path) -> None:
    """The end of the interpreter is not held up in any state, whether the program stops or forgets to."""
    code = EXIT.format(kind=kind, folder=str(tmp_path), state=state.value, fault=fault, register=register)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    assert "Traceback" not in done.stderr
