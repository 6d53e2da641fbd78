"""The effect of each command on the simulated cell.

Each function returns whether the command succeeded, and leaves its events in the cell. The order of the events, and
which commands succeed, are those of the mock server of ``ts_m2com`` 1.5.16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cnx.clients.m2.protocol.enums import (
    ACTUATORS,
    AXIAL_ACTUATORS,
    ActuatorDisplacementUnit,
    ClosedLoopControlMode,
    CommandActuator,
    CommandScript,
    DigitalOutput,
    DigitalOutputStatus,
    InnerLoopControlMode,
    PowerSystemState,
    PowerType,
)
from cnx.clients.m2.protocol.table import COMMANDS, MAX_AXIAL_FORCE, MAX_TANGENT_FORCE
from cnx.clients.m2.simulator.mirror import MICROMETRES_A_STEP
from cnx.clients.m2.simulator.state import BREAKERS, CellState, Script

__all__ = ["execute"]

Values = Mapping[str, Any]

DONE = 100
RESET_OUTPUTS = {
    PowerType.MOTOR: DigitalOutput.RESET_MOTOR_BREAKERS,
    PowerType.COMMUNICATION: DigitalOutput.RESET_COMMUNICATION_BREAKERS,
}


def execute(cell: CellState, name: str, values: Values) -> bool:
    """Execute a command of the table; it fails if the table does not allow its parameters."""
    try:
        checked = COMMANDS[name].check(values)
    except (TypeError, ValueError):
        return False
    return _ACTIONS[name](cell, checked)


def switch_power(cell: CellState, power: PowerType, on: bool) -> None:
    """Switch a power supply, and report its steps."""
    cell.powered[power] = on
    if on:
        cell.report_power(power, PowerSystemState.POWERING_ON, PowerSystemState.POWERED_ON)
    else:
        cell.report_power(power, PowerSystemState.POWERING_OFF, PowerSystemState.POWERED_OFF)
    if on and power is PowerType.MOTOR:
        cell.due_faults.append(6052)


def _nothing(cell: CellState, values: Values) -> bool:
    return True


def _reboot(cell: CellState, values: Values) -> bool:
    cell.rebooting = True
    return True


def _apply_forces(cell: CellState, values: Values) -> bool:
    forces = [*values["axial"], *values["tangent"]]
    limits = [MAX_AXIAL_FORCE] * AXIAL_ACTUATORS + [MAX_TANGENT_FORCE] * (ACTUATORS - AXIAL_ACTUATORS)
    if any(abs(a + b) >= limit for a, b, limit in zip(forces, cell.mirror.gravity, limits, strict=True)):
        return False
    cell.mirror.applied = forces
    cell.in_position = False
    cell.report("m2AssemblyInPosition")
    return True


def _position_mirror(cell: CellState, values: Values) -> bool:
    accepted = cell.powered[PowerType.MOTOR] and cell.closed_loop
    cell.in_position = False
    cell.report("m2AssemblyInPosition")
    if accepted:
        cell.mirror.target = {axis: float(values[axis]) for axis in cell.mirror.target}
        cell.in_position = True  # reported at once, as by the mock server, and next when the mirror is there
    cell.report("m2AssemblyInPosition")
    return accepted


def _reset_forces(cell: CellState, values: Values) -> bool:
    cell.mirror.applied = [0.0] * ACTUATORS
    cell.in_position = False
    cell.report("m2AssemblyInPosition")
    return True


def _make_home(cell: CellState, values: Values) -> bool:
    cell.mirror.make_home()
    return True


def _clear_errors(cell: CellState, values: Values) -> bool:
    cell.faults = 0
    cell.report("summaryFaultsStatus", "digitalInput", "digitalOutput", "interlock")
    return True


def _switch_force_balance(cell: CellState, values: Values) -> bool:
    accepted = not values["status"] or (cell.powered[PowerType.MOTOR] and not cell.open_loop_max)
    cell.closed_loop = values["status"] and accepted
    cell.mode = ClosedLoopControlMode.CLOSED_LOOP if cell.closed_loop else ClosedLoopControlMode.OPEN_LOOP
    cell.report("forceBalanceSystemStatus", "openLoopMaxLimit", "closedLoopControlMode", "digitalOutput")
    return accepted


def _set_temperature_offset(cell: CellState, values: Values) -> bool:
    cell.temperature_offset = values["ring"]
    cell.report("temperatureOffset")
    return True


def _switch_command_source(cell: CellState, values: Values) -> bool:
    cell.remote = values["isRemote"]
    cell.report("commandableByDDS")
    return True


def _run_script(cell: CellState, values: Values) -> bool:
    script, order = cell.script, CommandScript(values["scriptCommand"])
    ready = bool(script.name) and not script.running and script.progress < DONE
    if order is CommandScript.LOAD_SCRIPT and not script.running:
        cell.script = Script(values["scriptName"])
    elif order is CommandScript.CLEAR and not script.running:
        cell.script = Script()
    elif order in (CommandScript.RUN, CommandScript.RESUME) and ready:
        script.running = True
    elif order is CommandScript.PAUSE:
        script.running = False
    elif order is CommandScript.STOP:
        script.running, script.progress = False, DONE
    else:
        return False
    return True


def _move_actuators(cell: CellState, values: Values) -> bool:
    order = CommandActuator(values["actuatorCommand"])
    if order is CommandActuator.START:
        if cell.moving:
            return False
        in_steps = values["unit"] == ActuatorDisplacementUnit.STEP
        steps = values["displacement"] * (1.0 if in_steps else 1000.0 / MICROMETRES_A_STEP)
        cell.mirror.to_move = dict.fromkeys(values["actuators"], steps)
    elif order is CommandActuator.RESUME and not cell.mirror.to_move:
        return False
    elif order is CommandActuator.STOP:
        cell.mirror.to_move = {}
    cell.moving = order in (CommandActuator.START, CommandActuator.RESUME)
    return True


def _reset_breakers(cell: CellState, values: Values) -> bool:
    power = PowerType(values["powerType"])
    if not cell.powered[power]:
        cell.report("digitalInput")
        return False
    cell.send("digitalOutput", value=cell.outputs & ~RESET_OUTPUTS[power])
    cell.report("interlock")
    cell.send("digitalInput", value=cell.inputs | BREAKERS[power])
    cell.report_power(power, PowerSystemState.RESETTING_BREAKERS)
    cell.report("digitalOutput", "interlock")
    cell.report_power(power, PowerSystemState.POWERED_ON)
    cell.report("digitalInput")
    return True


def _enable_open_loop_max(cell: CellState, values: Values) -> bool:
    accepted = not (values["status"] and cell.closed_loop)
    cell.open_loop_max = values["status"] and accepted
    cell.report("openLoopMaxLimit")
    return accepted


def _switch_output(cell: CellState, values: Values) -> bool:
    bit, status = values["bit"], DigitalOutputStatus(values["status"])
    on = not cell.outputs & bit if status is DigitalOutputStatus.TOGGLE else status is DigitalOutputStatus.HIGH
    outputs = cell.outputs | bit if on else cell.outputs & ~bit
    powers = {
        PowerType.COMMUNICATION: bool(outputs & DigitalOutput.COMMUNICATION_POWER),
        PowerType.MOTOR: bool(outputs & DigitalOutput.MOTOR_POWER),
    }
    cell.spare_outputs = outputs & ~0x23
    cell.closed_loop = bool(outputs & DigitalOutput.CLOSED_LOOP_CONTROL) and powers[PowerType.MOTOR]
    cell.powered.update(powers)
    cell.report("digitalOutput", "interlock")
    for power, state in powers.items():
        switch_power(cell, power, state)
    return True


def _power(cell: CellState, values: Values) -> bool:
    power, on = PowerType(values["powerType"]), values["status"]
    ends_loop = cell.closed_loop and power is PowerType.MOTOR and not on
    switch_power(cell, power, on)
    if ends_loop:
        cell.closed_loop = False
        cell.report("forceBalanceSystemStatus")
    cell.report("digitalInput", "digitalOutput", "interlock", "openLoopMaxLimit")
    return True


def _set_mode(cell: CellState, values: Values) -> bool:
    cell.mode = ClosedLoopControlMode(values["mode"])
    cell.report("closedLoopControlMode")
    return True


def _set_inner_loops(cell: CellState, values: Values) -> bool:
    if not cell.powered[PowerType.COMMUNICATION]:
        return False
    mode = InnerLoopControlMode(values["mode"])
    if mode is InnerLoopControlMode.CLEAR_FAULTS:
        mode = InnerLoopControlMode.STANDBY
    if mode not in (InnerLoopControlMode.NO_CHANGE, InnerLoopControlMode.UNKNOWN):
        for address in values["addresses"]:
            cell.inner_loops[address] = mode
    return _report_inner_loops(cell, values)


def _report_inner_loops(cell: CellState, values: Values) -> bool:
    if not cell.powered[PowerType.COMMUNICATION]:
        return False
    for address in values["addresses"]:
        cell.report_inner_loop(address)
    return True


def _report_configuration(cell: CellState, values: Values) -> bool:
    cell.file = values.get("file", cell.file)
    cell.report("config")
    return True


def _set_control_parameters(cell: CellState, values: Values) -> bool:
    cell.mirror.follows_telescope = values["useExternalElevationAngle"]
    cell.angle_limit = values["maxAngleDifference"] if values["enableAngleComparison"] else None
    cell.report("inclinationTelemetrySource")
    return True


def _set_faults_mask(cell: CellState, values: Values) -> bool:
    cell.faults_mask = values["mask"]
    cell.report("enabledFaultsMask")
    return True


def _set_hardpoints(cell: CellState, values: Values) -> bool:
    cell.hardpoints = values["actuators"]
    cell.report("hardpointList", "bypassedActuatorILCs")
    return True


_ACTIONS: dict[str, Callable[[CellState, Values], bool]] = {
    "applyForces": _apply_forces,
    "positionMirror": _position_mirror,
    "resetForceOffsets": _reset_forces,
    "resetActuatorSteps": _nothing,
    "saveMirrorPosition": _nothing,
    "setMirrorHome": _make_home,
    "clearErrors": _clear_errors,
    "switchForceBalanceSystem": _switch_force_balance,
    "setTemperatureOffset": _set_temperature_offset,
    "switchCommandSource": _switch_command_source,
    "runScript": _run_script,
    "moveActuators": _move_actuators,
    "resetBreakers": _reset_breakers,
    "rebootController": _reboot,
    "enableOpenLoopMaxLimit": _enable_open_loop_max,
    "switchDigitalOutput": _switch_output,
    "power": _power,
    "setClosedLoopControlMode": _set_mode,
    "setInnerLoopControlMode": _set_inner_loops,
    "getInnerLoopControlMode": _report_inner_loops,
    "loadConfiguration": _report_configuration,
    "setConfigurationFile": _report_configuration,
    "setControlParameters": _set_control_parameters,
    "setEnabledFaultsMask": _set_faults_mask,
    "setHardpointList": _set_hardpoints,
}
