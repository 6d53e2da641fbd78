"""Clients for ThermoTek chillers: one unit, several units on one line, and a monitor thread."""

from cnx.clients.chiller.client.bus import BusUnit, ChillerBus
from cnx.clients.chiller.client.chiller import ChillerClient
from cnx.clients.chiller.client.monitor import ChillerMonitor
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.client.status import AlarmReport, Status, Telemetry

__all__ = [
    "AlarmReport",
    "BusUnit",
    "ChillerBus",
    "ChillerClient",
    "ChillerMonitor",
    "Status",
    "Telemetry",
    "Thresholds",
]
