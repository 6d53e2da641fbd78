"""A manager, its worker, its connection and their users: all interleavings with at most two preemptions.

A scenario has no threads but its own. So the worker's thread is one of them: it does what the worker that was started
has to do, as soon as there is one.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cnx import Backoff, Connection, ConnectionManager, subscribe
from cnx.errors import CnxError
from cnx.manager import worker
from cnx.manager.lifecycle import State
from tests.interleavings.conftest import Explore

MANAGER = "cnx/manager/recovery"
PLAIN = r"cnx/connections/connection"

# The explorer forgets the managers of each interleaving as they are.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Plain(Connection):
    """A connection that can be made at once.

    Attributes:
        events: the signals, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        for signal in (Connection.Signals.CONNECTED, Connection.Signals.DISCONNECTED):
            subscribe(self, signal, self._noting(signal.value))

    def _noting(self, what: str) -> Callable[..., None]:
        return lambda: self.events.append(what)

    def try_connect(self) -> bool:
        return True

    def disconnect(self) -> None: ...

    def teardown(self) -> None: ...

    def stop(self) -> None:
        self._cnx.driver.disconnect()

    def start(self) -> None:
        try:
            self.connect()
        except CnxError:
            pass  # it was disconnected meanwhile

    def lose(self) -> None:
        self.raise_alarm("lost")

    def in_order(self) -> bool:
        """Whether the signals alternate, beginning with CONNECTED, and end with what is true now."""
        pairs = ["connected", "disconnected"] * len(self.events)
        return self.events == pairs[: len(self.events)] and self.connected == (self.events[-1:] == ["connected"])


class Managed:
    """A manager, with the threads that were to be started.

    Attributes:
        started: targets of these threads.
    """

    started: list[Callable[[], object]]

    def __init__(self, *, connected: bool) -> None:
        Managed.started = self.started = []
        self.connection = Plain()
        self.manager = ConnectionManager(self.connection, backoff=Backoff(first=0.1))
        if connected:
            self.connect()
            self.work()
            assert self.manager.state is State.CONNECTED

    def connect(self) -> None:
        self.manager.connect(wait=False)

    def disconnect(self) -> None:
        self.manager.disconnect()

    def lose(self) -> None:
        self.connection.raise_alarm("lost")

    def work(self) -> None:
        """Do what a worker has to do, if one was started."""
        while self.started:
            self.started.pop()()

    def agree(self) -> bool:
        """Whether, after all work is done, the manager and its connection agree, and the signals are in order."""
        self.work()
        up = self.manager.state is State.CONNECTED
        assert up == self.connection.connected, (self.manager.state, self.connection.events)
        assert self.connection.in_order(), self.connection.events
        return self.manager.state in (State.CONNECTED, State.DISCONNECTED)


@pytest.fixture(autouse=True)
def pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scenario do the work of the manager's thread."""

    def start(target: Callable[[], object], name: str) -> None:
        Managed.started.append(target)

    monkeypatch.setattr(worker, "start_or_wait", start)


def test_the_signals_of_a_plain_connection_are_in_order(explore: Explore) -> None:
    """CONNECTED comes before the DISCONNECTED of the same link, whatever other threads do."""
    explore("plain: connect x disconnect", Plain, Plain.start, Plain.stop, holds=Plain.in_order, among=PLAIN)
    explore("plain: connect x loss", Plain, Plain.start, Plain.lose, holds=Plain.in_order, among=PLAIN)


def test_connect_and_disconnect(explore: Explore) -> None:
    """The last command decides, and both know the same."""

    def setup() -> Managed:
        return Managed(connected=False)

    explore(
        "manager: connect x disconnect",
        *(setup, Managed.connect, Managed.disconnect),
        holds=Managed.agree,
        among=MANAGER,
        preemptions=1,
    )


def test_disconnect_during_an_attempt(explore: Explore) -> None:
    """An attempt that succeeds just then leaves no link."""

    def setup() -> Managed:
        managed = Managed(connected=False)
        managed.connect()
        return managed

    def holds(managed: Managed) -> bool:
        return managed.agree() and managed.manager.state is State.DISCONNECTED

    explore(
        "manager: attempt x disconnect",
        setup,
        Managed.work,
        Managed.disconnect,
        holds=holds,
        among=MANAGER,
        preemptions=1,
    )


def test_disconnect_and_loss(explore: Explore) -> None:
    """A loss just before or after a disconnect begins no recovery."""

    def holds(managed: Managed) -> bool:
        return managed.agree() and managed.manager.state is State.DISCONNECTED

    def setup() -> Managed:
        return Managed(connected=True)

    explore(
        "manager: disconnect x loss", setup, Managed.disconnect, Managed.lose, holds=holds, among=MANAGER, preemptions=1
    )


def test_a_loss_during_an_attempt_is_recovered(explore: Explore) -> None:
    """A loss that comes as soon as there is a link is noticed, and made good."""

    def holds(managed: Managed) -> bool:
        return managed.agree() and managed.manager.state is State.CONNECTED

    def setup() -> Managed:
        managed = Managed(connected=False)
        managed.connect()
        return managed

    explore("manager: attempt x loss", setup, Managed.work, Managed.lose, holds=holds, among=MANAGER, preemptions=1)
