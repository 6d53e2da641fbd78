"""ThermoTek chillers (T257P and others) over TCP adapters, RS-232, USB and RS-485.

::

    from cnx.clients.chiller import ChillerClient

    with ChillerClient("tcp://adapter:4001") as chiller:
        chiller.set_temperature(18.5)
        chiller.start()
        print(chiller.supply_temperature(), "degrees Celsius")
"""

from __future__ import annotations

from cnx.clients.chiller.client.bus import BusUnit, ChillerBus
from cnx.clients.chiller.client.chiller import ChillerClient
from cnx.clients.chiller.client.monitor import ChillerMonitor
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.client.status import AlarmReport, Status, Telemetry
from cnx.clients.chiller.protocol.errors import (
    ChecksumError,
    FeatureNotFitted,
    LengthError,
    OutOfRange,
    Rejected,
    UnknownCommand,
)
from cnx.clients.chiller.protocol.frames import (
    Answer,
    compute_checksum,
    format_full_command,
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
    Threshold,
    Warnings,
    Watchdog,
)

__all__ = [
    "AlarmReport",
    "Alarms",
    "Answer",
    "BusUnit",
    "ChecksumError",
    "ChillerBus",
    "ChillerClient",
    "ChillerMonitor",
    "ControlSensor",
    "ControlState",
    "Drive",
    "FeatureNotFitted",
    "LengthError",
    "Mode",
    "OutOfRange",
    "Pid",
    "Pwm",
    "Rejected",
    "SensorAlarms",
    "Status",
    "SystemAlarms",
    "Telemetry",
    "Threshold",
    "Thresholds",
    "UnknownCommand",
    "Warnings",
    "Watchdog",
    "compute_checksum",
    "format_full_command",
]
