"""A SmartBus server: registration, heartbeats, routing, presence, flows and notices."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.clients.smartbus.protocol.codes import (
    ClientType,
    CmdType,
    Code,
    InternalCmd,
    Presence,
    SystemCmd,
    meaning,
)
from cnx.clients.smartbus.protocol.flows import FlowAck, InvokeFlow, Notify
from cnx.clients.smartbus.protocol.messages import (
    GlobalConnect,
    Heartbeat,
    HeartbeatAck,
    Message,
    Register,
    RegisterAck,
)
from cnx.clients.smartbus.protocol.packets import (
    CLIENT_UNITS,
    PACKET_LIMIT,
    SERVER_UNITS,
    Address,
    Packet,
    PacketFraming,
    checked_byte,
)
from cnx.clients.smartbus.simulator.bus import Attachment, Bus, Refused
from cnx.clients.smartbus.simulator.flows import Flow, FlowRunner
from cnx.clients.smartbus.simulator.outbox import Outbox
from cnx.errors import LimitExceeded, ProtocolError, TimedOut
from cnx.logs import logger
from cnx.simulation import Session, Simulator

__all__ = ["Bus", "BusServer", "Flow"]

log = logger(__name__)
REGISTRATION_TIMEOUT = 10.0
"""Seconds within which a new link has to register."""
SILENCE = 15.0
"""Seconds of silence after which a link ends, as in the vendor's library."""
ACK_INTERVAL = 0.5
"""Seconds between acknowledgements: the library sends 900 heartbeats a second, and needs an answer every 15 s."""
LINGER = 1.0
"""Seconds to wait for a refused client to close the link, and for the last packets of a client."""


class BusServer(Simulator):
    """A simulated server of a bus. Call ``listen_tcp()``, then ``start()``, or use a ``with`` block.

    Two servers that share a :class:`Bus` are a master and its backup: pass ``bus=master.bus`` to the second one, with
    another unit id and the same users and flows.

    Args:
        unit: unit id of the server, 0 to 15.
        users: passwords by user name; ``None`` accepts every client.
        flows: by project and name; :meth:`flow` adds one.
        bus: the bus to serve; a new one by default.
        silence: seconds without a byte after which a client is disconnected.
        limit: the largest packet to accept, in bytes.
        max_sessions: links at a time.
    """

    def __init__(
        self,
        *,
        unit: int = 0,
        users: Mapping[str, str] | None = None,
        flows: dict[tuple[str, str], Flow] | None = None,
        bus: Bus | None = None,
        silence: float = SILENCE,
        limit: int = PACKET_LIMIT,
        max_sessions: int = 1000,
    ) -> None:
        super().__init__("smartbus server", max_sessions=max_sessions)
        self.address = Address(checked_byte("server's unit id", unit, SERVER_UNITS), 0, ClientType.NODE)
        self.users = users
        self.flows = {} if flows is None else flows
        self.bus = Bus() if bus is None else bus
        if unit in self.bus.servers:
            raise ValueError(f"unit {unit} serves this bus already; a backup server needs another unit id")
        self.bus.servers.add(unit)
        self.silence = silence
        self._framing = PacketFraming(limit)
        self._runner = FlowRunner(self.flows)

    def flow(self, project: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that makes a function a flow of ``project``."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.flows[project, name] = Flow(function)
            return function

        return register

    def on_notify(self, source: Address, notice: Notify) -> None:
        """Handle a notice to this server; called on the thread that serves its sender. Override it."""
        log.info("notice from %s: %s: %s", source, notice.title, notice.text)

    def on_data(self, packet: Packet) -> None:
        """Handle a data packet to this server itself; called on the thread that serves its sender. Override it."""
        log.info("data from %s: %d bytes", packet.source, len(packet.data))

    def start(self) -> None:
        """Accept clients."""
        if not self.running:
            self._runner = FlowRunner(self.flows)
        super().start()

    def on_stop(self) -> None:
        """Wait at most a second for the running flows."""
        self._runner.stop(1.0)

    def serve(self, session: Session) -> None:
        """Register a client, and route its packets until it leaves."""
        try:
            self._serve(session)
        except (ProtocolError, LimitExceeded) as error:
            log.warning("%s: disconnecting %s, which broke the protocol: %s", self.name, session.address, error)
        except TimedOut:
            log.warning("%s: disconnecting %s, which was silent for too long", self.name, session.address)

    def _serve(self, session: Session) -> None:
        packets = self._packets(session)
        first = next(packets, None)
        if first is None:
            return
        if (first.cmd_type, first.cmd) != (CmdType.INTERNAL, InternalCmd.REGISTER):
            raise ProtocolError(f"the first packet must be a registration, not {first.cmd_type}/{first.cmd}")
        try:
            attachment = self._register(session, first.source, Register.parse(first.data))
        except Refused as refusal:
            log.info("%s: refusing %s: %s", self.name, first.source, meaning(refusal.code))
            self._refuse(session, first.source, refusal.code)
            return
        try:
            next_ack = 0.0
            for packet in packets:
                if packet.cmd_type != CmdType.INTERNAL:
                    self._forward(attachment, packet)
                elif packet.cmd == InternalCmd.HEARTBEAT and time.monotonic() >= next_ack:
                    next_ack = time.monotonic() + ACK_INTERVAL
                    self._acknowledge(attachment, packet)
        finally:
            self._leave(session, attachment)

    def _packets(self, session: Session) -> Iterator[Packet]:
        buffer = ReceiveBuffer()
        timeout = min(REGISTRATION_TIMEOUT, self.silence)
        while data := session.read(timeout=timeout):
            buffer.append(data)
            while packets := self._framing.take_all(buffer):
                yield from packets
                timeout = self.silence

    def _register(self, session: Session, address: Address, register: Register) -> Attachment:
        """Add a client to the bus, and notify the other clients; raises Refused."""
        self._check(address, register)
        outbox = Outbox(session, bytes(RegisterAck(Code.OK).packet(self.address, address)))
        attachment = Attachment(address, register.info, self.address.unit, outbox)
        if self.bus.attach(attachment):
            self._announce(attachment, Presence.NEW)
        outbox.start()
        log.info("%s: %s from %s is on the bus", self.name, address, session.address)
        return attachment

    def _check(self, address: Address, register: Register) -> None:
        if address.unit not in CLIENT_UNITS:
            raise Refused(Code.INVALID_UNIT)
        if address.type <= ClientType.NODE:
            raise Refused(Code.INVALID_CLIENT_TYPE)
        if self.users is None:
            return
        if register.user not in self.users:
            raise Refused(Code.WRONG_USER)
        if not hmac.compare_digest(self.users[register.user].encode(), register.password.encode()):
            raise Refused(Code.WRONG_PASSWORD)

    def _refuse(self, session: Session, address: Address, code: int) -> None:
        session.write(bytes(RegisterAck(code).packet(self.address, address)))
        # The client closes the link when it has read the answer. If the server closed first, the answer could be lost.
        with suppress(TimedOut):
            session.read(timeout=LINGER)

    def _leave(self, session: Session, attachment: Attachment) -> None:
        if self.bus.detach(attachment):
            self._announce(attachment, Presence.GONE)
        attachment.outbox.close(LINGER)
        log.info("%s: %s from %s left", self.name, attachment.address, session.address)

    def _announce(self, attachment: Attachment, status: Presence) -> None:
        notice = GlobalConnect(attachment.address, self.address.unit, status, attachment.info)
        for other in self.bus.others(attachment.address):
            other.outbox.put(bytes(notice.packet(self.address, other.address)))

    def _acknowledge(self, attachment: Attachment, packet: Packet) -> None:
        beat = Heartbeat.parse(packet.data)
        ack = HeartbeatAck(beat.count, beat.resent, beat.sent, int(time.time()))
        attachment.outbox.reply(bytes(ack.packet(self.address, attachment.address)))

    def _forward(self, sender: Attachment, packet: Packet) -> None:
        """Route a packet, with the address that its sender registered as the source."""
        packet = packet._replace(source=sender.address)
        if packet.destination.unit in self.bus.servers:
            self._handle(sender, packet)
        elif not self._route(packet):
            log.debug("%s: no client at %s for a packet from %s", self.name, packet.destination, packet.source)
            if (packet.cmd_type, packet.cmd) == (CmdType.SYSTEM, SystemCmd.INVOKE_FLOW):
                call = InvokeFlow.parse(packet.data)
                self._answer(packet, FlowAck(call.project, call.invoke_id, Code.NO_NODE, "no such server"))

    def _route(self, packet: Packet) -> bool:
        """Send a packet to its recipients; return whether there was one that could be sent to."""
        recipients = self.bus.recipients(packet.source, packet.destination)
        data = bytes(packet)
        delivered = [recipient.outbox.put(data) for recipient in recipients]
        return any(delivered)

    def _handle(self, sender: Attachment, packet: Packet) -> None:
        """Handle a packet to a server of this bus."""
        command = packet.cmd if packet.cmd_type == CmdType.SYSTEM else None
        if command == SystemCmd.PING:
            answer = Packet(SystemCmd.PING_ACK, CmdType.SYSTEM, packet.destination, packet.source, packet.data)
            sender.outbox.reply(bytes(answer))
        elif command == SystemCmd.INVOKE_FLOW:
            self._runner.start(InvokeFlow.parse(packet.data), lambda message: self._answer(packet, message))
        elif command == SystemCmd.NOTIFY:
            self.on_notify(packet.source, Notify.parse(packet.data))
        else:
            self.on_data(packet)

    def _answer(self, packet: Packet, message: Message) -> None:
        self._route(message.packet(packet.destination, packet.source))
