"""Random operations on a real connection of each kind, whose handlers raise anything, amid faults and timer signals."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cnx import CnxError, Connection, ConnectionLost, NotConnected, State, subscribe
from cnx.connections.connection import STOP_TIMEOUT
from cnx.faults import accept_close, delay, half_open, merge, refuse, reset, split, truncate, unplug
from cnx.faults.plan import Plan
from cnx.testing import PATIENCE, NewThreads, eventually, open_descriptors
from tests.helpers.kinds_of_connections import THINGS

Signals = Connection.Signals

IN_ORDER = ("tcp", "tls", "unix")
"""Kinds whose peer sends back what it gets, on the same link."""

NO_STALL = STOP_TIMEOUT + PATIENCE
"""Seconds after which a thread that has not come back never will."""

FAULTS = (
    *(delay(0.005), split(1), merge(3, within=0.02), truncate(50), reset(0.01), half_open(0.01)),
    *(unplug(0.0, seconds=0.03), refuse(2), accept_close(2)),
)
"""What delays, cuts and ends, but changes nothing."""


class Nasty(Exception):
    """An exception of the user's own code."""


RAISED = (None, Nasty, AttributeError, ConnectionLost)
"""What a handler raises."""


class Contracts(RuleBasedStateMachine):
    """The contracts of a connection and its manager, whatever is done to them."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.new_threads, self.descriptors = NewThreads(), open_descriptors()
        self.folder = tempfile.TemporaryDirectory()
        self.thing = THINGS[self.kind](Path(self.folder.name))
        self.link = self.thing.connection
        self.manager = self.thing.manager()
        self.raised: type[BaseException] | None = None
        self.stops = False  # the next handler disconnects
        self.entries: list[tuple[Signals, Any]] = []
        self.number = 0
        self.subscriptions = [subscribe(self.link, each, self._handler(each)) for each in Signals]
        self.subscriptions.append(subscribe(self.manager, self.manager.Signals.STATE_CHANGED, self._misbehave))
        self.thing.simulator.start()

    def _handler(self, which: Signals) -> Callable[..., None]:
        def handle(data: bytes = b"") -> None:
            self.entries.append((which, data))
            self._misbehave()

        return handle

    def _misbehave(self) -> None:
        if self.stops:
            self.stops = False
            self.manager.disconnect()
        if self.raised is not None:
            raise self.raised("a handler raised this")

    # -- what is done ----------------------------------------------------------------------------------------------

    @rule(raised=st.sampled_from(RAISED))
    def handlers_raise(self, raised: type[BaseException] | None) -> None:
        """From now on all handlers raise."""
        self.raised = raised

    @rule()
    def a_handler_stops(self) -> None:
        """The next handler that is called disconnects."""
        self.stops = True

    @rule()
    def connect(self) -> None:
        """Begin to connect."""
        self.manager.connect(wait=False)

    @rule(fault=st.sampled_from(FAULTS), seed=st.integers(0, 99))
    def misbehave(self, fault: Any, seed: int) -> None:
        """Have the peer misbehave."""
        self.thing.simulator.inject(None)
        self.thing.simulator.inject(Plan([fault], seed))

    @rule()
    def drop(self) -> None:
        """Have the peer end its links."""
        self.thing.simulator.drop_sessions()

    @rule(times=st.integers(1, 3), interrupted=st.booleans())
    def exchange(self, times: int, interrupted: bool) -> None:
        """Ask, while other threads do, maybe amid signals of a timer."""
        others = [threading.Thread(target=self._raise_alarm_after_an_exchange, daemon=True)] if times > 1 else []
        with ticking() if interrupted else contextlib.nullcontext():
            for thread in others:
                thread.start()
            for _ in range(times):
                self._exchange()
            self._join(others)

    @rule(what=st.sampled_from(["alarm", "disconnect", "disconnect the link", "all"]), interrupted=st.booleans())
    def stop(self, what: str, interrupted: bool) -> None:
        """End the link from this thread and from others."""
        stops: dict[str, Callable[[], object]] = {
            "alarm": lambda: self.link.raise_alarm("a test wants it"),
            "disconnect": self.manager.disconnect,
            "disconnect the link": self.link.disconnect,
        }
        chosen = list(stops.values()) if what == "all" else [stops[what]]
        threads = [threading.Thread(target=self._allowed, args=[stop], daemon=True) for stop in chosen]
        with ticking() if interrupted else contextlib.nullcontext():
            for thread in threads:
                thread.start()
            self._allowed(chosen[0])
            self._join(threads)

    @rule()
    def come_up(self) -> None:
        """With a peer and handlers that behave, it comes up, and an answer is right."""
        self.raised, self.stops = None, False
        self.thing.simulator.inject(None)
        assert eventually(self._recovered), (self.manager, self.manager.reason)

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def signals_are_in_order(self) -> None:
        """Each link: CONNECTED, then data, then one DISCONNECTED, and nothing after it."""
        up, rest, last = False, b"", -1
        for which, data in list(self.entries):
            assert up != (which is Signals.CONNECTED), self._log()
            if which is Signals.CONNECTED:
                rest, last = b"", -1
            elif which is Signals.DATA_RECEIVED and self.kind in IN_ORDER:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    number = int(line[:20])
                    assert number > last, f"{number} came after {last}"
                    assert re.fullmatch(rb"\d{20}\0*", line), line
                    assert len(line) == 20 + number % 997, line
                    last = number
            up = which is not Signals.DISCONNECTED

    def teardown(self) -> None:
        """After the end every CONNECTED has its DISCONNECTED, and nothing is left."""
        try:
            tearing = threading.Thread(target=self.manager.teardown, daemon=True)
            tearing.start()
            self._join([tearing])
            self.signals_are_in_order()
            assert eventually(lambda: self._count(Signals.CONNECTED) == self._count(Signals.DISCONNECTED)), self._log()
            assert not self.link.connected
            assert self.manager.state is State.TORNDOWN
        finally:
            for subscription in self.subscriptions:
                subscription.cancel()
            self.thing.simulator.stop()
            self.folder.cleanup()
        assert eventually(lambda: not self.new_threads()), self.new_threads()
        assert eventually(lambda: not open_descriptors() - self.descriptors), open_descriptors() - self.descriptors

    def _count(self, which: Signals) -> int:
        return [each for each, _ in self.entries].count(which)

    def _log(self) -> list[str]:
        return [each.value for each, _ in self.entries]

    def _recovered(self) -> bool:
        try:
            self.manager.connect(PATIENCE)
            return self._exchanged(0.3)
        except CnxError as error:
            self._give_up(error)
            return False

    def _exchange(self) -> None:
        try:
            assert self._exchanged(0.2)
        except CnxError as error:
            self._give_up(error)
        except SystemExit:
            self._give_up(ConnectionLost("a handler raised SystemExit"))  # it came in the middle of an answer

    def _exchanged(self, timeout: float) -> bool:
        self.number += 1
        return self.thing.exchange(self.number, timeout)

    def _give_up(self, error: CnxError) -> None:
        """End a link whose answer may still come."""
        if self.link.connected and not isinstance(error, NotConnected):
            self._allowed(lambda: self.link.raise_alarm(error))

    def _raise_alarm_after_an_exchange(self) -> None:
        self._allowed(lambda: self.link.raise_alarm("another thread wants it"))

    def _allowed(self, call: Callable[[], object]) -> None:
        """Call what may raise what handlers raise."""
        try:
            call()
        except (CnxError, SystemExit):
            pass

    def _join(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(NO_STALL)
            assert not thread.is_alive(), f"{thread.name} does not come back: {self._log()}"


@contextlib.contextmanager
def ticking() -> Iterator[None]:
    """Have a signal interrupt this thread, which is the main thread, a hundred times a second."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", THINGS)
def test_contracts(kind: str) -> None:
    """They hold for each kind of connection, whatever happens."""
    machine = type("Contracts", (Contracts,), {"kind": kind})
    logging.disable(logging.CRITICAL)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                deadline=None,
                max_examples=60,
                stateful_step_count=12,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    finally:
        logging.disable(logging.NOTSET)
