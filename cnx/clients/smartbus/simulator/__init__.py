"""The simulator of SmartBus."""

from cnx.clients.smartbus.simulator.server import Bus, BusServer, Flow

__all__ = ["Bus", "BusServer", "Flow"]
