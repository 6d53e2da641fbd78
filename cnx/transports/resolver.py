"""Look up the addresses of host names, and check names and ports."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from typing import Any

from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.transports.detached import call_detached

__all__ = ["checked_host", "checked_port", "reason_of", "resolve", "shown"]

_PLAIN = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
"""A name, or an IPv4 address, that needs no further check."""


def checked_host(host: str, what: str = "host") -> str:
    """Return ``host`` if it can be a name or an address; raises TypeError, ValueError."""
    if not isinstance(host, str):
        raise TypeError(f"{what} must be text, not {host!r}")
    if _PLAIN.fullmatch(host):
        return host
    if not host or any(character.isspace() or character in "/[]@?#\x00" for character in host):
        raise ValueError(f"{what} must be a name or an address, not {host!r}")
    try:
        host.encode("idna")
        if ":" in host:
            ipaddress.IPv6Address(host)
    except ValueError as error:  # UnicodeError is one
        raise ValueError(
            f"{what} must be a name or an address, not {host!r}: {error}; pass the port separately"
        ) from error
    return host


def checked_port(port: int) -> int:
    """Return ``port`` if it is a port number; raises TypeError, ValueError."""
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be a number, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"port must be between 1 and 65535, not {port}")
    return port


def resolve(host: str, port: int, kind: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """Return the addresses of ``host`` as (family, address), without duplicates.

    The system's resolver cannot be interrupted, so a name (but not a numeric address) is looked up on a thread of
    its own; if the deadline ends first, that thread is left to end with the resolver's own timeout.

    Args:
        host: a name, an IPv4 or an IPv6 address.
        port: the port that the addresses shall have.
        kind: ``socket.SOCK_STREAM`` or ``socket.SOCK_DGRAM``.
        deadline: when to give up.

    Raises:
        ConnectError: the name is unknown.
        Cancelled, TimedOut: the deadline ended.
    """
    try:
        with contextlib.suppress(socket.gaierror):
            return _each_once(socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST))
        found = call_detached(
            lambda: socket.getaddrinfo(host, port, type=kind), f"looking up the name {host!r}", deadline
        )
    except (socket.gaierror, UnicodeError) as error:
        raise ConnectError(f"cannot find {host!r}: {reason_of(error)}; check the name") from error
    return _each_once(found)


def _each_once(found: list[Any]) -> list[tuple[int, Any]]:
    return list(dict.fromkeys((entry[0], entry[4]) for entry in found))


def shown(host: str, port: int) -> str:
    """Return host and port as they are written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error: BaseException) -> str:
    """Return the text of an error without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
