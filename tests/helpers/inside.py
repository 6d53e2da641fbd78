"""What a test may look at inside of a connection, to wait for a moment that nothing reports."""

from __future__ import annotations

from cnx.connections.transport import TransportConnection
from cnx.link.link import Link

__all__ = ["is_emitting", "is_preparing", "is_reading", "is_writing", "link_of"]


def link_of(connection: TransportConnection) -> Link:
    """Return the present link."""
    link = connection._cnx.link
    assert link is not None
    return link


def is_preparing(connection: TransportConnection) -> bool:
    """Return whether a link is being prepared."""
    return connection._cnx.fresh is not None


def is_reading(connection: TransportConnection) -> bool:
    """Return whether some thread reads the transport."""
    return not link_of(connection).reader.is_free()


def is_emitting(connection: TransportConnection) -> bool:
    """Return whether messages of what has arrived were not emitted yet."""
    return link_of(connection)._receiver.pending


def is_writing(connection: TransportConnection) -> bool:
    """Return whether some thread writes to the transport."""
    return not link_of(connection).writer.is_free()
