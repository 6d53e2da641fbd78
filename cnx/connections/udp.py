"""Connections over UDP."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Unpack, final

from cnx.connections.pieces import Datagram, late
from cnx.connections.transport import (
    Data,
    TransportConnection,
    TransportSettings,
    checked_data,
)
from cnx.deadline import Deadline
from cnx.errors import LimitExceeded, TimedOut
from cnx.link.link import Link
from cnx.transports.datagrams import open_udp
from cnx.transports.resolver import checked_host, checked_port, shown
from cnx.transports.transport import Transport

__all__ = ["UdpConnection", "UdpSettings"]


class UdpSettings(TransportSettings, total=False):
    """The settings of a UDP connection beside host and port; see :class:`UdpConnection`."""

    local: tuple[str, int] | None


class UdpConnection(TransportConnection):
    """A UDP socket with one peer: datagrams in, datagrams out, empty ones too. Thread-safe.

    Subscribers get each datagram as ``DATA_RECEIVED`` and, uncut, as ``MESSAGE_RECEIVED``. Nothing shows whether the
    peer is there: "connected" means that the socket is open. Datagrams that nobody takes wait in the operating system,
    which drops what does not fit.

    Args:
        host: a name, an IPv4 or an IPv6 address.
        port: 1 to 65535.
        local: own address and port to send from and receive at; the system chooses if omitted.
        **settings: see :class:`~cnx.connections.transport.TransportConnection`; there is no ``framing``.
    """

    def __init__(
        self, host: str, port: int, *, local: tuple[str, int] | None = None, **settings: Unpack[TransportSettings]
    ) -> None:
        checked_host(host)
        checked_port(port)
        if settings.get("framing") is not None:
            raise ValueError("framing= is for streams; with UDP each datagram is a message")
        if local is not None and not (isinstance(local, tuple) and list(map(type, local)) == [str, int]):
            raise TypeError(f"local must be an address and a port, not {local!r}")
        if local is not None and not 0 <= local[1] <= 65535:
            raise ValueError(f"the port of local must be between 0 and 65535, not {local[1]}")
        if local is not None and local[0]:  # an empty one stands for all addresses of this machine
            checked_host(local[0], "local")
        super().__init__(UdpOpener(host, port, local), **settings)

    @final
    def send(self, datagram: Data, *, timeout: float | None = None) -> None:
        """Send one datagram of 0 to 65,507 bytes.

        Raises:
            NotConnected, ConnectionLost: the socket is not open.
            TypeError, ValueError: it is no datagram.
        """
        datagram = checked_data(datagram)
        if len(datagram) > 65507:
            raise ValueError(f"a datagram has at most 65507 bytes, not {len(datagram)}")
        self._cnx.usable_link(self).write(datagram, self._cnx.seconds(timeout))

    write = send

    @final
    def receive(self, *, timeout: float | None = None) -> bytes:
        """Return the next datagram.

        Raises:
            TimedOut: none arrived in time.
            NotConnected, ConnectionLost: the socket is not open.
            LimitExceeded: datagrams were dropped since the last call, as nobody received them.
        """
        link = _link_to_read(self)
        datagram, seconds = Datagram(), self._cnx.seconds(timeout)
        try:
            return link.take(datagram, seconds)
        except TimedOut:
            raise late(link, datagram, seconds, self.secrets) from None


def _link_to_read(connection: UdpConnection) -> Link:
    link = connection._cnx.usable_link(connection)
    if link.inbox.dropped and (dropped := link.inbox.take_dropped()):
        raise LimitExceeded(
            f"datagrams of {dropped} bytes from {link.address} were dropped: subscribers have got them, and nobody "
            "received them; the next call goes on after them"
        )
    return link


@dataclass(frozen=True)
class UdpOpener:
    """How to open a UDP socket."""

    host: str
    port: int
    local: tuple[str, int] | None

    @property
    def address(self) -> str:
        """Host and port, marked as UDP."""
        return f"{shown(self.host, self.port)}/udp"

    def open(self, deadline: Deadline) -> Transport:
        """Open it."""
        return open_udp(self.host, self.port, self.local, deadline)

    def discard(self) -> None:
        """Nothing is open yet."""
