"""The 47 commands of a ThermoTek chiller, as data.

Source: "TTK Serial Communication Protocol Release II", revision X2.003: command table and legend. The
checksums printed there for numbers 10 and 11 are wrong; here all checksums are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnx.clients.chiller.protocol.fields import (
    Bits,
    Choice,
    Field,
    Fixed,
    Literal,
    Whole,
)
from cnx.clients.chiller.protocol.values import (
    Alarms,
    ControlSensor,
    ControlState,
    Drive,
    Mode,
    Pid,
    Pwm,
    SensorAlarms,
    SystemAlarms,
    Warnings,
    Watchdog,
)
from cnx.errors import ProtocolError

__all__ = ["COMMANDS", "Command", "command_of", "find_command"]


@dataclass(frozen=True)
class Command:
    """One row of the table.

    Attributes:
        number: 1 to 60.
        name: the eight characters after the number; a unit looks only at the number.
        summary: what the command does.
        request: fields of the data that is sent.
        reply: fields of the data of a good reply; the reply to a setting repeats the data of the command.
        result: type of the value, if the reply has more than one field.
        danger: why a person should confirm the command; empty if no confirmation is needed.
    """

    number: int
    name: str
    summary: str
    request: tuple[Field, ...] = ()
    reply: tuple[Field, ...] = ()
    result: type[Any] | None = None
    danger: str = ""

    @cached_property
    def sets(self) -> bool:
        """Whether the command changes a setting (its name begins with ``s``)."""
        return self.name.startswith("s")

    @cached_property
    def selector(self) -> str:
        """The fixed data that distinguishes two commands with the same number."""
        return self.request[0].encode(None) if self.request and isinstance(self.request[0], Literal) else ""

    @cached_property
    def request_width(self) -> int:
        """Size of the data that is sent, in characters."""
        return sum(field.width for field in self.request)

    @cached_property
    def reply_width(self) -> int:
        """Size of the data of a good reply, in characters."""
        return sum(field.width for field in self.reply)

    def encode(self, *values: Any) -> str:
        """Return the data of the command.

        Raises:
            TypeError, ValueError: the values do not suit the fields.
        """
        return encode_fields(self, self.request, values)

    def encode_reply(self, *values: Any) -> str:
        """Return the data of a good reply; raises like :meth:`encode`."""
        return encode_fields(self, self.reply, values)

    def decode(self, data: str, *, lenient: bool = False) -> Any:
        """Return the value in the data of a reply: ``None``, one value, or a named tuple of several.

        Args:
            data: the characters between the name and the checksum.
            lenient: accept surplus hexadecimal digits after alarm and warning bits.

        Raises:
            ProtocolError: the data has the wrong length, pattern or range.
        """
        values = decode_fields(self, self.reply, self.reply_width, data, lenient=lenient)
        if self.result is not None:
            return self.result(*values)
        return values[0] if values else None

    def decode_request(self, data: str) -> list[Any]:
        """Return the values in the data of a command, as a unit reads it.

        Raises:
            ProtocolError: the data has the wrong length, pattern or range.
        """
        return decode_fields(self, self.request, self.request_width, data)


def encode_fields(command: Command, fields: Sequence[Field], values: Sequence[Any]) -> str:
    """Return ``values`` as the characters of ``fields``."""
    wanted = [field for field in fields if not isinstance(field, Literal)]
    if len(values) != len(wanted):
        names = ", ".join(field.name for field in wanted) or "no value"
        raise TypeError(f"number {command.number:02d} {command.name} takes {names}, not {len(values)} values")
    left = iter(values)
    return "".join(field.encode(None if isinstance(field, Literal) else next(left)) for field in fields)


def decode_fields(
    command: Command, fields: Sequence[Field], width: int, data: str, *, lenient: bool = False
) -> list[Any]:
    """Return the values of ``fields``, which have ``width`` characters together, in ``data``."""
    surplus = len(data) - width
    if surplus and not (surplus > 0 and lenient and fields and isinstance(fields[-1], Bits)):
        raise ProtocolError(
            f"number {command.number:02d} {command.name} has {len(data)} characters of data, {data!r}, not {width}"
        )
    values, start = [], 0
    for field in fields:
        end = start + field.width
        value = field.decode(data[start : end + surplus if end == width else end])  # the last one gets the surplus
        if value is not None:
            values.append(value)
        start = end
    return values


def _temperature(name: str) -> Fixed:
    return Fixed(name, "°C", 10, -999.9, 999.9)


def _flow(name: str, low: float = 0.0) -> Fixed:
    return Fixed(name, "l/min", 10, low, 999.9)


def _one_of(name: str, kind: Any) -> Choice:
    return Choice(name, {str(member.value): member for member in kind})


def _yes_or_no(name: str) -> Choice:
    return Choice(name, {"0": False, "1": True})


def _read(number: int, name: str, summary: str, *reply: Field, result: type[Any] | None = None) -> Command:
    return Command(number, name, "read " + summary, (), reply, result)


def _set(number: int, name: str, summary: str, field: Field, danger: str = "") -> Command:
    return Command(number, name, summary, (field,), (field,), danger=danger)


_THRESHOLDS = (
    ("HiSpTWn", "high supply temperature warning threshold"),
    ("LoSpTWn", "low supply temperature warning threshold"),
    ("HiAmTWn", "high ambient temperature warning threshold"),
    ("LoAmTWn", "low ambient temperature warning threshold"),
    ("LoPFlWn", "low process flow warning threshold"),
    ("HiSpTAl", "high supply temperature alarm threshold"),
    ("LoSpTAl", "low supply temperature alarm threshold"),
    ("HiAmTAl", "high ambient temperature alarm threshold"),
    ("LoAmTAl", "low ambient temperature alarm threshold"),
    ("LoPFlAl", "low process flow alarm threshold"),
)


def _threshold(summary: str, low: float) -> Fixed:
    return _flow(summary, low) if "flow" in summary else _temperature(summary)


_MODE = _one_of("mode", Mode)
_COMMA = Literal(",")
_RESETS = "it resets the alarms that it reads"
_RESTORES = "it overwrites stored settings with the user's defaults"

COMMANDS: tuple[Command, ...] = (
    _read(
        1,
        "WatchDog",
        "control state, pump, alarm and warning flags",
        _one_of("control state", ControlState),
        _yes_or_no("pump"),
        _yes_or_no("alarm"),
        _yes_or_no("warning"),
        result=Watchdog,
    ),
    _read(2, "rCtrlSen", "which sensor controls the loop", _one_of("control sensor", ControlSensor)),
    _read(3, "rSetTemp", "the set point", _temperature("set point")),
    _read(4, "rSupplyT", "the supply (outlet) temperature", _temperature("supply temperature")),
    _read(5, "rExtRTD_", "the external RTD", _temperature("external RTD temperature")),
    _read(6, "rExtThrm", "the external thermistor", _temperature("external thermistor temperature")),
    _read(7, "rReturnT", "the return temperature", _temperature("return temperature")),
    _read(8, "rAmbTemp", "the ambient temperature", _temperature("ambient temperature")),
    _read(9, "rProsFlo", "the process (coolant) flow", _flow("process flow")),
    _read(10, "rTECB1Cr", "the current of TEC bank 1", Fixed("TEC bank 1 current", "A", 1000, -9.999, 9.999)),
    _read(11, "rTECB2Cr", "the current of TEC bank 2", Fixed("TEC bank 2 current", "A", 1000, -9.999, 9.999)),
    _set(12, "sExtSens", "enable or disable the external sensors", _yes_or_no("external sensors")),
    _read(13, "rTECDrLv", "the TE drive", Whole("drive level", "%", 3, 0, 100), _COMMA, _MODE, result=Drive),
    _set(15, "sStatus_", "set the unit to run or to standby", _yes_or_no("run")),
    _set(16, "sCtrlSen", "set which sensor controls the loop", _one_of("control sensor", ControlSensor)),
    _set(17, "sCtrlT__", "set the control temperature (set point)", _temperature("set point")),
    Command(18, "rAlrmLv1", "read alarms level 1", (), (Bits("alarms level 1", Alarms, 6),), danger=_RESETS),
    Command(
        19,
        "rAlrmLv2",
        "read alarms level 2, first half",
        (Literal("1"),),
        (Literal("1"), Bits("alarms level 2, first half", SystemAlarms, 8)),
    ),
    Command(
        19,
        "rAlrmLv2",
        "read alarms level 2, second half",
        (Literal("2"),),
        (Literal("2"), Bits("alarms level 2, second half", SensorAlarms, 8)),
    ),
    _read(20, "rWarnLv1", "warnings", Bits("warnings", Warnings, 4)),
    *(
        _set(21 + index, "s" + name, "set the " + summary, _threshold(summary, 0.1))
        for index, (name, summary) in enumerate(_THRESHOLDS)
    ),
    *(
        _read(34 + index, "r" + name, "the " + summary, _threshold(summary, 0.0))
        for index, (name, summary) in enumerate(_THRESHOLDS)
    ),
    _read(46, "rPulWdMo", "the PWM output", Whole("PWM duty", "counts", 3, 1, 255), _COMMA, _MODE, result=Pwm),
    _read(
        48, "rPIDStat", "the PID status", _temperature("temperature"), _COMMA, Whole("mode", "", 1, 0, 9), result=Pid
    ),
    _read(49, "rUpTime_", "the up time of the unit", Whole("up time", "minutes", 6, 0, 999999)),
    *(
        _read(49 + fan, f"rFanSpd{fan}", f"the speed of fan {fan}", Whole("fan speed", "Hz", 4, 0, 9999))
        for fan in (1, 2, 3, 4)
    ),
    Command(
        59, "sDUsrEEP", "restore the user's defaults from EEPROM", (Literal("U"),), (Literal("U"),), danger=_RESTORES
    ),
)
"""All commands by number; number 19 appears twice, once for each half."""


def command_of(number: int, half: str = "") -> Command:
    """Return the command with this number and, for number 19, this half; it must be in the table."""
    command = find_command(number, half)
    assert command is not None
    return command


def find_command(number: int, data: str = "") -> Command | None:
    """Return the command with this number, or ``None``; for number 19, ``data`` selects the half."""
    rows = _BY_NUMBER.get(number, [])
    for row in rows:
        if row.selector == data[:1]:
            return row
    return rows[0] if rows else None


_BY_NUMBER: dict[int, list[Command]] = {}
for _command in COMMANDS:
    _BY_NUMBER.setdefault(_command.number, []).append(_command)
