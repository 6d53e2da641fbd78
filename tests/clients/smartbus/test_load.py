"""A full bus: 32 units with 8 clients each exchange 100,000 packets, and nothing is lost or misrouted."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from cnx.clients.smartbus import Address, Packet, Pulse, SmartBusClient
from cnx.clients.smartbus.protocol.packets import CLIENT_UNITS
from cnx.clients.smartbus.simulator import BusServer
from cnx.link.listener import Listener
from cnx.signals.subscriptions import subscribe
from tests.helpers.smartbus_peer import endpoint
from tests.helpers.smartbus_scene import client_of

CLIENTS, PACKETS = 8, 100_000
PATIENCE = 60.0
UNHURRIED = Pulse(silence=600.0)
"""All the threads of 256 clients and their server share one interpreter, so each is heard of when its turn comes."""


class Inbox:
    """What one client received: for whom it was, and the next number from each sender."""

    def __init__(self, client: SmartBusClient, arrived: threading.Semaphore) -> None:
        self.wrong: list[Packet] = []
        self.counts: Counter[Address] = Counter()
        self._own = client.local_address
        self._arrived = arrived
        subscribe(client, client.Signals.MESSAGE_RECEIVED, self.on_message)

    def on_message(self, message: Packet) -> None:
        """Check one packet: it is ours, from who it says, and in order."""
        source, number = message.source, int.from_bytes(message.data[3:], "little")
        if message.destination != self._own or tuple(message.data[:3]) != source or number != self.counts[source]:
            self.wrong.append(message)
        self.counts[source] += 1
        self._arrived.release()


def send_all(client: SmartBusClient, others: list[Address], rounds: int) -> None:
    """Send numbered packets to each of the others in turn."""
    for number in range(rounds):
        data = bytes(client.local_address) + number.to_bytes(4, "little")
        for other in others:
            client.send(1, 3, *other, data)


def test_full_bus() -> None:
    """Every packet arrives once, at whom it was for, in the order of its sender."""
    addresses = [Address(unit, client, 9) for unit in CLIENT_UNITS for client in range(CLIENTS)]
    arrived = threading.Semaphore(0)
    with ExitStack() as stack:
        server = stack.enter_context(BusServer(silence=UNHURRIED.silence))
        port = endpoint(server.listen_tcp())[1]
        shared = Listener("full bus")
        clients = [client_of(port, *address[:2], listener=shared, pulse=UNHURRIED) for address in addresses]
        for client in clients:
            stack.enter_context(client)
        inboxes = [Inbox(client, arrived) for client in clients]
        partners = {
            address: [other for other in addresses[index + 1 :] + addresses[:index] if other.unit != address.unit][:10]
            for index, address in enumerate(addresses)
        }
        rounds = PACKETS // (len(clients) * 10) + 1
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda client: send_all(client, partners[client.local_address], rounds), clients))
        for _ in range(rounds * 10 * len(clients)):
            assert arrived.acquire(timeout=PATIENCE)
        server.stop()  # first, as each client that leaves would be told to all others
    assert not any(inbox.wrong for inbox in inboxes)
    assert all(count == rounds for inbox in inboxes for count in inbox.counts.values())
    assert sum(inbox.counts.total() for inbox in inboxes) == rounds * 10 * len(clients) >= PACKETS
