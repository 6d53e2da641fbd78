"""The simulated cell without a network: time is passed in."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer
from cnx.clients.m2.protocol.messages import M2Lines, encode
from cnx.clients.m2.protocol.table import COMMANDS
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY
from cnx.clients.m2.simulator.model import CellModel
from tests.clients.m2.test_protocol_table import BAD, GOOD, POSE
from tests.helpers import m2_wire_examples as wire

NOTHING_ASKED = b""


def parse(line: bytes) -> list[Any]:
    """Return the messages of a stream."""
    buffer = ReceiveBuffer()
    buffer.append(line)
    return M2Lines().take_all(buffer)


def answers(model: CellModel, line: bytes) -> bytes:
    """Return the bytes that the model answers to bytes."""
    return b"".join(encode(reply) for message in parse(line) for reply in model.answer(message))


def order(model: CellModel, name: str, **values: Any) -> list[dict[str, Any]]:
    """Return the events and the result of a command, without its ack."""
    first, *rest = model.answer({"id": f"cmd_{name}", "sequence_id": 1, **values})
    assert first == {"id": "ack", "sequence_id": 1}
    return rest


def succeeds(model: CellModel, name: str, **values: Any) -> bool:
    """Whether a command succeeds."""
    return bool(order(model, name, **values)[-1]["id"] == "success")


def passed(model: CellModel, seconds: float, now: list[float]) -> list[dict[str, Any]]:
    """Let time pass and return the events of it, but for the one that repeats all the time."""
    for _ in range(round(seconds / 0.05)):
        now[0] += 0.05
        model.advance(now[0])
    return [event for event in model.cell.take_events() if event["id"] != "m2AssemblyInPosition"]


def powered(closed_loop: bool = False) -> CellModel:
    """Return a cell with both powers on."""
    model = CellModel()
    assert succeeds(model, "power", powerType=2, status=True)
    assert succeeds(model, "power", powerType=1, status=True)
    model.cell.due_faults.clear()
    if closed_loop:
        assert succeeds(model, "switchForceBalanceSystem", status=True)
    return model


def telemetry(model: CellModel) -> dict[str, dict[str, Any]]:
    """Return one round of telemetry by topic."""
    return {message["id"]: message for message in model.telemetry()}


def test_answers_the_examples_byte_for_byte() -> None:
    """The whole conversation of the examples gets the answers of the original mock server."""
    model = CellModel()
    assert answers(model, wire.CLEAR_ERRORS) == wire.CLEAR_ERRORS_REPLY
    assert answers(model, wire.MOVE) == wire.MOVE_REPLY
    assert answers(model, wire.POSITION) == wire.POSITION_UNPOWERED_REPLY
    assert answers(model, wire.CLOSED_LOOP_REFUSED) == wire.CLOSED_LOOP_REFUSED_REPLY
    assert answers(model, wire.COMMUNICATION_ON) == wire.COMMUNICATION_ON_REPLY
    assert answers(model, wire.INNER_LOOP) == wire.INNER_LOOP_REPLY
    assert answers(model, wire.MOTOR_ON) == wire.MOTOR_ON_REPLY
    model.advance(0.05)
    assert encode(model.cell.take_events()[0]) == wire.MOTOR_WARNING
    assert answers(model, wire.CLOSED_LOOP) == wire.CLOSED_LOOP_REPLY
    assert answers(model, wire.POSITION) == wire.POSITION_REPLY
    assert answers(model, wire.FAULTS_MASK) == wire.FAULTS_MASK_REPLY
    assert answers(model, wire.REBOOT) == wire.REBOOT_REPLY


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (wire.NOT_JSON, None),
        (wire.EMPTY_LINE, None),
        (wire.HEARTBEAT, None),
        (wire.IN_POSITION, NOTHING_ASKED),
        (wire.MOUNT_IN_POSITION, NOTHING_ASKED),
        (b'{"id": "cmd_clearErrors"}\r\n', NOTHING_ASKED),
        (b'{"id": "foo"}\r\n{"id": "success"}\r\n{"id": "CMD_x"}\r\n{"id": "tel_x"}\r\n', NOTHING_ASKED),
        (b"[1]\r\n5\r\n{}\r\n", NOTHING_ASKED),
        (b'{"id": "cmd_ClearErrors", "sequence_id": 3}\r\n', b'{"id": "noack", "sequence_id": 3}\r\n'),
        (wire.TEXT_SEQUENCE_ID, wire.TEXT_SEQUENCE_ID_REPLY),
        (wire.DUPLICATE_KEYS, wire.TEXT_SEQUENCE_ID_REPLY.replace(b'"abc"', b"2")),
        (wire.WHITE_SPACE, wire.TEXT_SEQUENCE_ID_REPLY.replace(b'"abc"', b"1")),
        (wire.NAN_SEQUENCE_ID, wire.TEXT_SEQUENCE_ID_REPLY.replace(b'"abc"', b"NaN")),
        (
            b'{"id": "cmd_power", "sequence_id": []}\r\n',
            b'{"id": "ack", "sequence_id": []}\r\n{"id": "fail", "sequence_id": []}\r\n',
        ),
    ],
)
def test_odd_input(line: bytes, answer: bytes | None) -> None:
    """Anything but a command is ignored; a sequence id is echoed, whatever it is."""
    model = CellModel()
    if answer is None:
        assert model.answer(parse(line)[0]) == []
    else:
        assert answers(model, line) == answer


def test_sequence_ids_may_have_gaps() -> None:
    """As the original mock server does, gaps and repeats are carried out."""
    model = CellModel()
    for number in (1, 3, 3, 2):
        reply = model.answer({"id": "cmd_setMirrorHome", "sequence_id": number})
        assert [message["id"] for message in reply] == ["ack", "success"]


def test_strict_sequence_ids() -> None:
    """As the protocol document says, a gap is answered with a noack for the id that is missing."""
    model = CellModel(strict=True)
    replies = [model.answer({"id": "cmd_setMirrorHome", "sequence_id": number}) for number in (1, 3, 4, 2**31 - 1, 1)]
    assert [[(reply["id"], reply["sequence_id"]) for reply in answer] for answer in replies] == [
        [("ack", 1), ("success", 1)],
        [("noack", 2)],
        [("ack", 4), ("success", 4)],
        [("noack", 5)],
        [("ack", 1), ("success", 1)],
    ]
    model.greet()
    assert model.answer({"id": "cmd_setMirrorHome", "sequence_id": 77})[-1]["id"] == "success"


def test_welcome() -> None:
    """The first client gets the 99 events of the original in their order, then the fault of the start."""
    model = CellModel()
    *greeting, balance, fault = model.greet()
    assert len(greeting) == 99
    assert encode(greeting[0]) == wire.TCP_IP_CONNECTED
    assert b"".join(map(encode, greeting[2:4])) == wire.HARDPOINTS
    assert [message["address"] for message in greeting[-84:]] == list(range(84))
    assert balance == {"id": "forceBalanceSystemStatus", "status": False}
    assert encode(fault) == wire.FIRST_FAULT
    assert model.greet() == []
    every = CellModel(greets_all=True)
    assert [len(every.greet()) for _ in range(2)] == [101, 99]


def test_every_message_is_in_the_tables() -> None:
    """Events and telemetry carry exactly the fields of the tables, with values that the tables allow."""
    model = powered(closed_loop=True)
    messages = model.greet()
    for name, values in GOOD:
        messages += order(model, name, **values)[:-1]
    model.raise_faults(6051)
    model.cell.open_loop_max = True
    model.cell.mirror.measured[0] = 700.0
    model.answer({"id": "cmd_runScript", "sequence_id": 1, "scriptCommand": 1, "scriptName": "a"})
    model.answer({"id": "cmd_runScript", "sequence_id": 1, "scriptCommand": 3})
    model.advance(0.1)
    messages += model.cell.take_events()
    for table, found in ((EVENTS, messages), (TELEMETRY, model.telemetry())):
        for message in found:
            fields = {field.name: field for field in table[message["id"]].fields}
            assert set(message) - {"id"} == set(fields), message["id"]
            for name, field in fields.items():
                field.check(message[name])
    assert list(telemetry(model)) == list(TELEMETRY)
    never = {"cellTemperatureHiWarning", "errorCode"}
    assert {message["id"] for message in messages} == set(EVENTS) - never


@pytest.mark.parametrize(("name", "values"), [(name, values) for name, values, _, _ in BAD])
def test_bad_parameters_fail(name: str, values: dict[str, Any]) -> None:
    """A known command with bad parameters is acknowledged and fails, unless only keys are too many."""
    extra = set(values) - {field.name for field in COMMANDS[name].parameters}
    result = order(powered(closed_loop=True), name, **values)[-1]["id"]
    assert result == ("success" if extra else "fail")


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(COMMANDS)), st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists))
def test_any_value_is_answered(name: str, value: Any) -> None:
    """Whatever the parameters are, there is one ack and one result."""
    values = {field.name: value for field in COMMANDS[name].parameters}
    assert order(powered(), name, **values)[-1]["id"] in ("success", "fail")


def test_without_power() -> None:
    """Motion and inner loops need power."""
    model = CellModel()
    assert not succeeds(model, "positionMirror", **POSE)
    assert not succeeds(model, "getInnerLoopControlMode", addresses=[1])
    assert not succeeds(model, "setInnerLoopControlMode", addresses=[1], mode=3)
    assert not succeeds(model, "resetBreakers", powerType=1)
    assert list(telemetry(model)) == ["powerStatusRaw", "powerStatus", "displacementSensors"]
    assert abs(telemetry(model)["powerStatus"]["motorVoltage"]) < 1


def test_position_moves_to_its_set_point() -> None:
    """50 micrometres take about 8 seconds, the steps follow, and the end is reported."""
    model, now = powered(closed_loop=True), [0.0]
    assert succeeds(model, "positionMirror", **{**POSE, "x": 50})
    passed(model, 4.0, now)
    halfway = telemetry(model)["position"]["x"]
    assert 20 < halfway < 30
    model.cell.take_events()
    now[0] += 0.05
    model.advance(now[0])
    assert model.cell.take_events() == []
    passed(model, 4.5, now)
    found = telemetry(model)
    assert found["position"] == {"id": "position", **POSE, "x": 50.0}
    assert found["tangentActuatorSteps"]["steps"][0] == round(50 / 1.9967536601e-2)
    now[0] += 0.05
    model.advance(now[0])
    assert model.cell.take_events() == [{"id": "m2AssemblyInPosition", "inPosition": True}]
    assert succeeds(model, "setMirrorHome")
    assert telemetry(model)["position"]["x"] == 0.0


def test_forces_move_to_their_set_points() -> None:
    """Applied forces add to gravity within seconds, and vanish with a reset."""
    model, now = powered(closed_loop=True), [0.0]
    gravity = 1588.65 * 9.8 * math.sin(math.radians(89.06)) / 72
    assert telemetry(model)["axialForce"]["measured"][3] == pytest.approx(gravity, abs=0.5)
    assert succeeds(model, "applyForces", axial=[10.0] * 72, tangent=[0.0] * 6)
    passed(model, 3.0, now)
    assert telemetry(model)["axialForce"]["measured"][3] == pytest.approx(gravity + 10, abs=0.5)
    assert not succeeds(model, "applyForces", axial=[300.0] * 72, tangent=[0.0] * 6)
    assert succeeds(model, "resetForceOffsets")
    passed(model, 3.0, now)
    assert telemetry(model)["axialForce"]["measured"][3] == pytest.approx(gravity, abs=0.5)


def test_actuators_move_in_open_loop_until_a_limit() -> None:
    """Steps run at 100 a turn, can be paused, and too much force is a fault with a limit switch."""
    model, now = powered(), [0.0]
    assert succeeds(model, "enableOpenLoopMaxLimit", status=True)
    start = {"actuatorCommand": 1, "actuators": [0], "displacement": 3.0, "unit": 1}
    assert succeeds(model, "moveActuators", **start)
    assert not succeeds(model, "moveActuators", **start)
    passed(model, 0.5, now)
    assert telemetry(model)["axialActuatorSteps"]["steps"][:2] == [1000, 0]
    assert succeeds(model, "moveActuators", actuatorCommand=3)
    passed(model, 0.5, now)
    assert telemetry(model)["axialActuatorSteps"]["steps"][0] == 1000
    assert succeeds(model, "moveActuators", actuatorCommand=4)
    events = passed(model, 45.0, now)
    assert [event["id"] for event in events[:2]] == ["forceBalanceSystemStatus", "summaryFaultsStatus"]
    assert encode(events[2]) == wire.LIMIT_SWITCH
    assert not succeeds(model, "moveActuators", actuatorCommand=4)


def test_a_fault_ends_closed_loop_and_comes_again_while_its_cause_stays() -> None:
    """Excessive force in closed loop is fault 6056; clearing it does not help while the force is there."""
    model, now = powered(closed_loop=True), [0.0]
    model.cell.mirror.measured[7] = 5000.0
    events = passed(model, 0.05, now)
    assert events == [
        {"id": "forceBalanceSystemStatus", "status": False},
        {"id": "summaryFaultsStatus", "status": 1 << 6},
    ]
    assert not model.cell.closed_loop
    model.cell.mirror.measured[7] = 5000.0
    assert succeeds(model, "clearErrors")
    assert {"id": "summaryFaultsStatus", "status": 1 << 5} in passed(model, 0.05, now)
    assert passed(model, 0.05, now) == []
    passed(model, 10.0, now)
    assert succeeds(model, "clearErrors")
    assert passed(model, 0.2, now) == []


def test_masked_faults_are_not_raised() -> None:
    """A fault whose bit is not in the mask does not happen; a code that is none is refused."""
    model = CellModel()
    assert succeeds(model, "setEnabledFaultsMask", mask=0)
    model.raise_faults(6051)
    assert model.cell.faults == 0
    with pytest.raises(ValueError, match="6051"):
        model.raise_faults(1)


def test_angles_that_differ_are_a_fault() -> None:
    """When the comparison is on, the elevation of the telescope has to agree with the cell's own."""
    model, now = powered(), [0.0]
    model.take_telemetry(parse(wire.ELEVATION)[0])
    assert telemetry(model)["inclinometerAngleTma"]["inclinometer"] == 45.5
    assert passed(model, 0.1, now) == []
    parameters = {"useExternalElevationAngle": True, "enableAngleComparison": True, "enableLutTemperature": True}
    assert succeeds(model, "setControlParameters", maxAngleDifference=2.0, **parameters)
    assert {"id": "summaryFaultsStatus", "status": 1 << 33} in passed(model, 0.05, now)
    passed(model, 5.0, now)
    expected = 1588.65 * 9.8 * math.sin(math.radians(45.5)) / 72
    assert telemetry(model)["axialForce"]["measured"][0] == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        {"id": "tel_elevation"},
        {"id": "tel_elevation", "compName": "MTMount"},
        {"id": "tel_elevation", "compName": "MTMount", "actualPosition": "x"},
        {"id": "tel_elevation", "compName": "MTMount", "actualPosition": math.nan},
        {"id": "tel_elevation", "compName": 5, "actualPosition": 1.0},
    ],
)
def test_other_telemetry_is_ignored(message: Any) -> None:
    """Anything but the elevation of the telescope changes nothing."""
    model = CellModel()
    model.take_telemetry(message)
    assert model.cell.mirror.telescope_elevation == pytest.approx(89.06)


def test_scripts() -> None:
    """A script is loaded, runs with progress, is paused, and ends."""
    model, now = CellModel(), [0.0]
    assert not succeeds(model, "runScript", scriptCommand=3)
    assert succeeds(model, "runScript", scriptCommand=1, scriptName="a.txt")
    assert succeeds(model, "runScript", scriptCommand=3)
    assert not succeeds(model, "runScript", scriptCommand=3)
    assert not succeeds(model, "runScript", scriptCommand=2)
    assert passed(model, 0.1, now) == [{"id": "scriptExecutionStatus", "percentage": done} for done in (1, 2)]
    assert succeeds(model, "runScript", scriptCommand=5)
    assert passed(model, 0.1, now) == []
    assert succeeds(model, "runScript", scriptCommand=6)
    assert passed(model, 10.0, now)[-1]["percentage"] == 100
    assert not succeeds(model, "runScript", scriptCommand=6)
    assert succeeds(model, "runScript", scriptCommand=2)
    assert succeeds(model, "runScript", scriptCommand=4)


def test_breakers_outputs_and_power() -> None:
    """Digital outputs switch powers, breakers are reported step by step, switching the motor off ends closed loop."""
    model = powered(closed_loop=True)
    ids = [event["id"] for event in order(model, "resetBreakers", powerType=1)]
    assert ids == ["digitalOutput", "interlock", "digitalInput", "powerSystemState", "digitalOutput", "interlock",
                   "powerSystemState", "digitalInput", "success"]  # fmt: skip
    assert {"id": "forceBalanceSystemStatus", "status": False} in order(model, "power", powerType=1, status=False)
    events = order(model, "switchDigitalOutput", bit=1, status=3)
    assert events[0] == {"id": "digitalOutput", "value": 31}
    assert [event["id"] for event in events].count("powerSystemState") == 4
    assert {"id": "interlock", "state": True} in order(model, "switchDigitalOutput", bit=4, status=1)


def test_inner_loops() -> None:
    """Modes are set and reported; clearing faults leads to standby, and an order that is no mode changes nothing."""
    model = powered()
    assert order(model, "setInnerLoopControlMode", addresses=[3], mode=5)[0]["mode"] == 5
    assert order(model, "setInnerLoopControlMode", addresses=[3], mode=7)[0]["mode"] == 5
    assert order(model, "setInnerLoopControlMode", addresses=[3], mode=6)[0]["mode"] == 1
    assert order(model, "getInnerLoopControlMode", addresses=[3])[0] == {
        "id": "innerLoopControlMode",
        "address": 3,
        "mode": 1,
    }


def test_configuration_files() -> None:
    """A file of the list has all parts; of another one only the name is known."""
    model = CellModel()
    known = order(model, "setConfigurationFile", file="Configurable_File_Description_20180831T091922_M2_optical.csv")[0]
    assert (known["version"], known["controlParameters"]) == ("20180831T091922", "CtrlParameterFiles_M2_optical")
    assert order(model, "setConfigurationFile", file="other")[0]["version"] == ""
    assert order(model, "loadConfiguration")[0]["configuration"] == "other"


def test_time_that_nobody_saw_is_skipped() -> None:
    """After an hour without a look the model goes on from now, at once, and events stay bounded."""
    model = CellModel()
    model.advance(3600.0)
    assert len(model.cell.take_events()) <= 21


def test_the_same_seed_gives_the_same_telemetry() -> None:
    """Noise is repeatable."""
    first, second, other = (CellModel(seed=seed).telemetry() for seed in (1, 1, 2))
    assert first == second != other
