"""Resolve, bind and show the socket addresses that a simulator listens on."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from typing import Any

from cnx.logs import logger

__all__ = ["abandoned", "bind", "resolve", "show"]

log = logger(__name__)


def resolve(host: str, port: int, kind: int) -> tuple[int, Any]:
    """Return family and address to bind; log a warning if other machines can reach it.

    Raises:
        ValueError: the port or the host is invalid.
        OSError: the host is unknown.
    """
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"port must be a number from 0 (any free port) to 65535, not {port!r}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise OSError(error.errno, f"cannot listen on {host!r}: {error.strerror}") from error
    except UnicodeError as error:
        raise ValueError(f"cannot listen on {host!r}: {error}") from error
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        log.warning("a simulator listens on %s: it accepts connections from other machines", show(address))
    return family, address


def bind(address: tuple[int, Any], kind: int) -> socket.socket:
    """Return a bound socket, which listens if it is a stream socket."""
    sock = socket.socket(address[0], kind)
    try:
        if os.name == "posix" and kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address[1])
        if kind == socket.SOCK_STREAM:
            sock.listen()
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot listen on {show(address[1])}: {error.strerror}") from error
        raise
    return sock


def abandoned(path: str) -> bool:
    """Return whether ``path`` is a socket on which nothing listens any more."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) != 0


def show(address: Any) -> str:
    """Return a socket address as it is written in a URL."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
