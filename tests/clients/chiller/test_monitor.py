"""The thread that looks after a chiller."""

from __future__ import annotations

import threading

import pytest

from cnx import ConnectionManager, State, subscribe
from cnx.clients.chiller import (
    ChillerBus,
    ChillerClient,
    ChillerMonitor,
)
from cnx.clients.chiller.client import monitor as client_monitor
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.testing import NewThreads
from tests.helpers.chiller_bench import Clock

TIMEOUT = 10.0
Signals = ChillerMonitor.Signals


class Signalled:
    """A handler that a test waits for."""

    def __init__(self, monitor: ChillerMonitor, signal: Signals) -> None:
        self._event = threading.Event()
        self._subscription = subscribe(monitor, signal, lambda: self._event.set())

    def wait(self) -> None:
        """Wait for the next one."""
        assert self._event.wait(TIMEOUT)
        self._event.clear()


def test_monitor_on_its_thread(simulator: ChillerSimulator, new_threads: NewThreads) -> None:
    """The monitor makes rounds by itself, looks again after a recovery, and ends with its block."""
    client = ChillerClient(simulator.listen_tcp(), reply_timeout=TIMEOUT)
    monitor = ChillerMonitor(client, watchdog_interval=0.05, telemetry_interval=0.05)
    status, telemetry = Signalled(monitor, Signals.STATUS_CHANGED), Signalled(monitor, Signals.TELEMETRY)
    with ConnectionManager(client) as manager, monitor:
        status.wait()
        telemetry.wait()
        telemetry.wait()
        client.start()
        status.wait()
        simulator.drop_sessions()
        status.wait()
        manager.wait_until(State.CONNECTED, TIMEOUT)
        telemetry.wait()
    assert not new_threads("cnx chiller monitor")


def test_look(simulator: ChillerSimulator) -> None:
    """A round can be had at once."""
    with ChillerClient(simulator.listen_tcp(), reply_timeout=TIMEOUT) as client:
        monitor = ChillerMonitor(client, watchdog_interval=3600, telemetry_interval=3600)
        status, telemetry = Signalled(monitor, Signals.STATUS_CHANGED), Signalled(monitor, Signals.TELEMETRY)
        with monitor:
            status.wait()
            telemetry.wait()
            client.start()
            monitor.look()
            status.wait()
            telemetry.wait()


def test_handler_may_run_commands_and_stop(simulator: ChillerSimulator) -> None:
    """A handler of the monitor runs commands and ends the monitor from its own thread."""
    started, done = threading.Event(), threading.Event()
    with ChillerClient(simulator.listen_tcp(), reply_timeout=TIMEOUT) as client:
        monitor = ChillerMonitor(client)
        values: list[float] = []

        def on_telemetry() -> None:
            assert started.wait(TIMEOUT)  # twice: a start after the stop below would begin anew
            values.append(client.supply_temperature())
            monitor.stop()
            monitor.stop()
            done.set()

        with subscribe(monitor, Signals.TELEMETRY, on_telemetry):
            monitor.start()
            monitor.start()
            started.set()
            assert done.wait(TIMEOUT)
    assert values == [21.0]


def test_started_again_while_a_round_lasts(
    simulator: ChillerSimulator, monkeypatch: pytest.MonkeyPatch, new_threads: NewThreads
) -> None:
    """A monitor that is stopped and started in the middle of a round ends that round before it begins the next."""
    monkeypatch.setattr(client_monitor, "STOP_TIMEOUT", 0.01)
    inside, free, rounds = threading.Event(), threading.Event(), threading.Semaphore(0)
    alone, clashes = threading.Lock(), list[str]()

    def on_telemetry() -> None:
        if not alone.acquire(blocking=False):
            clashes.append(threading.current_thread().name)
            return
        inside.set()
        assert free.wait(TIMEOUT)
        alone.release()
        rounds.release()

    with ChillerClient(simulator.listen_tcp(), reply_timeout=TIMEOUT) as client:
        monitor = ChillerMonitor(client, watchdog_interval=0.01, telemetry_interval=0.01)
        with subscribe(monitor, Signals.TELEMETRY, on_telemetry), monitor:
            assert inside.wait(TIMEOUT)
            monitor.stop()
            monitor.start()
            free.set()
            for _ in range(3):
                assert rounds.acquire(timeout=TIMEOUT)
            assert len(new_threads("cnx chiller monitor")) == 1
            monkeypatch.undo()
    assert not clashes


def test_failing_handler_does_not_end_the_monitor(simulator: ChillerSimulator) -> None:
    """An exception of a handler is not the monitor's."""
    with ChillerClient(simulator.listen_tcp(), reply_timeout=TIMEOUT) as client:
        monitor = ChillerMonitor(client, watchdog_interval=0.02, telemetry_interval=0.02)

        def fail() -> None:
            raise ZeroDivisionError

        telemetry = Signalled(monitor, Signals.TELEMETRY)
        with subscribe(monitor, Signals.TELEMETRY, fail), monitor:
            telemetry.wait()
            telemetry.wait()


def test_monitors_of_a_bus() -> None:
    """Each unit of a bus has its own monitor."""
    with ChillerSimulator((2, 3), clock=Clock()) as simulator:
        simulator.units[3].plant.supply = 9.0
        with ChillerBus(simulator.listen_tcp(), reply_timeout=TIMEOUT) as bus:
            monitors = [ChillerMonitor(bus.unit(number)) for number in (2, 3)]
            waits = [Signalled(monitor, Signals.TELEMETRY) for monitor in monitors]
            for monitor, wait in zip(monitors, waits, strict=True):
                with monitor:
                    wait.wait()
            values = [monitor.telemetry and monitor.telemetry.supply_temperature for monitor in monitors]
    assert values == [21.0, 9.0]


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
def test_bad_interval(interval: float) -> None:
    """Intervals are above zero."""
    client = ChillerClient("tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match="watchdog_interval"):
        ChillerMonitor(client, watchdog_interval=interval)
