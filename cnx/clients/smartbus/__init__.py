"""SmartBus, the data bus of Hesong IPSC: a client in Python alone, and a bus server."""

from __future__ import annotations

from cnx.clients.smartbus.client import SmartBusClient
from cnx.clients.smartbus.client_calls import FlowCall
from cnx.clients.smartbus.client_events import AlreadyConnected, BusSignals, FlowFailed, RegistrationRefused
from cnx.clients.smartbus.client_link import Pulse
from cnx.clients.smartbus.client_peers import Peer
from cnx.clients.smartbus.protocol import BROADCAST, Address, Packet
from cnx.clients.smartbus.protocol_codes import ClientType, CmdType, Code, Presence, SystemCmd, meaning
from cnx.clients.smartbus.simulator import Bus, BusServer, Flow

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
