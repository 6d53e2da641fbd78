"""The Rubin secondary-mirror (M2) cell controller: JSON lines on two TCP ports.

::

    from cnx import ConnectionManager
    from cnx.clients.m2 import M2Controller

    controller = M2Controller("m2-control")
    with ConnectionManager(controller):
        controller.command("power", powerType=2, status=True)
        position = controller.wait_for_telemetry("position")
"""

from __future__ import annotations

from cnx.clients.m2.client.client import M2Client
from cnx.clients.m2.client.commands import PendingCommand
from cnx.clients.m2.client.controller import M2Controller
from cnx.clients.m2.client.events import (
    CommandFailed,
    CommandLost,
    CommandRefused,
    CommandResult,
    CommandTimedOut,
    M2Signals,
    MessageNotSent,
)
from cnx.clients.m2.client.topics import Expectation, Sample
from cnx.clients.m2.protocol.enums import (
    ActuatorDisplacementUnit,
    ClosedLoopControlMode,
    CommandActuator,
    CommandScript,
    CommandStatus,
    DigitalOutput,
    DigitalOutputStatus,
    InclinationTelemetrySource,
    InnerLoopControlMode,
    MsgType,
    PowerSystemState,
    PowerType,
)
from cnx.clients.m2.protocol.faults import FAULTS, Fault, faults_in
from cnx.clients.m2.protocol.messages import (
    BrokenMessage,
    Kind,
    M2Lines,
    kind_of,
    sequence_numbers,
)
from cnx.clients.m2.protocol.table import COMMANDS
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY

__all__ = [
    "COMMANDS",
    "EVENTS",
    "FAULTS",
    "TELEMETRY",
    "ActuatorDisplacementUnit",
    "BrokenMessage",
    "ClosedLoopControlMode",
    "CommandActuator",
    "CommandFailed",
    "CommandLost",
    "CommandRefused",
    "CommandResult",
    "CommandScript",
    "CommandStatus",
    "CommandTimedOut",
    "DigitalOutput",
    "DigitalOutputStatus",
    "Expectation",
    "Fault",
    "InclinationTelemetrySource",
    "InnerLoopControlMode",
    "Kind",
    "M2Client",
    "M2Controller",
    "M2Lines",
    "M2Signals",
    "MessageNotSent",
    "MsgType",
    "PendingCommand",
    "PowerSystemState",
    "PowerType",
    "Sample",
    "faults_in",
    "kind_of",
    "sequence_numbers",
]
