"""A local UDP port that leads to a PLC, for programs that speak EPSNET over UDP."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Any

from cnx.clients.tecoroute.client.connector import Connector
from cnx.clients.tecoroute.client.errors import ConnectorConnectionError, ConnectorError
from cnx.clients.tecoroute.client.statistics import UdpStatistics
from cnx.clients.tecoroute.client.udp_port import Address, Allowed, UdpPort
from cnx.connections.sockets import checked_host
from cnx.deadline import checked_timeout
from cnx.errors import Cancelled, LimitExceeded, TimedOut
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe_weakly
from cnx.threads.condition import Monitor
from cnx.threads.locks import Lock

__all__ = ["UdpConnector"]

HELD_LIMIT = 100
"""Datagrams that are held while the tunnel is down."""

ENDED = (State.DISCONNECTED, State.TORNDOWN)


class UdpConnector:
    """A UDP port for any number of programs at once; the answer to a datagram goes back to its sender. Thread-safe.

    Datagrams go to the PLC as they are. The port stays open while the tunnel is down, and the tunnel is brought up
    again; datagrams that come meanwhile are held for a moment. An answer is matched as :meth:`Connector.request`
    does it. ::

        with UdpConnector(username="BroukPytlik", password="ferda1", plc="AB_1234") as udp:
            udp.manager.wait_until("connected", 10.0)

    Args:
        host: address to listen on; with other than loopback addresses everybody who is allowed and reaches it can talk
            to the PLC with your rights.
        port: 0 to 65535; 0 for any free one, see :attr:`address`.
        username, password, plc: as for :class:`Connector`.
        allow: the addresses and networks that may send, such as ``["192.168.1.0/24"]``; ``None`` for all.
        expire_after: seconds for which a datagram that cannot be forwarded is held.
        backoff, persist: as for :class:`~cnx.manager.manager.ConnectionManager`.
        **settings: as for :class:`Connector`.

    Raises:
        ValueError, TypeError: an argument cannot be; nothing was opened.
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
        **settings: Any,
    ) -> None:
        self._host = checked_host(host)
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise ValueError(f"a UDP port is a number from 0 (any free one) to 65535, not {port!r}")
        self._port_number = port
        self._allowed = Allowed(allow)
        self._expire_after = checked_timeout(expire_after, "expire_after") or 0.0
        self.connector = Connector(username, password, plc, **settings)
        self.manager = ConnectionManager(self.connector, backoff=backoff, persist=persist)
        self.statistics = UdpStatistics()
        self._held: deque[tuple[float, bytes, Address]] = deque()
        self._port: UdpPort | None = None
        self._opening = Lock()  # one at a time opens; close() does not wait for that
        self._changed = Monitor()  # guards the two below
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
        """What the connector is called."""
        return self.connector.name

    @property
    def address(self) -> str:
        """Where it listens, or will listen."""
        port = self._port
        host, number = (self._host, self._port_number) if port is None else port.address[:2]
        return f"[{host}]:{number}" if ":" in str(host) else f"{host}:{number}"

    @property
    def is_running(self) -> bool:
        """Whether the port is open."""
        return self._port is not None

    def open(self) -> None:
        """Open the port, and bring the tunnel up from now on; does not wait for it. Without effect when it is open.

        Raises:
            ConnectorConnectionError: the port cannot be had; nothing was connected.
        """
        self._open(self._closings)

    def close(self) -> None:
        """Close the tunnel and the port, also while they are being opened. Returns in bounded time, from any thread."""
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
        """Open, and return when :meth:`close` was called.

        Args:
            once: end as soon as the tunnel cannot be brought up or is lost, instead of trying again.

        Raises:
            ConnectorConnectionError: the port cannot be had, or is open already and it is to run once.
            ConnectorError: the tunnel cannot be brought up, and trying again is pointless or not wanted.
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
        """Open the port and have the tunnel brought up, unless that was done, or close() is called meanwhile."""
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
        """Wait for close(), or raise why the manager has given up."""
        self._changed.wait_for(lambda: self._closings != closings or self.manager.state in ENDED, None)
        reason = self.manager.reason
        if reason is not None and self._closings == closings and not isinstance(reason, Cancelled):
            raise reason

    def _on_state(self) -> None:
        """Let run() see whether the manager has given up."""
        self._changed.notify()

    def _on_connected(self) -> None:
        """Have what is held forwarded; or end a tunnel that came up while close() was called."""
        port = self._port
        if port is None:
            self.connector.disconnect()
        else:
            port.poke()

    def _on_unmatched(self, datagram: bytes) -> None:
        """Count what the PLC says to nobody."""
        self.statistics.unmatched += 1

    def _on_datagrams(self, datagrams: list[tuple[bytes, Address]]) -> None:
        """Take what programs sent, on the port's thread; forward it and what was held."""
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
        """Forward in order what is young enough, until the tunnel is down."""
        while self._held:
            expires, datagram, address = self._held[0]
            left = expires - monotonic()
            if left <= 0:
                self.statistics.expired += 1
            elif not self._forward(datagram, address, left):
                return
            self._held.popleft()

    def _forward(self, datagram: bytes, address: Address, patience: float) -> bool:
        """Forward a datagram; return whether it is dealt with, so ``False`` if the tunnel is down."""
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
        """Send an answer back, on the thread that brings it."""
        if port.send(datagram, address):
            self.statistics.answered += 1
        else:
            self.statistics.undelivered += 1
