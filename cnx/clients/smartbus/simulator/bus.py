"""Who is on the bus, and through which servers: shared by a master and its backup."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cnx.clients.smartbus.protocol.codes import ClientType, Code
from cnx.clients.smartbus.protocol.packets import BROADCAST, Address
from cnx.clients.smartbus.simulator.outbox import Outbox
from cnx.errors import CnxError

__all__ = ["Attachment", "Bus", "Refused"]

CLIENTS_PER_UNIT = 16


class Refused(CnxError):
    """A client is not let in; ``code`` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with code {code}")
        self.code = code


@dataclass(frozen=True, eq=False)
class Attachment:
    """The link of one client to one server.

    Attributes:
        address: the client.
        info: what it said of itself.
        server: unit id of the server.
        outbox: where packets for it go.
    """

    address: Address
    info: str
    server: int
    outbox: Outbox


class Bus:
    """The clients of one server, or of a master and its backup. Thread-safe.

    A client may be attached to each server once; what is sent to it goes over the link it made first.
    """

    def __init__(self) -> None:
        self.servers: set[int] = set()
        self._lock = threading.Lock()
        # Replaced, never changed: readers need no lock.
        self._attached: dict[tuple[int, int], tuple[Attachment, ...]] = {}

    def attach(self, attachment: Attachment) -> bool:
        """Let a client in, and return whether it was not there yet.

        Raises:
            Refused: these ids are connected already, or the unit has too many clients.
        """
        unit, client, _ = attachment.address
        with self._lock:
            others = self._attached.get((unit, client), ())
            if any(other.server == attachment.server or other.address != attachment.address for other in others):
                raise Refused(Code.ALREADY_CONNECTED)
            if not others and sum(known == unit for known, _ in self._attached) >= CLIENTS_PER_UNIT:
                raise Refused(Code.TOO_MANY_CLIENTS)
            self._attached = {**self._attached, (unit, client): (*others, attachment)}
        return not others

    def detach(self, attachment: Attachment) -> bool:
        """Let a link go, and return whether it was the last of its client."""
        key = attachment.address[:2]
        with self._lock:
            attached = dict(self._attached)
            left = tuple(other for other in attached.pop(key, ()) if other is not attachment)
            if left:
                attached[key] = left
            self._attached = attached
        return not left

    @property
    def clients(self) -> list[Address]:
        """The addresses of all clients."""
        return [attachments[0].address for attachments in self._attached.values()]

    def recipients(self, source: Address, destination: Address) -> list[Attachment]:
        """Return where a packet has to go: the links of the clients it is for.

        A client id, or a unit id, of 255 means every one but the sender; a client type has to be the
        client's own, or 0.
        """
        if destination.client != BROADCAST:
            found = self._attached.get(destination[:2])
            return [found[0]] if found and fits(found[0], destination) else []
        firsts = [attachments[0] for attachments in self._attached.values()]
        return [
            first
            for first in firsts
            if destination.unit in (first.address.unit, BROADCAST)
            and first.address != source
            and fits(first, destination)
        ]

    def others(self, address: Address) -> list[Attachment]:
        """Return the links of all clients but the one at ``address``."""
        return self.recipients(address, Address(BROADCAST, BROADCAST, ClientType.NULL))


def fits(attachment: Attachment, destination: Address) -> bool:
    """Return whether the client has the type that a packet is for."""
    return destination.type in (attachment.address.type, ClientType.NULL)
