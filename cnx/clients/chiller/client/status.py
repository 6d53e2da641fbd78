"""What a chiller tells about itself, taken together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntFlag
from typing import TypeVar

from cnx.clients.chiller.client.commands import ChillerCommands
from cnx.clients.chiller.protocol.values import Alarms, ControlState, Drive, SensorAlarms, SystemAlarms, Warnings
from cnx.errors import DeviceError, ProtocolError, TimedOut

__all__ = ["AlarmReport", "Status", "Telemetry", "read_telemetry"]

T = TypeVar("T")


@dataclass(frozen=True)
class Telemetry:
    """Measured values of one round; ``None`` for what is not fitted, or could not be read this time.

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
    """What was read after an alarm; ``None`` for what could not be read."""

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


def read_telemetry(chiller: ChillerCommands, before_each: Callable[[], object] = bool) -> Telemetry:
    """Read the measured values one after the other, calling ``before_each`` between them.

    Raises:
        TimedOut: two in a row got no reply, so the unit is gone; one alone counts as not fitted.
        NotConnected, ConnectionLost: the link is gone.
    """
    silent = False

    def read(ask: Callable[..., T], *arguments: int) -> T | None:
        nonlocal silent
        before_each()
        try:
            value = optional(ask, *arguments)
        except TimedOut:
            if silent:
                raise
            silent = True
            return None
        silent = False
        return value

    return Telemetry(
        setpoint=read(chiller.setpoint),
        supply_temperature=read(chiller.supply_temperature),
        return_temperature=read(chiller.return_temperature),
        ambient_temperature=read(chiller.ambient_temperature),
        flow=read(chiller.flow),
        drive=read(chiller.drive),
        tec_currents=(read(chiller.tec_current, 1), read(chiller.tec_current, 2)),
        fan_speeds=(
            read(chiller.fan_speed, 1),
            read(chiller.fan_speed, 2),
            read(chiller.fan_speed, 3),
            read(chiller.fan_speed, 4),
        ),
    )


def optional(ask: Callable[..., T], *arguments: int) -> T | None:
    """Return what ``ask`` returns, or ``None`` where the unit refuses or its reply is damaged."""
    try:
        return ask(*arguments)
    except (DeviceError, ProtocolError):
        return None
