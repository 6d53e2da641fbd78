"""Messages of the link and of presence: registration, heartbeats and global connects.

Source: the packets that the library ``libbusnetcli.so`` 1.0.1.0465 of the public package
``hesong-ipsc-busnetcli`` sends and accepts, and its type information.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from cnx.clients.smartbus.protocol.codes import (
    CmdType,
    InternalCmd,
    Presence,
    SystemCmd,
)
from cnx.clients.smartbus.protocol.layout import Layout, Text
from cnx.clients.smartbus.protocol.packets import HEADER, UNKNOWN_UNIT, Address, Packet
from cnx.errors import ProtocolError

__all__ = [
    "GlobalConnect",
    "GlobalConnectExisting",
    "Heartbeat",
    "HeartbeatAck",
    "Message",
    "Register",
    "RegisterAck",
]

VERSION = "1.0.1.0465"
"""The library version that a client reports: the one with this protocol."""

HeartbeatKind = TypeVar("HeartbeatKind", bound="Heartbeat")
GlobalConnectKind = TypeVar("GlobalConnectKind", bound="GlobalConnect")


class Message(ABC):
    """The data of a packet that the bus defines.

    Each class also has ``parse(payload)``, which raises :class:`~cnx.errors.ProtocolError` when the bytes are too few.
    """

    cmd_type: ClassVar[int]
    cmd: ClassVar[int]

    @abstractmethod
    def payload(self) -> bytes:
        """Return the bytes after the header."""

    def packet(self, source: Address, destination: Address) -> Packet:
        """Return the packet that carries this message."""
        return Packet(self.cmd, self.cmd_type, source, destination, self.payload())


NODE = Layout(
    used="?", connected="?", unit="i", access_point="i", network_client="?",
    master_ip=Text(64), master_port="i", backup_ip=Text(64), backup_port="i", clients="B",
)  # fmt: skip
# The library sends a pointer of its own memory here, which makes the size differ between platforms; cnx sends zero.
NODE_CLIENT = Layout(used="?", connected="?", client="i", type="i", info=Text(256), pointer="q", description=Text(64))
NODE_CLIENTS = 16
NODE_SIZE = NODE.size + NODE_CLIENTS * NODE_CLIENT.size


def _node(address: Address, access_point: int, info: str) -> bytes:
    node = NODE.pack(
        used=True, connected=True, unit=address.unit, access_point=_signed(access_point), network_client=True,
        master_ip="", master_port=0, backup_ip="", backup_port=0, clients=1,
    )  # fmt: skip
    client = NODE_CLIENT.pack(
        used=True, connected=True, client=address.client, type=address.type, info=info, pointer=0, description=""
    )
    return (node + client).ljust(NODE_SIZE, b"\0")


def _signed(unit: int) -> int:
    return unit - 256 if unit > 127 else unit


@dataclass(frozen=True)
class Register(Message):
    """A client registers; the first packet on a link.

    Attributes:
        link: 0 on the link to the master, 1 on the one to the backup server.
        user, password, info: at most 63, 127 and 255 bytes in UTF-8.
        process: the process id.
        version: the library version that the client reports.
        access_point: unit id of the server that the client was last registered at.
    """

    cmd_type = CmdType.INTERNAL
    cmd = InternalCmd.REGISTER
    LAYOUT = Layout(link="B", version=Text(20), user=Text(64), password=Text(128), process="q", info=Text(256))

    link: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    info: str = ""
    process: int = 0
    version: str = VERSION
    access_point: int = UNKNOWN_UNIT

    def payload(self) -> bytes:
        """Return the bytes after the header, without the description of the node."""
        return self.LAYOUT.pack(
            link=self.link, version=self.version, user=self.user, password=self.password,
            process=self.process, info=self.info,
        )  # fmt: skip

    @classmethod
    def parse(cls, payload: bytes) -> Register:
        """Return the registration. The node is skipped, as its size differs between platforms."""
        return cls(**cls.LAYOUT.unpack(payload))

    def packet(self, source: Address, destination: Address) -> Packet:
        """Return the packet, with the description of the node that ``source`` is."""
        data = self.payload() + _node(source, self.access_point, self.info)
        return Packet(self.cmd, self.cmd_type, source, destination, data)


@dataclass(frozen=True)
class RegisterAck(Message):
    """The server's answer to a registration: ``result`` 0 accepts it, any other error code refuses it."""

    cmd_type = CmdType.INTERNAL
    cmd = InternalCmd.REGISTER_ACK
    LAYOUT = Layout(result="i")

    result: int = 0

    def payload(self) -> bytes:
        """Return the result and an empty node of the size that the library sends."""
        return self.LAYOUT.pack(result=self.result).ljust(self.LAYOUT.size + NODE_SIZE, b"\0")

    @classmethod
    def parse(cls, payload: bytes) -> RegisterAck:
        """Return the answer; what follows the result is ignored, as in the library."""
        return cls(**cls.LAYOUT.unpack(payload))


@dataclass(frozen=True)
class Heartbeat(Message):
    """A heartbeat of a client.

    Attributes:
        count: 0 for the first one on a link, increased by one for each.
        resent: how often it was sent again; always 0.
        sent, returned: Unix times in seconds; ``returned`` is set by the server.
    """

    cmd_type = CmdType.INTERNAL
    cmd: ClassVar[int] = InternalCmd.HEARTBEAT
    LAYOUT = Layout(count="i", resent="i", sent="q", returned="q")

    count: int = 0
    resent: int = 0
    sent: int = 0
    returned: int = 0

    def payload(self) -> bytes:
        """Return the bytes after the header."""
        return self.LAYOUT.pack(count=self.count, resent=self.resent, sent=self.sent, returned=self.returned)

    @classmethod
    def parse(cls: type[HeartbeatKind], payload: bytes) -> HeartbeatKind:
        """Return the heartbeat; the fields after the count may be missing, as in the library."""
        if len(payload) < 4:
            raise ProtocolError(f"a heartbeat must carry at least 4 bytes, not {len(payload)}")
        return cls(**cls.LAYOUT.unpack(payload.ljust(cls.LAYOUT.size, b"\0")))


class HeartbeatAck(Heartbeat):
    """The server's answer to a heartbeat, with the same count."""

    cmd = InternalCmd.HEARTBEAT_ACK


@dataclass(frozen=True)
class GlobalConnect(Message):
    """A client came, left or is there. The data is a packet of its own, with a second header.

    Attributes:
        address: the client concerned.
        access_point: unit id of the server it is registered at.
        status: a :class:`Presence`; unknown values are kept.
        info: its description of itself, at most 255 bytes in UTF-8.
    """

    cmd_type = CmdType.SYSTEM
    cmd: ClassVar[int] = SystemCmd.GLOBAL_CONNECT
    LAYOUT = Layout(unit="B", client="B", type="B", access_point="B", status="b", info=Text(256))

    address: Address
    access_point: int
    status: int = Presence.NEW
    info: str = ""

    def payload(self) -> bytes:
        """Return the bytes after the inner header."""
        unit, client, client_type = self.address
        return self.LAYOUT.pack(
            unit=unit, client=client, type=client_type, access_point=self.access_point,
            status=self.status, info=self.info,
        )  # fmt: skip

    @classmethod
    def parse(cls: type[GlobalConnectKind], payload: bytes) -> GlobalConnectKind:
        """Return the notice; the inner header is ignored, as in the library."""
        if len(payload) != HEADER.size + cls.LAYOUT.size:
            raise ProtocolError(
                f"a global connect must carry {HEADER.size + cls.LAYOUT.size} bytes, not {len(payload)}"
            )
        fields = cls.LAYOUT.unpack(payload, HEADER.size)
        address = Address(fields["unit"], fields["client"], fields["type"])
        return cls(address, fields["access_point"], fields["status"], fields["info"])

    def packet(self, source: Address, destination: Address) -> Packet:
        """Return the packet with its inner header, whose sizes include no padding."""
        body = self.payload()
        size = HEADER.size + len(body)
        inner = bytes(Packet(self.cmd, self.cmd_type, source, destination, body))[: HEADER.size]
        inner = HEADER.pack(*HEADER.unpack(inner)[:9], size, len(body))
        return Packet(self.cmd, self.cmd_type, source, destination, inner + body)


class GlobalConnectExisting(GlobalConnect):
    """A client's answer to a newcomer, by which the newcomer learns of the client."""

    cmd = SystemCmd.GLOBAL_CONNECT_EXISTING
