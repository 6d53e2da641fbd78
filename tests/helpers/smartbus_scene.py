"""Clients for tests: unregistered, on a bus, at a server that the test plays; and what they tell."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from cnx.clients.smartbus import (
    BusSignals,
    Pulse,
    SmartBusClient,
)
from cnx.clients.smartbus.simulator import BusServer
from cnx.signals.subscriptions import subscribe
from tests.helpers.smartbus_peer import PATIENCE, Listening, Peer, endpoint


def client_of(port: int, unit: int = 19, client: int = 5, **options: Any) -> SmartBusClient:
    """Return a client that is not connected."""
    options = {"client_type": 9, "pulse": Pulse(reconnect_delay=0.0), **options}
    return SmartBusClient("127.0.0.1", port, unit_id=unit, client_id=client, **options)


class Recorder:
    """Keeps what a client tells, in order."""

    def __init__(self, client: SmartBusClient) -> None:
        self.seen: queue.Queue[tuple[Any, dict[str, Any]]] = queue.Queue()
        signals = [*client.Signals, *BusSignals]
        signals.remove(client.Signals.DATA_RECEIVED)
        for signal in signals:
            subscribe(client, signal, self._keep)

    def _keep(self, signal: Any, **arguments: Any) -> None:
        arguments.pop("sender", None)
        self.seen.put((signal, arguments))

    def next(self, signal: Any) -> dict[str, Any]:
        """Return the arguments of the next signal, which has to be this one."""
        found, arguments = self.seen.get(timeout=PATIENCE)
        assert found is signal
        return arguments

    def until(self, signal: Any) -> dict[str, Any]:
        """Return the arguments of the next signal of this kind; others are dropped."""
        while True:
            found, arguments = self.seen.get(timeout=PATIENCE)
            if found is signal:
                return arguments


@contextmanager
def on_bus(server: BusServer, unit: int, client: int = 1, **options: Any) -> Iterator[SmartBusClient]:
    """A client that is registered."""
    with client_of(endpoint(server.urls[0])[1], unit, client, **options) as connected:
        yield connected


@contextmanager
def played(pool: ThreadPoolExecutor, **options: Any) -> Iterator[tuple[SmartBusClient, Peer]]:
    """A client that is registered at a server that the test plays."""
    with Listening() as listening:
        client = client_of(listening.port, **options)
        connecting = pool.submit(client.connect)
        peer = listening.admit()
        with peer:
            connecting.result(PATIENCE)
            try:
                yield client, peer
            finally:
                client.teardown()
