"""Who else is on the bus, and pings to them."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from cnx.clients.smartbus.client.events import BusSignals
from cnx.clients.smartbus.protocol.codes import Presence
from cnx.clients.smartbus.protocol.messages import GlobalConnect
from cnx.clients.smartbus.protocol.packets import Address

__all__ = ["Peer", "PeerTable", "PingTable"]

log = logging.getLogger(__name__)
PEERS_LIMIT = 10_000


@dataclass(frozen=True)
class Peer:
    """Another client.

    Attributes:
        address: its unit, client id and type.
        access_point: unit id of the server it is registered at.
        info: what it says of itself.
    """

    address: Address
    access_point: int
    info: str


class PeerTable:
    """The other clients that are known to be on the bus. Thread-safe; one thread at a time hands in notices.

    Args:
        tell: gets an event and its arguments.
    """

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._peers: dict[Address, Peer] = {}

    @property
    def all(self) -> list[Peer]:
        """The peers, by address."""
        with self._lock:
            return sorted(self._peers.values(), key=lambda peer: peer.address)

    def on_notice(self, notice: GlobalConnect) -> None:
        """Take a notice, and tell what it changes."""
        peer = Peer(notice.address, notice.access_point, notice.info)
        if notice.status == Presence.GONE:
            with self._lock:
                self._peers.pop(peer.address, None)
            self._tell(BusSignals.PEER_DISCONNECTED, peer=peer)
        elif self._add(peer) or notice.status == Presence.NEW:
            self._tell(BusSignals.PEER_CONNECTED, peer=peer)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._peers.clear()

    def _add(self, peer: Peer) -> bool:
        """Note a peer, and return whether that is news."""
        with self._lock:
            known = self._peers.get(peer.address)
            full = known is None and len(self._peers) >= PEERS_LIMIT
            if not full:
                self._peers[peer.address] = peer
        if full:
            log.warning("%d clients on the bus are known; %s is left out", PEERS_LIMIT, peer.address)
        return known != peer and not full


class Ping:
    """A ping that is waited for.

    Attributes:
        payload: what it repeats.
        seconds: the round trip; ``None`` without an answer.
        lost: the link ended first.
    """

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.seconds: float | None = None
        self.lost = False
        self._sent = perf_counter()
        self._under_way = threading.Lock()
        self._under_way.acquire()

    def on_ack(self) -> None:
        """Note that the answer came just now."""
        self.seconds = perf_counter() - self._sent
        self._under_way.release()

    def on_lost(self) -> None:
        """Note that no answer will come."""
        self.lost = True
        self._under_way.release()

    def wait(self, timeout: float) -> None:
        """Wait until it is answered or lost."""
        self._under_way.acquire(timeout=timeout)


class PingTable:
    """The pings that are waited for, by what they carry. Thread-safe."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.let_go()

    def let_go(self) -> None:
        """Begin without pings, also in a forked child process, where the threads that wait do not exist."""
        self._lock = threading.Lock()
        self._waiting: dict[bytes, list[Ping]] = {}

    def next_payload(self) -> bytes:
        """Return data that no other ping of ours has."""
        return next(self._numbers).to_bytes(8, "little")

    def start(self, payload: bytes) -> Ping:
        """Wait for an answer with ``payload``."""
        ping = Ping(payload)
        with self._lock:
            self._waiting.setdefault(payload, []).append(ping)
        return ping

    def drop(self, ping: Ping) -> None:
        """Wait no more."""
        with self._lock:
            pings = self._waiting.get(ping.payload, [])
            if ping in pings:
                pings.remove(ping)
            if not pings:
                self._waiting.pop(ping.payload, None)

    def on_ack(self, payload: bytes) -> Ping | None:
        """Take an answer; return the ping that it answers, if one was waited for."""
        with self._lock:
            pings = self._waiting.get(payload)
            if not pings:
                return None
            ping = pings.pop(0)
            if not pings:
                del self._waiting[payload]
        ping.on_ack()
        return ping

    def end_all(self) -> None:
        """Let all who wait know that no answer will come."""
        with self._lock:
            lost = [ping for pings in self._waiting.values() for ping in pings]
            self._waiting.clear()
        for ping in lost:
            ping.on_lost()
