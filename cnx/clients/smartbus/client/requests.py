"""What a client asks of the bus: data, pings, flows, notices. Everything is checked before anything is sent."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from cnx.clients.smartbus.client.calls import CallTable, FlowCall, positive
from cnx.clients.smartbus.client.peers import Ping, PingTable
from cnx.clients.smartbus.protocol.codes import ClientType, CmdType, SystemCmd
from cnx.clients.smartbus.protocol.flows import WITH_RETURN, WITHOUT_RETURN, InvokeFlow, Notify, dump_values
from cnx.clients.smartbus.protocol.packets import (
    BROADCAST,
    PAYLOAD_LIMIT,
    SERVER_UNITS,
    Address,
    Packet,
    checked_address,
    checked_byte,
)
from cnx.errors import ConnectionLost, LimitExceeded, TimedOut

__all__ = ["Requests"]

DESTINATIONS = range(48)
CMD_TYPES = range(1, 256)


class Requests:
    """The methods that send. Thread-safe.

    All of them raise:

    * ``ValueError``, ``TypeError``: it cannot be sent; nothing was.
    * ``NotConnected``: the client is not registered at any server.
    * ``TimedOut``: the server took nothing within 10 s.
    """

    encoding: str
    local_address: Address
    _calls: CallTable
    _pings: PingTable
    _notices: itertools.count[int]

    @abstractmethod
    def _post(self, packet: bytes) -> None:
        """Send a packet over the active link."""

    @abstractmethod
    def _await(self, ping: Ping, timeout: float) -> None:
        """Wait until a ping is answered or lost, or time is up."""

    def send(
        self, cmd: int, cmd_type: int, dst_unit: int, dst_client: int, dst_type: int, data: bytes | str = b""
    ) -> None:
        """Send data to a client, or to all with a client id of 255.

        Args:
            cmd: 0 to 255, free for applications.
            cmd_type: 1 to 255; see :class:`~cnx.clients.smartbus.CmdType`.
            dst_unit: 0 to 47, not our own; 255 is every unit.
            dst_client: 0 to 255.
            dst_type: 0 to 255.
            data: bytes, or text that is sent in ``encoding``; less than 256 MiB.
        """
        checked_byte("command", cmd)
        checked_byte("command type", cmd_type, CMD_TYPES)
        self._post(bytes(self._packet(cmd, cmd_type, (dst_unit, dst_client, dst_type), data)))

    def send_ping(self, dst_unit: int, dst_client: int, dst_type: int, data: bytes | str = b"") -> None:
        """Send a ping and do not wait; the answer is told as ``MESSAGE_RECEIVED``."""
        self._post(bytes(self._packet(SystemCmd.PING, CmdType.SYSTEM, (dst_unit, dst_client, dst_type), data)))

    def ping(
        self, dst_unit: int, dst_client: int, dst_type: int, data: bytes | str = b"", *, timeout: float = 10.0
    ) -> float:
        """Send a ping, wait for its answer and return the seconds between them.

        Args:
            dst_unit, dst_client, dst_type: whom to ask; a server is its unit with client 0 and type 1.
            data: what the answer repeats; a number of our own if empty. The answer is recognised by it.
            timeout: seconds to wait.

        Raises:
            TimedOut: no answer came in time.
            ConnectionLost, NotConnected: the link ended meanwhile.
            RuntimeError: called by a handler on the thread that the answer would come by.
        """
        checked_seconds(timeout)
        packet = self._packet(SystemCmd.PING, CmdType.SYSTEM, (dst_unit, dst_client, dst_type), data)
        if not packet.data:
            packet = packet._replace(data=self._pings.next_payload())
        ping = self._pings.start(packet.data)
        try:
            self._post(bytes(packet))
            self._await(ping, timeout)
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
        """Call a flow and return the call, which can be waited for.

        Args:
            server: unit id of the flow server, 0 to 15.
            process: index of its process, 0 to 255.
            project, flow: their ids, at most 31 bytes each.
            parameters: a list of what JSON can say, at most 8001 bytes of it.
            need_return: whether the flow is to return values.
            timeout: seconds for the values; the acknowledgement has as many, but 1 to 5.

        Raises:
            LimitExceeded: 3000 calls are under way.
        """
        destination = flow_server(server, process)
        call = FlowCall(self._calls.next_id(), project, flow, checked_seconds(timeout), need_return)
        mode = WITH_RETURN if need_return else WITHOUT_RETURN
        message = InvokeFlow(project, flow, call.invoke_id, dump_values(parameters), mode)
        request = bytes(message.packet(self.local_address, destination))
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
            project: id of the project, at most 31 bytes, may be empty.
            title: 1 to 101 bytes.
            text: 1 to 15999 bytes in cp936.
            expires: seconds after which it is of no use.
        """
        milliseconds = round(checked_seconds(expires) * 1000)
        number = positive(next(self._notices))
        notice = Notify(project, title, text, number, milliseconds)
        self._post(bytes(notice.packet(self.local_address, flow_server(server, process))))
        return number

    def _packet(self, cmd: int, cmd_type: int, destination: tuple[int, int, int], data: bytes | str) -> Packet:
        address = checked_address(*destination)
        if address.unit == self.local_address.unit:
            raise ValueError(f"unit {address.unit} is our own; a client cannot send to its own unit")
        if address.unit not in DESTINATIONS and address.unit != BROADCAST:
            raise ValueError(f"a destination's unit id is 0 to 47, or 255 for all, not {address.unit}")
        if isinstance(data, str):
            data = data.encode(self.encoding)
        elif not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data is bytes or text, not {type(data).__name__}")
        if len(data) > PAYLOAD_LIMIT:
            raise LimitExceeded(f"a packet carries at most {PAYLOAD_LIMIT} bytes of data, not {len(data)}")
        return Packet(cmd, cmd_type, self.local_address, address, bytes(data))


def flow_server(server: int, process: int) -> Address:
    """Return the address of a process of a flow server."""
    unit = checked_byte("flow server's unit id", server, SERVER_UNITS)
    return Address(unit, checked_byte("process index", process), ClientType.IPSC)


def checked_seconds(timeout: float) -> float:
    """Return ``timeout`` if it is a number of seconds above 0 with an end."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"a timeout is a number of seconds, not {timeout!r}")
    if not 0 < timeout <= 2_000_000:  # false for NaN, too
        raise ValueError(f"a timeout is above 0 and at most 2,000,000 s here, not {timeout!r}")
    return float(timeout)
