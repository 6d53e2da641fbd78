"""The commands of the M2 cell controller as data: names, parameters, units, ranges.

Sources: ``ts_m2com`` 1.5.16 and its mock server, and the command definitions of the MTM2 component in ``ts_xml``
(Rubin Observatory). The limits are those at which the controller itself refuses a command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cnx.clients.m2.protocol.enums import (
    ACTUATORS,
    AXIAL_ACTUATORS,
    INNER_LOOP_CONTROLLERS,
    TANGENT_LINKS,
    ActuatorDisplacementUnit,
    ClosedLoopControlMode,
    CommandActuator,
    CommandScript,
    DigitalOutputStatus,
    InnerLoopControlMode,
    PowerType,
)
from cnx.clients.m2.protocol.fields import Command, Field

__all__ = ["COMMANDS", "command"]

MAX_AXIAL_FORCE = 444.82
"""Newton, in closed loop."""

MAX_TANGENT_FORCE = 5800.0
"""Newton, in closed loop."""

MAX_RADIAL_MOVE = 7740.0
"""Micrometre in the plane of the mirror, from home."""

MAX_PISTON_MOVE = 7890.0
"""Micrometre along the axis of the mirror, from home."""

TANGENT_HARDPOINTS = ([72, 74, 76], [73, 75, 77])
"""The two sets of tangent links that can be hardpoints."""


def _check_position(values: Mapping[str, Any]) -> None:
    radial = math.hypot(values["x"], values["y"])
    if radial > MAX_RADIAL_MOVE:
        raise ValueError(f"x and y together must be at most {MAX_RADIAL_MOVE:g} um from home, not {radial:g}")


def _check_script(values: Mapping[str, Any]) -> None:
    loads = values["scriptCommand"] == CommandScript.LOAD_SCRIPT
    if loads != ("scriptName" in values):
        raise TypeError("LOAD_SCRIPT needs scriptName, and no other order takes it")
    if loads and not values["scriptName"]:
        raise ValueError("scriptName must not be empty")


def _check_move(values: Mapping[str, Any]) -> None:
    details = {"actuators", "displacement", "unit"} & set(values)
    if values["actuatorCommand"] != CommandActuator.START:
        if details:
            raise TypeError(f"only START takes {', '.join(sorted(details))}")
        return
    if len(details) < 3:
        raise TypeError("START needs actuators, displacement and unit")
    if values["unit"] == ActuatorDisplacementUnit.STEP and values["displacement"] != int(values["displacement"]):
        raise ValueError(f"a displacement in steps must be a whole number, not {values['displacement']}")


def _check_hardpoints(values: Mapping[str, Any]) -> None:
    axial, tangent = values["actuators"][:3], values["actuators"][3:]
    if tangent not in TANGENT_HARDPOINTS:
        raise ValueError(f"the tangent hardpoints must be 72, 74, 76 or 73, 75, 77, not {tangent}")
    if axial != sorted(set(axial)) or axial[-1] >= AXIAL_ACTUATORS:
        raise ValueError(
            f"the axial hardpoints must be three ascending numbers from 0 to {AXIAL_ACTUATORS - 1}, not {axial}"
        )


def _check_bit(values: Mapping[str, Any]) -> None:
    if values["bit"].bit_count() != 1:
        raise ValueError(f"bit must be the value of one bit: 1, 2, 4 ... 128, not {values['bit']}")


def _list(name: str, kind: type, count: int, unit: str = "", limit: float | None = None) -> Field:
    low = None if limit is None else -limit
    return Field(name, kind, unit, low, limit, size=(count, count))


_STATUS = Field("status", bool)
_POWER = Field("powerType", PowerType)
_ADDRESSES = Field("addresses", int, "", 0, INNER_LOOP_CONTROLLERS - 1, size=(1, INNER_LOOP_CONTROLLERS))

_COMMANDS = (
    Command(
        "applyForces",
        "Add forces to those of the look-up table.",
        (
            _list("axial", float, AXIAL_ACTUATORS, "N", MAX_AXIAL_FORCE),
            _list("tangent", float, TANGENT_LINKS, "N", MAX_TANGENT_FORCE),
        ),
    ),
    Command(
        "positionMirror",
        "Move the mirror to a position relative to home; in closed loop only.",
        (
            *(Field(name, float, "um", -MAX_RADIAL_MOVE, MAX_RADIAL_MOVE) for name in ("x", "y")),
            Field("z", float, "um", -MAX_PISTON_MOVE, MAX_PISTON_MOVE),
            *(Field(name, float, "arcsec") for name in ("xRot", "yRot", "zRot")),
        ),
        rule=_check_position,
    ),
    Command("resetForceOffsets", "Set the applied forces to zero."),
    Command("resetActuatorSteps", "Count the steps of the actuators from zero."),
    Command("saveMirrorPosition", "Save the current position."),
    Command("setMirrorHome", "Make the current position the home position."),
    Command("clearErrors", "Clear faults and warnings; one whose cause persists is raised again."),
    Command("switchForceBalanceSystem", "Start (true) or end closed-loop control; needs motor power.", (_STATUS,)),
    Command(
        "setTemperatureOffset",
        "Set the reference temperatures of the look-up table.",
        (
            _list("ring", float, 12, "degC"),
            Field("intake", float, "degC", size=(2, 2), optional=True),
            Field("exhaust", float, "degC", size=(2, 2), optional=True),
        ),
    ),
    Command(
        "switchCommandSource",
        "Take commands from the remote component (true) or from the local user interface.",
        (Field("isRemote", bool),),
    ),
    Command(
        "runScript",
        "Load, run and control a script of the controller.",
        (Field("scriptCommand", CommandScript), Field("scriptName", str, optional=True)),
        rule=_check_script,
    ),
    Command(
        "moveActuators",
        "Move single actuators; in open loop only.",
        (
            Field("actuatorCommand", CommandActuator),
            Field("actuators", int, "", 0, ACTUATORS - 1, size=(1, ACTUATORS), optional=True),
            Field("displacement", float, "mm or steps", optional=True),
            Field("unit", ActuatorDisplacementUnit, optional=True),
        ),
        rule=_check_move,
    ),
    Command("resetBreakers", "Reset the breakers of a power supply that is on.", (_POWER,)),
    Command("rebootController", "Restart the controller: it answers, then ends both connections."),
    Command("enableOpenLoopMaxLimit", "Allow the largest forces in open loop.", (_STATUS,)),
    Command(
        "switchDigitalOutput",
        "Switch one digital output.",
        (Field("bit", int, "", 1, 128), Field("status", DigitalOutputStatus)),
        rule=_check_bit,
    ),
    Command("power", "Switch a power supply.", (_POWER, _STATUS), timeout=30.0),
    Command("setClosedLoopControlMode", "Set the control mode.", (Field("mode", ClosedLoopControlMode),)),
    Command(
        "setInnerLoopControlMode",
        "Set the mode of inner-loop controllers; needs communication power.",
        (_ADDRESSES, Field("mode", InnerLoopControlMode)),
        timeout=20.0,
    ),
    Command(
        "getInnerLoopControlMode",
        "Ask for the modes of inner-loop controllers; needs communication power.",
        (_ADDRESSES,),
        timeout=20.0,
    ),
    Command("loadConfiguration", "Load the configuration file that is set; answered with the event config."),
    Command("setConfigurationFile", "Choose one of the files in the event configurationFiles.", (Field("file", str),)),
    Command(
        "setControlParameters",
        "Choose the sources of the look-up table.",
        (
            Field("useExternalElevationAngle", bool),
            Field("enableAngleComparison", bool),
            Field("maxAngleDifference", float, "deg", 0.0, 360.0),
            Field("enableLutTemperature", bool),
            Field("enableLutInclinometer", bool, optional=True),
        ),
    ),
    Command("setEnabledFaultsMask", "Choose which faults are raised.", (Field("mask", int, "", 0, 2**64 - 1),)),
    Command(
        "setHardpointList",
        "Choose the hardpoints: three axial and three tangent actuators, counted from 0.",
        (Field("actuators", int, "", 0, ACTUATORS - 1, size=(6, 6)),),
        rule=_check_hardpoints,
    ),
)

COMMANDS: Mapping[str, Command] = MappingProxyType({entry.name: entry for entry in _COMMANDS})
"""All commands by name."""


def command(name: str) -> Command:
    """Return the entry of a command.

    Raises:
        ValueError: there is no such command.
    """
    try:
        return COMMANDS[name]
    except (KeyError, TypeError):
        raise ValueError(f"the M2 controller has no command {name!r}; it has: {', '.join(sorted(COMMANDS))}") from None
