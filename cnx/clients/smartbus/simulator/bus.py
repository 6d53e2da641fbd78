"""The clients on a bus and their links, shared by a master and its backup server."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cnx.clients.smartbus.protocol.codes import ClientType, Code
from cnx.clients.smartbus.protocol.packets import BROADCAST, Address
from cnx.clients.smartbus.simulator.outbox import Outbox
from cnx.errors import CnxError

__all__ = ["Attachment", "Bus", "Refused"]

CLIENTS_PER_UNIT = 16
"""How many clients a unit may have, as many as one process can have with the vendor's library."""


class Refused(CnxError):
    """A registration is refused; ``code`` is the error code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with code {code}")
        self.code = code


@dataclass(frozen=True, eq=False)
class Attachment:
    """The link of one client to one server.

    Attributes:
        address: the client.
        info: its description of itself.
        server: unit id of the server.
        outbox: the packets that wait to be sent to it.
    """

    address: Address
    info: str
    server: int
    outbox: Outbox


class Bus:
    """The clients of one server, or of a master and its backup. Thread-safe.

    A client may be attached to each server once. Packets for it go over its oldest link.
    """

    def __init__(self) -> None:
        self.servers: set[int] = set()
        self._lock = threading.Lock()
        # replaced and never changed, so reading it needs no lock
        self._attached: dict[tuple[int, int], tuple[Attachment, ...]] = {}

    def attach(self, attachment: Attachment) -> bool:
        """Add the link of a client; return whether it is the first link of that client.

        Raises:
            Refused: these ids are registered already, or the unit has too many clients.
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
        """Remove a link; return whether it was the last one of its client."""
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
        """Return the links over which a packet has to be sent: one for each client that it is for.

        A client id, or a unit id, of 255 means all but the sender. The client type must be the client's own, or 0.
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
        """Return one link of each client except the one at ``address``."""
        return self.recipients(address, Address(BROADCAST, BROADCAST, ClientType.NULL))


def fits(attachment: Attachment, destination: Address) -> bool:
    """Return whether the client has the type of the destination."""
    return destination.type in (attachment.address.type, ClientType.NULL)
