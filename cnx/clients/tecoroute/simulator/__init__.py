"""The simulator of TecoRoute."""

from cnx.clients.tecoroute.simulator.server import KEEPALIVES, Record, TecorouteSimulator

__all__ = ["KEEPALIVES", "Record", "TecorouteSimulator"]
