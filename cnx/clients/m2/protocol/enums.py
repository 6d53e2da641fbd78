"""Enumerations of the numbers in messages of the M2 cell controller.

Sources: the interface definitions of the MTM2 component in ``ts_xml``, and ``ts_m2com`` 1.5.16 (Rubin Observatory).
"""

from __future__ import annotations

import enum

__all__ = [
    "ActuatorDisplacementUnit",
    "ClosedLoopControlMode",
    "CommandActuator",
    "CommandScript",
    "CommandStatus",
    "DigitalOutput",
    "DigitalOutputStatus",
    "InclinationTelemetrySource",
    "InnerLoopControlMode",
    "MsgType",
    "PowerSystemState",
    "PowerType",
]

ACTUATORS = 78
"""Axial actuators 0 to 71, tangent links 72 to 77."""

AXIAL_ACTUATORS = 72

TANGENT_LINKS = 6

INNER_LOOP_CONTROLLERS = 84
"""Addresses 0 to 77 actuators, 78 to 81 temperature, 82 displacement, 83 inclinometer."""


class MsgType(enum.IntEnum):
    """Types of messages that a client can send. Plain numbers are accepted wherever a member is."""

    COMMAND = 1
    EVENT = 2
    TELEMETRY = 3


class CommandStatus(enum.Enum):
    """The answers of the controller to a command. The values are the identifiers on the wire."""

    ACK = "ack"
    NOACK = "noack"
    SUCCESS = "success"
    FAIL = "fail"


class PowerType(enum.IntEnum):
    """The two power supplies."""

    MOTOR = 1
    COMMUNICATION = 2


class PowerSystemState(enum.IntEnum):
    """States of a power supply between off and on."""

    INIT = 1
    POWERED_OFF = 2
    POWERING_ON = 3
    RESETTING_BREAKERS = 4
    POWERED_ON = 5
    POWERING_OFF = 6


class ClosedLoopControlMode(enum.IntEnum):
    """How the mirror is controlled as a whole."""

    IDLE = 1
    TELEMETRY_ONLY = 2
    OPEN_LOOP = 3
    CLOSED_LOOP = 4


class InnerLoopControlMode(enum.IntEnum):
    """States of one inner-loop controller (ILC). ``CLEAR_FAULTS`` and ``NO_CHANGE`` are orders, not states."""

    STANDBY = 1
    DISABLED = 2
    ENABLED = 3
    FIRMWARE_UPDATE = 4
    FAULT = 5
    CLEAR_FAULTS = 6
    NO_CHANGE = 7
    UNKNOWN = 8


class InclinationTelemetrySource(enum.IntEnum):
    """Sources of the elevation angle."""

    ONBOARD = 1
    MTMOUNT = 2


class CommandScript(enum.IntEnum):
    """Orders of ``runScript``."""

    LOAD_SCRIPT = 1
    CLEAR = 2
    RUN = 3
    STOP = 4
    PAUSE = 5
    RESUME = 6


class CommandActuator(enum.IntEnum):
    """Orders of ``moveActuators``."""

    START = 1
    STOP = 2
    PAUSE = 3
    RESUME = 4


class ActuatorDisplacementUnit(enum.IntEnum):
    """Unit of the displacement of ``moveActuators``."""

    MILLIMETER = 1
    STEP = 2


class DigitalOutputStatus(enum.IntEnum):
    """Orders for a digital output."""

    LOW = 1
    HIGH = 2
    TOGGLE = 3


class DigitalOutput(enum.IntFlag):
    """Bits of the event ``digitalOutput``, and values of ``bit`` in ``switchDigitalOutput``."""

    MOTOR_POWER = 1
    COMMUNICATION_POWER = 2
    INTERLOCK_ENABLE = 4
    RESET_MOTOR_BREAKERS = 8
    RESET_COMMUNICATION_BREAKERS = 16
    CLOSED_LOOP_CONTROL = 32
    SPARE_6 = 64
    SPARE_7 = 128
