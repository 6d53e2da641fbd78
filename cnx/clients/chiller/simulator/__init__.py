"""A simulator of ThermoTek chillers."""

from cnx.clients.chiller.simulator.server import ChillerSimulator

__all__ = ["ChillerSimulator"]
