"""A simulated SmartBus server, with flows that are Python functions."""

from cnx.clients.smartbus.simulator.bus import Bus
from cnx.clients.smartbus.simulator.flows import Flow
from cnx.clients.smartbus.simulator.server import BusServer

__all__ = ["Bus", "BusServer", "Flow"]
