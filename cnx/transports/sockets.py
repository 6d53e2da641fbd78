"""Stream sockets: TCP over IPv4 and IPv6, and unix sockets."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Any

from cnx.deadline import Deadline, checked_timeout
from cnx.errors import ConnectError, ConnectionLost, PeerClosed, TimedOut
from cnx.transports.transport import Transport

__all__ = ["SocketOptions", "SocketTransport", "open_tcp", "open_unix"]

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_WOULD_BLOCK = (BlockingIOError, TimeoutError)


@dataclass(frozen=True)
class SocketOptions:
    """How TCP behaves; ``None`` leaves a value to the operating system.

    Attributes:
        nodelay: send small messages at once (TCP_NODELAY).
        keepalive: idle seconds before the first probe, seconds between probes, and probes without an answer until
            the link counts as broken (SO_KEEPALIVE); ``None`` for no probes.
        user_timeout: seconds that sent bytes may stay unacknowledged before the link counts as broken
            (TCP_USER_TIMEOUT; Linux).
    """

    nodelay: bool = True
    keepalive: tuple[int, int, int] | None = (60, 15, 4)
    user_timeout: float | None = 120.0

    def __post_init__(self) -> None:
        if self.keepalive is not None and (len(self.keepalive) != 3 or min(self.keepalive) < 1):
            raise ValueError(
                f"keepalive is (idle s, interval s, count), each at least 1, or None, not {self.keepalive!r}"
            )
        checked_timeout(self.user_timeout, "user_timeout")

    def apply(self, sock: socket.socket) -> None:
        """Set the options on a TCP socket; one that the system does not have is left out."""
        settings: list[tuple[int, str, int]] = [(socket.IPPROTO_TCP, "TCP_NODELAY", int(self.nodelay))]
        if self.keepalive is not None:
            idle, interval, count = self.keepalive
            settings += [
                (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
                (socket.IPPROTO_TCP, "TCP_KEEPIDLE", idle),
                (socket.IPPROTO_TCP, "TCP_KEEPINTVL", interval),
                (socket.IPPROTO_TCP, "TCP_KEEPCNT", count),
            ]
        if self.user_timeout is not None:
            settings.append((socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", round(self.user_timeout * 1000)))
        for level, name, value in settings:
            if hasattr(socket, name):
                sock.setsockopt(level, getattr(socket, name), value)


class SocketTransport(Transport):
    """An open stream socket.

    The socket blocks, and waits at most its SO_RCVTIMEO and SO_SNDTIMEO: one system call a read, where Python's own
    socket timeouts need two.
    """

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(True)
        self.address = address
        self._socket = sock
        self._shut = False
        self._recv, self._send = sock.recv, sock.send
        self._read_timeout: float | None = None  # what the system waits at most, as set last
        self._write_timeout: float | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket itself."""
        return self._socket

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, size: int, timeout: float | None) -> bytes:
        if timeout != self._read_timeout:
            self._set_read_timeout(timeout)
        try:
            data = self._recv(size)
        except _WOULD_BLOCK as error:
            raise TimedOut(f"nothing came from {self.address} within {timeout:g} s") from error
        except OSError as error:
            raise ConnectionLost(f"the connection with {self.address} broke while reading: {error}") from error
        return data or self._end()

    def read_now(self, size: int) -> bytes | None:
        try:
            data = self._recv(size, _DONTWAIT)
        except _WOULD_BLOCK:
            return None
        except OSError as error:
            raise ConnectionLost(f"the connection with {self.address} broke while reading: {error}") from error
        return data or self._end()

    def read_into(self, view: memoryview, timeout: float | None) -> int:
        """Like ``read``, but into memory of the caller; return the number of bytes."""
        if timeout != self._read_timeout:
            self._set_read_timeout(timeout)
        try:
            size = self._socket.recv_into(view)
        except _WOULD_BLOCK as error:
            raise TimedOut(f"nothing came from {self.address} within {timeout:g} s") from error
        except OSError as error:
            raise ConnectionLost(f"the connection with {self.address} broke while reading: {error}") from error
        return size or len(self._end())

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        if timeout != self._write_timeout:
            self._set_write_timeout(timeout)
        try:
            sent = self._send(data)
            return sent if sent == len(data) else self._write_rest(memoryview(data).cast("B"), sent, timeout)
        except _WOULD_BLOCK:
            return 0
        except OSError as error:
            raise ConnectionLost(f"the connection with {self.address} broke while writing: {error}") from error

    def shutdown(self) -> None:
        self._shut = True
        with contextlib.suppress(OSError):  # the peer was faster
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _end(self) -> bytes:
        if self._shut:
            raise ConnectionLost(f"the connection with {self.address} was closed here")
        raise PeerClosed(f"{self.address} closed the connection")

    def _write_rest(self, view: memoryview, sent: int, timeout: float | None) -> int:
        end = None if timeout is None else monotonic() + timeout
        while sent < len(view):
            if end is not None:
                left = end - monotonic()
                if left <= 0:
                    break
                self._set_write_timeout(left)
            try:
                sent += self._send(view[sent:])
            except _WOULD_BLOCK:
                break
        return sent

    def _set_read_timeout(self, timeout: float | None) -> None:
        self._read_timeout = timeout
        self._set_timeout(socket.SO_RCVTIMEO, timeout)

    def _set_write_timeout(self, timeout: float | None) -> None:
        self._write_timeout = timeout
        self._set_timeout(socket.SO_SNDTIMEO, timeout)

    def _set_timeout(self, option: int, timeout: float | None) -> None:
        with contextlib.suppress(OSError):  # a broken socket tells why when it is used
            self._socket.setsockopt(socket.SOL_SOCKET, option, _timeval(timeout))


def _timeval(timeout: float | None) -> Any:
    """Return seconds as the system wants them for a socket option; zero means for ever there, so 1 us is the least."""
    if sys.platform == "win32":
        return 0 if timeout is None else max(1, round(timeout * 1000))
    if timeout is None:
        return struct.pack("@ll", 0, 0)
    microseconds = max(1, min(round(timeout * 1_000_000), 2**31 * 1_000_000))
    return struct.pack("@ll", *divmod(microseconds, 1_000_000))


def open_tcp(host: str, port: int, deadline: Deadline, options: SocketOptions) -> SocketTransport:
    """Connect to ``host`` (a name, IPv4 or IPv6), trying all its addresses in the order of the resolver.

    Raises:
        ConnectError: none of them answered; the message has the reason of each.
        Cancelled: the deadline was cancelled.
    """
    where = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
    found = resolve(host, port, socket.SOCK_STREAM, deadline)
    reasons: list[str] = []
    for tried, (family, address) in enumerate(found):
        left = deadline.remaining()
        share = Deadline(None if left is None else left / (len(found) - tried))
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            with deadline.waking(share.cancel):
                connect_socket(sock, address, share)
            options.apply(sock)
            return SocketTransport(sock, where)
        except (OSError, TimedOut) as error:
            sock.close()
            if deadline.cancelled:
                deadline.check(f"connecting to {where}")
            reasons.append(f"{address[0]}: {reason_of(error)}")
        except BaseException:
            sock.close()
            raise
    raise ConnectError(f"cannot connect to {where}: {'; '.join(reasons)}")


def open_unix(path: str, deadline: Deadline) -> SocketTransport:
    """Connect to the unix socket at ``path``.

    Raises:
        ConnectError: nobody listens there.
        Cancelled: the deadline was cancelled.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connect_socket(sock, path, deadline)
    except OSError as error:
        sock.close()
        deadline.check(f"connecting to {path}")
        raise ConnectError(f"cannot connect to unix socket {path}: {reason_of(error)}") from error
    except BaseException:
        sock.close()
        raise
    return SocketTransport(sock, path)


def connect_socket(sock: socket.socket, address: Any, deadline: Deadline) -> None:
    """Connect a new socket.

    Raises:
        OSError: it was refused, or the time was up (``TimedOut``).
        Cancelled: the deadline was cancelled.
    """
    sock.setblocking(False)

    def wake() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # ends a connection attempt and wakes whoever waits for it

    with deadline.waking(wake):
        deadline.check(f"connecting to {address}")
        try:
            sock.connect(address)
        except BlockingIOError:
            _wait_until_connected(sock, address, deadline)
        deadline.check(f"connecting to {address}")


def _wait_until_connected(sock: socket.socket, address: Any, deadline: Deadline) -> None:
    """Wait for the end of a connection attempt; only Linux wakes a waiter by shutdown, so others look again."""
    slices = None if sys.platform == "linux" else 0.1
    while True:
        left = deadline.remaining()
        waits = [seconds for seconds in (left, slices) if seconds is not None]
        if sys.platform == "win32":
            ready: Any = any(select.select([], [sock], [sock], min(waits, default=None)))
        else:
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            ready = poll.poll(min(waits) * 1000 if waits else None)
        if ready:
            break
        deadline.check(f"connecting to {address}")
    if deadline.cancelled:
        deadline.check(f"connecting to {address}")
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def reason_of(error: BaseException) -> str:
    """Return the reason in an error, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def resolve(host: str, port: int, kind: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """Return the addresses of ``host`` as (family, address), without duplicates.

    The system's resolver cannot be interrupted, so a name (but not a numeric address) is looked up on a thread of
    its own; if the deadline ends first, that thread is left to end with the resolver's own timeout.

    Raises:
        ConnectError: the name is not known.
        Cancelled, TimedOut: the deadline ended.
    """
    with contextlib.suppress(socket.gaierror):
        return _addresses(socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST))
    doing = f"looking up the name {host!r}"
    deadline.check(doing)
    outcome: list[Any] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            outcome.append(socket.getaddrinfo(host, port, type=kind))
        except OSError as error:
            outcome.append(error)
        finally:
            done.set()

    threading.Thread(target=look_up, name=f"cnx resolver {host}", daemon=True).start()
    with deadline.waking(done.set):
        done.wait(deadline.remaining())
    if not outcome:
        deadline.check(doing)
    if isinstance(outcome[0], OSError):
        raise ConnectError(f"cannot find {host!r}: {reason_of(outcome[0])}; check the name") from outcome[0]
    return _addresses(outcome[0])


def _addresses(found: list[Any]) -> list[tuple[int, Any]]:
    return list(dict.fromkeys((entry[0], entry[4]) for entry in found))
