"""The tables of commands, events, telemetry and faults."""

from __future__ import annotations

import contextlib
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.clients.m2.protocol.enums import CommandScript, DigitalOutput, InnerLoopControlMode, PowerType
from cnx.clients.m2.protocol.faults import DEFAULT_FAULTS_MASK, FAULTS, faults_in
from cnx.clients.m2.protocol.table import COMMANDS, command
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY

POSE: dict[str, Any] = {"x": 1, "y": 2.0, "z": 3, "xRot": 0, "yRot": 0, "zRot": 0}

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("applyForces", {"axial": [0.0] * 72, "tangent": [1] * 6}),
    ("positionMirror", POSE),
    ("clearErrors", {}),
    ("switchForceBalanceSystem", {"status": True}),
    ("setTemperatureOffset", {"ring": [21.0] * 12}),
    ("setTemperatureOffset", {"ring": (21,) * 12, "intake": [0, 0], "exhaust": [0, 0]}),
    ("switchCommandSource", {"isRemote": False}),
    ("runScript", {"scriptCommand": 1, "scriptName": "a.txt"}),
    ("runScript", {"scriptCommand": CommandScript.RUN}),
    ("moveActuators", {"actuatorCommand": 1, "actuators": [0, 77], "displacement": 0.5, "unit": 1}),
    ("moveActuators", {"actuatorCommand": 1, "actuators": [0], "displacement": 100.0, "unit": 2}),
    ("moveActuators", {"actuatorCommand": 2}),
    ("switchDigitalOutput", {"bit": DigitalOutput.CLOSED_LOOP_CONTROL, "status": 3}),
    ("power", {"powerType": 2, "status": True}),
    ("setInnerLoopControlMode", {"addresses": list(range(84)), "mode": InnerLoopControlMode.ENABLED}),
    ("setEnabledFaultsMask", {"mask": 2**64 - 1}),
    ("setHardpointList", {"actuators": [5, 15, 25, 73, 75, 77]}),
    ("setControlParameters", {"useExternalElevationAngle": True, "enableAngleComparison": True,
                              "maxAngleDifference": 2, "enableLutTemperature": False}),
]  # fmt: skip

BAD: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("power", {"powerType": 2}, TypeError, "needs status"),
    ("power", {"powerType": 2, "status": True, "Status": True}, TypeError, "no parameter Status"),
    ("clearErrors", {"all": True}, TypeError, "its parameters: none"),
    ("power", {"powerType": 3, "status": True}, ValueError, "1 MOTOR, 2 COMMUNICATION"),
    ("power", {"powerType": True, "status": True}, TypeError, "PowerType"),
    ("power", {"powerType": "MOTOR", "status": True}, TypeError, "PowerType"),
    ("power", {"powerType": 1, "status": 1}, TypeError, "true or false"),
    ("positionMirror", {**POSE, "x": math.nan}, ValueError, "finite"),
    ("positionMirror", {**POSE, "z": -math.inf}, ValueError, "finite"),
    ("positionMirror", {**POSE, "z": 7891}, ValueError, "-7890 to 7890 um"),
    ("positionMirror", {**POSE, "x": 7000, "y": 7000}, ValueError, "at most 7740 um"),
    ("positionMirror", {**POSE, "x": "1"}, TypeError, "a number"),
    ("positionMirror", {**POSE, "x": 10**400}, ValueError, "positionMirror: x"),
    ("applyForces", {"axial": [0] * 71, "tangent": [0] * 6}, ValueError, "72 items, not 71"),
    ("applyForces", {"axial": [0] * 72, "tangent": 0}, TypeError, "list"),
    ("applyForces", {"axial": [445] + [0] * 71, "tangent": [0] * 6}, ValueError, "444.82 N"),
    ("setTemperatureOffset", {"ring": [20] * 12, "intake": [1]}, ValueError, "2 items"),
    ("runScript", {"scriptCommand": 1}, TypeError, "LOAD_SCRIPT"),
    ("runScript", {"scriptCommand": 3, "scriptName": "a"}, TypeError, "LOAD_SCRIPT"),
    ("runScript", {"scriptCommand": 1, "scriptName": ""}, ValueError, "empty"),
    ("runScript", {"scriptCommand": 1, "scriptName": b"a"}, TypeError, "text"),
    ("moveActuators", {"actuatorCommand": 1, "actuators": [1]}, TypeError, "START needs"),
    ("moveActuators", {"actuatorCommand": 2, "unit": 1}, TypeError, "only START takes unit"),
    (
        "moveActuators",
        {"actuatorCommand": 1, "actuators": [], "displacement": 1, "unit": 1},
        ValueError,
        "1 to 78 items",
    ),
    ("moveActuators", {"actuatorCommand": 1, "actuators": [1], "displacement": 1.5, "unit": 2}, ValueError, "whole"),
    ("moveActuators", {"actuatorCommand": 1, "actuators": [78], "displacement": 1, "unit": 1}, ValueError, "0 to 77"),
    ("switchDigitalOutput", {"bit": 3, "status": 1}, ValueError, "one bit"),
    ("switchDigitalOutput", {"bit": 256, "status": 1}, ValueError, "1 to 128"),
    ("getInnerLoopControlMode", {"addresses": [-1]}, ValueError, "0 to 83"),
    ("getInnerLoopControlMode", {"addresses": [1.0]}, TypeError, "an integer"),
    ("setEnabledFaultsMask", {"mask": 2**64}, ValueError, "mask"),
    ("setHardpointList", {"actuators": [5, 15, 25, 72, 74, 77]}, ValueError, "tangent"),
    ("setHardpointList", {"actuators": [15, 5, 25, 72, 74, 76]}, ValueError, "ascending"),
    ("setHardpointList", {"actuators": [5, 15, 72, 72, 74, 76]}, ValueError, "ascending"),
]


@pytest.mark.parametrize(("name", "values"), GOOD)
def test_good_parameters(name: str, values: dict[str, Any]) -> None:
    """Parameters that the controller takes pass, in their order, as the same values."""
    checked = command(name).check(values)
    assert list(checked) == list(values)
    assert json.dumps(checked) == json.dumps(values)


@pytest.mark.parametrize(("name", "values", "error", "text"), BAD)
def test_bad_parameters(name: str, values: dict[str, Any], error: type[Exception], text: str) -> None:
    """Wrong names, types, units and ranges are errors that name the command and say what is right."""
    with pytest.raises(error, match=text) as caught:
        command(name).check(values)
    assert name in str(caught.value)


def test_numbers_of_other_libraries() -> None:
    """Numbers of numpy and fractions become numbers that have a JSON form."""
    values = {**POSE, "x": numpy.float32(0.5), "y": numpy.float64(1.5), "z": Fraction(1, 2), "xRot": numpy.int64(3)}
    assert json.loads(json.dumps(command("positionMirror").check(values)))["xRot"] == 3
    power = command("power").check({"powerType": numpy.int32(1), "status": True})
    assert json.dumps(power) == '{"powerType": 1, "status": true}'
    with pytest.raises(TypeError, match="a number"):
        command("positionMirror").check({**POSE, "x": Decimal("0.5")})


def test_unknown_command() -> None:
    """A name that is none is an error that lists the names."""
    names: list[Any] = ["Power", "cmd_power", "", None, []]
    for name in names:
        with pytest.raises(ValueError, match="clearErrors"):
            command(name)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(sorted(COMMANDS)),
    st.dictionaries(
        st.sampled_from(sorted({field.name for entry in COMMANDS.values() for field in entry.parameters})),
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text()
        | st.lists(st.floats() | st.integers(), max_size=12),
        max_size=5,
    ),
)
def test_a_check_passes_or_refuses(name: str, values: dict[str, Any]) -> None:
    """Any parameters are refused with one of two errors, or have a JSON form without NaN."""
    with contextlib.suppress(TypeError, ValueError):
        checked = command(name).check(values)
        assert json.loads(json.dumps(checked, allow_nan=False)) == checked


def test_tables_are_whole() -> None:
    """All commands, events and telemetry are there, with the timeouts of the controller."""
    assert (len(COMMANDS), len(EVENTS), len(TELEMETRY)) == (25, 23, 19)
    slow = {name: entry.timeout for name, entry in COMMANDS.items() if entry.timeout != 10.0}
    assert slow == {"power": 30.0, "setInnerLoopControlMode": 20.0, "getInnerLoopControlMode": 20.0}
    assert all(entry.summary for table in (COMMANDS, EVENTS, TELEMETRY) for entry in table.values())


def test_faults() -> None:
    """Bits become faults, and the mask that the controller starts with holds all of them."""
    assert [fault.code for fault in faults_in(2**57)] == [6053]
    assert [fault.code for fault in faults_in(2**34 | 2**5 | 1)] == [6057, 6052]
    assert faults_in(0) == []
    assert len(FAULTS) == 37
    assert all(fault.mask & DEFAULT_FAULTS_MASK for fault in FAULTS.values())
    assert FAULTS[6052].warning
    assert not FAULTS[6053].warning


def test_members_go_out_as_numbers() -> None:
    """A member of an enumeration is a number on the wire."""
    assert json.dumps({"powerType": PowerType.MOTOR}) == '{"powerType": 1}'
