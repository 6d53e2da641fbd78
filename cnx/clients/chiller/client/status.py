"""Values of a chiller that are read and reported together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntFlag

from cnx.clients.chiller.protocol.values import (
    Alarms,
    ControlState,
    Drive,
    SensorAlarms,
    SystemAlarms,
    Warnings,
)

__all__ = ["AlarmReport", "Status", "Telemetry"]


@dataclass(frozen=True)
class Telemetry:
    """Measured values of one round; ``None`` for a value that is not fitted or could not be read this time.

    Temperatures are in degrees Celsius, flow in l/min, the drive level in per cent, currents in A, fan
    speeds in Hz.
    """

    setpoint: float | None
    supply_temperature: float | None
    return_temperature: float | None
    ambient_temperature: float | None
    flow: float | None
    drive: Drive | None
    tec_currents: tuple[float | None, float | None]
    fan_speeds: tuple[int | None, int | None, int | None, int | None]


@dataclass(frozen=True)
class Status:
    """Everything about a chiller that can be read without a side effect."""

    state: ControlState
    pump: bool
    alarm: bool
    warning: bool
    warnings: Warnings
    uptime: timedelta | None
    telemetry: Telemetry


@dataclass(frozen=True)
class AlarmReport:
    """The alarms that were read after the alarm flag was seen; ``None`` for a part that could not be read."""

    alarms: Alarms | None = None
    system: SystemAlarms | None = None
    sensors: SensorAlarms | None = None

    @property
    def complete(self) -> bool:
        """Whether all three parts were read."""
        return None not in (self.alarms, self.system, self.sensors)

    @property
    def names(self) -> list[str]:
        """The names of all alarms that are set."""
        parts: list[IntFlag | None] = [self.alarms, self.system, self.sensors]
        return [str(flag.name) for part in parts if part is not None for flag in type(part) if flag in part]
