"""A SmartBus client that is registered at one server, or at a master and its backup."""

from __future__ import annotations

import codecs
import functools
import itertools
import logging
from collections.abc import Iterable
from time import monotonic
from typing import Any

from typing_extensions import Unpack

from cnx.clients.smartbus.client.calls import CallTable, FlowCall, positive
from cnx.clients.smartbus.client.events import BusSignals, code_of
from cnx.clients.smartbus.client.link import BusLink, Identity, LinkSettings, Pulse
from cnx.clients.smartbus.client.pair import Pair
from cnx.clients.smartbus.client.peers import Peer, PeerTable, Ping, PingTable
from cnx.clients.smartbus.client.uplinks import Uplinks
from cnx.clients.smartbus.protocol.codes import (
    ClientType,
    CmdType,
    Presence,
    SystemCmd,
    meaning,
)
from cnx.clients.smartbus.protocol.flows import (
    WITH_RETURN,
    WITHOUT_RETURN,
    FlowAck,
    FlowReturn,
    InvokeFlow,
    Notify,
    dump_values,
)
from cnx.clients.smartbus.protocol.layout import decode_text
from cnx.clients.smartbus.protocol.messages import (
    GlobalConnect,
    GlobalConnectExisting,
    Register,
)
from cnx.clients.smartbus.protocol.packets import (
    BROADCAST,
    CLIENT_UNITS,
    DESTINATION_UNITS,
    PACKET_LIMIT,
    PAYLOAD_LIMIT,
    SERVER_UNITS,
    UNKNOWN_UNIT,
    Address,
    Packet,
    checked_address,
    checked_byte,
)
from cnx.connections.cancellable import CancellableConnection
from cnx.connections.connection import Traffic
from cnx.deadline import Deadline
from cnx.errors import (
    Cancelled,
    ConnectionLost,
    LimitExceeded,
    NotConnected,
    TimedOut,
    as_failure,
    not_connected,
)
from cnx.link.listener import Listener
from cnx.logs import log_of_peer, logger
from cnx.manager.manager import ConnectionManager
from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import emit
from cnx.threads.steps import run_each

__all__ = ["SmartBusClient"]

log = logger(__name__)

CLIENT_TYPES = range(2, 256)
CMD_TYPES = range(1, 256)
LONGEST = 2_000_000
"""The longest timeout of a ping or a flow, in seconds (three weeks)."""


class SmartBusClient(CancellableConnection):
    """A registered client of a SmartBus. Thread-safe.

    It is connected while at least one server has accepted its registration. With a backup server the client registers
    at both. It uses the first server that accepts it until that link is lost, and then the other one. Data is emitted
    as ``MESSAGE_RECEIVED`` with a :class:`~cnx.clients.smartbus.Packet`, everything else as one of
    :class:`BusSignals`. ::

        with SmartBusClient("bus.example", 8089, unit_id=20, client_id=1, client_type=9) as client:
            print(client.invoke_flow(0, 0, "project", "flow", ["x", 1]).result())

    The sending methods check their arguments before anything is sent. All of them raise:

    * ``ValueError``, ``TypeError``: it cannot be sent; nothing was.
    * ``NotConnected``: the client is not registered at any server.
    * ``TimedOut``: the server accepted nothing for 10 s.

    Args:
        host, port: the server, or the master; a name, an IPv4 or an IPv6 address.
        unit_id: 16 to 47; one for each process on the bus.
        client_id: 0 to 255, preferably below 128; one for each client of a unit.
        client_type: 2 to 255; above 8 for applications.
        backup: host and port of the backup server.
        user, password, info: at most 63, 127 and 255 bytes in UTF-8. SmartBus sends the password in clear text.
        encoding: of text in data packets, sent and received.
        limit: the largest packet to accept, in bytes.
        pulse: heartbeat interval, silence limit and reconnect delay.
        name, connect_timeout: see :class:`~cnx.CancellableConnection`.
        **settings: for each link: ``tls``, ``server_hostname``, ``options``, ``listener``, ``record`` and
            ``record_to`` of :class:`~cnx.SocketConnection`.

    Raises:
        ValueError, TypeError: an argument is invalid; nothing was opened.
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
        **settings: Unpack[LinkSettings],
    ) -> None:
        self.local_address = Address(
            checked_byte("network client's unit id", unit_id, CLIENT_UNITS),
            checked_byte("client id", client_id),
            checked_byte("network client's type", client_type, CLIENT_TYPES),
        )
        try:
            codecs.lookup(encoding)
        except (LookupError, TypeError) as error:
            raise ValueError(f"unknown encoding {encoding!r}") from error
        self.encoding = encoding
        Register(0, user, password, info).payload()  # raises ValueError if a text is too long
        self._identity = Identity(self.local_address, user, password, info)
        settings.setdefault("listener", Listener(f"smartbus {self.local_address}"))
        self._links = tuple(
            BusLink(
                *server,
                index=index,
                identity=self._identity,
                owner=self,
                pulse=pulse or Pulse(),
                packet_limit=limit,
                connect_timeout=connect_timeout,
                **settings,
            )
            for index, server in enumerate([(host, port)] if backup is None else [(host, port), backup])
        )
        self._managers = [ConnectionManager(link) for link in self._links] if backup is not None else []
        self._messages = Emitter(self, self.Signals.MESSAGE_RECEIVED, "message")
        self._notice_numbers = itertools.count(1)
        self._ping_numbers = itertools.count(1)
        self._begin()
        super().__init__(name=name, connect_timeout=connect_timeout)

    def _begin(self) -> None:
        """Start without links, calls and pings."""
        self.access_point = UNKNOWN_UNIT
        self._uplinks = Uplinks()
        self._pair = Pair(self._links, self._managers, self._uplinks) if self._managers else None
        self._calls = CallTable(f"smartbus {self.local_address}", functools.partial(emit, self))
        self._peers = PeerTable(functools.partial(emit, self))
        self._pings = PingTable()

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The servers, and the address of this client on the bus."""
        return f"{' or '.join(link.address for link in self._links)} as {self.local_address}"

    @property
    def unit_id(self) -> int:
        """The unit id of this client."""
        return self.local_address.unit

    @property
    def client_id(self) -> int:
        """The id of this client in its unit."""
        return self.local_address.client

    @property
    def client_type(self) -> int:
        """The type of this client."""
        return self.local_address.type

    @property
    def servers(self) -> list[str]:
        """The addresses of the master and, if there is one, of the backup."""
        return [link.address for link in self._links]

    @property
    def active_server(self) -> str | None:
        """The address of the server in use; ``None`` without a link."""
        up = self._uplinks.up
        return up[0].address if up else None

    @property
    def user(self) -> str:
        """The user name of the registration."""
        return self._identity.user

    @property
    def info(self) -> str:
        """The description that other clients get of this one."""
        return self._identity.info

    @property
    def peers(self) -> list[Peer]:
        """The other clients that are known, sorted by address. Those that came first report one by one."""
        return self._peers.all

    @property
    def connected(self) -> bool:
        """Whether a server has accepted the registration."""
        return self._uplinks.usable

    @property
    def traffic(self) -> Traffic:
        """The bytes and messages of all links so far."""
        return functools.reduce(Traffic.plus, (link.traffic for link in self._links))

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(
        self, cmd: int, cmd_type: int, dst_unit: int, dst_client: int, dst_type: int, data: bytes | str = b""
    ) -> None:
        """Send data to a client, or to all clients with a client id of 255.

        Args:
            cmd: 0 to 255; applications choose its meaning.
            cmd_type: 1 to 255; see :class:`~cnx.clients.smartbus.CmdType`.
            dst_unit: 0 to 47, except the client's own; 255 is every unit.
            dst_client: 0 to 255.
            dst_type: 0 to 255.
            data: bytes, or text to encode in ``encoding``; less than 256 MiB.
        """
        checked_byte("command", cmd)
        checked_byte("command type", cmd_type, CMD_TYPES)
        self._post(bytes(self._packet(cmd, cmd_type, (dst_unit, dst_client, dst_type), data)))

    def send_ping(self, dst_unit: int, dst_client: int, dst_type: int, data: bytes | str = b"") -> None:
        """Send a ping without waiting; the answer is emitted as ``MESSAGE_RECEIVED``."""
        self._post(bytes(self._packet(SystemCmd.PING, CmdType.SYSTEM, (dst_unit, dst_client, dst_type), data)))

    def ping(
        self, dst_unit: int, dst_client: int, dst_type: int, data: bytes | str = b"", *, timeout: float = 10.0
    ) -> float:
        """Send a ping, wait for its answer, and return the seconds between them.

        Args:
            dst_unit, dst_client, dst_type: the destination; a server has client id 0 and type 1.
            data: what the answer repeats, and is recognised by; a serial number if empty.
            timeout: seconds to wait for the answer.

        Raises:
            TimedOut: no answer came in time.
            ConnectionLost, NotConnected: the link ended meanwhile.
            RuntimeError: a handler called it on the thread that would receive the answer.
        """
        checked_seconds(timeout)
        packet = self._packet(SystemCmd.PING, CmdType.SYSTEM, (dst_unit, dst_client, dst_type), data)
        if not packet.data:
            packet = packet._replace(data=next(self._ping_numbers).to_bytes(8, "little"))
        ping = self._pings.start(packet.data)
        try:
            self._post(bytes(packet))
            self._wait_for_answer(ping, timeout)
        finally:
            if ping.seconds is None:
                self._pings.drop(ping)
        if ping.seconds is not None:
            return ping.seconds
        if ping.lost:
            raise ConnectionLost(f"the link was lost before {packet.destination} answered a ping")
        raise TimedOut(f"{packet.destination} did not answer a ping within {timeout:g} s")

    def invoke_flow(
        self,
        server: int,
        process: int,
        project: str,
        flow: str,
        parameters: Iterable[Any] = (),
        need_return: bool = True,
        timeout: float = 30.0,
    ) -> FlowCall:
        """Call a flow, and return the call, whose methods wait for its results.

        Args:
            server: unit id of the flow server, 0 to 15.
            process: index of its process, 0 to 255.
            project, flow: their ids, at most 31 bytes each in UTF-8.
            parameters: a list of JSON values; their JSON text has at most 8001 bytes.
            need_return: whether the flow returns values.
            timeout: seconds to wait for the values. The wait for the acknowledgement is as long, but at least 1 s and
                at most 5 s.

        Raises:
            LimitExceeded: 3000 calls are in progress.
        """
        destination = flow_server(server, process)
        call = FlowCall(self._calls.next_id(), project, flow, checked_seconds(timeout), need_return)
        mode = WITH_RETURN if need_return else WITHOUT_RETURN
        message = InvokeFlow(project, flow, call.invoke_id, dump_values(parameters), mode)
        request = bytes(message.packet(self.local_address, destination))
        # Before it is sent: the vendor's library does it afterwards, and loses answers that are faster than that.
        self._calls.add(call)
        try:
            self._post(request)
        except BaseException:
            self._calls.drop(call)
            raise
        return call

    def notify(self, server: int, process: int, project: str, title: str, text: str, *, expires: float = 60.0) -> int:
        """Send a notice to a flow server, which does not answer; return the number of the notice.

        Args:
            server, process: as for :meth:`invoke_flow`.
            project: id of the project, at most 31 bytes in UTF-8, may be empty.
            title: 1 to 101 bytes in UTF-8.
            text: 1 to 15999 bytes in cp936.
            expires: seconds after which the notice is useless.
        """
        milliseconds = round(checked_seconds(expires) * 1000)
        number = positive(next(self._notice_numbers))
        notice = Notify(project, title, text, number, milliseconds)
        self._post(bytes(notice.packet(self.local_address, flow_server(server, process))))
        return number

    def _packet(self, cmd: int, cmd_type: int, destination: tuple[int, int, int], data: bytes | str) -> Packet:
        """Return the packet that carries ``data``; raises ValueError, TypeError."""
        address = checked_destination(*destination)
        if address.unit == self.local_address.unit:
            raise ValueError(f"unit {address.unit} is this client's own; a client cannot send to its own unit")
        if isinstance(data, str):
            data = data.encode(self.encoding)
        elif not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes or text, not {type(data).__name__}")
        if len(data) > PAYLOAD_LIMIT:
            raise LimitExceeded(f"a packet carries at most {PAYLOAD_LIMIT} bytes of data, not {len(data)}")
        return Packet(cmd, cmd_type, self.local_address, address, bytes(data))

    def _post(self, packet: bytes) -> None:
        """Send a packet over the active link, or over the other one if the active link has just ended."""
        for link in self._uplinks.up:
            try:
                link.write(packet)
            except ConnectionError:
                log.debug("%s: %s is lost; trying the other server", self.name, link.address)
            else:
                return
        raise NotConnected(not_connected(self.name, self.last_error, "registered at any server"))

    def _wait_for_answer(self, ping: Ping, timeout: float) -> None:
        """Wait until a ping is answered, its link is lost, or ``timeout`` seconds are over."""
        if self._pair is None:
            try:
                self._links[0].wait_for(lambda: ping.seconds, timeout=timeout)
            except TimedOut:
                return
        elif any(link.is_current_thread() for link in self._links):
            raise RuntimeError(f"a handler of {self.name} must not wait for an answer that its own thread would read")
        else:
            self._pings.wait(ping, timeout)  # the answer may come over either link

    # -- receiving -------------------------------------------------------------------------------------------------

    def text(self, packet: Packet) -> str:
        """Return the data of a packet as text: in cp936 from flow servers, otherwise in ``encoding``."""
        return decode_text(packet.data, "cp936" if packet.source.type == ClientType.IPSC else self.encoding)

    def on_packet(self, link: BusLink, packet: Packet) -> None:
        """Take a packet from a link: handle the commands of the bus, and emit the rest as data."""
        if packet.cmd_type != CmdType.SYSTEM:
            self._messages.emit(packet)
            return
        match packet.cmd:
            case SystemCmd.PING_ACK:
                if not self._pings.on_ack(packet.data):
                    self._messages.emit(packet)
            case SystemCmd.PING:
                answer = packet._replace(cmd=SystemCmd.PING_ACK, source=self.local_address, destination=packet.source)
                self._answer(link, answer)
                self._messages.emit(packet)
            case SystemCmd.INVOKE_FLOW_ACK:
                self._calls.on_ack(FlowAck.parse(packet.data))
            case SystemCmd.INVOKE_FLOW_RET:
                self._calls.on_return(FlowReturn.parse(packet.data))
            case SystemCmd.GLOBAL_CONNECT | SystemCmd.GLOBAL_CONNECT_EXISTING:
                self._on_presence(link, packet)
            case _:
                self._messages.emit(packet)

    def _on_presence(self, link: BusLink, packet: Packet) -> None:
        """Note another client, and introduce this one to a newcomer, as the vendor's library does."""
        notice = GlobalConnect.parse(packet.data)
        if notice.address == self.local_address:
            return
        self._peers.on_notice(notice)
        is_newcomer = packet.cmd == SystemCmd.GLOBAL_CONNECT and notice.status == Presence.NEW
        if is_newcomer and notice.address.unit != self.local_address.unit:
            answer = GlobalConnectExisting(
                self.local_address, self.access_point, Presence.EXISTING, self._identity.info
            )
            self._answer(link, answer.packet(self.local_address, notice.address))

    def _answer(self, link: BusLink, packet: Packet) -> None:
        """Send an answer that nothing depends on; the end of a link is reported elsewhere."""
        try:
            link.send(packet)
        except (ConnectionError, TimeoutError) as error:
            log_of_peer(log, logging.INFO, "%s: no answer to %s: %s", self.name, packet.destination, error)

    # -- connecting and disconnecting ------------------------------------------------------------------------------

    def establish(self, deadline: Deadline) -> None:
        """Register at the server, or at one of the two, once the end of the last link was emitted."""
        self._uplinks.begin(deadline, self.name, self._is_thread_of_link)
        if self._pair is None:
            self._links[0].establish(deadline)
        else:
            self._pair.establish(deadline)

    def announce(self) -> None:
        """Emit ``CONNECTED``; raise the reason if the link has ended already.

        Each link of a pair does it in :meth:`on_link_up`, while :meth:`establish` waits for that.
        """
        if self._pair is None:
            self._links[0].announce()
        if self._uplinks.reason is not None:
            raise as_failure(self._uplinks.reason)

    def release(self, reason: BaseException, timeout: float) -> None:
        """Close the links, and fail the calls in progress."""
        end = monotonic() + timeout
        self._uplinks.close(reason)
        self._release_links(reason, timeout)
        if timeout:
            self._calls.close(max(0.0, end - monotonic()))

    def wait_ended(self, deadline: Deadline) -> bool:
        """Wait until the end of every link that has ended was emitted; return whether it was."""
        ended = [link.wait_ended(deadline) for link in self._links]
        return all(ended)

    def is_current_thread(self) -> bool:
        """Return whether the calling thread makes an attempt to connect, or emits a signal of this client."""
        return super().is_current_thread() or self._is_thread_of_link()

    def on_connect_failed(self, reason: BaseException) -> None:
        """Emit ``CONNECT_FAILED``, unless the attempt was cancelled."""
        if not isinstance(reason, Cancelled):
            code = code_of(reason)
            emit(self, BusSignals.CONNECT_FAILED, code=code, meaning=meaning(code), reason=reason)

    def after_fork(self) -> None:
        """Start anew in a forked child process, where the threads of the links and calls do not exist."""
        self._begin()

    def dispose(self) -> None:
        """Disconnect for good; the same as :meth:`teardown`."""
        self.teardown()

    def on_link_up(self, link: BusLink) -> bool:
        """Take a registered link into use; return ``False`` if it comes too late, and close it."""
        first = self._uplinks.add(link)
        if first is None:
            link.release(self._uplinks.reason or Cancelled("the client is disconnected"), 0.0)
            return False
        if first:
            self._uplinks.announce(self.emit_connected)
        else:
            self._uplinks.wait_announced()
        return True

    def on_link_down(self, link: BusLink, reason: BaseException) -> None:
        """Continue with the other link, or emit the end if this was the last one."""
        if self._uplinks.remove(link, reason):
            self._uplinks.end(lambda: self._end(reason))

    def _end(self, reason: BaseException) -> None:
        """Fail what is in progress, and emit the end."""
        kind = Cancelled if isinstance(reason, Cancelled) else ConnectionLost
        error = kind(f"the link was lost with a flow call in progress: {reason}")
        run_each(
            lambda: self.name,
            (
                ("failing the flow calls", lambda: self._calls.fail_all(error)),
                ("ending the pings", self._pings.end_all),
                ("forgetting the peers", self._peers.clear),
                ("closing the other link", lambda: self._release_links(reason, 0.0)),
                ("emitting the end", lambda: self.emit_end(reason)),
            ),
        )

    def _release_links(self, reason: BaseException, timeout: float) -> None:
        if self._pair is None:
            self._links[0].release(reason, timeout)
        else:
            self._pair.release(reason, timeout)

    def _is_thread_of_link(self) -> bool:
        return any(link.is_current_thread() for link in self._links)


@functools.lru_cache(maxsize=1024, typed=True)  # typed, as True is not the integer 1
def checked_destination(unit: int, client: int, client_type: int) -> Address:
    """Return the address of a destination; raises ValueError, TypeError. Most packets go to a few addresses."""
    address = checked_address(unit, client, client_type)
    if unit not in DESTINATION_UNITS and unit != BROADCAST:
        raise ValueError(f"the unit id of a destination must be 0 to 47, or 255 for all, not {unit}")
    return address


def flow_server(server: int, process: int) -> Address:
    """Return the address of a process of a flow server; raises ValueError, TypeError."""
    unit = checked_byte("flow server's unit id", server, SERVER_UNITS)
    return Address(unit, checked_byte("process index", process), ClientType.IPSC)


def checked_seconds(timeout: float) -> float:
    """Return ``timeout`` if it is a number of seconds above 0 and at most 2,000,000; raises ValueError, TypeError."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}")
    if not 0 < timeout <= LONGEST:  # false for NaN, too
        raise ValueError(f"timeout must be above 0 and at most {LONGEST:,} s, not {timeout!r}")
    return float(timeout)
