"""Transports: open ways to move bytes. Each is used once, for one link, and then thrown away."""

from cnx.transports.transport import Transport

__all__ = ["Transport"]
