"""The clients: :class:`M2Client` for one port, and :class:`M2Controller` for both ports as one connection."""

from __future__ import annotations

from cnx.clients.m2.client.client import M2Client
from cnx.clients.m2.client.commands import PendingCommand
from cnx.clients.m2.client.controller import M2Controller
from cnx.clients.m2.client.events import CommandResult, M2Signals
from cnx.clients.m2.client.topics import Expectation, Sample

__all__ = ["CommandResult", "Expectation", "M2Client", "M2Controller", "M2Signals", "PendingCommand", "Sample"]
