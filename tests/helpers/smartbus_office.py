"""A bus server for tests that keeps what was for it, and bare clients on it."""

from __future__ import annotations

import queue

from cnx.clients.smartbus.protocol.codes import CmdType, Code
from cnx.clients.smartbus.protocol.flows import Notify
from cnx.clients.smartbus.protocol.packets import Address, Packet
from cnx.clients.smartbus.simulator import BusServer
from tests.helpers.smartbus_peer import Peer

ONE, TWO, THREE = Address(16, 1, 9), Address(17, 1, 9), Address(17, 2, 10)
IPSC = Address(0, 3, 2)
SYSTEM, INTERNAL, USER = CmdType.SYSTEM, CmdType.INTERNAL, CmdType.USER


class RecordingServer(BusServer):
    """A server that keeps what was for it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.notices: queue.Queue[tuple[Address, Notify]] = queue.Queue()
        self.data: queue.Queue[Packet] = queue.Queue()

    def on_notify(self, source: Address, notice: Notify) -> None:
        """Keep a notice."""
        self.notices.put((source, notice))

    def on_data(self, packet: Packet) -> None:
        """Keep data."""
        self.data.put(packet)


def joined(server: BusServer, address: Address, **fields: object) -> Peer:
    """Return a registered client."""
    peer = Peer(server.urls[0], address)
    assert peer.register(**fields) == Code.OK
    return peer


def data(source: Address, destination: Address, payload: bytes = b"data", cmd: int = 1) -> Packet:
    """Return a data packet."""
    return Packet(cmd, USER, source, destination, payload)
