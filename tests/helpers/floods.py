"""A server that floods each client with garbage."""

from __future__ import annotations

from cnx.errors import CnxError
from cnx.simulation import Session, Simulator

__all__ = ["MEBIBYTE", "Flood"]

MEBIBYTE = 1 << 20


class Flood(Simulator):
    """Sends some bytes again and again to each client, one MiB of them, and then reads until the client leaves.

    Args:
        garbage: what to send.
        greeting: what to send first.
    """

    def __init__(self, garbage: bytes, greeting: bytes = b"") -> None:
        super().__init__("flood")
        self._data = greeting + garbage * (MEBIBYTE // len(garbage))

    def serve(self, session: Session) -> None:
        """Send it; a client may leave before the end."""
        try:
            session.write(self._data)
            while session.read():
                pass
        except (CnxError, OSError):
            return
