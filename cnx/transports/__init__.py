"""Transports: open ways to move bytes, such as a connected socket. Each is used once, for one link."""

from cnx.transports.transport import Transport

__all__ = ["Transport"]
