"""The simulator of M2."""

from cnx.clients.m2.simulator.server import M2Simulator

__all__ = ["M2Simulator"]
