"""What the bus tells a client: answers, pings, notices of who is there, and data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from cnx.clients.smartbus.client.calls import CallTable
from cnx.clients.smartbus.client.link import BusLink, Identity
from cnx.clients.smartbus.client.peers import PeerTable, PingTable
from cnx.clients.smartbus.protocol.codes import CmdType, Presence, SystemCmd
from cnx.clients.smartbus.protocol.flows import FlowAck, FlowReturn
from cnx.clients.smartbus.protocol.messages import GlobalConnect, GlobalConnectExisting
from cnx.clients.smartbus.protocol.packets import Address, Packet
from cnx.signals import Emitter

__all__ = ["Incoming"]

log = logging.getLogger(__name__)


class Incoming:
    """The handling of packets, on the thread that read them."""

    local_address: Address
    access_point: int
    _identity: Identity
    _calls: CallTable
    _pings: PingTable
    _peers: PeerTable
    _messages: Emitter

    def on_packet(self, link: BusLink, packet: Packet) -> None:
        """Deal with what the bus gives a meaning, and tell the rest."""
        handle = HANDLERS.get(packet[:2])
        if handle is None:
            self._messages.emit(packet)
        else:
            handle(self, link, packet)

    def _on_ping(self, link: BusLink, packet: Packet) -> None:
        self._answer(
            link, packet._replace(cmd=SystemCmd.PING_ACK, source=self.local_address, destination=packet.source)
        )
        self._messages.emit(packet)

    def _on_ping_ack(self, link: BusLink, packet: Packet) -> None:
        if self._pings.on_ack(packet.data) is None:
            self._messages.emit(packet)
        else:
            link.notify()

    def _on_flow_ack(self, link: BusLink, packet: Packet) -> None:
        self._calls.on_ack(FlowAck.parse(packet.data))

    def _on_flow_return(self, link: BusLink, packet: Packet) -> None:
        self._calls.on_return(FlowReturn.parse(packet.data))

    def _on_presence(self, link: BusLink, packet: Packet) -> None:
        notice = GlobalConnect.parse(packet.data)
        if notice.address == self.local_address:
            return
        self._peers.on_notice(notice)
        newcomer = packet.cmd == SystemCmd.GLOBAL_CONNECT and notice.status == Presence.NEW
        if newcomer and notice.address.unit != self.local_address.unit:
            answer = GlobalConnectExisting(
                self.local_address, self.access_point, Presence.EXISTING, self._identity.info
            )
            self._answer(link, answer.packet(self.local_address, notice.address))

    def _answer(self, link: BusLink, packet: Packet) -> None:
        try:
            link.send(packet)
        except (ConnectionError, TimeoutError) as error:
            log.info("%s: no answer to %s: %s", self.local_address, packet.destination, error)


HANDLERS: dict[tuple[Any, ...], Callable[[Incoming, BusLink, Packet], None]] = {
    (SystemCmd.PING, CmdType.SYSTEM): Incoming._on_ping,
    (SystemCmd.PING_ACK, CmdType.SYSTEM): Incoming._on_ping_ack,
    (SystemCmd.GLOBAL_CONNECT, CmdType.SYSTEM): Incoming._on_presence,
    (SystemCmd.GLOBAL_CONNECT_EXISTING, CmdType.SYSTEM): Incoming._on_presence,
    (SystemCmd.INVOKE_FLOW_RET, CmdType.SYSTEM): Incoming._on_flow_return,
    (SystemCmd.INVOKE_FLOW_ACK, CmdType.SYSTEM): Incoming._on_flow_ack,
}
