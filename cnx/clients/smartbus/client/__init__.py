"""A SmartBus client: registration, data, pings, flow calls, and the other clients on the bus."""

from cnx.clients.smartbus.client.calls import FlowCall
from cnx.clients.smartbus.client.client import SmartBusClient
from cnx.clients.smartbus.client.events import (
    AlreadyConnected,
    BusSignals,
    FlowFailed,
    RegistrationRefused,
)
from cnx.clients.smartbus.client.link import Pulse
from cnx.clients.smartbus.client.peers import Peer

__all__ = [
    "AlreadyConnected",
    "BusSignals",
    "FlowCall",
    "FlowFailed",
    "Peer",
    "Pulse",
    "RegistrationRefused",
    "SmartBusClient",
]
