"""The thresholds that a program wants a chiller to have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from cnx.clients.chiller.protocol.table import command_of
from cnx.clients.chiller.protocol.values import Threshold

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """Values for thresholds; a threshold that is ``None`` is left as it is in the unit.

    Temperatures are in degrees Celsius, flows in l/min.

    Raises:
        TypeError, ValueError: a value does not fit its field, or a low threshold is not below the high one.
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
        """Yield the thresholds that have a value, alarms first: a warning must not be set without its alarm."""
        given = [(Threshold[field.name.upper()], getattr(self, field.name)) for field in fields(self)]
        yield from sorted(((key, value) for key, value in given if value is not None), key=lambda item: item[0] < 26)

    def check_setpoint(self, celsius: float) -> None:
        """Raise ValueError for a set point beyond the supply warning thresholds."""
        low, high = self.low_supply_warning, self.high_supply_warning
        if low is not None and celsius < low:
            raise ValueError(f"a set point of {celsius} degrees Celsius is below low_supply_warning of {low}")
        if high is not None and celsius > high:
            raise ValueError(f"a set point of {celsius} degrees Celsius is above high_supply_warning of {high}")
