"""SocketTransport: an open stream socket; SocketOptions: how TCP behaves."""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from cnx.errors import ConnectionLost, PeerClosed, TimedOut
from cnx.transports.resolver import reason_of
from cnx.transports.transport import Transport

__all__ = ["SocketOptions", "SocketTransport"]

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)  # Windows has none: there, a call that follows a wait does not block
_NOSIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""Without it, a write to a peer that is gone kills a program that has restored the default action of SIGPIPE. The flag
does not exist on macOS, where a socket has the option SO_NOSIGPIPE."""
_SO_NOSIGPIPE = 0x1022 if sys.platform == "darwin" else None


@dataclass(frozen=True)
class SocketOptions:
    """How TCP behaves; ``None`` leaves an option to the operating system.

    Attributes:
        nodelay: send small messages at once (TCP_NODELAY).
        keepalive: idle seconds before the first probe, seconds between probes, and probes without an answer until
            the link counts as broken (SO_KEEPALIVE); ``None`` for no probes.
        user_timeout: seconds that sent bytes may stay unacknowledged before the link counts as broken
            (TCP_USER_TIMEOUT; Linux). The system checks when it retransmits, which may be up to twice as late; a
            heartbeat is more precise. It also ends the link with a peer that is there, but does not read for so long.
            With it the system ignores the count of ``keepalive``, so it must not be longer than what ``keepalive``
            adds up to.

    Raises:
        TypeError, ValueError: a value is invalid, or the two contradict each other.
    """

    nodelay: bool = True
    keepalive: tuple[int, int, int] | None = (60, 15, 4)
    user_timeout: float | None = None
    _settings: list[tuple[int, int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.nodelay, bool):
            raise TypeError(f"nodelay must be True or False, not {self.nodelay!r}")
        if self.keepalive is not None and not _is_keepalive(self.keepalive):
            raise ValueError(
                "keepalive must be (idle s, interval s, count), whole numbers from 1 to (32767, 32767, 127), or None, "
                f"not {self.keepalive!r}"
            )
        if self.user_timeout is not None and not 0.001 <= self.user_timeout <= 2_000_000:
            raise ValueError(f"user_timeout must be 0.001 to 2000000 seconds or None, not {self.user_timeout!r}")
        if self.keepalive is not None and self.user_timeout is not None:
            idle, interval, count = self.keepalive
            if self.user_timeout > (total := idle + interval * count):
                raise ValueError(
                    f"user_timeout={self.user_timeout:g} contradicts keepalive={self.keepalive!r}, which is over after "
                    f"{total} s: the system would ignore the count; give a user_timeout up to {total}, or a longer "
                    "keepalive, or keepalive=None"
                )
        object.__setattr__(self, "_settings", self._found())

    def apply(self, sock: socket.socket) -> None:
        """Set the options on a TCP socket."""
        for level, option, value in self._settings:
            sock.setsockopt(level, option, value)

    def _found(self) -> list[tuple[int, int, int]]:
        """Return level, option and value of each; options that the system does not have are left out."""
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
        for _, name, _ in settings:
            if name == "TCP_USER_TIMEOUT" and not hasattr(socket, name):
                raise ValueError("this system has no TCP_USER_TIMEOUT; leave out user_timeout, or pass None")
        return [(level, getattr(socket, name), value) for level, name, value in settings if hasattr(socket, name)]


def _is_keepalive(keepalive: Any) -> bool:
    """Return whether the system accepts it: it has 7 bits for the count, and 15 for the seconds."""
    if not isinstance(keepalive, tuple) or len(keepalive) != 3:
        return False
    largest = (32767, 32767, 127)
    return all(type(value) is int and 1 <= value <= most for value, most in zip(keepalive, largest, strict=True))


class SocketTransport(Transport):
    """An open stream socket.

    A call with a timeout waits in ``poll`` for what is left of it and then does not block, so the timeout is a point in
    time, however many signals interrupt the wait. Python starts a socket's own timeouts anew after every signal.
    """

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(True)
        if _SO_NOSIGPIPE is not None:
            sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
        self.address = address
        self._socket = sock
        self._shut = False
        self._recv, self._send = sock.recv, sock.send
        self._readable, self._writable = _Readiness(sock, writable=False), _Readiness(sock, writable=True)

    @property
    def socket(self) -> socket.socket:
        """The socket itself."""
        return self._socket

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, size: int, timeout: float | None) -> bytes:
        try:
            data = self._recv(size) if timeout is None else self._read_within(size, timeout)
        except TimedOut:
            raise
        except OSError as error:
            raise ConnectionLost(
                f"the connection with {self.address} broke while reading: {reason_of(error)}"
            ) from error
        return data or self._end()

    def _read_within(self, size: int, timeout: float) -> bytes:
        end = None
        left = timeout
        while self._readable.wait(left):
            try:
                return self._recv(size, _DONTWAIT)
            except BlockingIOError:  # it is not readable after all, as with a datagram whose checksum is wrong
                if self._shut:  # a UDP socket that is shut down is readable, and yet has nothing to read
                    return b""
                end = monotonic() + left if end is None else end
                left = max(0.0, end - monotonic())
        raise TimedOut(f"nothing arrived from {self.address} within {timeout:g} s")

    def read_now(self, size: int) -> bytes | None:
        try:
            if not _DONTWAIT and not self._readable.wait(0.0):
                return None
            data = self._recv(size, _DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ConnectionLost(
                f"the connection with {self.address} broke while reading: {reason_of(error)}"
            ) from error
        return data or self._end()

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        try:
            if timeout is None:
                sent = self._send(data, _NOSIGNAL)
                return sent if sent == len(data) else self._write_rest(data, sent, None)
            try:
                sent = self._send(data, _DONTWAIT | _NOSIGNAL)
            except BlockingIOError:
                sent = 0
            return sent if sent == len(data) else self._write_rest(data, sent, monotonic() + timeout)
        except OSError as error:
            raise ConnectionLost(
                f"the connection with {self.address} broke while writing: {reason_of(error)}"
            ) from error

    def _write_rest(self, data: bytes | bytearray | memoryview, sent: int, end: float | None) -> int:
        view = memoryview(data).cast("B")
        while sent < len(view):
            if end is None:
                sent += self._send(view[sent:], _NOSIGNAL)
                continue
            left = end - monotonic()
            if left <= 0 or not self._writable.wait(left):
                break
            try:
                sent += self._send(view[sent:], _DONTWAIT | _NOSIGNAL)
            except BlockingIOError:
                continue
        return sent

    def end_writing(self) -> None:
        if self._socket.type != socket.SOCK_STREAM:
            super().end_writing()  # raises
        self._socket.shutdown(socket.SHUT_WR)

    def shutdown(self) -> None:
        self._shut = True
        with contextlib.suppress(OSError):  # the connection is gone already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _end(self) -> bytes:
        if self._shut:
            raise ConnectionLost(f"the connection with {self.address} was closed here")
        raise PeerClosed(f"{self.address} closed the connection")


class _Readiness:
    """Waiting until a socket can be read, or written. One thread at a time."""

    def __init__(self, sock: socket.socket, *, writable: bool) -> None:
        self._sock = sock
        self._writable = writable
        self._poll: select.poll | None = None  # made by the first wait, as most sockets are read without a timeout

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds; return whether it can. An interrupted wait goes on for what is left of them."""
        if self._poll is None and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._sock, select.POLLOUT if self._writable else select.POLLIN)
            self._poll = poll
        if self._poll is not None:
            return bool(self._poll.poll(seconds * 1000))
        reading, writing = ([], [self._sock]) if self._writable else ([self._sock], [])
        return any(select.select(reading, writing, [], seconds))
