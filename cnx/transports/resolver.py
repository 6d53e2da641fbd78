"""Addresses of host names."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from cnx.deadline import Deadline
from cnx.errors import ConnectError
from cnx.transports.detached import call_detached

__all__ = ["reason_of", "resolve", "shown"]


def resolve(host: str, port: int, kind: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """Return the addresses of ``host`` as (family, address), without duplicates.

    The system's resolver cannot be interrupted, so a name (but not a numeric address) is looked up on a thread of
    its own; if the deadline ends first, that thread is left to end with the resolver's own timeout.

    Args:
        host: a name, an IPv4 or an IPv6 address.
        port: what the addresses are completed with.
        kind: ``socket.SOCK_STREAM`` or ``socket.SOCK_DGRAM``.
        deadline: when to give up.

    Raises:
        ConnectError: the name is not known.
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
    """Return host and port as people write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error: BaseException) -> str:
    """Return the reason in an error, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
