"""Socket addresses that a simulator listens on."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import stat
from typing import Any

__all__ = ["abandoned", "bind", "resolve", "show"]

log = logging.getLogger(__name__)


def resolve(host: str, port: int, kind: int) -> tuple[int, Any]:
    """Return family and address to bind, and say so when other machines can reach it.

    Raises:
        ValueError: the port is not one.
        OSError: the host is not known.
    """
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 (any free one) to 65535, not {port!r}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise OSError(error.errno, f"cannot listen on {host!r}: {error.strerror}") from error
    except UnicodeError as error:
        raise ValueError(f"cannot listen on {host!r}: {error}") from error
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        log.warning("a simulator listens on %s: every machine that reaches this address can use it", show(address))
    return family, address


def bind(address: tuple[int, Any], kind: int) -> socket.socket:
    """Return a socket that is bound, and listens if it is a stream socket."""
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
    """Tell whether ``path`` is a socket that nobody listens on any more."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) != 0


def show(address: Any) -> str:
    """Return a socket address as it stands in a URL."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
