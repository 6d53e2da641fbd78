"""A UDP port that passes its datagrams to one function, on a thread of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from cnx.clients.tecoroute.client.errors import ConnectorConnectionError
from cnx.logs import log_of_peer, logger
from cnx.threads.hook import report_error
from cnx.threads.locks import Lock
from cnx.threads.starting import new_thread, start

__all__ = ["Allowed", "UdpPort"]

log = logger(__name__)

LARGEST = 65535
BATCH = 64
JOIN_TIMEOUT = 2.0

Address = tuple[Any, ...]


class Allowed:
    """The addresses that may use a port.

    Args:
        networks: addresses and networks such as ``"192.168.1.0/24"``; ``None`` for all.

    Raises:
        ValueError: an entry is not a network.
    """

    def __init__(self, networks: Iterable[str] | None) -> None:
        self._networks = None if networks is None else [ipaddress.ip_network(each, strict=False) for each in networks]

    def __contains__(self, address: Address) -> bool:
        if self._networks is None:
            return True
        host = ipaddress.ip_address(str(address[0]).partition("%")[0])
        host = getattr(host, "ipv4_mapped", None) or host
        return any(host in network for network in self._networks)

    def warn_if_open(self, host: str) -> None:
        """Log a warning if every machine that can reach ``host`` may use the port."""
        if self._networks is None and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            log.warning("every machine that can reach the UDP port on %s can use it, with your rights on the PLC", host)


class UdpPort:
    """A UDP port, from :meth:`open` to :meth:`close`. Thread-safe.

    Args:
        host: address or name to listen on.
        port: 0 to 65535; 0 for any free one.
        on_datagrams: called on the port's thread with new datagrams and their senders, and after :meth:`poke` with an
            empty list.
    """

    def __init__(self, host: str, port: int, on_datagrams: Callable[[list[tuple[bytes, Address]]], None]) -> None:
        self._where = host, port
        self._on_datagrams = on_datagrams
        self._sockets: list[socket.socket] = []
        self._lock = Lock()  # guards the next two, which decide whether the thread or close() closes the sockets
        self._closing = False
        self._running = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open the port, once. If the call is interrupted, the caller has to close it.

        Raises:
            ConnectorConnectionError: the port cannot be opened.
        """
        self._sockets.append(bind(*self._where))
        self.address: Address = self._sockets[0].getsockname()
        self._sockets += socket.socketpair()
        self._socket, self._waker, self._wakened = self._sockets
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        name = f"cnx tecoroute udp {self.address[0]}:{self.address[1]}"
        self._thread = new_thread(self._run, name)
        start(self._thread)

    def send(self, datagram: bytes, address: Address) -> bool:
        """Send a datagram without waiting; return whether the system accepted it."""
        try:
            self._socket.sendto(datagram, address)
        except OSError as error:
            log_of_peer(log, logging.INFO, "UDP %s: no answer to %s: %s", str(self.address), address, error)
            return False
        return True

    def poke(self) -> None:
        """Call the function soon, on the thread of the port."""
        with contextlib.suppress(OSError):  # the socket is full, so the function is about to be called; or closed
            self._waker.send(b"x")

    def close(self) -> None:
        """Close the port and end the thread; wait at most 2 s for that, unless called on the thread itself."""
        with self._lock:
            self._closing = True
            running = self._running
        if running:
            self.poke()
        else:
            for sock in self._sockets:
                sock.close()
        thread = self._thread
        if thread is not None and threading.current_thread() is not thread:
            with contextlib.suppress(RuntimeError):  # its start was interrupted; if it runs, it ends at once
                thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        with self._lock:
            self._running = not self._closing
        if self._running:
            self._serve()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector, self._socket, self._waker, self._wakened:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            while not self._closing:
                selector.select()
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(LARGEST)
                datagrams = self._receive()
                try:
                    self._on_datagrams(datagrams)
                except Exception as error:
                    report_error(error, f"UDP {self.address}: handling datagrams failed")

    def _receive(self) -> list[tuple[bytes, Address]]:
        datagrams: list[tuple[bytes, Address]] = []
        try:
            while len(datagrams) < BATCH:
                datagrams.append(self._socket.recvfrom(LARGEST))
        except (BlockingIOError, ConnectionError):
            pass  # there are no more; or an answer sent before was refused
        except OSError as error:  # the network is down, or memory is short: the port has to stay open
            log.warning("UDP %s: nothing can be received at the moment: %s", self.address, error)
        return datagrams


def bind(host: str, port: int) -> socket.socket:
    """Return a UDP socket that does not block, bound to ``host`` and ``port``."""
    where = f"UDP {host} port {port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConnectorConnectionError(f"cannot listen on {where}: {error}") from error
    try:
        sock.bind(address)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        text = f"cannot listen on {where}: {error.strerror}; choose another port, or end the program that uses it"
        raise ConnectorConnectionError(text) from error
    return sock
