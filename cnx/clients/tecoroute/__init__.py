"""Tecomat PLCs behind the TecoRoute service: a client, a UDP port for other programs, and a simulator."""

from __future__ import annotations

from cnx.clients.tecoroute.client.connector import Connector
from cnx.clients.tecoroute.client.errors import (
    ConnectorConnectionError,
    ConnectorError,
    ConnectorLatencyError,
    ConnectorNotConnected,
    ConnectorPlcError,
    ConnectorResponseError,
    ConnectorUserError,
)
from cnx.clients.tecoroute.client.policy import OPENINGS, Pace
from cnx.clients.tecoroute.client.statistics import Statistics, UdpStatistics
from cnx.clients.tecoroute.client.udp import UdpConnector
from cnx.clients.tecoroute.protocol.epsnet import Datagram, Frame, set_clock
from cnx.clients.tecoroute.simulator.server import TecorouteSimulator

__all__ = [
    "OPENINGS",
    "Connector",
    "ConnectorConnectionError",
    "ConnectorError",
    "ConnectorLatencyError",
    "ConnectorNotConnected",
    "ConnectorPlcError",
    "ConnectorResponseError",
    "ConnectorUserError",
    "Datagram",
    "Frame",
    "Pace",
    "Statistics",
    "TecorouteSimulator",
    "UdpConnector",
    "UdpStatistics",
    "set_clock",
]
