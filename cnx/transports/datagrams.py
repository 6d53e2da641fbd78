"""UDP sockets."""

from __future__ import annotations

import logging
import socket

from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.transports.sockets import SocketTransport, reason_of, resolve

__all__ = ["UdpTransport", "open_udp"]

log = logging.getLogger(__name__)


class UdpTransport(SocketTransport):
    """A UDP socket with one peer; every read and write is one datagram, empty ones too.

    "Port unreachable", which the peer's host may answer while nobody listens there, does not end it: with UDP a
    peer may come and go. It is logged.
    """

    datagrams = True

    def read(self, size: int, timeout: float | None) -> bytes:
        while True:
            try:
                return super().read(size, timeout)
            except OSError as error:
                self._bear_refusal(error)

    def read_now(self, size: int) -> bytes | None:
        while True:
            try:
                return super().read_now(size)
            except OSError as error:
                self._bear_refusal(error)

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        try:
            return super().write(data, timeout)
        except OSError as error:  # it is about an earlier datagram
            self._bear_refusal(error)
            return super().write(data, timeout)

    def _bear_refusal(self, error: OSError) -> None:
        if not isinstance(error.__cause__, ConnectionRefusedError):
            raise error
        log.info("%s: nobody listens there now", self.address)

    def _end(self) -> bytes:
        return super()._end() if self._shut else b""


def open_udp(host: str, port: int, local: tuple[str, int] | None, deadline: Deadline) -> UdpTransport:
    """Open a UDP socket for the first usable address of ``host``, bound to ``local`` (address, port) if given.

    Raises:
        ConnectError: the name is not known, or the local address cannot be used.
    """
    where = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
    reasons: list[str] = []
    for family, address in resolve(host, port, socket.SOCK_DGRAM, deadline):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if local is not None:
                sock.bind(local)
            sock.connect(address)
            return UdpTransport(sock, where)
        except OSError as error:
            sock.close()
            reasons.append(f"{address[0]}: {reason_of(error)}")
    raise ConnectError(f"cannot open UDP to {where}{f' from {local}' if local else ''}: {'; '.join(reasons)}")
