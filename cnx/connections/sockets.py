"""Connections over stream sockets: TCP, TLS, unix."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from typing import Any, TypeVar

from cnx.connections.stream import StreamConnection
from cnx.deadline import Deadline
from cnx.errors import NotConnected
from cnx.transports.dialing import open_tcp, open_unix
from cnx.transports.sockets import SocketOptions, SocketTransport
from cnx.transports.tapped import TappedTransport
from cnx.transports.tls import TlsTransport, open_tls
from cnx.transports.transport import Transport

__all__ = ["SocketConnection", "UnixConnection", "checked_host", "checked_port"]

Self = TypeVar("Self", bound="SocketConnection")

_USUAL_OPTIONS = SocketOptions()

_PLAIN = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
"""A name, or an IPv4 address, that has no other form."""


class SocketConnection(StreamConnection):
    """A TCP connection, with TLS if wanted.

    Args:
        host: a name, an IPv4 or an IPv6 address; all addresses of a name are tried.
        port: 1 to 65535.
        tls: ``True`` for TLS that verifies the certificate and the host name with the system's authorities, an
            ``ssl.SSLContext`` for anything else, ``None`` for no TLS.
        server_hostname: the name that the certificate must have; ``host`` if omitted.
        options: TCP_NODELAY, keepalive and TCP_USER_TIMEOUT.
        **settings: see :class:`~cnx.connections.stream.StreamConnection`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool | ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        options: SocketOptions | None = None,
        **settings: Any,
    ) -> None:
        self._host = checked_host(host)
        self._port = checked_port(port)
        if tls is not None and not isinstance(tls, (bool, ssl.SSLContext)):
            raise TypeError(f"tls is True, an ssl.SSLContext or None, not {tls!r}")
        if isinstance(tls, ssl.SSLContext) and tls.protocol is ssl.PROTOCOL_TLS_SERVER:
            raise ValueError("this ssl.SSLContext is for servers; make one with ssl.create_default_context()")
        if server_hostname is not None and not tls:
            raise ValueError("server_hostname is for TLS; give tls=True, too")
        if options is not None and not isinstance(options, SocketOptions):
            raise TypeError(f"options is a SocketOptions, not {options!r}")
        super().__init__(**settings)
        self._context = ssl.create_default_context() if tls is True else tls or None
        self._server_hostname = host if server_hostname is None else checked_host(server_hostname, "server_hostname")
        self._options = options or _USUAL_OPTIONS
        self._adopted: socket.socket | None = None

    @classmethod
    def from_socket(cls: type[Self], sock: socket.socket, **settings: Any) -> Self:
        """Return a connection that owns an open stream socket, such as one end of ``socket.socketpair()``.

        It is not connected yet, so that you can subscribe before; it can be connected once.

        Raises:
            TypeError: it is no connected stream socket, or has TLS of its own.
        """
        if not isinstance(sock, socket.socket) or isinstance(sock, ssl.SSLSocket) or sock.type != socket.SOCK_STREAM:
            raise TypeError(f"from_socket() takes an open stream socket without TLS, not {sock!r}")
        name, peer = _addresses(sock)
        connection = cls(peer[0], peer[1], **settings)
        connection._adopted = sock
        connection._name = connection._name or name
        return connection

    @property
    def address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    @property
    def host(self) -> str:
        """Name or address, as given."""
        return self._host

    @property
    def port(self) -> int:
        """Port."""
        return self._port

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What TLS verifies and presents; ``None`` without TLS."""
        return self._context

    @property
    def server_hostname(self) -> str:
        """The name that the certificate must have."""
        return self._server_hostname

    def open_transport(self, deadline: Deadline) -> Transport:
        if self._adopted is not None:
            if self._adopted.fileno() < 0:
                raise NotConnected(
                    f"{self.name} was made from a socket that is closed now; it cannot be connected again"
                )
            return SocketTransport(self._adopted, self.name)
        transport = open_tcp(self._host, self._port, deadline, self._options)
        if self._context is None:
            return transport
        return open_tls(transport, self._context, self._server_hostname, deadline)

    def teardown(self) -> None:
        super().teardown()
        if self._adopted is not None and self._link is None:  # it was never used
            self._adopted.close()

    def peer_certificate(self) -> dict[str, Any]:
        """Return the peer's certificate as ``ssl.SSLSocket.getpeercert`` does; empty without TLS.

        Raises:
            NotConnected: there is no link.
        """
        transport = self._current().transport
        transport = transport.inner if isinstance(transport, TappedTransport) else transport
        return dict(transport.engine.getpeercert() or {}) if isinstance(transport, TlsTransport) else {}


class UnixConnection(StreamConnection):
    """A connection to a unix socket.

    Args:
        path: where the socket is.
        **settings: see :class:`~cnx.connections.stream.StreamConnection`.
    """

    def __init__(self, path: str | os.PathLike[str], **settings: Any) -> None:
        self._path = os.fspath(path)
        if not isinstance(self._path, str):
            raise TypeError(f"path is text, not {path!r}")
        if not 1 <= len(os.fsencode(self._path)) <= 107 or "\0" in self._path[1:]:  # one in front is Linux's own kind
            raise ValueError(f"the path of a unix socket has 1 to 107 bytes and no zeros, not {self._path!r}")
        super().__init__(**settings)

    @property
    def address(self) -> str:
        return self._path

    def open_transport(self, deadline: Deadline) -> Transport:
        return open_unix(self._path, deadline)


def checked_host(host: str, what: str = "host") -> str:
    """Return ``host`` if it can be a name or an address."""
    if not isinstance(host, str):
        raise TypeError(f"{what} is text, not {host!r}")
    if _PLAIN.fullmatch(host):
        return host
    if not host or any(character.isspace() or character in "/[]@?#\x00" for character in host):
        raise ValueError(f"{what} {host!r} is no name and no address")
    try:
        host.encode("idna")
        if ":" in host:
            ipaddress.IPv6Address(host)
    except ValueError as error:  # UnicodeError is one
        raise ValueError(f"{what} {host!r} is no name and no address: {error}; a port is given apart") from error
    return host


def checked_port(port: int) -> int:
    """Return ``port`` if it is a port number."""
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port is a number, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"port must be from 1 to 65535, not {port}")
    return port


def _addresses(sock: socket.socket) -> tuple[str, tuple[str, int]]:
    """Return a name for an open socket, and its peer as host and port where it has those."""
    try:
        peer = sock.getpeername()
    except OSError as error:
        raise TypeError(f"from_socket() takes a connected socket: {error}") from error
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return f"{peer[0]}:{peer[1]}", (peer[0], peer[1])
    number = sock.fileno()  # as it can be 0, or more than a port
    return f"socket {number}", ("socket", min(max(number, 1), 65535))
