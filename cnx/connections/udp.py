"""Connections over UDP."""

from __future__ import annotations

from collections import deque
from typing import Any

from cnx.connections.sockets import checked_host, checked_port
from cnx.connections.transport import TransportConnection
from cnx.connections.writing import Data, checked_data
from cnx.deadline import Deadline, checked_timeout
from cnx.link.parties import Inbox
from cnx.transports.datagrams import open_udp
from cnx.transports.transport import Transport

__all__ = ["UdpConnection"]


class DatagramInbox:
    """Datagrams that wait; its length is their size in bytes, where an empty one counts as one."""

    def __init__(self) -> None:
        self._datagrams: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Add a datagram."""
        self._datagrams.append(data)
        self._size += max(1, len(data))

    def take(self) -> bytes | None:
        """Remove and return the oldest datagram, or return ``None``."""
        if not self._datagrams:
            return None
        data = self._datagrams.popleft()
        self._size -= max(1, len(data))
        return data

    def take_all(self) -> list[bytes]:
        """Remove and return all datagrams."""
        datagrams = list(self._datagrams)
        self.clear()
        return datagrams

    def tail(self, size: int) -> list[bytes]:
        """Return the last datagrams with ``size`` bytes in all, without taking them."""
        found: list[bytes] = []
        for data in reversed(self._datagrams):
            size -= max(1, len(data))
            if size < 0:
                break
            found.insert(0, data)
        return found

    def clear(self) -> None:
        """Remove all."""
        self._datagrams.clear()
        self._size = 0


class UdpConnection(TransportConnection):
    """A UDP socket with one peer: datagrams in, datagrams out, empty ones too.

    Subscribers get each datagram as ``DATA_RECEIVED`` and, cut by nothing, as ``MESSAGE_RECEIVED``. Nothing tells
    whether the peer is there: "connected" means that the socket is open. Datagrams that nobody takes wait in the
    operating system, which drops what does not fit.

    Args:
        host: a name, an IPv4 or an IPv6 address.
        port: 1 to 65535.
        local: own address and port to send from and receive at; the system chooses if omitted.
        **settings: see :class:`~cnx.connections.transport.TransportConnection`.
    """

    def __init__(self, host: str, port: int, *, local: tuple[str, int] | None = None, **settings: Any) -> None:
        self._host = checked_host(host)
        self._port = checked_port(port)
        if local is not None and not (isinstance(local, tuple) and list(map(type, local)) == [str, int]):
            raise TypeError(f"local is an address and a port, not {local!r}")
        if local is not None and not 0 <= local[1] <= 65535:
            raise ValueError(f"the port of local is 0 to 65535, not {local[1]}")
        if local is not None and local[0]:  # nothing stands for all addresses of this machine
            checked_host(local[0], "local")
        self._local = local
        super().__init__(**settings)

    @property
    def address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}/udp"

    def open_transport(self, deadline: Deadline) -> Transport:
        return open_udp(self._host, self._port, self._local, deadline)

    def send(self, datagram: Data, *, timeout: float | None = None) -> None:
        """Send one datagram of 0 to 65,507 bytes.

        Raises:
            NotConnected, ConnectionLost: the socket is not open.
            TypeError, ValueError: it is no datagram.
        """
        datagram = checked_data(datagram)
        if len(datagram) > 65507:
            raise ValueError(f"a datagram has at most 65507 bytes, not {len(datagram)}")
        self._current().write(datagram, self.timeout if timeout is None else checked_timeout(timeout))

    write = send

    def receive(self, *, timeout: float | None = None) -> bytes:
        """Return the next datagram.

        Raises:
            TimedOut: none came in time.
            NotConnected, ConnectionLost: the socket is not open.
        """
        link = self._reading_link()
        inbox: DatagramInbox = link.inbox
        return link.take(inbox.take, self.timeout if timeout is None else checked_timeout(timeout))

    def _new_inbox(self) -> Inbox:
        return DatagramInbox()
