"""Heartbeat: noticing a peer that has vanished, by heartbeats, by writes that block, and by silence."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any

from cnx.connections.connection import Connection
from cnx.deadline import checked_interval
from cnx.errors import CnxError, ConnectionLost
from cnx.link.link import Link
from cnx.link.timers import Timer

try:
    import fcntl
    import termios
except ImportError:  # not POSIX
    fcntl = termios = None  # type: ignore[assignment]

__all__ = ["Beat", "Heartbeat"]

Beat = bytes | Callable[[Any], object]
"""What a heartbeat is: bytes to write, or a function that is called with the connection."""

LOOKS = 4
"""How often silence is looked for, within its limit."""


class Heartbeat:
    """What a connection does to notice that its peer has vanished.

    Args:
        beat: bytes to write, or a function that is called with the connection on the thread of the listener. An
            exception that it raises ends the link.
        interval: seconds between two heartbeats. A write that takes longer than this ends the link.
        silence_limit: seconds without a byte from the peer after which the link ends; noticed up to a quarter later.

    Raises:
        TypeError, ValueError: an argument is invalid, or one is missing.
    """

    def __init__(self, beat: Beat | None, interval: float | None, silence_limit: float | None) -> None:
        if beat is not None and not callable(beat) and not (isinstance(beat, bytes) and beat):
            raise TypeError(
                f"heartbeat must be bytes to write, or a function to call with the connection, not {beat!r}"
            )
        if (beat is None) is not (interval is None):
            raise ValueError("heartbeat and heartbeat_interval must be given together")
        self._beat = beat
        self._interval = checked_interval(interval, "heartbeat_interval")
        self._silence_limit = checked_interval(silence_limit, "silence_limit")
        self._connection: Callable[[], Connection | None] = lambda: None
        self._link: Link | None = None
        self._write = (0, 0)  # the thread that was writing at the last beat, and how many writes came before
        self._received = 0
        self._heard_at = 0.0

    def start(self, connection: Connection, link: Link) -> None:
        """Begin with a new link. The timers end with it."""
        self._connection, self._link = weakref.ref(connection), link
        self._write = (0, 0)
        self._received, self._heard_at = link.received, monotonic()
        if self._interval is not None:
            link.schedule(Timer(link, self._interval, self.beat))
        if self._silence_limit is not None:
            link.schedule(Timer(link, self._silence_limit / LOOKS, self.listen))

    def beat(self) -> None:
        """Send a heartbeat, unless a thread is writing: that shows as well whether the peer takes anything."""
        link, connection = self._link, self._connection()
        if link is None or connection is None or self._interval is None:
            return
        before, self._write = self._write, link.writing
        if self._write[0]:
            if self._write == before:
                link.end(ConnectionLost(f"{link.address} has taken nothing for {self._interval:g} s: a write is stuck"))
            return
        try:
            if isinstance(self._beat, bytes):
                link.write(self._beat, self._interval)
            elif self._beat is not None:
                self._beat(connection)
        except CnxError as error:
            link.end(error)
        except Exception as error:
            lost = ConnectionLost(f"the heartbeat of {connection.name} failed: {error!r}")
            lost.__cause__ = error
            link.end(lost)

    def listen(self) -> None:
        """End the link if nothing has arrived for too long, neither here nor in the operating system."""
        link = self._link
        if link is None or self._silence_limit is None:
            return
        now, received = monotonic(), link.received + bytes_waiting(link.fd)
        if received != self._received:
            self._received, self._heard_at = received, now
        elif now - self._heard_at >= self._silence_limit:
            link.end(ConnectionLost(f"nothing arrived from {link.address} for {self._silence_limit:g} s"))


def bytes_waiting(fd: int) -> int:
    """Return how many bytes wait to be read from a descriptor, where the system says so."""
    if fcntl is None or fd < 0:
        return 0
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
