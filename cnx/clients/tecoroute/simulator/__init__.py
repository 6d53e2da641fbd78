"""A simulated TecoRoute service with PLCs behind it."""

from cnx.clients.tecoroute.simulator.server import (
    KEEPALIVES,
    Record,
    TecorouteSimulator,
)

__all__ = ["KEEPALIVES", "Record", "TecorouteSimulator"]
