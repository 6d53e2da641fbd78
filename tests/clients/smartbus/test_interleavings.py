"""Alarms, disconnects and lost servers at every point of an attempt, with one server and with two.

The lines of the client and of what it stands on are counted while it connects; at a random one, another thread steps
in. Whatever comes of it, no link, thread or descriptor is left behind, and each CONNECTED has its DISCONNECTED. The
time within which stopping has to be over is made so long that a wait which only this ends counts as a hang.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import cnx
from cnx import Backoff, CnxError, ConnectionManager, Deadline, subscribe
from cnx.clients.smartbus import SmartBusClient
from cnx.clients.smartbus.simulator import BusServer
from cnx.testing import NewThreads, eventually
from tests.helpers.inside import is_preparing
from tests.helpers.smartbus_peer import PATIENCE, endpoint
from tests.helpers.smartbus_scene import client_of

Servers = tuple[BusServer, ...]
HOME = Path(cnx.__file__).parent
FILES = {
    str(HOME / "clients" / "smartbus" / "client" / f"{name}.py") for name in ("client", "link", "pair", "uplinks")
} | {
    str(HOME / f"{name}.py")
    for name in (
        *("connections/cancellable", "connections/transport", "link/inbox", "link/link", "link/listener"),
        *("manager/manager", "manager/recovery", "manager/worker"),
    )
}
ROUNDS = 200 if os.environ.get("CNX_FULL_MATRIX") else 20
AFTERWARDS = 0.02
"""Seconds that the thread at the point gives the other one, which may have to wait for it."""


@pytest.fixture(params=[1, 2], ids=["alone", "backup"])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """One server, or a master and its backup."""
    master = BusServer(unit=0)
    both = (master, BusServer(unit=1, bus=master.bus))[: request.param]
    for server in both:
        server.listen_tcp()
        server.start()
    yield both
    for server in both:
        server.stop()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait for an end that never comes last longer than a test waits."""
    for module in (
        "connections.cancellable",
        "connections.transport",
        "manager.recovery",
        "clients.smartbus.client.pair",
    ):
        monkeypatch.setattr(f"cnx.{module}.STOP_TIMEOUT", 6 * PATIENCE)


class Intruder:
    """Counts the lines that all threads run inside the block, and has another one step in at line number ``at``.

    Attributes:
        lines: how many there were.
    """

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        self.lines = 0
        self._count = itertools.count()
        self._at = at
        self._lock = threading.Lock()
        self._open = True
        self._action = action
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intruder")

    def __enter__(self) -> Intruder:
        threading.settrace(self._trace)
        return self

    def __exit__(self, *exc_info: object) -> None:
        threading.settrace(None)  # type: ignore[arg-type]
        with self._lock:
            self._open = False  # threads that are there go on counting
        self.lines = next(self._count)
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
            assert self._done.is_set()

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in FILES else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and next(self._count) == self._at:
            with self._lock:
                if self._open:
                    self._thread.start()
            self._done.wait(AFTERWARDS)
        return self._line

    def _run(self) -> None:
        sys.settrace(None)
        with suppress(CnxError):
            self._action()
        self._done.set()


class Scene:
    """A client of the servers, and what it tells of its links."""

    def __init__(self, servers: Servers, number: int) -> None:
        ports = [endpoint(server.urls[0]) for server in servers]
        backup = ports[1] if len(ports) > 1 else None
        self.servers = servers
        self.new_threads = NewThreads()
        self.client: SmartBusClient = client_of(ports[0][1], 20, number % 128, backup=backup)
        self.told: list[str] = []
        subscribe(self.client, self.client.Signals.CONNECTED, lambda: self.told.append("up"))
        subscribe(self.client, self.client.Signals.DISCONNECTED, lambda reason: self.told.append("down"))

    def check_over(self) -> None:
        """Nothing is left, and all was told in order."""
        client = self.client
        assert not client.connected
        assert client._uplinks.up == ()
        assert not any(is_preparing(link) for link in client._links)
        assert all(link._cnx.link is None or link._cnx.link._settled for link in client._links)
        kinds = ("cnx listener smartbus 20", "cnx release", "cnx manager")
        assert eventually(lambda: not any(map(self.new_threads, kinds)))
        assert self.told == ["up", "down"] * (len(self.told) // 2)


def within_patience(call: Callable[[], object]) -> None:
    """Run ``call`` on a thread of its own, which has to end."""

    def run() -> None:
        with suppress(CnxError):
            call()

    thread = threading.Thread(target=run, name="the call")
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def lines_of(servers: Servers, connect: Callable[[SmartBusClient], object]) -> int:
    """Return about how many lines an attempt has."""
    scene = Scene(servers, 127)
    with Intruder(-1, lambda: None) as intruder:
        within_patience(lambda: connect(scene.client))
    within_patience(scene.client.teardown)
    scene.check_over()
    return intruder.lines


def attempt(client: SmartBusClient) -> bool:
    """Connect, with far more time than the test has."""
    return client.try_connect(Deadline(6 * PATIENCE))


ACTIONS: dict[str, Callable[[Scene], object]] = {
    "alarm": lambda scene: scene.client.raise_alarm("of the test"),
    "disconnect": lambda scene: scene.client.disconnect(),
    "both": lambda scene: (scene.client.raise_alarm("of the test"), scene.client.disconnect()),
    "again": lambda scene: (scene.client.disconnect(), attempt(scene.client)),
    "lost servers": lambda scene: [server.drop_sessions() for server in scene.servers],
}


@pytest.mark.parametrize("action", ACTIONS)
def test_intrusion_into_an_attempt(servers: Servers, action: str) -> None:
    """The attempt ends soon, in success or failure; after disconnecting nothing is left, and a new attempt succeeds."""
    chance = random.Random(action)
    lines = lines_of(servers, attempt)
    for number in range(ROUNDS):
        scene = Scene(servers, number)
        with Intruder(chance.randrange(lines), lambda scene=scene: ACTIONS[action](scene)):  # type: ignore[misc]
            within_patience(lambda scene=scene: attempt(scene.client))  # type: ignore[misc]
        within_patience(scene.client.disconnect)
        scene.check_over()
        assert eventually(lambda: not any(server.sessions for server in servers))
        within_patience(lambda scene=scene: attempt(scene.client))  # type: ignore[misc]
        assert scene.client.connected
        within_patience(scene.client.teardown)
        scene.check_over()


@pytest.mark.parametrize("action", ["alarm", "lost servers"])
def test_intrusion_into_the_attempt_of_a_manager(servers: Servers, action: str) -> None:
    """The manager recovers, whenever the alarm came."""
    chance = random.Random(action)
    lines = lines_of(servers, attempt)
    for number in range(ROUNDS):
        scene = Scene(servers, number)
        manager = ConnectionManager(scene.client, backoff=Backoff.local())
        with Intruder(chance.randrange(lines), lambda scene=scene: ACTIONS[action](scene)):  # type: ignore[misc]
            within_patience(lambda manager=manager: manager.connect(PATIENCE))  # type: ignore[misc]
        manager.wait_until("connected", PATIENCE)
        within_patience(manager.teardown)
        scene.check_over()


class StopsItself:
    """A handler that stops the client it hears."""

    def __init__(self, client: SmartBusClient, signal: str, method: str) -> None:
        self.over = threading.Event()
        self._stop = getattr(client, method)
        subscribe(client, client.Signals[signal], self.on_signal)

    def on_signal(self) -> None:
        """Stop it."""
        self._stop()
        self.over.set()


@pytest.mark.parametrize("signal", ["CONNECTED", "DISCONNECTED"])
@pytest.mark.parametrize("method", ["disconnect", "teardown"])
def test_stopping_in_a_handler(servers: Servers, signal: str, method: str) -> None:
    """A handler that is told of a link may end it; neither it nor anybody else waits for itself."""
    for number in range(10):
        scene = Scene(servers, number)
        stopped = StopsItself(scene.client, signal, method)
        within_patience(lambda scene=scene: attempt(scene.client))  # type: ignore[misc]
        within_patience(scene.client.disconnect)
        assert stopped.over.wait(PATIENCE)
        scene.check_over()


def test_connecting_in_a_handler_of_the_end(servers: Servers) -> None:
    """It is refused at once, as the handler itself is what the attempt would have to wait for."""
    scene = Scene(servers, 1)
    errors: list[BaseException | None] = []

    def connect() -> None:
        scene.client.try_connect(Deadline(6 * PATIENCE))
        errors.append(scene.client.last_error)

    subscribe(scene.client, scene.client.Signals.DISCONNECTED, connect)
    within_patience(lambda: attempt(scene.client))
    within_patience(scene.client.disconnect)
    assert "a handler of" in str(errors[0])
    scene.check_over()


def test_disconnect_while_the_end_is_told(servers: Servers) -> None:
    """An attempt that waits until a handler is through with the last link can be cancelled."""
    scene = Scene(servers, 1)
    entered, go_on = threading.Event(), threading.Event()
    subscribe(scene.client, scene.client.Signals.DISCONNECTED, lambda: (entered.set(), go_on.wait(6 * PATIENCE)))
    within_patience(lambda: attempt(scene.client))
    scene.client.raise_alarm("of the test")
    assert entered.wait(PATIENCE)
    waiting = threading.Thread(target=attempt, args=(scene.client,))
    waiting.start()
    assert eventually(lambda: scene.client._uplinks.changed.gates)
    stopping = threading.Thread(target=scene.client.disconnect)
    stopping.start()
    waiting.join(PATIENCE)
    ended = not waiting.is_alive()
    go_on.set()
    stopping.join(PATIENCE)
    assert ended
    assert not stopping.is_alive()
    scene.check_over()
