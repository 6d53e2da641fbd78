"""UdpTransport: a UDP socket with one peer."""

from __future__ import annotations

import logging
import socket
from time import monotonic
from typing import Any

from cnx.deadline import Deadline
from cnx.logs import log_of_peer, logger
from cnx.transports.dialing import unreachable
from cnx.transports.resolver import resolve, shown
from cnx.transports.sockets import SocketTransport

__all__ = ["UdpTransport", "open_udp"]

log = logger(__name__)


class UdpTransport(SocketTransport):
    """A UDP socket with one peer; every read and every write is one datagram, which may be empty.

    While nothing listens at the peer, its host may answer "port unreachable". That is logged and does not end the link,
    because with UDP a peer may come and go. It is logged once, until a datagram arrives again.

    Attributes:
        refused: the host of the peer has answered "port unreachable", and no datagram has arrived since.
    """

    full = 0
    refused = False

    def read(self, size: int, timeout: float | None) -> bytes:
        end = None if timeout is None else monotonic() + timeout
        left = timeout
        while True:
            try:
                data = super().read(size, left)
                self.refused = False
                return data
            except OSError as error:
                self._bear_refusal(error)
            left = None if end is None else max(0.0, end - monotonic())

    def read_now(self, size: int) -> bytes | None:
        while True:
            try:
                data = super().read_now(size)
                if data is not None:
                    self.refused = False
                return data
            except OSError as error:
                self._bear_refusal(error)

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        end = None if timeout is None else monotonic() + timeout
        left = timeout
        while True:
            try:
                return super().write(data, left)
            except OSError as error:  # it is about an earlier datagram, and reported once
                self._bear_refusal(error)
            left = None if end is None else max(0.0, end - monotonic())

    def _bear_refusal(self, error: OSError) -> None:
        if not isinstance(error.__cause__, ConnectionRefusedError):
            raise error
        level = logging.DEBUG if self.refused else logging.INFO
        self.refused = True
        log_of_peer(log, level, "%s: port unreachable: nothing listens there at the moment", self.address)

    def _end(self) -> bytes:
        return super()._end() if self._shut else b""


def open_udp(host: str, port: int, local: tuple[str, int] | None, deadline: Deadline) -> UdpTransport:
    """Open a UDP socket for the first usable address of ``host``, bound to ``local`` (address, port) if given.

    Raises:
        ConnectError: the name is not known, or the local address cannot be used.
    """
    where = shown(host, port)
    errors: dict[str, OSError] = {}
    for family, address in resolve(host, port, socket.SOCK_DGRAM, deadline):
        try:
            return UdpTransport(_open_address(family, address, local), where)
        except UnicodeError as error:
            errors[address[0]] = OSError(str(error))
        except OSError as error:
            errors[address[0]] = error
    source = "" if local is None else f" from {shown(*local)}"
    raise unreachable(f"cannot open UDP to {where}{source}", host, errors, deadline)


def _open_address(family: int, address: Any, local: tuple[str, int] | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if local is not None:
            sock.bind(local)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
