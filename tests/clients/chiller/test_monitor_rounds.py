"""Rounds of a monitor: what it emits, in which order, and what a failing step does not prevent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cnx import subscribe
from cnx.clients.chiller import (
    Alarms,
    ChillerClient,
    ChillerMonitor,
    ControlState,
    Drive,
    Mode,
    SensorAlarms,
    SystemAlarms,
    Warnings,
)
from cnx.clients.chiller.simulator.quirks import Quirks
from cnx.errors import NotConnected, TimedOut
from tests.helpers.chiller_scripted import ScriptedLine, Spoil, nothing

TIMEOUT = 10.0
Signals = ChillerMonitor.Signals


class News:
    """Notes what a monitor emits, as (signal, arguments)."""

    def __init__(self, monitor: ChillerMonitor) -> None:
        self.told: list[tuple[Signals, dict[str, Any]]] = []
        self._subscriptions = [subscribe(monitor, signal, self._handler(signal)) for signal in Signals]

    @property
    def signals(self) -> list[str]:
        """The signals without telemetry, by name."""
        return [signal.name for signal, _ in self.told if signal is not Signals.TELEMETRY]

    def last(self, signal: Signals, argument: str) -> Any:
        """Return an argument of the last signal of one kind."""
        return [arguments for told, arguments in self.told if told is signal][-1][argument]

    def _handler(self, signal: Signals) -> Any:
        def note(**arguments: Any) -> None:
            self.told.append((signal, arguments))

        return note


@pytest.fixture
def monitor(line: ScriptedLine) -> Iterator[ChillerMonitor]:
    """A monitor without its thread, whose rounds a test makes."""
    with ChillerClient(line.listen_tcp(), reply_timeout=TIMEOUT) as client:
        yield ChillerMonitor(client)


def numbers(line: ScriptedLine) -> list[int]:
    """Return the numbers of the commands since the last call."""
    found = [int(frame[3:5]) for frame in line.received]
    line.received.clear()
    return found


def test_status_is_told_when_it_changes(monitor: ChillerMonitor) -> None:
    """The first state is news, the same again is not, another one is."""
    news = News(monitor)
    monitor.check()
    monitor.check()
    monitor.chiller.start()
    monitor.check()
    assert news.signals == ["STATUS_CHANGED", "STATUS_CHANGED"]
    assert news.last(Signals.STATUS_CHANGED, "status").state is ControlState.RUN
    assert news.last(Signals.STATUS_CHANGED, "previous").state is ControlState.STANDBY


def test_telemetry(monitor: ChillerMonitor) -> None:
    """A round of values is told as one."""
    news = News(monitor)
    monitor.measure()
    telemetry = monitor.telemetry
    assert telemetry is not None
    assert news.last(Signals.TELEMETRY, "telemetry") is telemetry
    assert (telemetry.supply_temperature, telemetry.drive) == (21.0, Drive(0, Mode.COOL))


def test_alarm(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """An alarm is told first, then the unit is stopped, then the details are read; reading them ends the alarm."""
    news = News(monitor)
    order: list[object] = []
    subscribe(monitor, Signals.ALARM_RAISED, lambda: order.append(numbers(line)))
    line.unit.supervision.alarms = Alarms.FAN_FAILURE
    line.unit.plant.fans_working[0] = False
    numbers(line)
    monitor.check()
    assert order == [[1]]
    assert numbers(line) == [15, 18, 19, 19]
    assert news.signals == ["STATUS_CHANGED", "ALARM_RAISED", "ALARM_DETAILS"]
    assert news.last(Signals.ALARM_DETAILS, "report").names == ["FAN_FAILURE", "REAR_LEFT_FAN_OPEN"]
    monitor.check()
    assert news.signals[3:] == ["STATUS_CHANGED", "ALARM_CLEARED"]
    assert news.last(Signals.ALARM_CLEARED, "report").alarms == Alarms.FAN_FAILURE
    assert numbers(line) == [1]


def test_lasting_alarm_collects_details(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """While an alarm lasts, what comes later is added, the unit is stopped only once, and nothing is told twice."""
    news = News(monitor)
    line.unit.quirks = Quirks(reading_resets=False)
    line.unit.supervision.alarms = Alarms.FAN_FAILURE
    monitor.check()
    monitor.check()
    numbers(line)
    line.unit.supervision.alarms |= Alarms.LOW_COOLANT_LEVEL
    monitor.check()
    assert numbers(line) == [1, 18, 19, 19]
    assert news.signals.count("ALARM_RAISED") == 1
    assert news.signals.count("ALARM_DETAILS") == 2
    assert news.last(Signals.ALARM_DETAILS, "report").alarms == Alarms.FAN_FAILURE | Alarms.LOW_COOLANT_LEVEL


def test_unit_that_is_started_during_an_alarm(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """Level 1 is read only in standby: a unit that somebody started again while the alarm lasts is stopped first."""
    line.unit.quirks = Quirks(reading_resets=False)
    line.unit.supervision.alarms = Alarms.HIGH_AMBIENT_TEMPERATURE
    monitor.check()
    monitor.chiller.start()
    numbers(line)
    monitor.check()
    assert numbers(line) == [1, 15, 18, 19, 19]
    assert line.unit.state is ControlState.STANDBY


def broken(reply: bytes) -> bytes:
    """Spoil the checksum."""
    return reply[:-2] + b"?\r"


def passed(reply: bytes) -> bytes:
    """Spoil nothing."""
    return reply


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        ([passed, broken], "alarms"),
        ([passed, passed, broken], "alarms"),
        ([passed, passed, passed, broken], "system"),
        ([passed, passed, passed, passed, broken], "sensors"),
    ],
    ids=["standby", "18", "19 1", "19 2"],
)
def test_failing_step_loses_no_news(
    line: ScriptedLine, monitor: ChillerMonitor, script: list[Spoil], missing: str
) -> None:
    """When a step after an alarm fails, the alarm is told all the same, and the next round makes up for the step."""
    news = News(monitor)
    line.unit.quirks = Quirks(reading_resets=False)
    line.unit.supervision.alarms = Alarms.FAN_FAILURE
    line.unit.supervision.system = SystemAlarms.I2C
    line.unit.start()
    line.script = list(script)
    monitor.check()
    assert news.signals[:2] == ["STATUS_CHANGED", "ALARM_RAISED"]
    report = monitor.report
    assert report is not None
    assert getattr(report, missing) is None
    monitor.check()
    report = monitor.report
    assert report is not None
    assert (report.alarms, report.system, report.sensors) == (Alarms.FAN_FAILURE, SystemAlarms.I2C, SensorAlarms(0))
    assert line.unit.state is ControlState.STANDBY


def test_alarms_are_not_reset_before_standby(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """Level 1 is not read in the round in which standby failed, as that would lock a unit whose panel saw nothing."""
    line.unit.supervision.alarms = Alarms.FAN_FAILURE
    line.script = [passed, broken]
    numbers(line)
    monitor.check()
    assert 18 not in numbers(line)


def test_details_of_a_short_alarm(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """Details that could not be read while the alarm lasted are read before its end is told."""
    news = News(monitor)
    line.unit.supervision.alarms = Alarms.FAN_FAILURE
    line.unit.supervision.system = SystemAlarms.I2C
    line.script = [passed, passed, passed, broken, passed, passed]
    monitor.check()
    monitor.check()
    assert news.signals[-2:] == ["ALARM_DETAILS", "ALARM_CLEARED"]
    assert news.last(Signals.ALARM_CLEARED, "report").system == SystemAlarms.I2C


def test_warnings(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """Warnings are asked for only when the flag says so, and told when they change."""
    news = News(monitor)
    numbers(line)
    monitor.check()
    assert numbers(line) == [1]
    line.unit.plant.coolant_low = True
    line.script = [passed, broken]
    monitor.check()
    assert news.signals.count("WARNING_CHANGED") == 0
    monitor.check()
    assert news.last(Signals.WARNING_CHANGED, "warnings") == Warnings.COOLANT_LEVEL
    line.unit.plant.coolant_low = False
    monitor.check()
    assert news.last(Signals.WARNING_CHANGED, "warnings") == Warnings(0)
    assert news.last(Signals.WARNING_CHANGED, "previous") == Warnings.COOLANT_LEVEL


def test_silence_is_news(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """A unit that does not answer has no state, and the reason is told, once."""
    news = News(monitor)
    monitor.check()
    client = monitor.chiller
    assert isinstance(client, ChillerClient)
    client.reply_timeout = 0.05
    line.script = [nothing, nothing, nothing]
    monitor.check()
    monitor.check()
    monitor.measure()
    assert news.signals == ["STATUS_CHANGED", "STATUS_CHANGED"]
    assert isinstance(news.last(Signals.STATUS_CHANGED, "reason"), TimedOut)
    assert monitor.watchdog is None
    client.reply_timeout = TIMEOUT
    monitor.check()
    assert news.last(Signals.STATUS_CHANGED, "status") == monitor.watchdog


def test_silence_to_one_number(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """A unit that never answers one number tells everything else; one that is gone is not asked for the rest."""
    client = monitor.chiller
    assert isinstance(client, ChillerClient)
    client.reply_timeout = 0.1
    news = News(monitor)
    line.script = [passed, nothing]
    monitor.measure()
    telemetry = news.last(Signals.TELEMETRY, "telemetry")
    assert (telemetry.setpoint, telemetry.supply_temperature, telemetry.ambient_temperature) == (20.0, None, 22.0)
    assert telemetry.fan_speeds == (41, 42, 43, 44)
    line.script = [passed, nothing, nothing]
    numbers(line)
    monitor.measure()
    assert len(news.told) == 1
    assert numbers(line) == [3, 4, 1]


def test_alarm_outlives_a_loss(line: ScriptedLine, monitor: ChillerMonitor) -> None:
    """An alarm from before a loss of the link is not raised again after it, and its end is told."""
    news = News(monitor)
    line.unit.quirks = Quirks(reading_resets=False)
    line.unit.supervision.alarms = Alarms.FAN_FAILURE
    monitor.check()
    client = monitor.chiller
    assert isinstance(client, ChillerClient)
    client.disconnect()
    monitor.check()
    assert isinstance(news.last(Signals.STATUS_CHANGED, "reason"), NotConnected)
    client.connect()
    monitor.check()
    line.unit.supervision.alarms = Alarms(0)
    monitor.check()
    assert news.signals.count("ALARM_RAISED") == 1
    assert news.signals[-1] == "ALARM_CLEARED"
