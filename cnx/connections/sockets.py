"""Connections over stream sockets: TCP, TLS and unix sockets."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self, Unpack, final

from cnx.connections.stream import StreamConnection, StreamSettings
from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.transports.dialing import open_tcp, open_unix
from cnx.transports.resolver import checked_host, checked_port, shown
from cnx.transports.sockets import SocketOptions, SocketTransport
from cnx.transports.tapped import TappedTransport
from cnx.transports.tls import TlsTransport, open_tls
from cnx.transports.transport import Transport

__all__ = ["SocketConnection", "SocketSettings", "UnixConnection"]

_USUAL_OPTIONS = SocketOptions()


class SocketSettings(StreamSettings, total=False):
    """The settings of a TCP connection beside host and port; see :class:`SocketConnection`."""

    tls: bool | ssl.SSLContext | None
    server_hostname: str | None
    options: SocketOptions | None


class SocketConnection(StreamConnection):
    """A TCP connection, with TLS if wanted.

    Args:
        host: a name, an IPv4 or an IPv6 address; all addresses of a name are tried.
        port: 1 to 65535.
        tls: ``True`` for TLS that verifies the certificate and the host name with the system's authorities, an
            ``ssl.SSLContext`` for anything else, ``None`` for no TLS.
        server_hostname: the name that the certificate must have; ``host`` if omitted.
        options: TCP_NODELAY, keepalive and TCP_USER_TIMEOUT.
        **settings: see :class:`~cnx.StreamConnection`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool | ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        options: SocketOptions | None = None,
        **settings: Unpack[StreamSettings],
    ) -> None:
        if tls is not None and not isinstance(tls, (bool, ssl.SSLContext)):
            raise TypeError(f"tls must be True, an ssl.SSLContext or None, not {tls!r}")
        if isinstance(tls, ssl.SSLContext) and tls.protocol is ssl.PROTOCOL_TLS_SERVER:
            raise ValueError("this ssl.SSLContext is for servers; make one with ssl.create_default_context()")
        if server_hostname is not None and not tls:
            raise ValueError("server_hostname is for TLS; give tls=True, too")
        if options is not None and not isinstance(options, SocketOptions):
            raise TypeError(f"options must be a SocketOptions, not {options!r}")
        opener = TcpOpener(
            checked_host(host),
            checked_port(port),
            ssl.create_default_context() if tls is True else tls or None,
            host if server_hostname is None else checked_host(server_hostname, "server_hostname"),
            options or _USUAL_OPTIONS,
        )
        super().__init__(opener, **settings)

    @classmethod
    def from_socket(cls, sock: socket.socket, **settings: Unpack[SocketSettings]) -> Self:
        """Return a connection that owns an open stream socket, such as one end of ``socket.socketpair()``.

        It is not connected yet, so that you can subscribe before; it can be connected once. With ``tls`` it starts TLS
        over the socket, for example after a proxy has answered or the peer has agreed to STARTTLS; pass the name of the
        peer as ``server_hostname``.

        Args:
            sock: the socket.
            **settings: of the class; ``options`` are set on a TCP socket, and other kinds have none.

        Raises:
            TypeError: it is no connected stream socket, or has TLS of its own.
            ValueError: a setting means nothing for this socket, or TLS needs a ``server_hostname``.
        """
        if not isinstance(sock, socket.socket) or isinstance(sock, ssl.SSLSocket) or sock.type != socket.SOCK_STREAM:
            raise TypeError(f"from_socket() takes an open stream socket without TLS, not {sock!r}")
        name, peer = _addresses(sock)
        is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        if settings.get("options") is not None and not is_tcp:
            raise ValueError(f"options are for TCP, and this socket is of another kind: {sock!r}")
        connection = cls(peer[0], peer[1], **settings)
        context = connection.tls
        if context is not None and context.check_hostname and not is_tcp and settings.get("server_hostname") is None:
            raise ValueError("TLS over a socket without a host name needs server_hostname=, to verify the certificate")
        connection._cnx.driver.name = connection._cnx.driver.name or name
        connection._cnx.opener = AdoptedSocket(sock, _tcp(connection), is_tcp)
        return connection

    @property
    @final
    def host(self) -> str:
        """Name or address, as given."""
        return _tcp(self).host

    @property
    @final
    def port(self) -> int:
        """Port."""
        return _tcp(self).port

    @property
    @final
    def tls(self) -> ssl.SSLContext | None:
        """What TLS verifies and presents; ``None`` without TLS."""
        return _tcp(self).context

    @property
    @final
    def server_hostname(self) -> str:
        """The name that the certificate must have."""
        return _tcp(self).server_hostname

    @property
    @final
    def options(self) -> SocketOptions:
        """How TCP behaves."""
        return _tcp(self).options

    @final
    def peer_certificate(self) -> dict[str, Any]:
        """Return the peer's certificate as ``ssl.SSLSocket.getpeercert`` does; empty without TLS.

        Raises:
            NotConnected: there is no link.
        """
        transport = self._cnx.usable_link(self).transport
        transport = transport.inner if isinstance(transport, TappedTransport) else transport
        return dict(transport.engine.getpeercert() or {}) if isinstance(transport, TlsTransport) else {}


@dataclass(frozen=True)
class TcpOpener:
    """How to open a TCP connection, with TLS if there is a context."""

    host: str
    port: int
    context: ssl.SSLContext | None
    server_hostname: str
    options: SocketOptions

    @property
    def address(self) -> str:
        """Host and port."""
        return shown(self.host, self.port)

    def open(self, deadline: Deadline) -> Transport:
        """Connect, and start TLS."""
        transport = open_tcp(self.host, self.port, deadline, self.options)
        if self.context is None:
            return transport
        return open_tls(transport, self.context, self.server_hostname, deadline)

    def discard(self) -> None:
        """Nothing is open yet."""


@dataclass(frozen=True)
class AdoptedSocket:
    """A socket that was open when it was given, for one link."""

    sock: socket.socket
    instead_of: TcpOpener
    is_tcp: bool

    @property
    def address(self) -> str:
        """Where it leads to."""
        return self.instead_of.address

    def open(self, deadline: Deadline) -> Transport:
        """Use the socket: set its options, and start TLS, as on one that was opened here."""
        if self.sock.fileno() < 0:
            error = ConnectError(f"{self.address} was made from a socket that is closed now; make a new connection")
            error.fatal = True
            raise error
        if self.is_tcp:
            try:
                self.instead_of.options.apply(self.sock)
            except OSError as error:
                self.sock.close()
                raise ConnectError(f"cannot set the options of the socket to {self.address}: {error}") from error
        transport = SocketTransport(self.sock, self.address)
        if self.instead_of.context is None:
            return transport
        return open_tls(transport, self.instead_of.context, self.instead_of.server_hostname, deadline)

    def discard(self) -> None:
        """Close the socket, which was never used."""
        self.sock.close()


def _tcp(connection: SocketConnection) -> TcpOpener:
    opener = connection._cnx.opener
    if isinstance(opener, AdoptedSocket):
        return opener.instead_of
    assert isinstance(opener, TcpOpener)
    return opener


class UnixConnection(StreamConnection):
    """A connection to a unix socket.

    Args:
        path: where the socket is.
        **settings: see :class:`~cnx.StreamConnection`.
    """

    def __init__(self, path: str | os.PathLike[str], **settings: Unpack[StreamSettings]) -> None:
        text = os.fspath(path)
        if not isinstance(text, str):
            raise TypeError(f"path must be text, not {path!r}")
        if not 1 <= len(os.fsencode(text)) <= 107 or "\0" in text[1:]:  # one in front is Linux's own kind
            raise ValueError(f"the path of a unix socket has 1 to 107 bytes and no zeros, not {text!r}")
        super().__init__(UnixOpener(text), **settings)


@dataclass(frozen=True)
class UnixOpener:
    """How to connect to a unix socket."""

    path: str

    @property
    def address(self) -> str:
        """The path."""
        return self.path

    def open(self, deadline: Deadline) -> Transport:
        """Connect."""
        return open_unix(self.path, deadline)

    def discard(self) -> None:
        """Nothing is open yet."""


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
