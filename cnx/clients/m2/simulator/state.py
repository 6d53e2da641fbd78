"""The state of the simulated cell, and the events that report it. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cnx.clients.m2.protocol.enums import (
    INNER_LOOP_CONTROLLERS,
    ClosedLoopControlMode,
    InclinationTelemetrySource,
    InnerLoopControlMode,
    PowerSystemState,
    PowerType,
)
from cnx.clients.m2.protocol.faults import DEFAULT_FAULTS_MASK
from cnx.clients.m2.simulator.mirror import Message, Mirror

__all__ = ["CellState", "Script", "welcome"]

MOST_EVENTS = 10_000
"""Events that wait for a client, at most; the oldest are dropped when no client is connected."""

SPARE_OUTPUTS = 0x1C
INPUTS = 0x9F00FFFF
INTERLOCK_OUTPUT = 0x04
INTERLOCK_RELAY = 0x80000000
CLOSED_LOOP_OUTPUT = 0x20
POWER_OUTPUTS = {PowerType.MOTOR: 0x01, PowerType.COMMUNICATION: 0x02}
BREAKERS = {PowerType.MOTOR: 0x7FC0, PowerType.COMMUNICATION: 0x1F008000}

FILES = [
    f"Configurable_File_Description_{name}.csv"
    for name in (
        "20180831T091922_M2_optical",
        "20180831T092326_M2_handling",
        "20180831T092423_surrogate_optical",
        "20180831T092556_surrogate_handling",
    )
]
LIMITS: Message = {
    "powerWarningMotor": 5.0,
    "powerFaultMotor": 10.0,
    "powerThresholdMotor": 20.0,
    "powerWarningComm": 5.0,
    "powerFaultComm": 10.0,
    "powerThresholdComm": 10.0,
    "inPositionAxial": 0.158,
    "inPositionTangent": 1.1,
    "inPositionSample": 1.0,
    "timeoutSal": 15.0,
    "timeoutCrio": 1.0,
    "timeoutIlc": 3,
    "inclinometerDelta": 2.0,
    "inclinometerDiffEnabled": True,
    "cellTemperatureDelta": 2.0,
}


@dataclass
class Script:
    """A script of the controller."""

    name: str = ""
    running: bool = False
    progress: int = 0


@dataclass
class CellState:
    """The state of the cell; ``report()`` puts an event about it into the queue for the client."""

    mirror: Mirror
    powered: dict[PowerType, bool] = field(default_factory=lambda: dict.fromkeys(PowerType, False))
    spare_outputs: int = SPARE_OUTPUTS
    closed_loop: bool = False
    open_loop_max: bool = False
    mode: ClosedLoopControlMode = ClosedLoopControlMode.IDLE
    inner_loops: list[InnerLoopControlMode] = field(
        default_factory=lambda: [InnerLoopControlMode.STANDBY] * INNER_LOOP_CONTROLLERS
    )
    faults: int = 0
    faults_mask: int = DEFAULT_FAULTS_MASK
    due_faults: list[int] = field(default_factory=list)
    limit_switches: tuple[list[int], list[int]] = ([], [])
    angle_limit: float | None = None
    mount_in_position: bool = False
    in_position: bool = False
    file: str = FILES[-1]
    script: Script = field(default_factory=Script)
    moving: bool = False
    remote: bool = True
    rebooting: bool = False
    hardpoints: list[int] = field(default_factory=lambda: [5, 15, 25, 73, 75, 77])
    temperature_offset: list[float] = field(default_factory=lambda: [21.0] * 12)
    events: list[Message] = field(default_factory=list)

    @property
    def outputs(self) -> int:
        """The digital outputs."""
        power = sum(bit for kind, bit in POWER_OUTPUTS.items() if self.powered[kind])
        return self.spare_outputs | power | (CLOSED_LOOP_OUTPUT if self.closed_loop else 0)

    @property
    def inputs(self) -> int:
        """The digital inputs."""
        closed = sum(bits for kind, bits in BREAKERS.items() if self.powered[kind])
        return INPUTS & ~closed & ~(INTERLOCK_RELAY if self.powered[PowerType.MOTOR] else 0)

    @property
    def interlocked(self) -> bool:
        """Whether the interlock is engaged."""
        return not self.outputs & INTERLOCK_OUTPUT or bool(self.inputs & INTERLOCK_RELAY)

    def report(self, *topics: str) -> None:
        """Send events about the current state."""
        for topic in topics:
            self.send(topic, **REPORTS[topic](self))

    def report_power(self, power: PowerType, *steps: PowerSystemState) -> None:
        """Send the steps of a power supply to its current state."""
        for step in steps:
            self.send("powerSystemState", powerType=power, status=self.powered[power], state=step)

    def report_inner_loop(self, address: int) -> None:
        """Send the mode of one inner-loop controller."""
        self.send("innerLoopControlMode", address=address, mode=self.inner_loops[address])

    def send(self, topic: str, **fields: Any) -> None:
        """Send an event."""
        self.events.append({"id": topic, **fields})
        del self.events[:-MOST_EVENTS]

    def take_events(self) -> list[Message]:
        """Return the waiting events, and clear the queue."""
        events, self.events = self.events, []
        return events


def configuration(file: str) -> Message:
    """Return the content of the event ``config`` for a file; of an unknown file, only its name is known."""
    version, _, kind = file.removeprefix("Configurable_File_Description_").removesuffix(".csv").partition("_")
    known = file in FILES
    names = {
        "configuration": file,
        "version": version if known else "",
        "controlParameters": f"CtrlParameterFiles_{kind}" if known else "",
        "lutParameters": f"FinalLUTs_{kind}" if known else "",
    }
    return {**names, **LIMITS}


REPORTS: dict[str, Callable[[CellState], Message]] = {
    "commandableByDDS": lambda cell: {"state": cell.remote},
    "hardpointList": lambda cell: {"actuators": [number + 1 for number in cell.hardpoints]},
    "bypassedActuatorILCs": lambda cell: {"ilcs": [cell.hardpoints[0] + 1]},
    "interlock": lambda cell: {"state": cell.interlocked},
    "inclinationTelemetrySource": lambda cell: {
        "source": list(InclinationTelemetrySource)[cell.mirror.follows_telescope],
    },
    "temperatureOffset": lambda cell: {"ring": cell.temperature_offset, "intake": [0.0, 0.0], "exhaust": [0.0, 0.0]},
    "digitalInput": lambda cell: {"value": cell.inputs},
    "digitalOutput": lambda cell: {"value": cell.outputs},
    "config": lambda cell: configuration(cell.file),
    "closedLoopControlMode": lambda cell: {"mode": cell.mode},
    "enabledFaultsMask": lambda cell: {"mask": cell.faults_mask},
    "configurationFiles": lambda cell: {"files": FILES},
    "forceBalanceSystemStatus": lambda cell: {"status": cell.closed_loop},
    "summaryFaultsStatus": lambda cell: {"status": cell.faults},
    "limitSwitchStatus": lambda cell: dict(zip(("retract", "extend"), cell.limit_switches, strict=True)),
    "m2AssemblyInPosition": lambda cell: {"inPosition": cell.in_position},
    "openLoopMaxLimit": lambda cell: {"status": cell.open_loop_max},
    "scriptExecutionStatus": lambda cell: {"percentage": cell.script.progress},
}


def welcome(cell: CellState) -> Iterator[Message]:
    """Yield the events that the first client gets when it connects: 99 of them.

    As in the mock server, they report the interlock as free and the modes of the inner-loop controllers as unknown.
    """
    yield {"id": "tcpIpConnected", "isConnected": True}
    for topic in ("commandableByDDS", "hardpointList", "bypassedActuatorILCs"):
        yield {"id": topic, **REPORTS[topic](cell)}
    yield {"id": "interlock", "state": False}
    for topic in ("inclinationTelemetrySource", "temperatureOffset", "digitalInput", "digitalOutput", "config"):
        yield {"id": topic, **REPORTS[topic](cell)}
    for topic in ("closedLoopControlMode", "enabledFaultsMask", "configurationFiles"):
        yield {"id": topic, **REPORTS[topic](cell)}
    for power in (PowerType.COMMUNICATION, PowerType.MOTOR):
        state = PowerSystemState.POWERED_ON if cell.powered[power] else PowerSystemState.INIT
        yield {"id": "powerSystemState", "powerType": power, "status": cell.powered[power], "state": state}
    for address in range(INNER_LOOP_CONTROLLERS):
        yield {"id": "innerLoopControlMode", "address": address, "mode": InnerLoopControlMode.UNKNOWN}
