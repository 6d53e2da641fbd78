"""One command after the other on a line with chillers, and every reply taken for what it answers.

Replies carry no sequence number, so a late one could be taken for the answer to the same command sent
again. After a command without an answer the next one is therefore preceded by a harmless command with a
number that is not awaited: a unit answers in the order in which it was asked, so when that answer has
come, nothing older is under way any more.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from time import monotonic

from cnx.clients.chiller.protocol.errors import ErrorCode
from cnx.clients.chiller.protocol.frames import (
    Answer,
    Call,
    Frames,
    Reply,
    device_error,
    parse_reply,
)
from cnx.clients.chiller.protocol.table import COMMANDS
from cnx.connections.stream import StreamConnection
from cnx.connections.transport import TransportConnection
from cnx.connections.urls import connection
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import ConnectError, ProtocolError, TimedOut
from cnx.link.link import Link
from cnx.transports.transport import CHUNK, Transport

__all__ = ["ChillerLine", "Source", "checked_seconds"]

log = logging.getLogger(__name__)

Source = str | TransportConnection | Transport
"""Where a line comes from: a URL, a connection that tells how to open it, or an open transport for one link."""

Awaited = dict[int, None]
"""Numbers that were sent to a unit and not answered, the last one last."""

REPLY_TIMEOUT = 3.0
"""Seconds after which the document allows a new command without a reply to the last one."""

PROBES = {row.number: row.name for row in COMMANDS if not (row.sets or row.danger or row.request)}
"""Commands without arguments and side effects. An error is an answer, too, where something is not fitted."""

LULL = 0.05
"""Seconds after a reply in which nothing else is looked for before the next command."""

FRAMES = Frames(b"#")


class ChillerLine(StreamConnection):
    """A line on which one thread at a time runs commands; :class:`ChillerLink` sees to it that it is only one.

    Args:
        source: a URL such as ``tcp://adapter:4001`` or ``serial:///dev/ttyUSB0?baudrate=9600&xonxoff=1``, a
            connection that tells how to open the line, or an open transport, which serves one link.
        reply_timeout: seconds to wait for each reply, 0.001 to 3600.
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
        super().__init__(name=name, connect_timeout=connect_timeout, framing=FRAMES)
        self.reply_timeout = reply_timeout
        self.pause = pause
        self.lenient = lenient
        self._used = False
        self._replied_at = 0.0
        self._heard = -1  # how many bytes of the link had come after the last reply, if nothing came with it
        self._awaited: defaultdict[int, Awaited] = defaultdict(dict)  # by device id

    @property
    def address(self) -> str:
        """Where the line begins."""
        return self._source.address

    @property
    def reply_timeout(self) -> float:
        """Seconds to wait for each reply, 0.001 to 3600."""
        return self._reply_timeout

    @reply_timeout.setter
    def reply_timeout(self, seconds: float) -> None:
        self._reply_timeout = checked_seconds("reply_timeout", seconds)

    @property
    def pause(self) -> float:
        """Seconds between a reply and the next command, 0 to 3600."""
        return self._pause

    @pause.setter
    def pause(self, seconds: float) -> None:
        self._pause = checked_seconds("pause", seconds, least=0.0)

    def open_transport(self, deadline: Deadline) -> Transport:
        """Open the line."""
        if isinstance(self._source, TransportConnection):
            return self._source.open_transport(deadline)
        if self._used:
            raise ConnectError(f"{self.address} was an open transport for one link; give a URL to connect again")
        self._used = True
        return self._source

    def prepare(self, deadline: Deadline) -> None:
        """Begin a new link."""
        self._heard = -1

    def _run(self, link: Link, call: Call) -> Answer:
        """Send one command and return the answer to it; raises like :meth:`ChillerLink.exchange`."""
        awaited = self._send(link, call)
        sent_at = monotonic()
        try:
            reply = link.take_whole(1, CHUNK, self._reply_timeout, CHUNK, good=call.is_answered_by)
        except TimedOut:
            raise self._no_reply(call) from None
        if reply is None:
            return self._sift(link, call, sent_at + self._reply_timeout)
        self._replied_at = monotonic()
        self._heard = link.received
        answer = call.answer(reply)
        awaited.clear()
        return answer

    def _sift(self, link: Link, call: Call, end: float) -> Answer:
        """Find the answer in what comes until ``end`` in pieces, between other things, or with a name of its own."""
        for frame in self._frames(link, end):
            reply = parse_reply(frame)
            if reply.answers(call):
                return self._judge(call, reply)
            log.debug("%s: discarded %s, which does not answer %s", self.name, reply.frame, call.text)
        raise self._no_reply(call)

    def _judge(self, call: Call, reply: Reply) -> Answer:
        """Return what a reply to this command answers, or raise what it says."""
        awaited = self._awaited[call.device_id]
        if reply.error is ErrorCode.NONE:
            value = reply.value(call, lenient=self.lenient)
            awaited.clear()
            return Answer(call, reply.frame, value)
        # a bare rejection names no unit, so it may be a late one of another
        if reply.error is not ErrorCode.REJECTED or not self._others_awaited(call):
            awaited.clear()
        raise device_error(call, reply, f"{self.name}: unit {call.device_id:02d}")

    def _catch_up(self, link: Link, device_id: int) -> None:
        """Make sure that nothing older of this unit is under way."""
        awaited = self._awaited[device_id]
        fresh = (number for number in PROBES if number not in awaited)
        number = next(fresh, None) or next(number for number in awaited if number in PROBES)
        probe = Call(number, PROBES[number], "", device_id)
        self._send(link, probe)
        for frame in self._frames(link, monotonic() + self._reply_timeout):
            try:
                reply = parse_reply(frame)
            except ProtocolError as error:
                log.debug("%s: discarded %s", self.name, error)
                continue
            if reply.error is not ErrorCode.REJECTED and reply.answers(probe):
                awaited.clear()
                return
            log.debug("%s: discarded %s, which came too late", self.name, reply.frame)
        raise self._no_reply(probe)

    def _send(self, link: Link, call: Call) -> Awaited:
        """Send a command when the line is free, without what came unasked for; return what is awaited now."""
        if self._pause:
            self._wait_for_pause()
        if link.received != self._heard or monotonic() > self._replied_at + LULL:
            self._discard(self.read_waiting())
        self._heard = -1
        awaited = self._awaited[call.device_id]
        awaited.pop(call.number, None)
        awaited[call.number] = None
        link.write(call.frame, self._reply_timeout)
        return awaited

    def _frames(self, link: Link, end: float) -> Iterator[bytes]:
        """Yield what comes until ``end``."""
        while (left := end - monotonic()) > 0:
            try:
                frame = self._take(link, lambda: FRAMES.take(link.inbox), left)
            except TimedOut:
                return
            self._replied_at = monotonic()
            yield frame

    def _wait_for_pause(self) -> None:
        """Let the pause after the last reply pass; it ends with the link."""
        while (left := self._replied_at + self._pause - monotonic()) > 0:
            try:
                self._discard(self.read(self.limit, timeout=left))
            except TimedOut:
                return

    def _discard(self, late: bytes) -> None:
        if late:
            log.debug("%s: discarded %r, which came too late", self.name, late)

    def _others_awaited(self, call: Call) -> bool:
        """Whether another unit on the line has not answered something."""
        return any(numbers for device_id, numbers in self._awaited.items() if device_id != call.device_id)

    def _no_reply(self, call: Call) -> TimedOut:
        return TimedOut(
            f"{self.name}: unit {call.device_id:02d} did not answer {call.text} within {self.reply_timeout:g} s; "
            "check its power, its id and the line"
        )


def checked_seconds(name: str, seconds: float, *, least: float = 0.001) -> float:
    """Return a number of seconds from ``least`` to an hour."""
    checked = checked_timeout(seconds, name)
    if checked is None or not least <= checked <= 3600.0:
        raise ValueError(f"{name} must be from {least:g} to 3600 seconds, not {seconds!r}")
    return checked
