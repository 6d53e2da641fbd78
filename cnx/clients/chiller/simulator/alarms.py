"""The causes of alarms and warnings in a simulated chiller.

"TTK Serial Communication Protocol Release II", revision X2.003, names the bits but not their causes. The
delays and fixed limits are from the user manual of the vendor's RC series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cnx.clients.chiller.protocol.values import (
    Alarms,
    SensorAlarms,
    SystemAlarms,
    Warnings,
)
from cnx.clients.chiller.simulator.plant import Plant

__all__ = ["ALARM_RULES", "AlarmRule", "Supervision", "warnings_of"]

Thresholds = Mapping[int, float]
"""Threshold values by the number of the command that sets them, 21 to 30."""


@dataclass(frozen=True)
class AlarmRule:
    """One cause of an alarm.

    Attributes:
        alarm: the bit that it sets.
        holds: whether the cause is present.
        delay: seconds that it must last.
        grace: seconds after the start of the unit during which it is ignored; 0 if it counts in standby, too.
        stops: whether the unit goes to standby and the bit stays set until it is read, even without the cause.
    """

    alarm: Alarms
    holds: Callable[[Plant, Thresholds], bool]
    delay: float = 0.0
    grace: float = 0.0
    stops: bool = True


ALARM_RULES: tuple[AlarmRule, ...] = (
    AlarmRule(Alarms.HIGH_CONTROL_TEMPERATURE, lambda plant, limits: plant.supply > limits[26]),
    AlarmRule(Alarms.LOW_CONTROL_TEMPERATURE, lambda plant, limits: plant.supply < limits[27]),
    AlarmRule(Alarms.HIGH_AMBIENT_TEMPERATURE, lambda plant, limits: plant.ambient > limits[28], stops=False),
    AlarmRule(Alarms.LOW_AMBIENT_TEMPERATURE, lambda plant, limits: plant.ambient < limits[29], stops=False),
    AlarmRule(Alarms.LOW_PROCESS_FLOW, lambda plant, limits: plant.flow < limits[30], grace=10.0),
    AlarmRule(Alarms.NO_PROCESS_FLOW, lambda plant, limits: plant.flow < 0.05, delay=5.0, grace=10.0),
    AlarmRule(Alarms.DEFAULT_HIGH_TEMPERATURE, lambda plant, limits: plant.supply > 53.0, delay=2.5),
    AlarmRule(Alarms.DEFAULT_LOW_TEMPERATURE, lambda plant, limits: plant.supply < -8.0, delay=2.5),
    AlarmRule(Alarms.LOW_COOLANT_LEVEL, lambda plant, limits: plant.coolant_low, delay=5.0),
    AlarmRule(Alarms.SUPPLY_SENSOR, lambda plant, limits: plant.sensor_shorted, delay=5.0),
    AlarmRule(Alarms.FAN_FAILURE, lambda plant, limits: not all(plant.fans_working), delay=5.0, grace=15.0),
)


class Supervision:
    """Checks a plant against the alarm rules and keeps the alarm bits.

    Attributes:
        alarms: level 1, the reply to number 18.
        system: level 2, first half; the simulation never sets these bits, but a test may.
    """

    def __init__(self) -> None:
        self.alarms = Alarms(0)
        self.system = SystemAlarms(0)
        self._lasted = dict.fromkeys(ALARM_RULES, 0.0)

    def watch(self, seconds: float, plant: Plant, limits: Thresholds, running: float) -> bool:
        """Check the plant; return whether it must stop.

        Args:
            seconds: since the last check.
            plant: the hardware.
            limits: the thresholds.
            running: seconds since the start of the unit.
        """
        stop = False
        for rule in ALARM_RULES:
            counts = running > rule.grace if rule.grace else True
            holds = counts and rule.holds(plant, limits)
            self._lasted[rule] = self._lasted[rule] + seconds if holds else 0.0
            raised = holds and self._lasted[rule] >= rule.delay
            if raised:
                stop = stop or rule.stops
                self.alarms |= rule.alarm
            elif not rule.stops:
                self.alarms &= ~rule.alarm
        return stop

    def reset(self) -> None:
        """Clear level 1; an alarm whose cause persists comes back after its delay."""
        self.alarms = Alarms(0)
        self._lasted = dict.fromkeys(ALARM_RULES, 0.0)

    def details(self, plant: Plant) -> SensorAlarms:
        """Return level 2, second half."""
        found = SensorAlarms(0)
        if plant.sensor_shorted:
            found |= SensorAlarms.SUPPLY | SensorAlarms.SUPPLY_SHORT
        for fan, working in enumerate(plant.fans_working):
            if not working:
                found |= SensorAlarms(SensorAlarms.REAR_LEFT_FAN_OPEN << fan)
        return found


def warnings_of(plant: Plant, limits: Thresholds) -> Warnings:
    """Return the present warnings."""
    causes = {
        Warnings.HIGH_CONTROL_TEMPERATURE: plant.supply > limits[21],
        Warnings.LOW_CONTROL_TEMPERATURE: plant.supply < limits[22],
        Warnings.HIGH_AMBIENT_TEMPERATURE: plant.ambient > limits[23],
        Warnings.LOW_AMBIENT_TEMPERATURE: plant.ambient < limits[24],
        Warnings.LOW_PROCESS_FLOW: plant.pump and plant.flow < limits[25],
        Warnings.COOLANT_LEVEL: plant.coolant_low,
    }
    found = Warnings(0)
    for warning, holds in causes.items():
        if holds:
            found |= warning
    return found
