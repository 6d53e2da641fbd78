"""SmartBus, the data bus of Hesong IPSC: a client in pure Python, and a simulated server."""

from __future__ import annotations

from cnx.clients.smartbus.client import (
    AlreadyConnected,
    BusSignals,
    FlowCall,
    FlowFailed,
    Peer,
    Pulse,
    RegistrationRefused,
    SmartBusClient,
)
from cnx.clients.smartbus.protocol import (
    BROADCAST,
    Address,
    ClientType,
    CmdType,
    Code,
    Packet,
    Presence,
    SystemCmd,
    meaning,
)
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
