"""Every command of a chiller as a method with types and units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from cnx.clients.chiller.client.settings import Threshold, command_of
from cnx.clients.chiller.protocol.frames import Answer, Call
from cnx.clients.chiller.protocol.values import (
    Alarms,
    ControlSensor,
    Drive,
    Pid,
    Pwm,
    SensorAlarms,
    SystemAlarms,
    Warnings,
    Watchdog,
)

__all__ = ["ChillerCommands"]

T = TypeVar("T")


class ChillerCommands(ABC):
    """The commands of "TTK Serial Communication Protocol Release II", one method each. Thread-safe.

    All of them wait for the reply and raise:

    * ``ValueError``, ``TypeError``: the argument cannot be sent; nothing was.
    * ``DeviceError`` (``OutOfRange``, ``FeatureNotFitted``, ``Rejected``, ...): the unit refused.
    * ``TimedOut``: no reply; ``ProtocolError``: a damaged one. Whether a setting was done is not known then.
    * ``NotConnected``, ``ConnectionLost``: there is no link, or it ended before the reply.

    Only the last kind means that the link is down.
    """

    device_id: int

    @abstractmethod
    def exchange(self, call: Call) -> Answer:
        """Send one command and return the answer to it."""

    def watchdog(self) -> Watchdog:
        """Return control state, pump, alarm and warning flag (number 01), which also holds remote mode for 10 s."""
        return self._ask(Watchdog, 1)

    def control_sensor(self) -> ControlSensor:
        """Return the sensor that controls the loop (02)."""
        return self._ask(ControlSensor, 2)

    def setpoint(self) -> float:
        """Return the set point in degrees Celsius (03)."""
        return self._ask(float, 3)

    def supply_temperature(self) -> float:
        """Return the supply (outlet) temperature in degrees Celsius (04)."""
        return self._ask(float, 4)

    def external_rtd_temperature(self) -> float:
        """Return the temperature of the external RTD in degrees Celsius (05)."""
        return self._ask(float, 5)

    def external_thermistor_temperature(self) -> float:
        """Return the temperature of the external thermistor in degrees Celsius (06)."""
        return self._ask(float, 6)

    def return_temperature(self) -> float:
        """Return the return temperature in degrees Celsius (07)."""
        return self._ask(float, 7)

    def ambient_temperature(self) -> float:
        """Return the ambient temperature in degrees Celsius (08)."""
        return self._ask(float, 8)

    def flow(self) -> float:
        """Return the process (coolant) flow in l/min (09)."""
        return self._ask(float, 9)

    def drive(self) -> Drive:
        """Return the drive level in per cent and its direction (13)."""
        return self._ask(Drive, 13)

    def pwm(self) -> Pwm:
        """Return the PWM duty in counts from 1 to 255, and the direction of the relay (46)."""
        return self._ask(Pwm, 46)

    def pid(self) -> Pid:
        """Return the PID status: a temperature in degrees Celsius and a mode from 0 to 9 (48)."""
        return self._ask(Pid, 48)

    def warnings(self) -> Warnings:
        """Return the warnings (20)."""
        return self._ask(Warnings, 20)

    def tec_current(self, bank: int) -> float:
        """Return the current of TEC bank 1 or 2 in A (10, 11)."""
        return self._ask(float, 9 + one_of("bank", bank, 2))

    def fan_speed(self, fan: int) -> int:
        """Return the speed of fan 1, 2, 3 or 4 in Hz, revolutions per second (50 to 53)."""
        return self._ask(int, 49 + one_of("fan", fan, 4))

    def uptime(self) -> timedelta:
        """Return for how long the unit has been on, in whole minutes (49)."""
        return timedelta(minutes=self._ask(int, 49))

    def system_alarms(self) -> SystemAlarms:
        """Return alarms level 2, first half (19 with 1); reading them resets nothing."""
        return self._ask(SystemAlarms, 19, half="1")

    def sensor_alarms(self) -> SensorAlarms:
        """Return alarms level 2, second half (19 with 2); reading them resets nothing."""
        return self._ask(SensorAlarms, 19, half="2")

    def read_and_reset_alarms(self) -> Alarms:
        """Return alarms level 1 (18), which resets them in the unit, latched ones too.

        Call :meth:`stop` before: if an alarm is reset before the front panel has seen it, which takes up to
        1.5 s, the panel shows MODE MISMATCH ALARM and the unit needs a power cycle.
        """
        return self._ask(Alarms, 18)

    def threshold(self, which: Threshold) -> float:
        """Return a threshold, in degrees Celsius or l/min (34 to 43)."""
        return self._ask(float, Threshold(which).reader)

    def set_threshold(self, which: Threshold, value: float) -> None:
        """Set a threshold (21 to 30): degrees Celsius from -999.9 to 999.9, or l/min from 0.1 to 999.9."""
        self._ask(float, Threshold(which).value, value)

    def set_temperature(self, celsius: float) -> None:
        """Set the set point, -999.9 to 999.9 degrees Celsius; units accept much less (17)."""
        self._ask(float, 17, celsius)

    def start(self) -> None:
        """Run: pump and temperature control (15 with 1)."""
        self._ask(bool, 15, True)

    def stop(self) -> None:
        """Go to standby (15 with 0)."""
        self._ask(bool, 15, False)

    def set_control_sensor(self, sensor: ControlSensor) -> None:
        """Set which sensor controls the loop (16). A T257P rejects it, as it has the supply sensor only."""
        self._ask(ControlSensor, 16, sensor)

    def enable_external_sensors(self, enabled: bool) -> None:
        """Enable or disable the external sensors (12)."""
        self._ask(bool, 12, enabled)

    def restore_defaults(self) -> None:
        """Overwrite the settings with the user's defaults in EEPROM (59). Not to be undone."""
        self._ask(type(None), 59, half="U")

    def _ask(self, kind: type[T], number: int, *values: Any, half: str = "") -> T:
        """Do a command of the table, whose answer is a ``kind``."""
        made = call_of(self.device_id, number, half, *values) if values else plain_call(self.device_id, number, half)
        value = self.exchange(made).value
        assert isinstance(value, kind)
        return value


@lru_cache(maxsize=1024)
def plain_call(device_id: int, number: int, half: str) -> Call:
    """Return a command without values; these are asked again and again, so each is made once."""
    return call_of(device_id, number, half)


def call_of(device_id: int, number: int, half: str = "", *values: Any) -> Call:
    """Return a command of the table."""
    command = command_of(number, half)
    return Call(number, command.name, command.encode(*values), device_id)


def one_of(name: str, number: int, last: int) -> int:
    """Return ``number`` if it is an int from 1 to ``last``."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be an int, not {number!r}")
    if not 1 <= number <= last:
        raise ValueError(f"{name} must be from 1 to {last}, not {number}")
    return number
