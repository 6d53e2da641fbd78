"""The line to one or more chillers: one command in flight, and every reply taken for what it answers.

Replies carry no sequence number, so a late one could be taken for the answer to the same command sent
again. After a command without an answer the next one is therefore preceded by a harmless command with a
number that is not awaited: a unit answers in the order in which it was asked, so when that answer has
come, nothing older is under way any more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

from cnx.clients.chiller.client_turns import Turns
from cnx.clients.chiller.protocol import Call, Frames, Reply, device_error, parse_reply, parse_text
from cnx.clients.chiller.protocol_errors import ErrorCode
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import ConnectError, NotConnected, ProtocolError, TimedOut
from cnx.stream import StreamConnection
from cnx.transport_connection import TransportConnection
from cnx.transports.transport import Transport
from cnx.urls import connection

__all__ = ["Answer", "ChillerLink", "Source"]

log = logging.getLogger(__name__)

Source = str | TransportConnection | Transport
"""Where a line comes from: a URL, a connection that tells how to open it, or an open transport for one link."""

REPLY_TIMEOUT = 3.0
"""Seconds after which the document allows a new command without a reply to the last one."""

WAITS = 40
"""Reply timeouts to wait for the line, at least: a little more than one turn of a bus of which no unit answers."""

TURN_TIMEOUT = 120.0
"""Seconds to wait for the line, at least."""

PROBES = (
    "01WatchDog",
    "03rSetTemp",
    "04rSupplyT",
    "08rAmbTemp",
    "09rProsFlo",
    "13rTECDrLv",
    "49rUpTime_",
    "02rCtrlSen",
)
"""Commands without side effects that every unit answers."""


class Answer(NamedTuple):
    """What a unit answered.

    Attributes:
        call: the command.
        frame: the reply as it came, without CR.
        value: what its data means.
    """

    call: Call
    frame: str
    value: Any


class ChillerLink(StreamConnection):
    """A connection to a line with chillers on it. Thread-safe; commands of several threads take turns.

    Args:
        source: a URL such as ``tcp://adapter:4001`` or ``serial:///dev/ttyUSB0?baudrate=9600&xonxoff=1``, a
            connection that tells how to open the line, or an open transport, which serves one link.
        reply_timeout: seconds to wait for each reply.
        pause: seconds between a reply and the next command; the document says 1, units need none.
        lenient: accept surplus digits of warnings and alarms.
        connect_timeout: seconds for an attempt to connect, with all that is set up in it.
        name: what it is called in log lines; its address if omitted.
    """

    reading = True

    def __init__(
        self,
        source: Source,
        *,
        reply_timeout: float = REPLY_TIMEOUT,
        pause: float = 0.0,
        lenient: bool = False,
        connect_timeout: float | None = 10.0,
        name: str | None = None,
    ) -> None:
        if not isinstance(source, (str, TransportConnection, Transport)):
            raise TypeError(f"source is a URL, a connection or a transport, not {source!r}")
        self._source = connection(source) if isinstance(source, str) else source
        super().__init__(name=name, connect_timeout=connect_timeout, framing=Frames(b"#"))
        self.reply_timeout = checked_seconds("reply_timeout", reply_timeout)
        self.pause = checked_seconds("pause", pause, least=0.0)
        self.lenient = lenient
        self._used = False
        self._turns = Turns()
        self._replied_at = 0.0
        self._settled = False  # the last command got its reply, and nothing else came with it
        self._awaited: dict[int, set[int]] = {}  # for each unit the numbers that were sent and not answered
        self._setups: dict[int, Sequence[Call]] = {}
        self._unprepared: set[int] = set()

    @property
    def address(self) -> str:
        """Where the line begins."""
        return self._source.address

    def open_transport(self, deadline: Deadline) -> Transport:
        """Open the line."""
        if isinstance(self._source, TransportConnection):
            return self._source.open_transport(deadline)
        if self._used:
            raise ConnectError(f"{self.address} was an open transport for one link; give a URL to connect again")
        self._used = True
        return self._source

    def prepare(self, deadline: Deadline) -> None:
        """Note that every unit has to be set up again."""
        self._unprepared = set(self._setups)

    def set_up(self, device_id: int, calls: Sequence[Call]) -> None:
        """Do these commands now, and keep them if all succeed; raises like :meth:`exchange`."""
        with self._line_for(device_id):
            awaited = self._caught_up(device_id)
            for call in calls:
                self._run(call, awaited)
            self.keep_setup(device_id, calls)
            self._unprepared.discard(device_id)

    def keep_setup(self, device_id: int, calls: Sequence[Call]) -> None:
        """Have these commands done on every new link, before anything else is asked of the unit."""
        self._setups[device_id] = calls

    def exchange(self, call: Call) -> Answer:
        """Send one command and return the answer to it, when no other command is under way.

        Raises:
            DeviceError: the unit refused; the link stays up.
            TimedOut: no reply came in time; the link stays up.
            ProtocolError: the reply was damaged; the link stays up.
            NotConnected, ConnectionLost: there is no link, or it ended before the reply.
        """
        device_id = call.device_id
        with self._line_for(device_id):
            awaited = self._caught_up(device_id)
            if device_id in self._unprepared:
                for setting in self._setups[device_id]:
                    self._run(setting, awaited)
                self._unprepared.discard(device_id)
            return self._run(call, awaited)

    def _line_for(self, device_id: int) -> Turns:
        """Wait for the turn of a unit."""
        return self._turns.turn(device_id, max(TURN_TIMEOUT, WAITS * self.reply_timeout))

    def _run(self, call: Call, awaited: set[int]) -> Answer:
        """Send one command and return the answer to it."""
        self._send(call, awaited)
        end = monotonic() + self.reply_timeout
        first = self._whole_frame()
        data = call.data_in(first)
        if data is not None:
            self._settled = True
            return self._accept(call, first, data, awaited)
        for frame in self._frames(end, first):
            data = call.data_in(frame)
            if data is not None:
                return self._accept(call, frame, data, awaited)
            reply = parse_reply(frame)
            if reply.answers(call):
                return self._judge(call, reply, awaited)
            log.debug("%s: discarded %s, which does not answer %s", self.name, reply.frame, call.text)
        raise self._no_reply(call)

    def _accept(self, call: Call, frame: bytes, data: str, awaited: set[int]) -> Answer:
        """Return the answer of a good reply."""
        value = call.value(data, lenient=self.lenient)
        awaited.clear()
        return Answer(call, frame.decode("latin-1"), value)

    def _judge(self, call: Call, reply: Reply, awaited: set[int]) -> Answer:
        """Return the answer of a reply whose name is not the one that was sent, or raise what it says."""
        if reply.error is ErrorCode.NONE:
            value = reply.value(call, lenient=self.lenient)
            awaited.clear()
            return Answer(call, reply.frame, value)
        # a bare rejection names no unit, so it may be a late one of another
        if reply.error is not ErrorCode.REJECTED or not self._others_awaited(call):
            awaited.clear()
        raise device_error(call, reply, f"{self.name}: unit {call.device_id:02d}")

    def _caught_up(self, device_id: int) -> set[int]:
        """Make sure that nothing older of this unit is under way; return the numbers that it has not answered."""
        awaited = self._awaited.setdefault(device_id, set())
        if not awaited:
            return awaited
        calls = [parse_text(probe, device_id) for probe in PROBES]
        probe = next((call for call in calls if call.number not in awaited), calls[0])
        self._send(probe, awaited)
        for frame in self._frames(monotonic() + self.reply_timeout):
            try:
                reply = parse_reply(frame)
            except ProtocolError as error:
                log.debug("%s: discarded %s", self.name, error)
                continue
            if reply.error is not ErrorCode.REJECTED and reply.answers(probe):
                awaited.clear()
                return awaited
        raise self._no_reply(probe)

    def _send(self, call: Call, awaited: set[int]) -> None:
        """Send a command when the line is free, without what came unasked for."""
        if self.pause:
            self._wait_for_pause()
        if not self._settled:
            late = self.read_waiting()
            if late:
                log.debug("%s: discarded %r, which came too late", self.name, late)
        self._settled = False
        awaited.add(call.number)
        try:
            self.write(call.frame, timeout=self.reply_timeout)
        except NotConnected:
            awaited.discard(call.number)
            raise

    def _whole_frame(self) -> bytes:
        """Return a frame that comes whole and alone, as nearly every one does, or ``b""`` when there is more to it."""
        try:
            data = self._current().take_whole(is_one_frame, self.reply_timeout)
        except TimedOut:
            return b""
        self._replied_at = monotonic()
        return b"" if data is None else data[:-1]

    def _frames(self, end: float, first: bytes = b"") -> Iterator[bytes]:
        """Yield ``first``, if there is one, and what comes until ``end``."""
        if first:
            yield first
        left = end - monotonic()
        while left > 0:
            try:
                frame = self.receive(timeout=left)
            except TimedOut:
                return
            self._replied_at = monotonic()
            yield frame
            left = end - monotonic()

    def _wait_for_pause(self) -> None:
        """Let the pause after the last reply pass; it ends with the link."""
        while self.pause and (left := self._replied_at + self.pause - monotonic()) > 0:
            try:
                self.read(self.limit, timeout=left)
            except TimedOut:
                return

    def _others_awaited(self, call: Call) -> bool:
        """Whether another unit on the line has not answered something."""
        return any(numbers for device_id, numbers in self._awaited.items() if device_id != call.device_id)

    def _no_reply(self, call: Call) -> TimedOut:
        return TimedOut(
            f"{self.name}: unit {call.device_id:02d} did not answer {call.text} within {self.reply_timeout:g} s; "
            "check its power, its id and the line"
        )


def is_one_frame(data: bytes) -> bool:
    """Whether ``data`` is a reply from its first to its last byte, without flow control in between."""
    alone = data.find(b"\r") == len(data) - 1 and data.rfind(b"#") == 0
    return alone and b"\x11" not in data and b"\x13" not in data and len(data) < 64


def checked_seconds(name: str, seconds: float, *, least: float = 0.001) -> float:
    """Return a number of seconds from ``least`` to an hour."""
    checked = checked_timeout(seconds, name)
    if checked is None or not least <= checked <= 3600.0:
        raise ValueError(f"{name} must be from {least:g} to 3600 seconds, not {seconds!r}")
    return checked
