"""Connections by URL: ``tcp:// tls:// unix:// udp:// serial://``."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from typing_extensions import TypeVar, Unpack

from cnx.connections.serial_port import SerialConnection, SerialSettings
from cnx.connections.sockets import SocketConnection, SocketSettings, UnixConnection
from cnx.connections.stream import StreamConnection
from cnx.connections.transport import TransportConnection
from cnx.connections.udp import UdpConnection, UdpSettings
from cnx.transports.sockets import SocketOptions

__all__ = ["Factory", "UrlSettings", "connect", "connection", "register_scheme"]

Kind = TypeVar("Kind", bound=TransportConnection, default=StreamConnection)


class UrlSettings(SocketSettings, SerialSettings, UdpSettings, total=False):
    """The settings of all kinds of connections; a kind refuses those that it does not have."""


Factory = Callable[[SplitResult, dict[str, str], dict[str, Any]], TransportConnection]
"""Makes a connection of the parts of a URL, the options of its query, and keyword arguments; see
:func:`register_scheme`."""


# No overloads: with these, a type checker answers a misspelt setting with a list of all signatures, not with its name.
def connection(
    url: str,
    kind: type[Kind] = StreamConnection,  # type: ignore[assignment]  # the default of Kind
    **settings: Unpack[UrlSettings],
) -> Kind:
    """Return a connection to ``url`` that is not connected yet.

    Its class depends on the scheme: :class:`~cnx.SocketConnection` for ``tcp`` and ``tls``,
    :class:`~cnx.UnixConnection`, :class:`~cnx.SerialConnection`, :class:`~cnx.UdpConnection`.

    ::

        tcp://host:4001                  tcp://[::1]:4001?nodelay=no
        tls://host:443?ca=/etc/my.pem    tls://host:443?verify=no
        unix:///run/device.sock          udp://host:5005
        serial:///dev/ttyUSB0?baudrate=115200&parity=E       serial://COM3      serial:loop://

    Options in the query:

    * all: ``timeout`` and ``connect_timeout`` in seconds, ``limit`` in bytes; all but UDP also ``encoding`` and
      ``terminator`` (``crlf``, ``lf``, ``cr``, ``nul``).
    * ``tcp`` and ``tls``: ``nodelay`` (``yes`` or ``no``), ``keepalive`` (``60,15,4`` or ``no``), and
      ``user_timeout`` in seconds.
    * ``tls``: ``ca`` (a file), ``verify``, ``server_hostname``.
    * ``serial``: ``baudrate``, ``bytesize``, ``parity``, ``stopbits``, ``xonxoff``, ``rtscts``, ``dsrdtr`` and
      ``exclusive``.

    Args:
        url: where to.
        kind: the class that the connection is to have, as type checkers cannot know it from the URL:
            ``cnx.connection("udp://host:5005", cnx.UdpConnection)``.
        **settings: arguments of the connection's class. They win over the query.

    Raises:
        ValueError: a part of the URL is wrong; the message says which.
        TypeError: the scheme gives another kind of connection.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is text, not {url!r}")
    shown = _without_secrets(url)
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"{shown!r}: a URL has no spaces and no control characters; write %20 for a space")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"{shown!r}: {error}") from error
    make = _SCHEMES.get(parts.scheme)
    if make is None:
        known = ", ".join(_SCHEMES)
        if url.startswith(("/dev/", "\\\\.\\")) or re.fullmatch(r"COM\d+", url, re.IGNORECASE):
            raise ValueError(f"{shown!r} is a device, not a URL; write serial://{shown}")
        if not parts.scheme:
            raise ValueError(f"{shown!r}: the scheme is missing; it is one of {known}, as in tcp://host:4001")
        raise ValueError(f"{shown!r}: the scheme {parts.scheme!r} is none of {known}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{shown!r}: a {parts.scheme} URL takes no user and no password")
    if parts.fragment:
        raise ValueError(f"{shown!r}: a fragment (#{parts.fragment}) means nothing here; write %23 for #")
    try:
        query = _query(parts)
        made = make(parts, query, {**settings})
        if query:
            known = f"a {parts.scheme} URL takes {', '.join(query.known)}" if query.known else "none is known"
            raise ValueError(f"unknown option {', '.join(query)}; {known}")
    except ValueError as error:
        raise ValueError(f"{shown!r}: {error}") from error
    if not isinstance(made, kind):
        name = type(made).__name__
        raise TypeError(f"{shown!r} gives a {name}, not a {kind.__name__}; pass cnx.{name} as the second argument")
    return made


def connect(
    url: str,
    kind: type[Kind] = StreamConnection,  # type: ignore[assignment]  # the default of Kind
    **settings: Unpack[UrlSettings],
) -> Kind:
    """Return a connection to ``url`` that is connected; see :func:`connection`.

    Raises:
        ValueError: a part of the URL is wrong.
        TypeError: the scheme gives another kind of connection.
        ConnectError, TimedOut: it cannot be connected.
    """
    return connection(url, kind, **settings).connect()


def register_scheme(scheme: str, factory: Factory) -> None:
    """Have :func:`connection` take URLs with another scheme, such as ``ble://``, everywhere in the process.

    Args:
        scheme: lower-case letters, digits, ``+``, ``-`` and ``.``, beginning with a letter.
        factory: returns a connection. It is called with the parts of the URL as ``urllib.parse.urlsplit`` gives them,
            with the options of the query, from which it removes those that it knows, and with the keyword arguments of
            the call. For a part that is wrong it raises a ``ValueError`` that names the part.

    Raises:
        ValueError: it is no scheme, or it is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ValueError(f"{scheme!r} cannot be the scheme of a URL")
    if scheme in _SCHEMES:
        raise ValueError(f"the scheme {scheme!r} is registered already")
    _SCHEMES[scheme] = factory


def _tcp(parts: SplitResult, query: dict[str, str], settings: dict[str, Any]) -> SocketConnection:
    host, port = _host_and_port(parts)
    given = _take(query, _COMMON) | _tcp_options(query, settings)
    return SocketConnection(host, port, **(given | settings))


def _tls(parts: SplitResult, query: dict[str, str], settings: dict[str, Any]) -> SocketConnection:
    host, port = _host_and_port(parts)
    given = _take(query, _COMMON | {"server_hostname": str}) | _tcp_options(query, settings)
    trust = _take(query, {"ca": _authorities, "verify": _yes})
    tls = settings.pop("tls", True)
    if not tls:
        raise ValueError(f"tls={tls!r} contradicts the scheme; write tcp:// for a connection without TLS")
    if tls is True:
        tls = _context(**trust)
    elif trust:
        raise ValueError(f"{' and '.join(trust)} in the URL would be ignored, as tls= has a context of its own")
    return SocketConnection(host, port, **(given | settings | {"tls": tls}))


def _unix(parts: SplitResult, query: dict[str, str], settings: dict[str, Any]) -> UnixConnection:
    if parts.netloc or not parts.path:
        raise ValueError("a unix URL has three slashes and a path: unix:///run/device.sock")
    given = _take(query, _COMMON)
    return UnixConnection(unquote(parts.path), **(given | settings))


def _udp(parts: SplitResult, query: dict[str, str], settings: dict[str, Any]) -> UdpConnection:
    host, port = _host_and_port(parts)
    given = _take(query, {"timeout": float, "connect_timeout": float, "limit": int})
    return UdpConnection(host, port, **(given | settings))


def _serial(parts: SplitResult, query: dict[str, str], settings: dict[str, Any]) -> SerialConnection:
    port = unquote(parts.netloc + parts.path)
    if not port:
        raise ValueError("a serial URL names a port: serial:///dev/ttyUSB0 or serial://COM3")
    given = _take(query, _COMMON | _SERIAL)
    return SerialConnection(port, **(given | settings))


_SCHEMES: dict[str, Factory] = {
    "tcp": _tcp,
    "tls": _tls,
    "unix": _unix,
    "udp": _udp,
    "serial": _serial,
}


def _yes(text: str) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in answers:
        raise ValueError(f"{text!r} is neither yes nor no")
    return answers[text.lower()]


def _terminator(text: str) -> bytes:
    names = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "nul": b"\0"}
    if text.lower() not in names:
        raise ValueError(f"{text!r} is none of {', '.join(names)}")
    return names[text.lower()]


_COMMON: dict[str, Callable[[str], Any]] = {
    "timeout": float,
    "connect_timeout": float,
    "encoding": str,
    "limit": int,
    "terminator": _terminator,
}

_SERIAL: dict[str, Callable[[str], Any]] = {
    "baudrate": int,
    "bytesize": int,
    "parity": str.upper,
    "stopbits": float,
    "xonxoff": _yes,
    "rtscts": _yes,
    "dsrdtr": _yes,
    "exclusive": _yes,
}


class Options(dict[str, str]):
    """The options of a query. It notes which ones a factory looks for, so that a message can list them.

    Attributes:
        known: the names that were looked for.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self.known: dict[str, None] = {}

    def __contains__(self, name: object) -> bool:
        self.known[str(name)] = None
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Look for an option."""
        self.known[name] = None
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Look for an option, and remove it."""
        self.known[name] = None
        return super().pop(name, *default)


def _query(parts: SplitResult) -> Options:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = Options(pairs)
    if len(query) < len(pairs):
        raise ValueError("an option is given twice")
    return query


def _take(query: dict[str, str], known: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Remove the known options from ``query`` and return their values."""
    taken: dict[str, Any] = {}
    for name, convert in known.items():
        if name in query:
            text = query.pop(name)
            try:
                taken[name] = convert(text)
            except ValueError as error:
                raise ValueError(f"option {name}={text}: {error}") from error
    return taken


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError:  # whose text may show a part of a password
        hint = "; an IPv6 address stands in brackets: [::1]:4001" if parts.netloc.count(":") > 1 else ""
        raise ValueError(f"the port must be a number between 1 and 65535{hint}") from None
    if not parts.hostname:
        raise ValueError("the host is missing")
    if port is None:
        raise ValueError("the port is missing")
    if parts.path not in ("", "/"):
        raise ValueError(f"a path ({parts.path}) means nothing here")
    return parts.hostname.replace("%25", "%"), port  # before the name of an interface: [fe80::1%25eth0]


def _tcp_options(query: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    given = _take(query, {"nodelay": _yes, "keepalive": _keepalive, "user_timeout": float})
    if given and settings.get("options") is not None:
        raise ValueError(f"{' and '.join(given)} in the URL would be ignored, as options= replaces all options")
    return {"options": SocketOptions(**given)} if given else {}


def _keepalive(text: str) -> tuple[int, ...] | None:
    return None if text.lower() in ("no", "false", "0") else tuple(map(int, text.split(",")))


def _authorities(path: str) -> str:
    """Return the path of a file with certificates, if it is one."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ValueError(str(error)) from error
    return path


def _context(ca: str | None = None, verify: bool = True) -> ssl.SSLContext:
    if ca is not None and not verify:
        raise ValueError("verify=no would ignore ca; leave out one of the two")
    context = ssl.create_default_context(cafile=ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _without_secrets(url: str) -> str:
    """Return scheme, host and path: no query, and nothing before an ``@`` in front of the host."""
    scheme, slashes, rest = url.partition("?")[0].partition("#")[0].partition("//")
    return scheme + slashes + (rest if rest.startswith("/") else rest.rpartition("@")[2])
