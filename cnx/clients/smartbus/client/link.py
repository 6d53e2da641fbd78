"""A link of a SmartBus client to one server: registration, heartbeats and the silence limit."""

from __future__ import annotations

import logging
import math
import os
import ssl
import time
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

from typing_extensions import Unpack

from cnx.clients.smartbus.client.events import refusal
from cnx.clients.smartbus.protocol.codes import ClientType, CmdType, InternalCmd
from cnx.clients.smartbus.protocol.messages import Heartbeat, Register, RegisterAck
from cnx.clients.smartbus.protocol.packets import (
    BROADCAST,
    UNKNOWN_UNIT,
    Address,
    Packet,
    PacketFraming,
)
from cnx.connections.sockets import SocketConnection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, LimitExceeded, ProtocolError, TimedOut
from cnx.link.listener import Listener
from cnx.logs import log_of_peer, logger
from cnx.signals.subscriptions import subscribe_weakly
from cnx.transports.sockets import SocketOptions

__all__ = ["BusLink", "Identity", "LinkSettings", "Pulse"]

log = logger(__name__)

REGISTRATION_TIMEOUT = 10.0
"""Seconds that a server has to answer a registration; the vendor's library waits for ever."""
WRITE_TIMEOUT = 10.0
"""Seconds that a server has to accept a packet."""
OVERHEAD = 64
"""Bytes that count for a packet that is kept, beside its data."""
NO_ADDRESS = Address(0, 0, 0)
"""The destination of a registration, before the address of the server is known."""


class LinkSettings(TypedDict, total=False):
    """The settings of each link of a client; see :class:`~cnx.SocketConnection`."""

    tls: bool | ssl.SSLContext | None
    server_hostname: str | None
    options: SocketOptions | None
    listener: Listener | None
    record: int
    record_to: str | os.PathLike[str] | None


@dataclass(frozen=True)
class Identity:
    """The data of a client that its registration carries."""

    address: Address
    user: str = ""
    password: str = field(default="", repr=False)
    info: str = ""


@dataclass(frozen=True)
class Pulse:
    """The times of a link, in seconds.

    Attributes:
        heartbeat: between two heartbeats.
        silence: without a byte from the server, after which the link ends.
        reconnect_delay: from a loss to the next attempt, at least.
    """

    heartbeat: float = 1.0
    silence: float = 15.0
    reconnect_delay: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat <= self.silence < math.inf or not 0 <= self.reconnect_delay < math.inf:
            raise ValueError(
                f"{self} must have 0 < heartbeat <= silence and 0 <= reconnect_delay, each a finite number of seconds"
            )


class Owner(Protocol):
    """The client that a link belongs to.

    Attributes:
        access_point: unit id of the server that it was last registered at.
    """

    access_point: int

    def on_packet(self, link: BusLink, packet: Packet) -> None: ...
    def on_link_up(self, link: BusLink) -> bool: ...
    def on_link_down(self, link: BusLink, reason: BaseException) -> None: ...


class BusLink(SocketConnection):
    """A TCP connection that is connected when the server has accepted the registration.

    Args:
        host, port: the server.
        index: 0 for the master, 1 for the backup.
        identity: the data to register with.
        owner: the client, which gets the packets.
        pulse: heartbeat interval, silence limit and reconnect delay.
        packet_limit: the largest packet to accept, in bytes.
        connect_timeout: seconds for one attempt, registration included; ``None`` for no limit.
        **settings: see :class:`~cnx.SocketConnection`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        index: int,
        identity: Identity,
        owner: Owner,
        pulse: Pulse,
        packet_limit: int,
        connect_timeout: float | None,
        **settings: Unpack[LinkSettings],
    ) -> None:
        super().__init__(
            host,
            port,
            framing=PacketFraming(packet_limit),
            timeout=WRITE_TIMEOUT,
            connect_timeout=connect_timeout,
            silence_limit=pulse.silence,
            **settings,
        )
        self.access_point = UNKNOWN_UNIT
        self.secrets = (identity.password.encode(),)
        self._index = index
        self._identity = identity
        self._owner = owner
        self._pulse = pulse
        self._packet_limit = packet_limit
        self._early: list[Packet] = []  # packets that arrived before the registration was answered
        self._early_size = 0  # their bytes, about
        self._beats = 0  # heartbeats sent on this link
        self._free_at = 0.0  # when the next attempt may begin
        subscribe_weakly(self, self.Signals.CONNECTED, self._on_connected)

    def establish(self, deadline: Deadline) -> None:
        """Connect, after a pause if the last link was lost: a server that drops its clients must not be flooded."""
        wait = self._free_at - time.monotonic()
        if wait > 0:
            deadline.pause(wait)
        super().establish(deadline)

    def prepare(self, deadline: Deadline) -> None:
        """Register, and start the heartbeats.

        Raises:
            AlreadyConnected, RegistrationRefused: the server refused the registration.
            TimedOut: the server did not answer within 10 s.
        """
        self._early, self._early_size = [], 0
        identity = self._identity
        register = Register(
            self._index,
            identity.user,
            identity.password,
            identity.info,
            os.getpid(),
            access_point=self._owner.access_point,
        )
        self.send(register.packet(identity.address, NO_ADDRESS), timeout=deadline.remaining())
        self._accept(self._await_acknowledgement(deadline))
        self._beats = 0
        self.schedule(self._pulse.heartbeat, self._beat)

    def on_message(self, packet: Packet) -> None:
        """Handle the packets between a client and its server, and pass the others on to the client."""
        if packet.cmd_type != CmdType.INTERNAL:
            self._owner.on_packet(self, packet)
        elif packet.cmd == InternalCmd.REGISTER_ACK:
            self._on_second_acknowledgement(packet)
        elif packet.cmd != InternalCmd.HEARTBEAT_ACK:
            log_of_peer(log, logging.DEBUG, "%s: ignoring internal command %d", self.name, packet.cmd)

    def on_disconnected(self, reason: BaseException) -> None:
        """Report the end to the client."""
        if not isinstance(reason, Cancelled):
            self._free_at = time.monotonic() + self._pulse.reconnect_delay
        self._owner.on_link_down(self, reason)

    def _on_connected(self) -> None:
        """Report the link to the client, which emits CONNECTED, and then pass on what arrived early."""
        early, self._early = self._early, []
        if not self._owner.on_link_up(self):
            return
        for packet in early:
            try:
                self.on_message(packet)
            except ProtocolError as error:
                self.raise_alarm(error)
                return

    def _await_acknowledgement(self, deadline: Deadline) -> Packet:
        """Return the answer of the server to the registration, and keep the packets before it for later."""
        limit = Deadline(REGISTRATION_TIMEOUT)
        while True:
            left = limit.remaining()
            total = deadline.remaining()
            try:
                packet: Packet = self.receive(timeout=left if total is None else min(left or 0.0, total))
            except TimedOut:
                raise TimedOut(
                    f"{self.address} did not answer the registration in time; is it a SmartBus server?"
                ) from None
            if packet.cmd_type != CmdType.INTERNAL:
                self._keep(packet)
            elif packet.cmd == InternalCmd.REGISTER_ACK:
                return packet

    def _keep(self, packet: Packet) -> None:
        """Keep a packet until CONNECTED was emitted; raises LimitExceeded."""
        self._early.append(packet)
        self._early_size += len(packet.data) + OVERHEAD
        if self._early_size > self._packet_limit:
            raise LimitExceeded(
                f"{self.address} sent more than {self._packet_limit} bytes before it answered the registration"
            )

    def _accept(self, packet: Packet) -> None:
        """Note the unit id of the server; raises AlreadyConnected, RegistrationRefused."""
        result = RegisterAck.parse(packet.data).result
        if result:
            raise refusal(self.address, str(self._identity.address), result)
        self.access_point = packet.source.unit
        self._owner.access_point = packet.source.unit

    def _on_second_acknowledgement(self, packet: Packet) -> None:
        """Take a new access point, or end the link if the server no longer accepts the client."""
        try:
            self._accept(packet)
        except ConnectionError as error:
            self.raise_alarm(error)

    def _beat(self) -> None:
        """Send one heartbeat."""
        beat = Heartbeat(self._beats, sent=int(time.time()))
        self._beats += 1
        destination = Address(self.access_point, BROADCAST, ClientType.NODE)
        try:
            self.send(beat.packet(self._identity.address, destination), timeout=self._pulse.heartbeat)
        except TimedOut:
            log.debug("%s: the server accepts no heartbeat", self.name)
