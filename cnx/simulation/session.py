"""One client of a simulator."""

from __future__ import annotations

import threading
import time

from cnx.errors import ConnectionLost, TimedOut
from cnx.simulation.links import DatagramLink, Link, WouldBlock

__all__ = ["Session"]

WRITE_TIMEOUT = 5.0
HANDSHAKE_TIMEOUT = 10.0


class Session:
    """The link to one client, as ``serve()`` gets it. One thread reads; any thread writes and closes.

    Attributes:
        address: of the client, for people.
        url: where the client came in, one of the simulator's ``urls``.
    """

    def __init__(self, link: Link, url: str) -> None:
        self.address = link.address
        self.url = url
        self._link = link
        self._ended = threading.Event()
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def __repr__(self) -> str:
        return f"<Session {self.address} {'closed' if self.closed else 'open'}>"

    @property
    def closed(self) -> bool:
        """Whether the link was ended on this side."""
        return self._ended.is_set()

    def read(self, size: int = 65536, timeout: float | None = None) -> bytes:
        """Return up to ``size`` bytes as soon as there are any, and ``b""`` at the end.

        Raises:
            TimedOut: nothing came within ``timeout`` seconds.
            ConnectionLost: the client reset the link.
        """
        expiry = None if timeout is None else time.monotonic() + timeout
        with self._reading:
            while not self.closed:
                try:
                    return self._link.receive(size) or b""
                except WouldBlock as blocked:
                    self._link.wait(blocked.event, expiry and max(0.0, expiry - time.monotonic()))
        return b""

    def write(self, data: bytes, timeout: float = WRITE_TIMEOUT) -> None:
        """Send ``data`` whole, and never mixed with what another thread writes.

        Raises:
            ConnectionLost: the link is over, or the client did not take the data within ``timeout``
                seconds, which ends the link.
        """
        expiry = time.monotonic() + timeout
        if not self._writing.acquire(timeout=timeout):
            raise ConnectionLost(f"another write to {self.address} took longer than {timeout:.3g} s")
        try:
            self._send(data, expiry)
        except TimedOut:
            self._link.overrun()
        finally:
            self._writing.release()

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether the session ended meanwhile: for a pace that does not hold up a stop."""
        return self._ended.wait(seconds)

    def close(self) -> None:
        """End the link in order: the client reads everything that was written, then the end."""
        self._end()
        with self._reading, self._writing:
            self._link.close()

    def reset(self) -> None:
        """End the link abruptly: a TCP client sees a reset."""
        self._end()
        with self._reading, self._writing:
            self._link.abort()

    def open(self, timeout: float = HANDSHAKE_TIMEOUT) -> None:
        """Do the TLS handshake, if there is one, within ``timeout`` seconds.

        Raises:
            TimedOut, ConnectionLost: the client did not do its part.
        """
        expiry = time.monotonic() + timeout
        with self._reading:
            while not self.closed:
                try:
                    self._link.handshake()
                    return
                except WouldBlock as blocked:
                    self._link.wait(blocked.event, max(0.0, expiry - time.monotonic()))

    @property
    def datagrams(self) -> bool:
        """Whether what is read and written are datagrams."""
        return isinstance(self._link, DatagramLink)

    @property
    def sender(self) -> tuple[str, int]:
        """The sender of the last datagram that was read."""
        assert isinstance(self._link, DatagramLink)
        return self._link.peer[0], self._link.peer[1]

    def _end(self) -> None:
        self._ended.set()
        self._link.wake()

    def _send(self, data: bytes, expiry: float) -> None:
        view = memoryview(data)
        while not self.closed:
            try:
                view = view[self._link.send(view) :]
                if not view:
                    return
            except WouldBlock as blocked:
                self._link.wait(blocked.event, max(0.0, expiry - time.monotonic()))
        raise ConnectionLost(f"the session of {self.address} is closed")
