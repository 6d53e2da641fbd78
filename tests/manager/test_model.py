"""The life of a managed connection: random commands from several threads at once, while the peer misbehaves."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cnx import (
    Backoff,
    Cancelled,
    CnxError,
    ConnectionManager,
    SocketConnection,
    State,
    Subscription,
    connection,
    subscribe,
)
from cnx.connections.connection import STOP_TIMEOUT
from cnx.faults import (
    Fault,
    accept_close,
    delay,
    drop,
    duplicate,
    half_open,
    merge,
    refuse,
    reset,
    slow_accept,
    split,
    truncate,
    unplug,
)
from cnx.faults.plan import Plan
from cnx.manager.lifecycle import TRANSITIONS
from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, NewThreads, eventually

Signals = SocketConnection.Signals
NO_STALL = STOP_TIMEOUT - 0.1  # what ends only because a stop gives up is a deadlock
DECLARED = {(old, new) for (old, _), (new, _) in TRANSITIONS.items() if old is not new}

FAULTS = (
    *(refuse(2), accept_close(2), slow_accept(0.02), reset(0.01), half_open(0.01), unplug(0.0, seconds=0.03)),
    *(delay(0.005), split(1), merge(3, within=0.02), drop(0.3), duplicate(0.3), truncate(5)),
)


class Tagged(Simulator):
    """Answers everything that comes on a link with the number of the link, so that no two links say the same."""

    def __init__(self) -> None:
        super().__init__("tagged")
        self._numbers = itertools.count()

    def serve(self, session: Session) -> None:
        """Greet and answer."""
        tag = bytes([next(self._numbers) % 256])
        session.write(tag)
        while data := session.read():
            session.write(tag * len(data))


class Journal:
    """What one connection told, checked against the promises of :class:`cnx.Connection.Signals`."""

    def __init__(self, watched: SocketConnection) -> None:
        self.entries: list[tuple[Any, Any]] = []
        self.subscriptions = [
            subscribe(watched, Signals.CONNECTED, lambda: self.entries.append((Signals.CONNECTED, None))),
            subscribe(watched, Signals.DATA_RECEIVED, lambda data: self.entries.append((Signals.DATA_RECEIVED, data))),
            subscribe(watched, Signals.RAISE_ALARM, lambda reason: self.entries.append((Signals.RAISE_ALARM, reason))),
            subscribe(
                watched, Signals.DISCONNECTED, lambda reason: self.entries.append((Signals.DISCONNECTED, reason))
            ),
        ]

    def check(self) -> None:
        """Every link: CONNECTED, data of this link alone, at most one alarm, one DISCONNECTED, nothing after it."""
        up = False
        tags: set[int] = set()
        alarm: BaseException | None = None
        for signal, payload in list(self.entries):
            assert up != (signal is Signals.CONNECTED), f"{signal} in the wrong place: {self.entries}"
            assert alarm is None or signal is Signals.DISCONNECTED, f"{signal} after an alarm: {self.entries}"
            if signal is Signals.CONNECTED:
                up, tags = True, set()
            elif signal is Signals.DATA_RECEIVED:
                tags.update(payload)
                assert len(tags) == 1, f"data of two links: {self.entries}"
            elif signal is Signals.RAISE_ALARM:
                alarm = payload
            else:
                assert alarm in (None, payload), f"two reasons: {self.entries}"
                up, alarm = False, None

    @property
    def up(self) -> bool:
        """Whether a link was told of, and not its end."""
        told = [signal for signal, _ in self.entries if signal in (Signals.CONNECTED, Signals.DISCONNECTED)]
        return told[-1:] == [Signals.CONNECTED]


class Changes:
    """What one manager told: each change begins where the last one ended, and is declared."""

    def __init__(self, manager: ConnectionManager) -> None:
        self.entries: list[tuple[State, State]] = []
        self.subscription = subscribe(manager, manager.Signals.STATE_CHANGED, self._note)

    def _note(self, old: State, new: State) -> None:
        self.entries.append((old, new))

    def check(self) -> None:
        """Check what was told so far."""
        entries = list(self.entries)
        assert set(entries) <= DECLARED
        for (_, new), (old, _) in itertools.pairwise([(State.READY, State.READY), *entries]):
            assert new is old, f"a change is missing or out of order: {entries}"


class Watched(Protocol):
    """What commands act on."""

    link: SocketConnection
    manager: ConnectionManager
    extra: list[Subscription]


def _read(watched: Watched) -> None:
    data = watched.link.read(100, timeout=0.02)
    assert len(set(data)) <= 1, f"one piece with data of two links: {data!r}"


def _disconnect_in_a_handler(watched: Watched) -> None:
    watched.extra.append(subscribe(watched.link, Signals.DATA_RECEIVED, watched.manager.disconnect))
    watched.link.write(b"?", timeout=0.02)


def _unsubscribe(watched: Watched) -> None:
    if watched.extra:
        watched.extra.pop().cancel()


COMMANDS: dict[str, Callable[[Watched], object]] = {
    "connect": lambda watched: watched.manager.connect(timeout=0.2),
    "begin to connect": lambda watched: watched.manager.connect(wait=False),
    "disconnect": lambda watched: watched.manager.disconnect(),
    "disconnect the link alone": lambda watched: watched.link.disconnect(),
    "disconnect in a handler": _disconnect_in_a_handler,
    "raise an alarm": lambda watched: watched.link.raise_alarm("a test says so"),
    "subscribe": lambda watched: watched.extra.append(subscribe(watched.link, Signals.DATA_RECEIVED, lambda data: 0)),
    "unsubscribe": _unsubscribe,
    "write": lambda watched: watched.link.write(bytes(50), timeout=0.02),
    "read": _read,
    "read what waits": lambda watched: watched.link.read_waiting(),
    "tear down": lambda watched: watched.manager.teardown(),
}
AT_ONCE = st.lists(st.sampled_from([name for name in COMMANDS if name != "tear down"]), min_size=1, max_size=5)


class LifeOfAConnection(RuleBasedStateMachine):
    """The model: what was told must make sense at any time, and agree with the state once everything is quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.new_threads = NewThreads()
        self.peer = Tagged()
        self.url = self.peer.listen_tcp()
        self.peer.start()

    @initialize()
    def begin(self) -> None:
        """Make a connection and its manager."""
        made = connection(self.url, connect_timeout=0.5)
        assert isinstance(made, SocketConnection)
        self.link = made
        self.manager = ConnectionManager(made, backoff=Backoff(first=0.001, cap=0.01))
        self.extra: list[Subscription] = []
        self.journal, self.changes = Journal(made), Changes(self.manager)

    @rule(names=AT_ONCE)
    def act(self, names: list[str]) -> None:
        """Give several commands at once, each on a thread of its own."""
        self._run(names)

    @rule(fault=st.sampled_from(FAULTS), names=AT_ONCE, seed=st.integers(0, 99))
    def act_while_the_peer_misbehaves(self, fault: Fault, names: list[str], seed: int) -> None:
        """Give commands while a fault is in force; it stays in force."""
        self.peer.inject(None)
        self.peer.inject(Plan([fault], seed))
        self._run(names)

    @rule()
    def come_up(self) -> None:
        """With a peer that behaves, a connection comes up, and states and signals agree."""
        self.peer.inject(None)
        self._end_extra()
        with suppress(Cancelled):  # a handler that had begun may only now disconnect
            self.manager.connect(timeout=PATIENCE)
        self.manager.connect(timeout=PATIENCE)
        assert eventually(lambda: self.link.connected and self.journal.up and self.manager.state is State.CONNECTED)

    @rule()
    def go_down(self) -> None:
        """After a disconnect() everything is down, and stays so."""
        self.manager.disconnect()
        assert eventually(lambda: not self.journal.up)
        assert not self.link.connected
        assert self.manager.state is State.DISCONNECTED

    @rule(names=AT_ONCE)
    def end(self, names: list[str]) -> None:
        """Tear down amid other commands: nothing is left, and nothing is possible any more."""
        self._run([*names, "tear down"])
        self._check_end()
        self.begin()

    @invariant()
    def what_was_told_makes_sense(self) -> None:
        """Signals in order, and only declared changes."""
        if hasattr(self, "journal"):
            self.journal.check()
            self.changes.check()

    def teardown(self) -> None:
        """End, and leave nothing."""
        try:
            if hasattr(self, "manager"):
                self.manager.teardown()
                self._check_end()
        finally:
            self.peer.stop()
        assert eventually(lambda: not self.new_threads()), self.new_threads()

    def _run(self, names: list[str]) -> None:
        troubles: list[BaseException] = []

        def obey(name: str) -> None:
            try:
                COMMANDS[name](self)
            except CnxError:
                pass  # commands may fail, in the ways that are documented
            except BaseException as error:
                troubles.append(error)

        threads = [threading.Thread(target=obey, args=(name,), name=name, daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(NO_STALL)
            assert not thread.is_alive(), f"{thread.name!r} amid {names} waits for what does not come"
        if troubles:
            raise troubles[0]

    def _check_end(self) -> None:
        assert self.manager.state is State.TORNDOWN
        assert eventually(lambda: self.changes.entries[-1:] and self.changes.entries[-1][1] is State.TORNDOWN)
        assert not self.link.connected
        assert eventually(lambda: not self.journal.up)
        self.what_was_told_makes_sense()
        told, changed = [signal for signal, _ in self.journal.entries], self.manager.counters
        assert told.count(Signals.CONNECTED) == told.count(Signals.DISCONNECTED) >= changed.connects
        assert told.count(Signals.RAISE_ALARM) >= changed.losses
        self._end_extra()
        for subscription in [*self.journal.subscriptions, self.changes.subscription]:
            subscription.cancel()

    def _end_extra(self) -> None:
        while self.extra:
            self.extra.pop().cancel()


TestLifeOfAConnection = LifeOfAConnection.TestCase
TestLifeOfAConnection.settings = settings(
    deadline=None,
    max_examples=50,
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
