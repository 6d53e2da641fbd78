"""What raises, clears and resets the alarms and warnings of a simulated chiller."""

from __future__ import annotations

import pytest

from cnx.clients.chiller.protocol.errors import ErrorCode
from cnx.clients.chiller.protocol.values import (
    Alarms,
    ControlState,
    SensorAlarms,
    SystemAlarms,
    Warnings,
)
from tests.helpers.chiller_bench import Bench


def test_warnings_follow_thresholds() -> None:
    """A warning is there while its threshold is passed, and the watchdog has its flag."""
    bench = Bench()
    assert bench.value(20) == Warnings(0)
    bench.value(24, 23.0)
    assert bench.value(20) == Warnings.LOW_AMBIENT_TEMPERATURE
    assert bench.value(1).warning
    bench.value(24, 5.0)
    assert bench.value(20) == Warnings(0)
    bench.unit.plant.coolant_low = True
    assert bench.value(20) == Warnings.COOLANT_LEVEL


@pytest.mark.parametrize(
    ("number", "value", "alarm"),
    [
        (26, 20.0, Alarms.HIGH_CONTROL_TEMPERATURE),
        (27, 22.0, Alarms.LOW_CONTROL_TEMPERATURE),
        (30, 5.0, Alarms.LOW_PROCESS_FLOW),
    ],
)
def test_alarm_stops_the_unit(number: int, value: float, alarm: Alarms) -> None:
    """A passed alarm threshold sets its bit and stops the unit, and the bit stays until it is read."""
    bench = Bench()
    bench.value(15, True)
    bench.value(number, value)
    state = bench.after(20).value(1)
    assert (state.state, state.alarm) == (ControlState.STANDBY, True)
    bench.unit.thresholds.update({26: 52.0, 27: 2.0, 30: 0.3})
    assert bench.after(60).value(1).alarm
    assert bench.value(18) == alarm
    assert bench.value(18) == Alarms(0)
    assert not bench.after(60).value(1).alarm


@pytest.mark.parametrize(("number", "value"), [(28, 20.0), (29, 23.0)])
def test_ambient_alarm_does_not_stop(number: int, value: float) -> None:
    """An alarm of the room's temperature lasts as long as its cause, and the unit runs on."""
    bench = Bench()
    bench.value(15, True)
    normal = bench.value(number + 13)
    bench.value(number, value)
    state = bench.after(5).value(1)
    assert (state.state, state.alarm) == (ControlState.RUN, True)
    bench.value(number, normal)
    assert not bench.after(5).value(1).alarm


def test_alarm_returns_while_its_cause_lasts() -> None:
    """Reading clears a latched alarm; it comes back after its delay until the cause is gone."""
    bench = Bench()
    bench.unit.plant.coolant_low = True
    assert bench.after(4).value(18) == Alarms(0)
    assert bench.after(3).value(18) == Alarms.LOW_COOLANT_LEVEL
    assert bench.after(4).value(18) == Alarms(0)
    bench.after(3)
    bench.unit.plant.coolant_low = False
    assert bench.after(60).value(18) == Alarms.LOW_COOLANT_LEVEL
    assert bench.after(60).value(18) == Alarms(0)


def test_details() -> None:
    """Level 2 tells which sensor and which fan, and reading it clears nothing."""
    bench = Bench()
    bench.unit.plant.sensor_shorted = True
    bench.unit.plant.fans_working[2] = False
    bench.value(15, True)
    bench.after(25)
    found = SensorAlarms.SUPPLY | SensorAlarms.SUPPLY_SHORT | SensorAlarms.FRONT_LEFT_FAN_OPEN
    assert bench.value(19, half="2") == found
    assert bench.value(19, half="1") == SystemAlarms(0)
    assert bench.value(52) == 0
    assert bench.value(50) > 0
    assert bench.value(1).alarm
    assert bench.value(18) & Alarms.SUPPLY_SENSOR


def test_no_flow() -> None:
    """Blocked pipes stop the unit after the grace of its start."""
    bench = Bench()
    bench.unit.plant.flow_factor = 0.0
    bench.value(15, True)
    assert not bench.after(9).value(1).alarm
    assert bench.after(10).value(1).alarm
    assert bench.value(18) & Alarms.LOW_PROCESS_FLOW


def raise_alarm(bench: Bench) -> None:
    """Let an alarm stop a running unit, just after the front panel has looked."""
    bench.value(15, True)
    bench.after(15.5)
    bench.unit.plant.supply = 60.0
    bench.value(26, 50.0)
    bench.after(0.5)


def test_reading_too_early_locks_the_panel() -> None:
    """An alarm that is read before the front panel saw it leaves the unit unable to run until a power cycle."""
    bench = Bench()
    raise_alarm(bench)
    assert bench.value(18) == Alarms.HIGH_CONTROL_TEMPERATURE
    bench.unit.plant.supply = 20.0
    assert bench.unit.mode_mismatch
    assert bench.ask(15, True).error is ErrorCode.BOUNDS
    bench.unit.power_cycle()
    assert bench.value(15, True) is True


def test_standby_first_is_safe() -> None:
    """Standby before reading the alarms keeps panel and controller together."""
    bench = Bench()
    raise_alarm(bench)
    bench.value(15, False)
    assert bench.value(18) == Alarms.HIGH_CONTROL_TEMPERATURE
    bench.unit.plant.supply = 20.0
    assert not bench.unit.mode_mismatch
    assert bench.value(15, True) is True


def test_slow_reading_is_safe() -> None:
    """The front panel sees an alarm within 1.5 s by itself."""
    bench = Bench()
    raise_alarm(bench)
    bench.after(2.0).value(18)
    assert not bench.unit.mode_mismatch
