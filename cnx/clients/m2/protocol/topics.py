"""The events and the telemetry of the M2 cell controller as data.

Sources: the messages of ``ts_m2com`` 1.5.16 and its mock server, and the event and telemetry definitions of the MTM2
component in ``ts_xml`` (Rubin Observatory).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cnx.clients.m2.protocol.enums import (
    ACTUATORS,
    AXIAL_ACTUATORS,
    TANGENT_LINKS,
    ClosedLoopControlMode,
    InclinationTelemetrySource,
    InnerLoopControlMode,
    PowerSystemState,
    PowerType,
)
from cnx.clients.m2.protocol.fields import Field, Topic

__all__ = ["EVENTS", "TELEMETRY"]


def _floats(unit: str, *names: str) -> tuple[Field, ...]:
    return tuple(Field(name, float, unit) for name in names)


def _list(name: str, kind: type, least: int, most: int | None = None, unit: str = "") -> Field:
    return Field(name, kind, unit, size=(least, least if most is None else most))


_STATUS = Field("status", bool)
_STATE = Field("state", bool)
_TEMPERATURES = tuple(
    _list(name, float, count, unit="degC") for name, count in (("ring", 12), ("intake", 2), ("exhaust", 2))
)

_EVENTS = (
    Topic("tcpIpConnected", "The connection is up.", (Field("isConnected", bool),)),
    Topic("commandableByDDS", "Whether commands of the remote component are accepted.", (_STATE,)),
    Topic("hardpointList", "The hardpoints, counted from 1.", (_list("actuators", int, 6),)),
    Topic(
        "bypassedActuatorILCs", "Bypassed inner-loop controllers, counted from 1.", (_list("ilcs", int, 0, ACTUATORS),)
    ),
    Topic("interlock", "Whether the interlock is engaged.", (_STATE,)),
    Topic(
        "inclinationTelemetrySource",
        "Source of the elevation angle.",
        (Field("source", InclinationTelemetrySource),),
    ),
    Topic("temperatureOffset", "Reference temperatures of the look-up table.", _TEMPERATURES),
    Topic("digitalInput", "All digital inputs as bits.", (Field("value", int, "", 0, 2**32 - 1),)),
    Topic("digitalOutput", "All digital outputs as bits.", (Field("value", int, "", 0, 255),)),
    Topic(
        "config",
        "The configuration in use.",
        (
            *(Field(name, str) for name in ("configuration", "version", "controlParameters", "lutParameters")),
            *_floats("%", "powerWarningMotor", "powerFaultMotor"),
            *_floats("A", "powerThresholdMotor"),
            *_floats("%", "powerWarningComm", "powerFaultComm"),
            *_floats("A", "powerThresholdComm"),
            *_floats("N", "inPositionAxial", "inPositionTangent"),
            *_floats("s", "inPositionSample", "timeoutSal", "timeoutCrio"),
            Field("timeoutIlc", int, "count"),
            *_floats("deg", "inclinometerDelta"),
            Field("inclinometerDiffEnabled", bool),
            *_floats("degC", "cellTemperatureDelta"),
        ),
    ),
    Topic("closedLoopControlMode", "The control mode.", (Field("mode", ClosedLoopControlMode),)),
    Topic("enabledFaultsMask", "Faults that are raised, as bits.", (Field("mask", int, "", 0, 2**64 - 1),)),
    Topic("configurationFiles", "Files for setConfigurationFile.", (_list("files", str, 0, 1000),)),
    Topic(
        "powerSystemState",
        "A power supply changed.",
        (Field("powerType", PowerType), _STATUS, Field("state", PowerSystemState)),
    ),
    Topic(
        "innerLoopControlMode",
        "Mode of one inner-loop controller, counted from 0.",
        (Field("address", int, "", 0, 83), Field("mode", InnerLoopControlMode)),
    ),
    Topic("forceBalanceSystemStatus", "Whether closed-loop control is on.", (_STATUS,)),
    Topic(
        "summaryFaultsStatus",
        "Faults and warnings not yet cleared, as bits.",
        (Field("status", int, "", 0, 2**64 - 1),),
    ),
    Topic(
        "limitSwitchStatus",
        "Actuators at a limit switch, counted from 0.",
        (_list("retract", int, 0, ACTUATORS), _list("extend", int, 0, ACTUATORS)),
    ),
    Topic("m2AssemblyInPosition", "Whether the mirror is where it was sent.", (Field("inPosition", bool),)),
    Topic(
        "cellTemperatureHiWarning", "Exhaust air is warmer than intake air by too much.", (Field("hiWarning", bool),)
    ),
    Topic("openLoopMaxLimit", "Whether the largest forces are allowed in open loop.", (_STATUS,)),
    Topic("scriptExecutionStatus", "Progress of the script.", (Field("percentage", float, "%", 0, 100),)),
    Topic("errorCode", "One error; older controllers only.", (Field("errorCode", int),)),
)

_POWER = (
    *_floats("V", "motorVoltage"),
    *_floats("A", "motorCurrent"),
    *_floats("V", "commVoltage"),
    *_floats("A", "commCurrent"),
)
_POSE = (*_floats("um", "x", "y", "z"), *_floats("arcsec", "xRot", "yRot", "zRot"))
_FORCES = _floats("N", "fx", "fy", "fz")
_MOMENTS = _floats("N m", "mx", "my", "mz")
_FORCE_LISTS = ("lutGravity", "lutTemperature", "applied", "measured", "hardpointCorrection")

_TELEMETRY = (
    Topic("powerStatusRaw", "Power as measured.", _POWER),
    Topic("powerStatus", "Power, filtered.", _POWER),
    Topic(
        "displacementSensors",
        "Displacement sensors.",
        (_list("thetaZ", float, 6, unit="um"), _list("deltaZ", float, 6, unit="um")),
    ),
    Topic("ilcData", "Status of the inner-loop controllers of the actuators.", (_list("status", int, ACTUATORS),)),
    Topic("netForcesTotal", "Sum of all forces.", _FORCES),
    Topic("netMomentsTotal", "Sum of all moments.", _MOMENTS),
    Topic("axialForce", "Axial forces.", tuple(_list(name, float, AXIAL_ACTUATORS, unit="N") for name in _FORCE_LISTS)),
    Topic(
        "tangentForce",
        "Tangent forces; lutTemperature is empty.",
        tuple(_list(name, float, 0, TANGENT_LINKS, unit="N") for name in _FORCE_LISTS),
    ),
    Topic("forceBalance", "Forces and moments of the force balance system.", _FORCES + _MOMENTS),
    Topic("position", "Position of the mirror from home.", _POSE),
    Topic("positionIMS", "Position by the independent measurement system.", _POSE),
    Topic("temperature", "Temperatures of the cell.", _TEMPERATURES),
    Topic(
        "zenithAngle",
        "Inclination of the cell.",
        _floats("deg", "measured", "inclinometerRaw", "inclinometerProcessed"),
    ),
    Topic(
        "axialEncoderPositions",
        "Encoders of the axial actuators.",
        (_list("position", float, AXIAL_ACTUATORS, unit="um"),),
    ),
    Topic(
        "tangentEncoderPositions",
        "Encoders of the tangent links.",
        (_list("position", float, TANGENT_LINKS, unit="um"),),
    ),
    Topic("axialActuatorSteps", "Steps of the axial actuators.", (_list("steps", int, AXIAL_ACTUATORS),)),
    Topic("tangentActuatorSteps", "Steps of the tangent links.", (_list("steps", int, TANGENT_LINKS),)),
    Topic(
        "forceErrorTangent",
        "Errors of the tangent forces.",
        (_list("force", float, TANGENT_LINKS, unit="N"), *_floats("N", "weight", "sum")),
    ),
    Topic("inclinometerAngleTma", "Elevation of the telescope as it was sent.", _floats("deg", "inclinometer")),
)

EVENTS: Mapping[str, Topic] = MappingProxyType({topic.name: topic for topic in _EVENTS})
"""All events by name; a controller may send others."""

TELEMETRY: Mapping[str, Topic] = MappingProxyType({topic.name: topic for topic in _TELEMETRY})
"""All telemetry by name; a controller may send others."""
