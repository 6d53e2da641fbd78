"""One simulated chiller: takes command frames and returns reply frames.

No I/O: time comes from the clock that is passed. "TTK Serial Communication Protocol Release II", revision
X2.003, specifies neither the order of the checks nor the layout of error replies nor the limits of the set
point; these are choices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cnx.clients.chiller.protocol.errors import ErrorCode
from cnx.clients.chiller.protocol.frames import (
    Call,
    checked_device_id,
    format_reply,
    parse_call,
)
from cnx.clients.chiller.protocol.table import Command
from cnx.clients.chiller.protocol.values import ControlSensor, ControlState, Warnings
from cnx.clients.chiller.simulator.alarms import Supervision, warnings_of
from cnx.clients.chiller.simulator.plant import Plant
from cnx.clients.chiller.simulator.quirks import FACTORY_THRESHOLDS, LIMITS, Quirks
from cnx.errors import ProtocolError

__all__ = ["Unit"]

REMOTE_TIMEOUT = 10.0
"""Seconds without a valid command after which a unit leaves remote mode and unlocks its keypad."""

PANEL_INTERVAL = 1.5
"""Seconds between two polls of the alarms by the front panel, as given by LSST's ts_atwhitelight."""

LONGEST_STEP = 3600.0
"""Seconds after which the plant has settled, so that a unit left alone for days need not simulate them all."""


class Unit:
    """A chiller with a plant, thresholds, alarms and a front panel. Not thread-safe.

    Args:
        device_id: 1 to 32.
        clock: returns seconds.
        quirks: how the unit differs from the document.
        plant: the hardware.
    """

    def __init__(
        self,
        device_id: int = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        quirks: Quirks | None = None,
        plant: Plant | None = None,
    ) -> None:
        self.device_id = checked_device_id(device_id)
        self.quirks = quirks or Quirks()
        self.plant = plant or Plant()
        self._clock = clock
        self._now = clock()
        self._valid_at: float | None = None
        self.power_cycle()

    def power_cycle(self) -> None:
        """Switch the unit off and on, which resets everything that is not stored."""
        self.supervision = Supervision()
        self.state = ControlState.STANDBY
        self.sensor = ControlSensor.SUPPLY
        self.external_sensors = False
        self.setpoint = 20.0
        self.thresholds = dict(FACTORY_THRESHOLDS)
        self.mode_mismatch = False
        self._panel_running = False
        self._panel_looked = self._started = self._powered = self._now

    @property
    def remote(self) -> bool:
        """Whether the keypad is locked: the last valid command arrived less than 10 s ago."""
        return self._valid_at is not None and self._clock() - self._valid_at < REMOTE_TIMEOUT

    @property
    def uptime(self) -> int:
        """Minutes since the unit was switched on."""
        return min(int((self._now - self._powered) / 60), 999999)

    @property
    def warnings(self) -> Warnings:
        """The present warnings."""
        return warnings_of(self.plant, self.thresholds)

    def advance(self) -> None:
        """Let the plant run until the present time of the clock."""
        elapsed = self._clock() - self._now
        self._now += elapsed
        left = min(elapsed, LONGEST_STEP)
        while left > 0:
            step = min(0.5, left)
            left -= step
            self._advance(step, self._now - left)

    def answer(self, frame: bytes) -> bytes | None:
        """Return the reply to one frame, or ``None`` if it is for another unit or is not a command."""
        self.advance()
        try:
            call, right = parse_call(frame)
        except ProtocolError:
            return None
        if call.device_id != self.device_id:
            return None
        error, data = (ErrorCode.CHECKSUM, "") if not right else self._do(call)
        if error is ErrorCode.NONE:
            self._valid_at = self._now
        return self._format(call, error, data)

    def start(self) -> None:
        """Start pump and temperature control."""
        if self.state is not ControlState.RUN:
            self._started = self._now
        self.state = ControlState.RUN
        self._panel_running = True

    def stop(self) -> None:
        """Go to standby, and inform the front panel."""
        self.state = ControlState.STANDBY
        self._panel_running = False

    def read_alarms(self) -> int:
        """Return level 1 and clear it, even if the front panel has not seen it yet."""
        alarms = self.supervision.alarms
        if alarms and self.quirks.reading_resets:
            self.supervision.reset()
            missed = self._panel_running and self.state is not ControlState.RUN
            self.mode_mismatch = self.mode_mismatch or (missed and self.quirks.mode_mismatch)
        return int(alarms)

    def _advance(self, step: float, now: float) -> None:
        running = self.state is ControlState.RUN
        self.plant.advance(step, self.setpoint if running else None)
        since = now - self._started if running else 0.0
        if self.supervision.watch(step, self.plant, self.thresholds, since) and running:
            self.state = ControlState.STANDBY
        if now - self._panel_looked >= PANEL_INTERVAL:
            self._panel_looked = now
            self._panel_running = self._panel_running and not self.supervision.alarms

    def _do(self, call: Call) -> tuple[ErrorCode, str]:
        """Check number, length, bounds and feature, in this order, and execute the command."""
        command = call.command
        if command is None:
            return ErrorCode.NUMBER, ""
        if len(call.data) != command.request_width:
            return ErrorCode.LENGTH, ""
        try:
            values = command.decode_request(call.data)
        except ProtocolError:
            return ErrorCode.BOUNDS, ""
        if call.number in self.quirks.not_fitted or (call.number in (5, 6) and not self.external_sensors):
            return ErrorCode.NOT_FITTED, ""
        if command.sets:
            return (ErrorCode.NONE, call.data) if self._set(call.number, values) else (ErrorCode.BOUNDS, "")
        return ErrorCode.NONE, self._read(command)

    def _read(self, command: Command) -> str:
        reading = READINGS.get((command.number, command.selector))
        values = reading(self) if reading else (self.thresholds[command.number - 13],)
        values = self.quirks.stuck.get(command.number, values)
        data = command.encode_reply(*values)
        return data + "0000" if command.number == 20 and self.quirks.long_warnings else data

    def _set(self, number: int, values: list[Any]) -> bool:
        """Apply a setting unless it is out of range; return whether it was accepted."""
        if number in LIMITS and not LIMITS[number][0] <= values[0] <= LIMITS[number][1]:
            return False
        if (number == 16 and self.quirks.rejects_briefly) or (number == 15 and values[0] and self.mode_mismatch):
            return False
        if number == 12:
            self.external_sensors = values[0]
        elif number == 15:
            (self.start if values[0] else self.stop)()
        elif number == 16:
            self.sensor = values[0]
        elif number == 17:
            self.setpoint = values[0]
        elif number == 59:
            self.thresholds = dict(FACTORY_THRESHOLDS)
        else:
            self.thresholds[number] = values[0]
        return True

    def _format(self, call: Call, error: ErrorCode, data: str) -> bytes:
        if error is ErrorCode.BOUNDS and self.quirks.rejects_briefly:
            error = ErrorCode.REJECTED
        if self.quirks.capital_names:
            name = call.name.replace("Hi", "HI").replace("UpTi", "UpTI")
            call = Call(call.number, name, call.data, call.device_id)
        echoed = call.data if self.quirks.echoes_refused and error is not ErrorCode.NONE else data
        reply = format_reply(call, error, echoed)
        if self.quirks.lower_case:
            reply = reply[:-3] + reply[-3:].lower()
        return b"\x13\x11" + reply[:5] + b"\x13\x11" + reply[5:] if self.quirks.flow_control else reply


READINGS: dict[tuple[int, str], Callable[[Unit], tuple[Any, ...]]] = {
    (1, ""): lambda unit: (unit.state, unit.plant.pump, bool(unit.supervision.alarms), bool(unit.warnings)),
    (2, ""): lambda unit: (unit.sensor,),
    (3, ""): lambda unit: (unit.setpoint,),
    (4, ""): lambda unit: (unit.plant.supply,),
    (5, ""): lambda unit: (unit.plant.supply,),
    (6, ""): lambda unit: (unit.plant.supply,),
    (7, ""): lambda unit: (unit.plant.return_temperature,),
    (8, ""): lambda unit: (unit.plant.ambient,),
    (9, ""): lambda unit: (unit.plant.flow,),
    (10, ""): lambda unit: (unit.plant.current(1),),
    (11, ""): lambda unit: (unit.plant.current(2),),
    (13, ""): lambda unit: (unit.plant.level, unit.plant.mode),
    (18, ""): lambda unit: (unit.read_alarms(),),
    (19, "1"): lambda unit: (unit.supervision.system,),
    (19, "2"): lambda unit: (unit.supervision.details(unit.plant),),
    (20, ""): lambda unit: (unit.warnings,),
    (46, ""): lambda unit: (max(1, round(unit.plant.level * 2.55)), unit.plant.mode),
    (48, ""): lambda unit: (unit.setpoint, 0),
    (49, ""): lambda unit: (unit.uptime,),
    (50, ""): lambda unit: (unit.plant.fan_speed(1),),
    (51, ""): lambda unit: (unit.plant.fan_speed(2),),
    (52, ""): lambda unit: (unit.plant.fan_speed(3),),
    (53, ""): lambda unit: (unit.plant.fan_speed(4),),
}
"""The values that each reading command returns, by number and selector; the others read a threshold."""
