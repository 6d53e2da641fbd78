"""The other clients on the bus, and the pings that wait for an answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from cnx.clients.smartbus.client.events import BusSignals
from cnx.clients.smartbus.protocol.codes import Presence
from cnx.clients.smartbus.protocol.messages import GlobalConnect
from cnx.clients.smartbus.protocol.packets import Address
from cnx.logs import log_of_peer, logger
from cnx.threads.condition import Condition

__all__ = ["Peer", "PeerTable", "Ping", "PingTable"]

log = logger(__name__)

PEERS_LIMIT = 10_000
"""How many other clients are remembered, so that a faulty server cannot fill the memory."""


@dataclass(frozen=True)
class Peer:
    """Another client on the bus.

    Attributes:
        address: its unit, client id and type.
        access_point: unit id of the server it is registered at.
        info: its description of itself.
    """

    address: Address
    access_point: int
    info: str


class PeerTable:
    """The other clients that are known to be on the bus. Thread-safe, but one thread at a time may call ``on_notice``.

    Args:
        emit: emits a signal with its arguments.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._peers: dict[Address, Peer] = {}

    @property
    def all(self) -> list[Peer]:
        """The peers, sorted by address."""
        with self._lock:
            return sorted(self._peers.values(), key=lambda peer: peer.address)

    def on_notice(self, notice: GlobalConnect) -> None:
        """Note that a client came, is there or left; emit it if that is news."""
        peer = Peer(notice.address, notice.access_point, notice.info)
        if notice.status == Presence.GONE:
            with self._lock:
                self._peers.pop(peer.address, None)
            self._emit(BusSignals.PEER_DISCONNECTED, peer=peer)
        elif self._add(peer) or notice.status == Presence.NEW:
            self._emit(BusSignals.PEER_CONNECTED, peer=peer)

    def clear(self) -> None:
        """Forget all peers."""
        with self._lock:
            self._peers.clear()

    def _add(self, peer: Peer) -> bool:
        """Note a peer; return whether it was unknown or has changed."""
        with self._lock:
            known = self._peers.get(peer.address)
            full = known is None and len(self._peers) >= PEERS_LIMIT
            if not full:
                self._peers[peer.address] = peer
        if full:
            text = "%s: %d other clients are known; %s is ignored"
            log_of_peer(log, logging.WARNING, text, "SmartBus", PEERS_LIMIT, peer.address)
        return known != peer and not full


class Ping:
    """A ping that waits for its answer.

    Attributes:
        payload: the data that the answer repeats.
        sent: the ``perf_counter()`` time just before it is sent.
        seconds: the round trip time; ``None`` without an answer.
        lost: the link ended before an answer came.
    """

    __slots__ = ("lost", "payload", "seconds", "sent")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.seconds: float | None = None
        self.lost = False
        self.sent = perf_counter()


class PingTable:
    """The pings that wait for an answer, by their data. Thread-safe."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._lock = self._changed.lock
        self._waiting: dict[bytes, list[Ping]] = {}

    def start(self, payload: bytes) -> Ping:
        """Return a new ping with this data; call it before the ping is sent."""
        ping = Ping(payload)
        with self._lock:
            if payload in self._waiting:
                self._waiting[payload].append(ping)
            else:
                self._waiting[payload] = [ping]
        return ping

    def wait(self, ping: Ping, timeout: float) -> None:
        """Wait until a ping is answered or lost, at most ``timeout`` seconds."""
        self._changed.wait_for(lambda: ping.seconds is not None or ping.lost, timeout)

    def drop(self, ping: Ping) -> None:
        """Stop waiting for the answer."""
        with self._lock:
            pings = self._waiting.get(ping.payload, [])
            if ping in pings:
                pings.remove(ping)
            if not pings:
                self._waiting.pop(ping.payload, None)

    def on_ack(self, payload: bytes) -> bool:
        """Take an answer for the oldest ping with this data; return ``False`` if there is none."""
        with self._lock:
            if payload not in self._waiting:
                return False
            pings = self._waiting[payload]
            ping = pings.pop(0)
            if not pings:
                del self._waiting[payload]
        ping.seconds = perf_counter() - ping.sent
        if self._changed.gates:
            self._changed.notify()
        return True

    def end_all(self) -> None:
        """Let all pings know that no answer will come."""
        with self._lock:
            lost = [ping for pings in self._waiting.values() for ping in pings]
            self._waiting.clear()
        for ping in lost:
            ping.lost = True
        self._changed.notify()
