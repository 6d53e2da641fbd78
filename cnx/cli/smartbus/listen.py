"""``cnx smartbus listen``: print packets and presence until stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnx.cli.console import echo
from cnx.cli.smartbus.output import Output
from cnx.clients.smartbus import BusSignals, Packet, Peer, SmartBusClient
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe
from cnx.threads.condition import Flag

__all__ = ["listen_until"]


def listen_until(stop: Flag, client: SmartBusClient, output: Output, count: int | None) -> None:
    """Print packets and presence until ``stop`` is set or ``count`` packets were printed.

    Raises:
        OSError: the output cannot be written, or the client cannot connect again.
    """
    listening = _Listening(stop, client, output, count)
    for signal, handler in (
        (client.Signals.MESSAGE_RECEIVED, listening.on_message),
        (BusSignals.PEER_CONNECTED, listening.on_peer_connected),
        (BusSignals.PEER_DISCONNECTED, listening.on_peer_disconnected),
    ):
        subscribe(client, signal, handler)
    manager = ConnectionManager(client)
    subscribe(manager, manager.Signals.STATE_CHANGED, listening.on_state)
    manager.connect(wait=False)
    stop.wait()
    failure = listening.failure or (manager.reason if manager.state is State.DISCONNECTED else None)
    manager.teardown()
    if failure is not None:
        raise failure


class _Listening:
    """The handlers that print.

    Attributes:
        failure: why the output cannot be written.
    """

    def __init__(self, stop: Flag, client: SmartBusClient, output: Output, count: int | None) -> None:
        self.failure: OSError | None = None
        self._stop = stop
        self._client = client
        self._output = output
        self._left = count

    def on_message(self, message: Packet) -> None:
        """Print a packet, and stop after the last one."""
        self._show(self._output.packet, self._client, message)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self._stop.set()

    def on_peer_connected(self, peer: Peer) -> None:
        """Print that a client came."""
        self._show(self._output.presence, "connected", peer)

    def on_peer_disconnected(self, peer: Peer) -> None:
        """Print that a client left."""
        self._show(self._output.presence, "gone", peer)

    def on_state(self, old: State, new: State, reason: BaseException | None) -> None:
        """Report on stderr that the link was lost; stop if it will not be made again."""
        if new is State.DISCONNECTED:
            self._stop.set()
        elif new is State.RECOVERING:
            echo(f"recovering: {reason}", err=True)

    def _show(self, show: Callable[..., None], *values: Any) -> None:
        if self._stop.is_set():
            return
        try:
            show(*values)
        except OSError as error:  # the pipe is closed, or the disk is full
            self.failure = error
            self._stop.set()
