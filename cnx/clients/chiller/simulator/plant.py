"""The physics of a simulated chiller: a coolant loop, thermoelectric coolers, a pump and four fans.

No I/O and no clock: time passes only in :meth:`Plant.advance`, so hours of operation can run in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cnx.clients.chiller.protocol.values import Mode

__all__ = ["Plant"]

STEP = 0.5
"""Seconds of one integration step."""

HEAT_CAPACITY = 4000.0
"""J/K, of one litre of coolant and its share of the metal."""

COOLING_POWER = 400.0
"""W, moved by the coolers at full drive."""

LEAKAGE = 4.0
"""W/K, between coolant and room."""

WATER = 69.8
"""W for each kelvin, carried by one l/min of water."""


@dataclass
class Plant:
    """State of the hardware; tests and demonstrations may change it at any time.

    Attributes:
        supply: temperature of the coolant at the outlet, degrees Celsius.
        ambient: temperature of the room, degrees Celsius.
        load: heat from the cooled object to the coolant, W.
        nominal_flow: flow of the coolant while the pump runs, l/min.
        flow_factor: 1 for free pipes, 0 for blocked ones.
        coolant_low: the reservoir needs a refill.
        sensor_shorted: the supply sensor is broken.
        fans_working: whether each fan turns.
        pump: whether the pump runs.
        drive: drive level of the coolers in per cent; negative when they heat.
    """

    supply: float = 21.0
    ambient: float = 22.0
    load: float = 150.0
    nominal_flow: float = 3.2
    flow_factor: float = 1.0
    coolant_low: bool = False
    sensor_shorted: bool = False
    fans_working: list[bool] = field(default_factory=lambda: [True] * 4)
    pump: bool = False
    drive: float = 0.0
    _integral: float = 0.0

    @property
    def flow(self) -> float:
        """Flow of the coolant, l/min."""
        return self.nominal_flow * self.flow_factor if self.pump else 0.0

    @property
    def return_temperature(self) -> float:
        """Temperature of the returning coolant, degrees Celsius."""
        return self.supply + (self.load / (WATER * self.flow) if self.flow > 0.1 else 0.0)

    @property
    def level(self) -> int:
        """Drive level without its direction, per cent."""
        return round(abs(self.drive))

    @property
    def mode(self) -> Mode:
        """Direction of the drive."""
        return Mode.HEAT if self.drive < 0 else Mode.COOL

    def current(self, bank: int) -> float:
        """Return the current of a bank of coolers, A; negative when they heat."""
        return self.drive * (0.060 if bank == 1 else 0.058)

    def fan_speed(self, fan: int) -> int:
        """Return the speed of a fan from 1 to 4, Hz."""
        return round(40 + 0.9 * self.level + fan) if self.fans_working[fan - 1] else 0

    def advance(self, seconds: float, setpoint: float | None) -> None:
        """Let time pass, with control to ``setpoint``, or with pump and coolers off if it is ``None``."""
        self.pump = setpoint is not None
        while seconds > 0:
            step = min(STEP, seconds)
            seconds -= step
            self._control(step, setpoint)
            heat = (self.load if self.flow else 0.0) - COOLING_POWER * self.drive / 100
            self.supply += step * (heat + LEAKAGE * (self.ambient - self.supply)) / HEAT_CAPACITY

    def _control(self, step: float, setpoint: float | None) -> None:
        """Set the drive: proportional and integral control without wind-up at the limits."""
        if setpoint is None:
            self.drive = self._integral = 0.0
            return
        error = self.supply - setpoint
        wanted = 25.0 * error + self._integral
        self.drive = max(-100.0, min(100.0, wanted))
        if self.drive == wanted:
            self._integral += 0.3 * error * step
