"""The simulator of the M2 cell controller."""

from __future__ import annotations

from cnx.clients.m2.simulator.server import M2Simulator

__all__ = ["M2Simulator"]
