"""Tecomat PLCs through the TecoRoute service: a client, a UDP port for other programs, a simulator."""

from __future__ import annotations

from cnx.clients.tecoroute.client import Connector
from cnx.clients.tecoroute.client_errors import (
    ConnectorConnectionError,
    ConnectorError,
    ConnectorLatencyError,
    ConnectorNotConnected,
    ConnectorPlcError,
    ConnectorResponseError,
    ConnectorUserError,
)
from cnx.clients.tecoroute.client_pace import OPENINGS, Pace
from cnx.clients.tecoroute.client_statistics import Statistics, UdpStatistics
from cnx.clients.tecoroute.client_udp import UdpConnector
from cnx.clients.tecoroute.protocol_epsnet import Datagram, Frame, set_clock
from cnx.clients.tecoroute.simulator import TecorouteSimulator

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
