"""Stream sockets that are open."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from cnx.errors import ConnectionLost, PeerClosed, TimedOut
from cnx.transports.transport import Transport

__all__ = ["SocketOptions", "SocketTransport"]

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_WAITALL = getattr(socket, "MSG_WAITALL", 0)
# Windows tells the end of SO_RCVTIMEO as a TimeoutError; elsewhere that is ETIMEDOUT, told once: the link is broken.
_WOULD_BLOCK = (BlockingIOError, TimeoutError) if sys.platform == "win32" else (BlockingIOError,)


@dataclass(frozen=True)
class SocketOptions:
    """How TCP behaves; ``None`` leaves a value to the operating system.

    Attributes:
        nodelay: send small messages at once (TCP_NODELAY).
        keepalive: idle seconds before the first probe, seconds between probes, and probes without an answer until
            the link counts as broken (SO_KEEPALIVE); ``None`` for no probes.
        user_timeout: seconds that sent bytes may stay unacknowledged before the link counts as broken
            (TCP_USER_TIMEOUT; Linux). The system looks when it would send again, which may be as much later; a
            heartbeat is more exact.
    """

    nodelay: bool = True
    keepalive: tuple[int, int, int] | None = (60, 15, 4)
    user_timeout: float | None = 120.0
    _settings: list[tuple[int, int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.nodelay, bool):
            raise TypeError(f"nodelay is True or False, not {self.nodelay!r}")
        if self.keepalive is not None and not _is_keepalive(self.keepalive):
            raise ValueError(
                "keepalive is (idle s, interval s, count), whole numbers from 1 to (32767, 32767, 127), or None, "
                f"not {self.keepalive!r}"
            )
        if self.user_timeout is not None and not 0.001 <= self.user_timeout <= 2_000_000:
            raise ValueError(f"user_timeout is 0.001 to 2000000 seconds or None, not {self.user_timeout!r}")
        object.__setattr__(self, "_settings", self._found())

    def apply(self, sock: socket.socket) -> None:
        """Set the options on a TCP socket."""
        for level, option, value in self._settings:
            sock.setsockopt(level, option, value)

    def _found(self) -> list[tuple[int, int, int]]:
        """Return level, option and value of each; one that the system does not have is left out."""
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
        return [(level, getattr(socket, name), value) for level, name, value in settings if hasattr(socket, name)]


def _is_keepalive(keepalive: Any) -> bool:
    """Whether the system would take it; it has 7 bits for the count, and 15 for the seconds."""
    if not isinstance(keepalive, tuple) or len(keepalive) != 3:
        return False
    largest = (32767, 32767, 127)
    return all(type(value) is int and 1 <= value <= most for value, most in zip(keepalive, largest, strict=True))


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
        self._read_timeout: float | None = -1.0  # what the system waits at most, as set last; not known at first
        self._write_timeout: float | None = -1.0

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
        """Like ``read``, but into memory of the caller; return the number of bytes, less than all at the timeout."""
        if timeout != self._read_timeout:
            self._set_read_timeout(timeout)
        try:
            size = self._socket.recv_into(view, 0, _WAITALL)
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
