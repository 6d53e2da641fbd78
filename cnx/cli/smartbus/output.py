"""The output of ``cnx smartbus``: text for people, or one JSON object per line."""

from __future__ import annotations

import json
from typing import Any

from cnx.cli.console import echo, stamp
from cnx.clients.smartbus import Address, Packet, Peer, SmartBusClient

__all__ = ["Output"]


class Output:
    """Prints results.

    Args:
        as_json: print one JSON object per line instead of text.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, text: str, /, **values: Any) -> None:
        """Print ``text``, or the values as JSON."""
        echo(json.dumps(values, ensure_ascii=False) if self._as_json else text)

    def packet(self, client: SmartBusClient, packet: Packet) -> None:
        """Print a received packet."""
        text = client.text(packet)
        self.say(
            f"{stamp()} {packet.source} -> {packet.destination} {packet.cmd_type}/{packet.cmd} {text!r}",
            event="data", source=parts(packet.source), destination=parts(packet.destination),
            cmd_type=packet.cmd_type, cmd=packet.cmd, text=text, hex=packet.data.hex(),
        )  # fmt: skip

    def presence(self, event: str, peer: Peer) -> None:
        """Print that a client came or left."""
        info = f" {peer.info!r}" if peer.info else ""
        self.say(f"{stamp()} {peer.address} {event}{info}", event=event, **described(peer))

    def peer(self, peer: Peer) -> None:
        """Print a client that is on the bus."""
        self.say(f"{peer.address} at server {peer.access_point}: {peer.info}", **described(peer))


def parts(address: Address) -> dict[str, int]:
    """Return an address for JSON."""
    return address._asdict()


def described(peer: Peer) -> dict[str, Any]:
    """Return a peer for JSON."""
    return {**parts(peer.address), "access_point": peer.access_point, "info": peer.info}
