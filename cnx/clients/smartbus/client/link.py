"""One link from a SmartBus client to one server: registration, heartbeats, silence limit."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from cnx.clients.smartbus.client.events import refusal
from cnx.clients.smartbus.client.peers import Ping, PingTable
from cnx.clients.smartbus.protocol.codes import ClientType, CmdType, InternalCmd
from cnx.clients.smartbus.protocol.messages import Heartbeat, Register, RegisterAck
from cnx.clients.smartbus.protocol.packets import BROADCAST, UNKNOWN_UNIT, Address, Packet, PacketFraming
from cnx.connections.sockets import SocketConnection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectionLost, TimedOut
from cnx.signals.subscriptions import subscribe_weakly

__all__ = ["BusLink", "Identity", "Pulse"]

log = logging.getLogger(__name__)
REGISTRATION_TIMEOUT = 10.0
WRITE_TIMEOUT = 10.0
NOBODY = Address(0, 0, 0)


@dataclass(frozen=True)
class Identity:
    """What a client says of itself when it registers."""

    address: Address
    user: str = ""
    password: str = field(default="", repr=False)
    info: str = ""


@dataclass(frozen=True)
class Pulse:
    """The times of a link, in seconds.

    Attributes:
        heartbeat: between two heartbeats.
        silence: without a byte, after which the link is given up.
        reconnect_delay: from a loss to the next attempt, at least.
    """

    heartbeat: float = 1.0
    silence: float = 15.0
    reconnect_delay: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat <= self.silence < math.inf or not 0 <= self.reconnect_delay < math.inf:
            raise ValueError(f"0 < heartbeat <= silence and 0 <= reconnect_delay, in seconds, do not hold for {self}")


class Owner(Protocol):
    """The client that a link belongs to."""

    access_point: int

    def on_packet(self, link: BusLink, packet: Packet) -> None: ...
    def on_link_up(self, sender: BusLink) -> None: ...
    def on_link_down(self, link: BusLink, reason: BaseException) -> None: ...


class BusLink(SocketConnection):
    """A TCP connection that is registered when it is connected.

    Args:
        host, port: the server.
        index: 0 for the master, 1 for the backup.
        identity: who we are.
        owner: the client.
        pings: those that are waited for.
        pulse: heartbeat and silence limit.
        limit: the largest packet to accept, in bytes.
        **settings: see :class:`~cnx.SocketConnection`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        index: int,
        identity: Identity,
        owner: Owner,
        pings: PingTable,
        pulse: Pulse,
        limit: int,
        **settings: Any,
    ) -> None:
        super().__init__(host, port, framing=PacketFraming(limit), timeout=WRITE_TIMEOUT, **settings)
        self.access_point = UNKNOWN_UNIT
        self.secrets = (identity.password.encode(),)
        self._index = index
        self._identity = identity
        self._owner = owner
        self.pings = pings
        self._pulse = pulse
        self._beats = self._quiet_beats = self._heard = 0
        self._free_at = 0.0
        subscribe_weakly(self, self.Signals.CONNECTED, owner.on_link_up)

    def establish(self, deadline: Deadline) -> None:
        """Connect, but not at once after a loss: a server that drops its clients is not to be flooded."""
        wait = self._free_at - time.monotonic()
        if wait > 0:
            deadline.pause(wait)
        super().establish(deadline)

    def prepare(self, deadline: Deadline) -> None:
        """Register and begin to send heartbeats.

        Raises:
            AlreadyConnected, RegistrationRefused: the server answered so.
            TimedOut: it did not answer within 10 s.
        """
        who = self._identity
        register = Register(
            self._index, who.user, who.password, who.info, os.getpid(), access_point=self._owner.access_point
        )
        self.send(register.packet(who.address, NOBODY), timeout=deadline.remaining())
        self._accept(self._await_acknowledgement(deadline))
        self._beats = self._quiet_beats = self._heard = 0
        self.schedule(self._pulse.heartbeat, self.beat)

    def on_message(self, packet: Packet) -> None:
        """Take what belongs to the link and give the rest to the client."""
        if packet.cmd_type != CmdType.INTERNAL:
            self._owner.on_packet(self, packet)
        elif packet.cmd == InternalCmd.REGISTER_ACK:
            self._on_second_acknowledgement(packet)
        elif packet.cmd != InternalCmd.HEARTBEAT_ACK:
            log.debug("%s: ignoring internal command %d", self.name, packet.cmd)

    def on_disconnected(self, reason: BaseException) -> None:
        """Tell the client."""
        if not isinstance(reason, Cancelled):
            self._free_at = time.monotonic() + self._pulse.reconnect_delay
        self._owner.on_link_down(self, reason)

    def wait_for(self, ping: Ping, timeout: float) -> None:
        """Wait for an answer; where nobody else reads, the calling thread does, so that none has to hand it over."""
        try:
            self._current().take(lambda: ping.seconds, timeout, keep=False)
        except TimedOut:
            return

    def notify(self) -> None:
        """Let everybody in :meth:`wait_for` look again."""
        link = self._link
        if link is not None:
            link.notify()

    def beat(self) -> None:
        """Send one heartbeat, or give the link up when the server was silent for too long."""
        received = self.traffic.bytes_received
        # Counted in beats and not in time: a handler that took long is not a silent server.
        self._quiet_beats = 0 if received != self._heard else self._quiet_beats + 1
        self._heard = received
        if self._quiet_beats * self._pulse.heartbeat >= self._pulse.silence:
            self.raise_alarm(ConnectionLost(f"{self.address} was silent for {self._pulse.silence:g} s"))
            return
        beat = Heartbeat(self._beats, sent=int(time.time()))
        self._beats += 1
        destination = Address(self.access_point, BROADCAST, ClientType.NODE)
        try:
            self.send(beat.packet(self._identity.address, destination), timeout=self._pulse.heartbeat)
        except TimedOut:
            log.debug("%s: no room for a heartbeat", self.name)

    def _await_acknowledgement(self, deadline: Deadline) -> Packet:
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
            if (packet.cmd_type, packet.cmd) == (CmdType.INTERNAL, InternalCmd.REGISTER_ACK):
                return packet
            self.on_message(packet)

    def _accept(self, packet: Packet) -> None:
        result = RegisterAck.parse(packet.data).result
        if result:
            raise refusal(self.address, str(self._identity.address), result)
        self.access_point = packet.source.unit
        self._owner.access_point = packet.source.unit

    def _on_second_acknowledgement(self, packet: Packet) -> None:
        try:
            self._accept(packet)
        except ConnectionError as error:
            self.raise_alarm(error)
