"""UdpTransport: a UDP socket with one peer."""

from __future__ import annotations

import logging
import socket
from time import monotonic
from typing import Any

from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.transports.resolver import reason_of, resolve, shown
from cnx.transports.sockets import SocketTransport

__all__ = ["UdpTransport", "open_udp"]

log = logging.getLogger(__name__)


class UdpTransport(SocketTransport):
    """A UDP socket with one peer; every read and every write is one datagram, which may be empty.

    While nothing listens at the peer, its host may answer "port unreachable". That is logged and does not end the link,
    because with UDP a peer may come and go.
    """

    full = 0

    def read(self, size: int, timeout: float | None) -> bytes:
        end = None if timeout is None else monotonic() + timeout
        left = timeout
        while True:
            try:
                return super().read(size, left)
            except OSError as error:
                self._bear_refusal(error)
            left = None if end is None else max(0.0, end - monotonic())

    def read_now(self, size: int) -> bytes | None:
        while True:
            try:
                return super().read_now(size)
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
        log.info("%s: port unreachable: nothing listens there at the moment", self.address)

    def _end(self) -> bytes:
        return super()._end() if self._shut else b""


def open_udp(host: str, port: int, local: tuple[str, int] | None, deadline: Deadline) -> UdpTransport:
    """Open a UDP socket for the first usable address of ``host``, bound to ``local`` (address, port) if given.

    Raises:
        ConnectError: the name is not known, or the local address cannot be used.
    """
    where = shown(host, port)
    reasons: list[str] = []
    for family, address in resolve(host, port, socket.SOCK_DGRAM, deadline):
        try:
            return UdpTransport(_open_address(family, address, local), where)
        except (OSError, UnicodeError) as error:
            reasons.append(f"{address[0]}: {reason_of(error)}")
    raise ConnectError(f"cannot open UDP to {where}{f' from {local}' if local else ''}: {'; '.join(reasons)}")


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
