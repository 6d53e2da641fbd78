"""The simulator's end of an open link: calls that never block, and one way to wait, which can be woken.

A link is woken with a :class:`Wake`, not with ``shutdown()``, because that would send a FIN before a reset,
does not exist for a pty, and wakes a listening socket only on Linux.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from cnx.errors import ConnectionLost, TimedOut

__all__ = ["DatagramLink", "Link", "PtyLink", "SocketLink", "Wake", "WouldBlock", "wait_ready"]

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
Selector: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
DRAIN_LIMIT = 1 << 20
"""Bytes of unread input that are discarded at a close; a client that sends more than that meanwhile is reset."""
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends a reset


NOSIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""So that a client that is gone does not kill a program that has restored the default action of SIGPIPE."""


class WouldBlock(Exception):
    """The call must be repeated when the link is ready for ``event``."""

    def __init__(self, event: int) -> None:
        super().__init__(event)
        self.event = event


class Wake:
    """A flag that a thread can wait for together with a descriptor; setting it is final."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()

    def fileno(self) -> int:
        """Return the descriptor that is readable once the flag is set."""
        return self._reader.fileno()

    @property
    def is_set(self) -> bool:
        """Whether it was set."""
        return self._writer.fileno() < 0

    def set(self) -> None:
        """Wake all waiting threads, and let later waits return at once."""
        self._writer.close()

    def close(self) -> None:
        """Release the descriptors, when no thread waits any more."""
        self._writer.close()
        self._reader.close()


def wait_ready(fileno: int, event: int, wake: Wake, timeout: float | None) -> bool:
    """Wait until ``fileno`` is ready for ``event`` or the wake is set; return whether that happened in time."""
    with Selector() as selector:
        selector.register(wake, READ)
        selector.register(fileno, event)
        return bool(selector.select(timeout))


class Link(ABC):
    """One end of an open link. The owner calls ``close()`` only when no other call is in progress."""

    def __init__(self, fileno: int, address: str) -> None:
        self.address = address
        self.closed = threading.Event()
        self._fileno = fileno
        self._wake = Wake()

    def wait(self, event: int, timeout: float | None) -> None:
        """Wait until the link is ready for ``event`` or woken.

        Raises:
            TimedOut: neither happened within ``timeout`` seconds.
        """
        if not wait_ready(self._fileno, event, self._wake, timeout):
            raise TimedOut(f"{self.address} was not ready within {timeout:.3g} s")

    def wake(self) -> None:
        """End every wait, now and later."""
        self._wake.set()

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken."""
        return False

    def secure(self, context: ssl.SSLContext) -> None:
        """Use TLS on the link, before its first use; ``handshake()`` must follow. Raises OSError."""
        raise TypeError(f"no TLS on {self.address}")

    def handshake(self) -> None:
        """Continue opening the link; raises WouldBlock until it is open."""
        return

    @abstractmethod
    def receive(self, size: int) -> bytes | None:
        """Return up to ``size`` bytes that are there, or ``None`` at the end; raises WouldBlock, ConnectionLost."""

    @abstractmethod
    def send(self, data: memoryview) -> int:
        """Send what fits and return how many bytes that was; raises WouldBlock, ConnectionLost."""

    def overrun(self) -> None:
        """Handle a peer that does not read.

        Raises:
            ConnectionLost: the link cannot lose bytes, so it ends.
        """
        raise ConnectionLost(f"the client at {self.address} stopped reading")

    def close(self) -> None:
        """Close the link in an orderly way, once."""
        if not self.closed.is_set():
            self._close()
            self._wake.close()
            self.closed.set()

    def abort(self) -> None:
        """Close the link with a reset, if this kind of link has one."""
        self.close()

    @abstractmethod
    def _close(self) -> None: ...


class SocketLink(Link):
    """A TCP, TLS or unix stream socket that was accepted."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        super().__init__(sock.fileno(), address)
        self._socket = sock
        # An OpenSSL object must not be used by two threads at once. No call under this lock can block.
        self._using = threading.Lock()

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken."""
        return isinstance(self._socket, ssl.SSLSocket)

    def secure(self, context: ssl.SSLContext) -> None:
        """Use TLS on the socket."""
        self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)

    def handshake(self) -> None:
        """Continue the TLS handshake; raises WouldBlock, ConnectionLost."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._call(READ, self._socket.do_handshake)

    def receive(self, size: int) -> bytes | None:
        """Return what is there."""
        return self._call(READ, self._socket.recv, size) or None

    def send(self, data: memoryview) -> int:
        """Send what fits."""
        if self.tls:  # takes no flags
            return int(self._call(WRITE, self._socket.send, data))
        return int(self._call(WRITE, self._socket.send, data, NOSIGNAL))

    def _call(self, event: int, function: Any, *arguments: Any) -> Any:
        try:
            with self._using:
                return function(*arguments)
        except (BlockingIOError, InterruptedError):
            raise WouldBlock(event) from None
        except ssl.SSLWantReadError:
            raise WouldBlock(READ) from None
        except ssl.SSLWantWriteError:
            raise WouldBlock(WRITE) from None
        except OSError as error:
            raise ConnectionLost(f"the link to {self.address} failed: {error}") from error

    def abort(self) -> None:
        """Close with a TCP reset; on a unix socket the peer sees an orderly end."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self._socket.close()
        self.close()

    def _close(self) -> None:
        with suppress(OSError, ValueError):
            if isinstance(self._socket, ssl.SSLSocket):
                with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    self._socket.unwrap()
        with suppress(OSError):
            # Unread input would turn the close into a reset, and the peer would lose the last bytes sent to it.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            drained = 0
            while drained < DRAIN_LIMIT and (data := socket.socket.recv(self._socket, 65536)):
                drained += len(data)
        self._socket.close()


class PtyLink(Link):
    """The device's side of a pseudo terminal in raw mode.

    Keeps the client's side open, too, so that the line survives when clients close and open it, like a serial cable.
    """

    def __init__(self, master: int, slave: int, address: str) -> None:
        os.set_blocking(master, False)
        super().__init__(master, address)
        self._slave = slave

    def receive(self, size: int) -> bytes | None:
        """Return what is there."""
        try:
            return os.read(self._fileno, size) or None
        except BlockingIOError:
            raise WouldBlock(READ) from None
        except OSError as error:
            raise ConnectionLost(f"the line {self.address} failed: {error}") from error

    def send(self, data: memoryview) -> int:
        """Send what fits."""
        try:
            return os.write(self._fileno, data)
        except BlockingIOError:
            raise WouldBlock(WRITE) from None
        except OSError as error:
            raise ConnectionLost(f"the line {self.address} failed: {error}") from error

    def overrun(self) -> None:
        """Discard unread bytes, as a serial port does."""
        import termios

        termios.tcflush(self._slave, termios.TCIFLUSH)

    def _close(self) -> None:
        os.close(self._slave)
        os.close(self._fileno)


class DatagramLink(Link):
    """A bound UDP socket: what is received is one datagram, what is sent goes to the sender of the last one."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        super().__init__(sock.fileno(), address)
        self._socket = sock
        self.peer: Any = None

    def receive(self, size: int) -> bytes | None:
        """Return the next datagram, which may be empty."""
        try:
            data, self.peer = self._socket.recvfrom(65536)
        except BlockingIOError:
            raise WouldBlock(READ) from None
        except ConnectionError:
            # An ICMP answer to an earlier datagram; the socket still works.
            raise WouldBlock(READ) from None
        return data

    def send(self, data: memoryview) -> int:
        """Send one datagram; raises OSError, which is about this datagram only."""
        try:
            self._socket.sendto(data, self.peer)
        except BlockingIOError:
            raise WouldBlock(WRITE) from None
        return len(data)

    def _close(self) -> None:
        self._socket.close()
