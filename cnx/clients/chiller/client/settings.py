"""What a program wants a chiller to be set to: thresholds and set point."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, fields

from cnx.clients.chiller.protocol.table import Command, find_command

__all__ = ["Threshold", "Thresholds"]


class Threshold(enum.IntEnum):
    """The ten thresholds; the value is the number of the command that sets it.

    Temperatures are in degrees Celsius, flows in l/min and at least 0.1. Supply thresholds are those of the
    control temperature.
    """

    HIGH_SUPPLY_WARNING = 21
    LOW_SUPPLY_WARNING = 22
    HIGH_AMBIENT_WARNING = 23
    LOW_AMBIENT_WARNING = 24
    LOW_FLOW_WARNING = 25
    HIGH_SUPPLY_ALARM = 26
    LOW_SUPPLY_ALARM = 27
    HIGH_AMBIENT_ALARM = 28
    LOW_AMBIENT_ALARM = 29
    LOW_FLOW_ALARM = 30

    @property
    def reader(self) -> int:
        """The number of the command that reads it."""
        return self.value + 13


@dataclass(frozen=True)
class Thresholds:
    """Values for thresholds; what is ``None`` stays as the unit has it.

    Raises:
        TypeError, ValueError: a value does not fit its field, or a low one is not below the high one.
    """

    high_supply_warning: float | None = None
    low_supply_warning: float | None = None
    high_ambient_warning: float | None = None
    low_ambient_warning: float | None = None
    low_flow_warning: float | None = None
    high_supply_alarm: float | None = None
    low_supply_alarm: float | None = None
    high_ambient_alarm: float | None = None
    low_ambient_alarm: float | None = None
    low_flow_alarm: float | None = None

    def __post_init__(self) -> None:
        for threshold, value in self.items():
            command_of(threshold.value).encode(value)
        for name in ("supply_warning", "ambient_warning", "supply_alarm", "ambient_alarm"):
            low, high = getattr(self, f"low_{name}"), getattr(self, f"high_{name}")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"low_{name} of {low} must be below high_{name} of {high}")

    def items(self) -> Iterator[tuple[Threshold, float]]:
        """Yield those that have a value, alarms first: a warning must not be in force without its alarm."""
        given = [(Threshold[field.name.upper()], getattr(self, field.name)) for field in fields(self)]
        yield from sorted(((key, value) for key, value in given if value is not None), key=lambda item: item[0] < 26)

    def check_setpoint(self, celsius: float) -> None:
        """Raise ValueError for a set point outside of the supply temperatures that do not warn."""
        low, high = self.low_supply_warning, self.high_supply_warning
        if low is not None and celsius < low:
            raise ValueError(f"a set point of {celsius} degrees Celsius is below low_supply_warning of {low}")
        if high is not None and celsius > high:
            raise ValueError(f"a set point of {celsius} degrees Celsius is above high_supply_warning of {high}")


def command_of(number: int, half: str = "") -> Command:
    """Return a command of the table, which exists."""
    command = find_command(number, half)
    assert command is not None
    return command
