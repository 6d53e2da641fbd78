"""Several chillers on one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnx.clients.chiller import ChillerBus, ChillerClient, OutOfRange, Threshold, Thresholds
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.errors import TimedOut
from tests.helpers.chiller_bench import Clock

TIMEOUT = 10.0
IDS = range(2, 33)


@pytest.fixture
def simulator() -> Iterator[ChillerSimulator]:
    """A line with units 2 to 32, whose time stands still and whose supply temperature is their id."""
    with ChillerSimulator(IDS, clock=Clock()) as running:
        for number, unit in running.units.items():
            unit.plant.supply = float(number)
        yield running


@pytest.mark.parametrize("kind", ["tcp", "pty"])
def test_every_unit_answers_for_itself(simulator: ChillerSimulator, kind: str) -> None:
    """31 units on one line, asked by as many threads, each tell their own value."""
    url = simulator.listen_tcp() if kind == "tcp" else simulator.listen_pty()
    with ChillerBus(url, reply_timeout=TIMEOUT) as bus, ThreadPoolExecutor(len(IDS)) as pool:
        units = [bus.unit(number) for number in IDS]

        def ask(unit_number: int) -> list[float]:
            return [units[unit_number].supply_temperature() for _ in range(5)]

        for number, values in zip(IDS, pool.map(ask, range(len(IDS))), strict=True):
            assert values == [float(number)] * 5


def test_missing_unit_blocks_nobody(simulator: ChillerSimulator) -> None:
    """While one unit does not answer, the others get their turns in between."""
    del simulator.units[7]
    with ChillerBus(simulator.listen_tcp(), reply_timeout=0.2) as bus:
        missing, present = bus.unit(7), bus.unit("08")
        stop = threading.Event()

        def ask_in_vain() -> int:
            failures = 0
            while not stop.is_set():
                with pytest.raises(TimedOut, match="unit 07"):
                    missing.watchdog()
                failures += 1
            return failures

        with ThreadPoolExecutor(4) as pool:
            in_vain = [pool.submit(ask_in_vain) for _ in range(4)]
            assert [present.supply_temperature() for _ in range(5)] == [8.0] * 5
            stop.set()
            assert sum(future.result(TIMEOUT) for future in in_vain) >= 4
        assert bus.connected


def test_configuration_of_each_unit(simulator: ChillerSimulator) -> None:
    """Each unit is configured before its first command on a link, and one that refuses does not disturb the others."""
    with ChillerBus(simulator.listen_tcp(), reply_timeout=TIMEOUT) as bus:
        good = bus.unit(3, thresholds=Thresholds(high_supply_warning=33.0), setpoint=13.0)
        bad = bus.unit(4, setpoint=14.0)
        assert good.threshold(Threshold.HIGH_SUPPLY_WARNING) == 33.0
        assert bad.setpoint() == 14.0
        bus.disconnect()
        for unit in simulator.units.values():
            unit.power_cycle()
        with pytest.raises(ConnectionError):
            good.setpoint()
        bad.configure(setpoint=140.0)
        bus.connect()
        for _ in range(2):
            with pytest.raises(OutOfRange):
                bad.supply_temperature()
        assert good.setpoint() == 13.0
        bad.configure(setpoint=24.0)
        assert bad.setpoint() == 24.0


def test_bad_id(simulator: ChillerSimulator) -> None:
    """A unit that cannot be is refused."""
    bus = ChillerBus(simulator.listen_tcp())
    with pytest.raises(ValueError, match="1 to 32"):
        bus.unit(33)


def test_two_clients_of_one_adapter(simulator: ChillerSimulator) -> None:
    """An adapter that lets several programs in serves them side by side."""
    url = simulator.listen_tcp()
    with ChillerClient(url, 5) as first, ChillerBus(url) as second:
        assert (first.supply_temperature(), second.unit(6).supply_temperature()) == (5.0, 6.0)
