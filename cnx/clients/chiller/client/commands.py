"""The commands of one chiller as methods with types and units, its configuration and its status."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from cnx.clients.chiller.client.line import ChillerLine
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.client.status import Status, Telemetry
from cnx.clients.chiller.protocol.frames import Call, call_of
from cnx.clients.chiller.protocol.values import (
    Alarms,
    ControlSensor,
    Drive,
    Pid,
    Pwm,
    SensorAlarms,
    SystemAlarms,
    Threshold,
    Warnings,
    Watchdog,
)
from cnx.errors import DeviceError, ProtocolError, TimedOut

__all__ = ["ChillerCommands"]

T = TypeVar("T")


class ChillerCommands(ABC):
    """One unit on a line: what ``ChillerClient`` and ``BusUnit`` have in common. Thread-safe.

    It has one method for each command of "TTK Serial Communication Protocol Release II", revision X2.003;
    the numbers in parentheses are those of its command table. Each method waits for the reply and raises:

    * ``ValueError``, ``TypeError``: the argument is invalid; nothing was sent.
    * ``DeviceError`` (``OutOfRange``, ``FeatureNotFitted``, ``Rejected``, ...): the unit refused.
    * ``TimedOut``: no reply; ``ProtocolError``: a damaged reply. Whether a setting took effect is not known.
    * ``NotConnected``, ``ConnectionLost``: there is no link, or it ended before the reply.

    Only the last kind means that the link is down.
    """

    device_id: int
    _thresholds = Thresholds()
    _setpoint: float | None = None

    @property
    @abstractmethod
    def line(self) -> ChillerLine:
        """The connection to the line of the unit."""

    # -- configuration and status ----------------------------------------------------------------------------------

    def configure(self, thresholds: Thresholds | None = None, setpoint: float | None = None) -> None:
        """Set thresholds and set point now, if there is a link, and on every new link before it is used.

        Args:
            thresholds: they replace the previous ones; ``None`` keeps those.
            setpoint: degrees Celsius, within the supply warning thresholds; ``None`` keeps the previous one.

        Raises:
            ValueError, TypeError: a value is invalid; nothing was sent.
            DeviceError: the unit refused a value; new links get the previous configuration.
            TimedOut, ProtocolError, ConnectionError: as for every command.
        """
        limits = self._thresholds if thresholds is None else thresholds
        wanted = self._setpoint if setpoint is None else setpoint
        setup: dict[str, Sequence[Call]] = {}
        if setpoint is not None:
            setup["setpoint"] = [call_of(self.device_id, 17, setpoint)]
        if wanted is not None:
            limits.check_setpoint(wanted)
        if thresholds is not None:
            setup["thresholds"] = [call_of(self.device_id, which.value, value) for which, value in thresholds.items()]
        if self.line.connected:
            self.line.set_up(self.device_id, setup)
        else:
            self.line.keep_setup(self.device_id, setup)
        self._thresholds, self._setpoint = limits, wanted

    def status(self) -> Status:
        """Return everything that can be read without a side effect; this takes about 15 commands."""
        watchdog = self.watchdog()
        warnings = (optional(self.warnings) if watchdog.warning else None) or Warnings(0)
        return Status(*watchdog, warnings, optional(self.uptime), self.telemetry())

    def telemetry(self, before_each: Callable[[], object] | None = None) -> Telemetry:
        """Read the measured values one after the other; this takes 12 commands.

        Args:
            before_each: called before each command; an exception that it raises ends the reading.

        Raises:
            TimedOut: two commands in a row got no reply. A single one counts as not fitted.
            NotConnected, ConnectionLost: there is no link, or it ended.
        """
        silent = False

        def read(ask: Callable[..., T], *arguments: int) -> T | None:
            nonlocal silent
            if before_each is not None:
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
            setpoint=read(self.setpoint),
            supply_temperature=read(self.supply_temperature),
            return_temperature=read(self.return_temperature),
            ambient_temperature=read(self.ambient_temperature),
            flow=read(self.flow),
            drive=read(self.drive),
            tec_currents=(read(self.tec_current, 1), read(self.tec_current, 2)),
            fan_speeds=(
                read(self.fan_speed, 1),
                read(self.fan_speed, 2),
                read(self.fan_speed, 3),
                read(self.fan_speed, 4),
            ),
        )

    # -- one method for each command -------------------------------------------------------------------------------

    def watchdog(self) -> Watchdog:
        """Return control state, pump, alarm and warning flag (01); this also keeps the unit in remote mode for 10 s."""
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
        """Return how long the unit has been on, in whole minutes (49)."""
        return timedelta(minutes=self._ask(int, 49))

    def system_alarms(self) -> SystemAlarms:
        """Return alarms level 2, first half (19 with 1); reading them resets nothing."""
        return self._ask(SystemAlarms, 19, half="1")

    def sensor_alarms(self) -> SensorAlarms:
        """Return alarms level 2, second half (19 with 2); reading them resets nothing."""
        return self._ask(SensorAlarms, 19, half="2")

    def read_and_reset_alarms(self) -> Alarms:
        """Return alarms level 1 (18); reading them resets them in the unit, including latched ones.

        Call :meth:`stop` first. The front panel looks for alarms every 1.5 s; if an alarm is reset before the panel
        has seen it, the panel shows MODE MISMATCH ALARM and the unit needs a power cycle.
        """
        return self._ask(Alarms, 18)

    def threshold(self, which: Threshold) -> float:
        """Return a threshold, in degrees Celsius or l/min (34 to 43)."""
        return self._ask(float, Threshold(which).reader)

    def set_threshold(self, which: Threshold, value: float) -> None:
        """Set a threshold (21 to 30): degrees Celsius from -999.9 to 999.9, or l/min from 0.1 to 999.9."""
        self._ask(float, Threshold(which).value, value)

    def set_temperature(self, celsius: float) -> None:
        """Set the set point (17), now and on every new link: -999.9 to 999.9 degrees Celsius; units accept much less.

        Raises:
            ValueError: it is beyond the configured supply warning thresholds; nothing was sent.
        """
        setting = call_of(self.device_id, 17, celsius)
        self._thresholds.check_setpoint(celsius)
        self.line.set_up(self.device_id, {"setpoint": [setting]})
        self._setpoint = celsius

    def start(self) -> None:
        """Start pump and temperature control (15 with 1)."""
        self._ask(bool, 15, True)

    def stop(self) -> None:
        """Go to standby (15 with 0)."""
        self._ask(bool, 15, False)

    def set_control_sensor(self, sensor: ControlSensor) -> None:
        """Set which sensor controls the loop (16). A T257P rejects it: it has only the supply sensor."""
        self._ask(ControlSensor, 16, sensor)

    def enable_external_sensors(self, enabled: bool) -> None:
        """Enable or disable the external sensors (12)."""
        self._ask(bool, 12, enabled)

    def restore_defaults(self) -> None:
        """Overwrite the settings with the user's defaults in EEPROM (59); this cannot be undone."""
        self._ask(type(None), 59, half="U")

    def _ask(self, kind: type[T], number: int, *values: Any, half: str = "") -> T:
        """Run a command of the table and return its value, which is a ``kind``."""
        value = self.line.exchange(call_of(self.device_id, number, *values, half=half)).value
        assert isinstance(value, kind)
        return value


def optional(ask: Callable[..., T], *arguments: int) -> T | None:
    """Return what ``ask`` returns, or ``None`` if the unit refuses or its reply is damaged."""
    try:
        return ask(*arguments)
    except (DeviceError, ProtocolError):
        return None


def one_of(name: str, number: int, last: int) -> int:
    """Return ``number`` if it is an int from 1 to ``last``.

    Raises:
        TypeError, ValueError: it is not.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be an int, not {number!r}")
    if not 1 <= number <= last:
        raise ValueError(f"{name} must be from 1 to {last}, not {number}")
    return number
