"""Open stream sockets, within a deadline: TCP over IPv4 and IPv6, and unix sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
from typing import Any

from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, ConnectTimedOut, TimedOut
from cnx.transports.resolver import reason_of, resolve, shown
from cnx.transports.sockets import SocketOptions, SocketTransport

__all__ = ["open_tcp", "open_unix", "unreachable"]

_TRY_AGAIN = 0.02
"""Seconds between attempts while the queue of a unix socket is full; the system does not report when there is room."""


def open_tcp(host: str, port: int, deadline: Deadline, options: SocketOptions) -> SocketTransport:
    """Connect to ``host`` (a name, IPv4 or IPv6), trying all its addresses in the order of the resolver.

    Raises:
        ConnectError: none of them answered; the message has the reason of each, and the last one is the cause.
        ConnectTimedOut: the deadline ended, or the system has given up waiting for an answer.
        Cancelled: the deadline was cancelled.
    """
    where = shown(host, port)
    found = resolve(host, port, socket.SOCK_STREAM, deadline)
    errors: dict[str, OSError] = {}
    for tried, (family, address) in enumerate(found):
        left = deadline.remaining()
        share = Deadline(None if left is None else left / (len(found) - tried))
        try:
            with deadline.waking(share.cancel):
                return _open_address(family, address, where, share, options)
        except OSError as error:
            if deadline.cancelled:
                deadline.check(f"connecting to {where}")
            errors[address[0]] = error
    raise unreachable(f"cannot connect to {where}", host, errors, deadline)


def unreachable(what: str, host: str, errors: dict[str, OSError], deadline: Deadline) -> ConnectError:
    """Return the error of an attempt that has failed at all addresses of a host.

    Args:
        what: what cannot be done, with the host and port as they were given.
        host: as it was given; an address that is the same is not repeated.
        errors: what happened at each address, at least one.
        deadline: of the attempt.
    """
    reasons = [
        ("" if address == host else f"{address}: ") + ("no answer" if isinstance(error, TimedOut) else reason_of(error))
        for address, error in errors.items()
    ]
    late = all(isinstance(error, TimeoutError) for error in errors.values())
    if late and deadline.seconds is not None:
        what += f" within {deadline.seconds:g} s"
    failure = (ConnectTimedOut if late else ConnectError)(f"{what}: {'; '.join(reasons)}")
    # A TimedOut says less than the message, so an error of the system is the cause if there is one.
    failure.__cause__ = [None, *(error for error in errors.values() if not isinstance(error, TimedOut))][-1]
    return failure


def open_unix(path: str, deadline: Deadline) -> SocketTransport:
    """Connect to the unix socket at ``path``.

    Raises:
        ConnectError: nothing listens there.
        ConnectTimedOut, Cancelled: the deadline ended while its queue was full.
    """
    doing = f"connecting to {path}"
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:  # no more descriptors
        raise ConnectError(f"cannot connect to unix socket {path}: {reason_of(error)}") from error
    try:
        sock.setblocking(False)
        while not _connected_at_once(sock, path):
            deadline.pause(_TRY_AGAIN)
            deadline.check(doing)
    except Cancelled:
        sock.close()
        raise
    except TimedOut:
        sock.close()
        raise ConnectTimedOut(
            f"cannot connect to unix socket {path} within {deadline.seconds:g} s: its queue is full; does the program "
            "still accept connections?"
        ) from None
    except OSError as error:
        sock.close()
        raise ConnectError(f"cannot connect to unix socket {path}: {_unix_reason(error)}") from error
    except BaseException:
        sock.close()
        raise
    return SocketTransport(sock, path)


def _unix_reason(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there any more; is the program running?"
    if error.errno == errno.EACCES:
        return f"{reason_of(error)}; this user may not write to it, or not enter its directory"
    return reason_of(error)


def _open_address(family: int, address: Any, where: str, deadline: Deadline, options: SocketOptions) -> SocketTransport:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        connect_socket(sock, address, deadline)
        options.apply(sock)
    except BaseException:
        sock.close()
        raise
    return SocketTransport(sock, where)


def connect_socket(sock: socket.socket, address: Any, deadline: Deadline) -> None:
    """Connect a new TCP socket.

    Raises:
        OSError: it was refused, or the deadline ended (``TimedOut``, ``Cancelled``).
    """
    doing = f"connecting to {address[0]}"
    sock.setblocking(False)

    def wake() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # ends the connection attempt and wakes the thread that waits for it

    with deadline.waking(wake):
        if not _connected_at_once(sock, address):
            _wait_until_connected(sock, doing, deadline)
        deadline.check(doing)
    # TCP connects a socket to itself if the system has chosen the very port of the peer as the local port.
    if sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nothing listens there; the socket was connected to itself")


def _connected_at_once(sock: socket.socket, address: Any) -> bool:
    try:
        sock.connect(address)
    except BlockingIOError:
        return False
    return True


def _wait_until_connected(sock: socket.socket, doing: str, deadline: Deadline) -> None:
    """Wait for the end of a connection attempt. Only on Linux does shutdown() end this wait; other systems poll."""
    slices = None if sys.platform == "linux" else 0.1
    ready: Any = False
    while not ready:
        deadline.check(doing)  # it may have been cancelled before there was an attempt that shutdown() could end
        waits = [seconds for seconds in (deadline.remaining(), slices) if seconds is not None]
        if sys.platform == "win32":
            ready = any(select.select([], [sock], [sock], min(waits, default=None)))
        else:
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            ready = poll.poll(min(waits) * 1000 if waits else None)
    if deadline.cancelled:
        deadline.check(doing)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
