"""SmartBus, the data bus of Hesong IPSC: a client in Python alone, and a bus server."""

from __future__ import annotations

from cnx.clients.smartbus.client.calls import FlowCall
from cnx.clients.smartbus.client.client import SmartBusClient
from cnx.clients.smartbus.client.events import AlreadyConnected, BusSignals, FlowFailed, RegistrationRefused
from cnx.clients.smartbus.client.link import Pulse
from cnx.clients.smartbus.client.peers import Peer
from cnx.clients.smartbus.protocol.codes import ClientType, CmdType, Code, Presence, SystemCmd, meaning
from cnx.clients.smartbus.protocol.packets import BROADCAST, Address, Packet
from cnx.clients.smartbus.simulator.server import Bus, BusServer, Flow

__all__ = [
    "BROADCAST",
    "Address",
    "AlreadyConnected",
    "Bus",
    "BusServer",
    "BusSignals",
    "ClientType",
    "CmdType",
    "Code",
    "Flow",
    "FlowCall",
    "FlowFailed",
    "Packet",
    "Peer",
    "Presence",
    "Pulse",
    "RegistrationRefused",
    "SmartBusClient",
    "SystemCmd",
    "meaning",
]
