"""A client of a SmartBus, over one server or a master with its backup."""

from __future__ import annotations

import codecs
import functools
import itertools
import logging
from time import monotonic
from typing import Any

from cnx.clients.smartbus.client.calls import CallTable
from cnx.clients.smartbus.client.events import BusSignals, code_of
from cnx.clients.smartbus.client.incoming import Incoming
from cnx.clients.smartbus.client.link import BusLink, Identity, Pulse
from cnx.clients.smartbus.client.pair import Pair
from cnx.clients.smartbus.client.peers import Peer, PeerTable, Ping, PingTable
from cnx.clients.smartbus.client.requests import Requests
from cnx.clients.smartbus.client.uplinks import Uplinks
from cnx.clients.smartbus.protocol.codes import ClientType, meaning
from cnx.clients.smartbus.protocol.layout import decode_text
from cnx.clients.smartbus.protocol.messages import Register
from cnx.clients.smartbus.protocol.packets import (
    CLIENT_UNITS,
    PACKET_LIMIT,
    UNKNOWN_UNIT,
    Address,
    Packet,
    checked_byte,
)
from cnx.connections.connection import Connection, Traffic
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectionLost, NotConnected, because
from cnx.link.listener import Listener
from cnx.signals import Emitter, emit

__all__ = ["SmartBusClient"]

log = logging.getLogger(__name__)


class SmartBusClient(Requests, Incoming, Connection):
    """A registered client of a SmartBus. Thread-safe.

    It counts as connected when a server has let it in. With a backup server both are registered at; the first that
    lets us in is used until it is lost, then the other. Data is told as ``MESSAGE_RECEIVED`` with a
    :class:`~cnx.clients.smartbus.Packet`, everything else as one of :class:`BusSignals`, on the listener thread. ::

        with SmartBusClient("bus.example", 8089, unit_id=20, client_id=1, client_type=9) as client:
            print(client.invoke_flow(0, 0, "project", "flow", ["x", 1]).result())

    Args:
        host, port: the server, or the master; a name, an IPv4 or an IPv6 address.
        unit_id: 16 to 47, one for each process on the bus.
        client_id: 0 to 255, below 128 preferably; one for each client of a unit.
        client_type: 2 to 255, above 8 for applications.
        backup: host and port of the backup server.
        user, password, info: at most 63, 127 and 255 bytes. SmartBus sends the password in clear.
        encoding: of text in data packets, sent and received.
        limit: the largest packet to accept, in bytes.
        pulse: heartbeat, silence limit and delay before reconnecting.
        name, connect_timeout: see :class:`~cnx.Connection`.
        **settings: for each link; see :class:`~cnx.SocketConnection`.

    Raises:
        ValueError, TypeError: an argument cannot be; nothing was opened.
    """

    BusSignals = BusSignals

    def __init__(
        self,
        host: str,
        port: int,
        *,
        unit_id: int,
        client_id: int,
        client_type: int,
        backup: tuple[str, int] | None = None,
        user: str = "",
        password: str = "",
        info: str = "",
        encoding: str = "utf-8",
        limit: int = PACKET_LIMIT,
        pulse: Pulse | None = None,
        name: str | None = None,
        connect_timeout: float | None = 10.0,
        **settings: Any,
    ) -> None:
        self.local_address = checked_identity(unit_id, client_id, client_type)
        self.encoding = checked_encoding(encoding)
        self._identity = Identity(self.local_address, user, password, info)
        Register(0, user, password, info).payload()  # refuses texts that are too long
        settings.setdefault("listener", Listener(f"smartbus {self.local_address}"))
        self._notices = itertools.count(1)
        self._pings = PingTable()
        settings.update(
            owner=self, pings=self._pings, pulse=pulse or Pulse(), limit=limit, connect_timeout=connect_timeout
        )
        servers = [(host, port)] if backup is None else [(host, port), backup]
        self._links = tuple(BusLink(*server, index, self._identity, **settings) for index, server in enumerate(servers))
        self._messages = Emitter(self, self.Signals.MESSAGE_RECEIVED, "message")
        super().__init__(name=name, connect_timeout=connect_timeout)

    def _let_go(self) -> None:
        super()._let_go()
        self.access_point = UNKNOWN_UNIT
        self._uplinks = Uplinks()
        self._carrier: BusLink | Pair = self._links[0] if len(self._links) == 1 else Pair(self._links, self._uplinks)
        tell = functools.partial(emit, self)
        self._calls = CallTable(f"smartbus {self.local_address}", tell)
        self._peers = PeerTable(tell)
        self._pings.let_go()

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The servers, and who we are on the bus."""
        return f"{' or '.join(link.address for link in self._links)} as {self.local_address}"

    @property
    def unit_id(self) -> int:
        """Our unit."""
        return self.local_address.unit

    @property
    def client_id(self) -> int:
        """Our id in the unit."""
        return self.local_address.client

    @property
    def client_type(self) -> int:
        """Our type."""
        return self.local_address.type

    @property
    def servers(self) -> list[str]:
        """The addresses of the master and, if there is one, of the backup."""
        return [link.address for link in self._links]

    @property
    def active_server(self) -> str | None:
        """The address of the server that is used; ``None`` without a link."""
        up = self._uplinks.up
        return up[0].address if up else None

    @property
    def user(self) -> str:
        """The user name we register with."""
        return self._identity.user

    @property
    def info(self) -> str:
        """What we say of ourselves to other clients."""
        return self._identity.info

    @property
    def peers(self) -> list[Peer]:
        """The other clients that are known, by address. Those that were on the bus before us answer one by one."""
        return self._peers.all

    @property
    def connected(self) -> bool:
        """Whether a server has let us in."""
        return self._uplinks.usable

    @property
    def traffic(self) -> Traffic:
        """What went over all links so far."""
        return functools.reduce(Traffic.plus, (link.traffic for link in self._links))

    def text(self, packet: Packet) -> str:
        """Return the data of a packet as text: cp936 from flow servers, else in ``encoding``."""
        return decode_text(packet.data, "cp936" if packet.source.type == ClientType.IPSC else self.encoding)

    # -- how Connection drives it ----------------------------------------------------------------------------------

    def try_connect(self, deadline: Deadline | None = None) -> bool:
        """Make one attempt to register; return whether it succeeded. A failure is told as ``CONNECT_FAILED``."""
        connected = super().try_connect(deadline)
        error = self.last_error
        if not connected and not isinstance(error, Cancelled):
            code = code_of(error)
            emit(self, BusSignals.CONNECT_FAILED, code=code, meaning=meaning(code), reason=error)
        return connected

    def establish(self, deadline: Deadline) -> None:
        """Register at the server, or at one of both, once the end of the last link has been told."""
        self._uplinks.begin(deadline, self.name, lambda: any(link.is_inside() for link in self._links))
        self._carrier.establish(deadline)

    def announce(self) -> None:
        """Tell that we are registered, unless there is a reason to end already."""
        self._carrier.announce()
        self.last_error = self._uplinks.reason

    def is_inside(self) -> bool:
        """Whether the calling thread is attempting to connect or telling a signal, so that others wait for it."""
        return super().is_inside() or any(link.is_inside() for link in self._links)

    def release(self, reason: BaseException, timeout: float) -> None:
        """Close the links and fail what is under way."""
        end = monotonic() + timeout
        self._uplinks.close(reason)
        self._carrier.release(reason, timeout)
        if timeout:
            self._calls.close(max(0.0, end - monotonic()))

    def wait_ended(self, timeout: float) -> None:
        """Wait until the ends of both links were told."""
        end = monotonic() + timeout
        for link in self._links:
            link.wait_ended(max(0.0, end - monotonic()))

    def dispose(self) -> None:
        """Disconnect for good; the same as :meth:`teardown`."""
        self.teardown()

    # -- how the links report --------------------------------------------------------------------------------------

    def on_link_up(self, sender: BusLink) -> None:
        """Take a link that is registered into use, or let it go if it comes too late."""
        first = self._uplinks.add(sender)
        if first is None:
            sender.release(self._uplinks.reason or Cancelled("the client is disconnected"), 0.0)
        elif first:
            self._uplinks.tell(lambda: emit(self, self.Signals.CONNECTED))
        else:
            self._uplinks.wait_told()

    def on_link_down(self, link: BusLink, reason: BaseException) -> None:
        """Go on with the other link, or tell the end."""
        if self._uplinks.remove(link, reason):
            self._uplinks.tell_end(lambda: self._end(reason))

    def _end(self, reason: BaseException) -> None:
        lost = Cancelled if isinstance(reason, Cancelled) else ConnectionLost
        self._calls.fail_all(lost(f"the link was lost with a flow call under way: {reason}"))
        self._pings.end_all()
        self._peers.clear()
        self._carrier.release(reason, 0.0)
        self.tell_end(reason)

    def _await(self, ping: Ping, timeout: float) -> None:
        self._carrier.wait_for(ping, timeout)

    def _post(self, packet: bytes) -> None:
        for link in self._uplinks.up:
            try:
                link.write(packet)
            except ConnectionError:
                log.debug("%s: %s is lost; trying the other server", self.name, link.address)
            else:
                return
        raise NotConnected(f"{self.name} is not registered at any server{because(self.last_error)}")


def checked_identity(unit_id: int, client_id: int, client_type: int) -> Address:
    """Return the address of a network client, or raise ValueError or TypeError."""
    return Address(
        checked_byte("network client's unit id", unit_id, CLIENT_UNITS),
        checked_byte("client id", client_id),
        checked_byte("network client's type", client_type, range(2, 256)),
    )


def checked_encoding(encoding: str) -> str:
    """Return ``encoding`` if it is known."""
    try:
        codecs.lookup(encoding)
    except (LookupError, TypeError) as error:
        raise ValueError(f"unknown encoding {encoding!r}") from error
    return encoding
