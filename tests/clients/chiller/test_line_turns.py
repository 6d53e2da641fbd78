"""A line with chillers: threads take turns, interrupts break nothing, and every unit is set up before it is used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic

import pytest

from cnx import subscribe
from cnx.clients.chiller import ChillerBus, ChillerClient, Thresholds
from cnx.clients.chiller.client.line import ChillerLine
from cnx.clients.chiller.client.turns import Turn
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.errors import ConnectionLost, NotConnected, TimedOut
from cnx.testing import wait_until
from tests.helpers.chiller_scripted import ScriptedLine, instead, nothing
from tests.helpers.interrupts import interrupt, strike

TIMEOUT = 10.0
SOON = 0.1
"""Reply timeout where no reply comes."""


def test_disconnect_ends_a_command(line: ScriptedLine) -> None:
    """A command that waits for its reply ends when the link is closed, and so do those that wait for their turn."""
    client = ChillerClient(line.listen_tcp(), reply_timeout=TIMEOUT * 6).connect()
    asked = threading.Event()

    def swallow(reply: bytes) -> bytes:
        asked.set()
        return b""

    line.script = [swallow]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.supply_temperature) for _ in range(3)]
        assert asked.wait(TIMEOUT)
        client.disconnect()
        errors = [future.exception(TIMEOUT) for future in waiting]
    assert all(isinstance(error, ConnectionError) for error in errors)


def test_handler_must_not_run_commands(simulator: ChillerSimulator) -> None:
    """A handler of received data that runs a command gets a clear error instead of a deadlock."""
    client = ChillerClient(simulator.listen_tcp())
    outcome: list[BaseException] = []

    def on_data(data: bytes) -> None:
        try:
            client.watchdog()
        except RuntimeError as error:
            outcome.append(error)

    with client, subscribe(client, client.Signals.DATA_RECEIVED, on_data):
        assert client.supply_temperature() == 21.0
        wait_until(lambda: bool(outcome), "the handler")


def test_connected_means_that_the_unit_answers(line: ScriptedLine) -> None:
    """An attempt to connect fails with the reason when nobody answers on the line."""
    line.script = [nothing]
    client = ChillerClient(line.listen_tcp(), reply_timeout=SOON)
    assert not client.try_connect()
    assert isinstance(client.last_error, TimedOut)
    with client:
        assert client.supply_temperature() == 21.0


class Gated:
    """A reply that is held back until it may go."""

    def __init__(self) -> None:
        self.asked, self.free = threading.Event(), threading.Event()

    def __call__(self, reply: bytes) -> bytes:
        self.asked.set()
        assert self.free.wait(TIMEOUT)
        return reply


def wait_for_turns(client: ChillerLine, count: int) -> None:
    """Wait until so many threads wait for their turn."""
    end, poll = monotonic() + TIMEOUT, threading.Event()
    while len(client._turns._waiting) < count:
        assert monotonic() < end
        poll.wait(0.001)


@contextmanager
def line_in_use(client: ChillerLine) -> Iterator[None]:
    """Have a turn of unit 1 that does nothing."""
    turn = Turn(1)
    assert client._turns.claim(turn)
    try:
        yield
    finally:
        turn.over = True
        client._turns.pass_on()


def test_interrupt_at_every_point(line: ScriptedLine) -> None:
    """After Ctrl-C at any point of a command, the next command of this and of another thread gets its own reply."""
    at, struck = 0, True
    with ChillerClient(line.listen_tcp()) as client, ThreadPoolExecutor(1) as pool:
        while struck:
            line.unit.plant.supply = 10.0 + at % 10
            struck, raised = strike(client.supply_temperature, interrupt, at)
            assert raised is None or isinstance(raised, KeyboardInterrupt), f"point {at}: {raised!r}"
            if not client.connected:  # a write that was cut ends the link
                client.connect()
            line.unit.plant.supply = 20.0 + at % 10
            assert client.supply_temperature() == 20.0 + at % 10, f"point {at}"
            assert pool.submit(client.ambient_temperature).result(TIMEOUT) == 22.0, f"point {at}"
            at += 1
    assert at > 30


def test_interrupt_while_others_wait(line: ScriptedLine) -> None:
    """Ctrl-C at any point of a command leaves the turn to a thread that waits, at the latest with the next command."""
    at, struck = 0, True
    with ChillerClient(line.listen_tcp()) as client, ThreadPoolExecutor(1) as pool:
        while struck:
            others: list[Future[float]] = []

            def ask(others: list[Future[float]] = others) -> float:
                gated = Gated()
                line.script = [gated]
                asking = pool.submit(client.ambient_temperature)
                others.append(asking)
                assert gated.asked.wait(TIMEOUT)
                threading.Timer(0.0, gated.free.set).start()
                return client.supply_temperature()

            struck, raised = strike(ask, interrupt, at)
            assert raised is None or isinstance(raised, KeyboardInterrupt), f"point {at}: {raised!r}"
            if not client.connected:
                client.connect()
            assert client.supply_temperature() == 21.0, f"point {at}"
            assert others[0].result(TIMEOUT) == 22.0, f"point {at}"
            at += 1
    assert at > 30


def test_signal_handler_that_runs_a_command(line: ScriptedLine) -> None:
    """A signal handler that runs a command gets its answer, or an error at once where it interrupts another one."""
    at, struck = 0, True
    with ChillerClient(line.listen_tcp()) as client:
        while struck:
            found: list[float | RuntimeError] = []

            def handle(found: list[float | RuntimeError] = found) -> None:
                try:
                    found.append(client.ambient_temperature())
                except RuntimeError as error:
                    found.append(error)

            struck, raised = strike(client.supply_temperature, handle, at)
            assert raised is None, f"point {at}: {raised!r}"
            assert not struck or found == [22.0] or "handler" in str(found[0]), f"point {at}"
            assert client.supply_temperature() == 21.0, f"point {at}"
            at += 1
    assert at > 30


def test_settings_of_two_threads_are_both_kept(line: ScriptedLine) -> None:
    """A set point and thresholds that are set at the same time are both in force on the next link."""
    with ChillerClient(line.listen_tcp(), reply_timeout=TIMEOUT, setpoint=18.0) as client:
        gated = Gated()
        line.script = [gated]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(client.set_temperature, 19.0)
            assert gated.asked.wait(TIMEOUT)
            second = pool.submit(client.configure, Thresholds(high_supply_warning=33.0))
            wait_for_turns(client, 1)
            gated.free.set()
            first.result(TIMEOUT)
            second.result(TIMEOUT)
        assert line.unit.setpoint == 19.0
        client.disconnect()
        line.unit.power_cycle()
        client.connect()
        assert (line.unit.setpoint, line.unit.thresholds[21]) == (19.0, 33.0)


def test_configuration_during_an_attempt(line: ScriptedLine) -> None:
    """What is configured while a link is being prepared is in force before the next command."""
    client = ChillerClient(line.listen_tcp(), reply_timeout=TIMEOUT)
    gated = Gated()
    line.script = [gated]  # the watchdog, which comes after all settings
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(client.connect)
        assert gated.asked.wait(TIMEOUT)
        client.configure(setpoint=12.5)
        gated.free.set()
        with attempt.result(TIMEOUT):
            assert client.setpoint() == 12.5


def test_turn_that_comes_after_a_recovery(line: ScriptedLine) -> None:
    """A command that waits for its turn while the link is lost and comes back goes after the configuration."""
    with ChillerBus(line.listen_tcp(), reply_timeout=TIMEOUT) as bus:
        unit = bus.unit(1, setpoint=18.0)
        assert unit.setpoint() == 18.0
        with ThreadPoolExecutor(1) as pool, line_in_use(bus):
            asking = pool.submit(unit.setpoint)
            wait_for_turns(bus, 1)
            bus.disconnect()
            line.unit.power_cycle()
            bus.connect()
        assert asking.result(TIMEOUT) == 18.0


def test_command_of_a_link_that_ended(line: ScriptedLine) -> None:
    """A setting that is confirmed just before the link ends does not count as done on the next link."""
    with ChillerBus(line.listen_tcp(), reply_timeout=TIMEOUT) as bus:
        unit = bus.unit(1, setpoint=18.0)
        unprepared = bus._unprepared
        bus.disconnect()
        bus.connect()
        unprepared.discard(1)
        line.unit.power_cycle()
        assert unit.setpoint() == 18.0


def test_command_is_not_continued_on_a_new_link(line: ScriptedLine) -> None:
    """A command whose link is replaced while it reads replies fails at once, and the new link is set up first."""
    logger = logging.getLogger("cnx.clients.chiller")

    class Reconnecting(logging.Handler):
        """Replaces the link when the command logs a discarded reply, between two calls of reading methods."""

        def emit(self, record: logging.LogRecord) -> None:
            logger.removeHandler(self)
            bus.disconnect()
            line.unit.power_cycle()
            bus.connect()

    level, reconnecting = logger.level, Reconnecting()
    with ChillerBus(line.listen_tcp(), reply_timeout=TIMEOUT * 6) as bus:
        unit = bus.unit(1, setpoint=18.0)
        assert unit.setpoint() == 18.0
        line.script = [instead(b"#01080rAmbTemp+022023\r")]
        logger.setLevel(logging.DEBUG)
        logger.addHandler(reconnecting)
        try:
            with pytest.raises(ConnectionLost, match="the link ended during a command"):
                unit.supply_temperature()
        finally:
            logger.removeHandler(reconnecting)
            logger.setLevel(level)
        assert unit.setpoint() == 18.0


def test_attempt_does_not_wait_longer_than_it_may(line: ScriptedLine) -> None:
    """An attempt to connect ends in time although the line is in use by a handler that does not return."""
    client = ChillerClient(line.listen_tcp(), reply_timeout=TIMEOUT, connect_timeout=0.2)
    with line_in_use(client), ThreadPoolExecutor(1) as pool:
        assert pool.submit(client.try_connect).result(TIMEOUT) is False
        assert isinstance(client.last_error, TimedOut)
    with client.connect(TIMEOUT):
        assert client.supply_temperature() == 21.0


def test_no_link_is_told_at_once(line: ScriptedLine) -> None:
    """Without a link nobody waits for the line."""
    client = ChillerClient(line.listen_tcp())
    with line_in_use(client), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(client.watchdog).exception(TIMEOUT), NotConnected)
