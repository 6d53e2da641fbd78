"""The client of TecoRoute: a connector for programs, and a UDP port for other EPSNET programs."""

from cnx.clients.tecoroute.client.connector import Connector
from cnx.clients.tecoroute.client.policy import OPENINGS, Pace
from cnx.clients.tecoroute.client.statistics import Statistics, UdpStatistics
from cnx.clients.tecoroute.client.udp import UdpConnector

__all__ = ["OPENINGS", "Connector", "Pace", "Statistics", "UdpConnector", "UdpStatistics"]
