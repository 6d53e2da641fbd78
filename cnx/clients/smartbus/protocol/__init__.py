"""The SmartBus protocol: packets, addresses and messages as bytes. It does no input or output."""

from cnx.clients.smartbus.protocol.codes import (
    ClientType,
    CmdType,
    Code,
    InternalCmd,
    Presence,
    SystemCmd,
    meaning,
)
from cnx.clients.smartbus.protocol.packets import (
    BROADCAST,
    Address,
    Packet,
    PacketFraming,
)

__all__ = [
    "BROADCAST",
    "Address",
    "ClientType",
    "CmdType",
    "Code",
    "InternalCmd",
    "Packet",
    "PacketFraming",
    "Presence",
    "SystemCmd",
    "meaning",
]
