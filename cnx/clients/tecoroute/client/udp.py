"""A local UDP port that leads to a PLC, for programs that speak EPSNET over UDP."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from time import monotonic
from types import TracebackType

from typing_extensions import Unpack

from cnx.clients.tecoroute.client.connector import Connector, ConnectorSettings
from cnx.clients.tecoroute.client.errors import ConnectorConnectionError, ConnectorError
from cnx.clients.tecoroute.client.statistics import UdpStatistics
from cnx.clients.tecoroute.client.udp_port import Address, Allowed, UdpPort
from cnx.deadline import checked_timeout
from cnx.errors import Cancelled, LimitExceeded, TimedOut, fresh
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe_weakly
from cnx.threads.condition import Condition
from cnx.threads.locks import Lock
from cnx.transports.resolver import checked_host

__all__ = ["UdpConnector"]

HELD_LIMIT = 100
"""Number of datagrams that are held while the tunnel is down."""

ENDED = (State.DISCONNECTED, State.TORNDOWN)


class UdpConnector:
    """A UDP port for any number of programs; each answer goes back to the program that asked. Thread-safe.

    Datagrams are passed on to the PLC unchanged. While the tunnel (the connection through the service) is down, the
    port stays open, the tunnel is connected again, and datagrams are held for a moment. Answers are matched as by
    :meth:`Connector.request`. ::

        with UdpConnector(username="BroukPytlik", password="ferda1", plc="AB_1234") as udp:
            udp.manager.wait_until("connected", 10.0)

    Args:
        host: address to listen on. On a non-loopback address, every machine that can reach it and is allowed can use
            the PLC with your rights.
        port: 0 to 65535; 0 for any free port, see :attr:`address`.
        username, password, plc: as for :class:`Connector`.
        allow: the addresses and networks that may send, such as ``["192.168.1.0/24"]``; ``None`` for all.
        expire_after: seconds to hold a datagram that cannot be forwarded yet.
        backoff, persist: as for :class:`~cnx.manager.manager.ConnectionManager`.
        **settings: as for :class:`Connector`.

    Raises:
        ValueError, TypeError: an argument is invalid; nothing was opened.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 61682,
        *,
        username: str,
        password: str,
        plc: str,
        allow: Iterable[str] | None = None,
        expire_after: float = 2.0,
        backoff: Backoff | None = None,
        persist: bool = False,
        **settings: Unpack[ConnectorSettings],
    ) -> None:
        self._host = checked_host(host)
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise ValueError(f"port must be between 0 (any free one) and 65535, not {port!r}")
        self._port_number = port
        self._allowed = Allowed(allow)
        self._expire_after = checked_timeout(expire_after, "expire_after") or 0.0
        self.connector = Connector(username, password, plc, **settings)
        self.manager = ConnectionManager(self.connector, backoff=backoff, persist=persist)
        self.statistics = UdpStatistics()
        self._held: deque[tuple[float, bytes, Address]] = deque()
        self._port: UdpPort | None = None
        self._opening = Lock()  # held by the thread that opens; close() does not wait for it
        self._changed = Condition()  # guards the next one and the port
        self._closings = 0
        for signal, method in (
            (self.connector.Signals.CONNECTED, self._on_connected),
            (self.connector.PlcSignals.DATAGRAM_RECEIVED, self._on_unmatched),
        ):
            subscribe_weakly(self.connector, signal, method)
        subscribe_weakly(self.manager, self.manager.Signals.STATE_CHANGED, self._on_state)

    def __repr__(self) -> str:
        state = f"on {self.address}" if self.is_running else "closed"
        return f"<UdpConnector {state} of {self.connector!r}>"

    @property
    def name(self) -> str:
        """Name of the connector."""
        return self.connector.name

    @property
    def address(self) -> str:
        """Host and port where it listens or will listen."""
        port = self._port
        host, number = (self._host, self._port_number) if port is None else port.address[:2]
        return f"[{host}]:{number}" if ":" in str(host) else f"{host}:{number}"

    @property
    def is_running(self) -> bool:
        """Whether the port is open."""
        return self._port is not None

    def open(self) -> None:
        """Open the port and start to connect the tunnel, without waiting for it; do nothing if the port is open.

        Raises:
            ConnectorConnectionError: the port cannot be opened; nothing was connected.
        """
        self._open(self._closings)

    def close(self) -> None:
        """Close the tunnel and the port, even while they are being opened. Returns in bounded time, from any thread."""
        with self._changed.lock:
            self._closings += 1
            port, self._port = self._port, None
        self._changed.notify()
        self.manager.disconnect()
        self.connector.disconnect()
        if port is not None:
            port.close()
            self._held.clear()

    def run(self, *, once: bool = False) -> None:
        """Open the port, and return after :meth:`close` was called.

        Args:
            once: end as soon as the tunnel cannot be connected or is lost, instead of trying again.

        Raises:
            ConnectorConnectionError: the port cannot be opened, or it is open already and ``once`` is given.
            ConnectorError: the tunnel cannot be connected, and trying again is pointless or not wanted.
        """
        closings = self._closings
        if once:
            self._open_port(closings)
        else:
            self._open(closings)
        try:
            if once and self._closings == closings:
                self.connector.run()
            else:
                self._wait_until_ended(closings)
        except ConnectorError:
            if self._closings == closings:
                raise
        finally:
            if self._closings == closings:
                self.close()

    def __enter__(self) -> UdpConnector:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _open(self, closings: int) -> None:
        """Open the port and start to connect the tunnel, unless it is open or close() is called meanwhile."""
        with self._opening:
            if self._port is not None:
                return
            try:
                self._open_port(closings)
                if self._closings == closings:
                    self.manager.connect(wait=False)
                if self._closings != closings:
                    self.manager.disconnect()
            except BaseException:  # such as KeyboardInterrupt: the caller does not know that it is open
                self.close()
                raise

    def _open_port(self, closings: int) -> None:
        """Open the port, unless close() is called meanwhile."""
        port = UdpPort(self._host, self._port_number, self._on_datagrams)
        with self._opening:
            if self._port is not None:
                raise ConnectorConnectionError(f"cannot listen on UDP {self.address}, as this connector does already")
            try:
                port.open()
                with self._changed.lock:
                    kept = self._closings == closings
                    if kept:
                        self._port = port
            except BaseException:
                port.close()
                raise
        if not kept:
            port.close()
            return
        self._allowed.warn_if_open(str(port.address[0]))

    def _wait_until_ended(self, closings: int) -> None:
        """Wait for close(), or raise the reason why the manager has given up."""
        self._changed.wait_for(lambda: self._closings != closings or self.manager.state in ENDED, None)
        reason = self.manager.reason
        if reason is not None and self._closings == closings and not isinstance(reason, Cancelled):
            raise fresh(reason)

    def _on_state(self) -> None:
        """Let run() check whether the manager has given up."""
        self._changed.notify()

    def _on_connected(self) -> None:
        """Forward the held datagrams, or end a tunnel that was connected while close() was called."""
        port = self._port
        if port is None:
            self.connector.disconnect()
        else:
            port.poke()

    def _on_unmatched(self, datagram: bytes) -> None:
        """Count a datagram of the PLC that answers no request."""
        self.statistics.unmatched += 1

    def _on_datagrams(self, datagrams: list[tuple[bytes, Address]]) -> None:
        """Forward new and held datagrams of programs; runs on the thread of the port."""
        expires = monotonic() + self._expire_after
        for datagram, address in datagrams:
            self.statistics.received += 1
            if address not in self._allowed:
                self.statistics.refused += 1
            else:
                self._held.append((expires, datagram, address))
        self._forward_held()
        while len(self._held) > HELD_LIMIT:
            self._held.popleft()
            self.statistics.overflowed += 1

    def _forward_held(self) -> None:
        """Forward held datagrams in order, unless they are too old, until the tunnel is down."""
        while self._held:
            expires, datagram, address = self._held[0]
            left = expires - monotonic()
            if left <= 0:
                self.statistics.expired += 1
            elif not self._forward(datagram, address, left):
                return
            self._held.popleft()

    def _forward(self, datagram: bytes, address: Address, patience: float) -> bool:
        """Forward a datagram; return ``False`` if it has to be held longer, as the tunnel is down."""
        port, statistics = self._port, self.statistics
        if port is None:
            return False
        try:
            back = functools.partial(self._on_answer, port, address)
            self.connector.send(datagram, timeout=patience, on_answer=back, asker=address)
            statistics.forwarded += 1
        except (TimedOut, LimitExceeded):
            statistics.expired += 1
        except ConnectionError as error:
            if not getattr(error, "maybe_sent", False):
                return False
            statistics.lost += 1  # it may have arrived, and must not be sent again
        return True

    def _on_answer(self, port: UdpPort, address: Address, datagram: bytes) -> None:
        """Send an answer back to its program; runs on the thread that received it."""
        if port.send(datagram, address):
            self.statistics.answered += 1
        else:
            self.statistics.undelivered += 1
