"""A line with chillers on it: one command at a time, and every reply matched to its command.

Replies carry no sequence number ("TTK Serial Communication Protocol Release II", revision X2.003), so a late
reply could be mistaken for the answer to the same command sent again. After a command without an answer, the
next one is therefore preceded by a probe: a harmless command whose number is not awaited. A unit answers in
the order in which it was asked, so once the probe is answered, no older reply can follow.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from threading import get_ident
from time import monotonic

from typing_extensions import TypedDict

from cnx.clients.chiller.client.turns import Turn, Turns
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
from cnx.errors import ConnectError, ConnectionLost, LimitExceeded, NotConnected, ProtocolError, TimedOut, not_connected
from cnx.logs import log_of_peer, logger
from cnx.transports.transport import Transport

__all__ = ["ChillerLine", "LineSettings", "Setup", "Source", "checked_seconds"]

log = logger(__name__)

Source = str | TransportConnection | Transport
"""How to open a line: a URL, a connection whose transport is used, or an open transport, which serves one link."""

Setup = Mapping[str, Sequence[Call]]
"""Commands that configure a unit, in named groups; a group replaces an older one of the same name."""

REPLY_TIMEOUT = 3.0
"""Seconds without a reply after which the document allows a new command (revision X2.003)."""

MOST_BAD_FRAMES = 1000
"""Frames in a row that are no replies, after which the link ends."""

TURN_TIMEOUT = 120.0
"""Seconds to wait for a turn on the line, at least."""

TURN_TIMEOUT_IN_REPLIES = 40
"""Reply timeouts to wait for a turn, at least: a little more than one round of a bus where no unit answers."""

PROBES = {row.number: row.name for row in COMMANDS if not (row.sets or row.danger or row.request)}
"""Commands without data and side effects, by number. An error is an answer, too, if something is not fitted."""


class LineSettings(TypedDict, total=False):
    """Keyword arguments of :class:`ChillerLine`."""

    reply_timeout: float
    pause: float
    lenient: bool
    connect_timeout: float | None
    name: str | None


def refuse_unused_settings(source: TransportConnection) -> None:
    """Raise ValueError if a source has settings that would be ignored, as only its transport is used."""
    given = [name for name in ("timeout", "framing") if getattr(source, name) is not None]
    usual = {"connect_timeout": 10.0, "encoding": "utf-8", "terminator": b"\r\n"}
    given += [name for name, value in usual.items() if getattr(source, name, value) != value]
    if given:
        raise ValueError(
            f"{' and '.join(given)} of the source would be ignored, as only its transport is used; the client has "
            "reply_timeout and connect_timeout of its own"
        )


class ChillerLine(StreamConnection):
    """A connection to a line with chillers on it. Thread-safe: commands from several threads take turns.

    Args:
        source: a URL such as ``tcp://adapter:4001`` or ``serial:///dev/ttyUSB0?baudrate=9600&xonxoff=1``, a
            connection, of which the transport alone is used, or an open transport, which serves one link.
        reply_timeout: seconds to wait for each reply, 0.001 to 3600.
        pause: seconds between a reply and the next command, 0 to 3600. The document asks for 1; units work
            without a pause.
        lenient: accept surplus digits in warnings and alarms.
        connect_timeout: seconds for one attempt to connect, including the configuration of the unit.
        name: name in log lines; the address if omitted.

    Raises:
        ValueError, TypeError: an argument is invalid; nothing was opened.
    """

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
            raise TypeError(f"source must be a URL, a connection or a transport, not {source!r}")
        self._source = connection(source, TransportConnection) if isinstance(source, str) else source
        if isinstance(self._source, TransportConnection):
            refuse_unused_settings(self._source)
        super().__init__(name=name, connect_timeout=connect_timeout, framing=Frames(b"#"))
        self.reply_timeout = reply_timeout
        self.pause = pause
        self.lenient = lenient
        self._source_used = False
        self._turns = Turns()
        self._replied_at = 0.0
        self._bad_frames = 0  # in a row, on this link
        # The numbers that were sent and not answered, by device id; the keys of each dict are in the order sent.
        self._awaited: defaultdict[int, dict[int, None]] = defaultdict(dict)
        self._setups: dict[int, dict[str, Sequence[Call]]] = {}  # by device id
        # The ids of units still to be set up. Each link has a set of its own, so the set also identifies the link.
        self._unprepared: set[int] = set()
        self._preparation = 0, Deadline(0.0)  # of the last link: by which thread, and until when

    @property
    def address(self) -> str:
        """The address of the line: host and port, or the serial port."""
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
        if self._source_used:
            raise ConnectError(f"{self.address} was an open transport for one link; give a URL to connect again")
        self._source_used = True
        return self._source

    def prepare(self, deadline: Deadline) -> None:
        """Mark every unit as not set up on the new link."""
        self._preparation = get_ident(), deadline
        self._bad_frames = 0
        # First replaced, then filled: a setup that another thread keeps meanwhile gets into the new set either way.
        self._unprepared = set()
        self._unprepared.update(self._setups)

    def after_fork(self) -> None:
        """Forget the turns of threads of the parent process, and the replies that it awaits."""
        super().after_fork()
        self._turns = Turns()
        self._awaited.clear()

    # -- commands --------------------------------------------------------------------------------------------------

    def exchange(self, call: Call) -> Answer:
        """Send one command and return the answer to it, after the unit has been set up on this link.

        Raises:
            DeviceError: the unit refused; the link stays up.
            TimedOut: no reply, or no turn on the line, in time; the link stays up.
            ProtocolError: the reply was damaged; the link stays up.
            NotConnected, ConnectionLost: there is no link, or it ended before the reply.
        """
        turn = Turn(call.device_id)
        try:
            unprepared = self._start_turn(turn)
            if turn.key in unprepared:
                self._apply(self._setups[turn.key], unprepared)
                unprepared.discard(turn.key)
            return self._run(call, unprepared)
        finally:
            turn.over = True  # in one step, so that an interrupt cannot leave the line taken
            self._turns.pass_on()

    def set_up(self, device_id: int, setup: Setup) -> None:
        """Run these commands now, and on every new link if all of them succeed; raises like :meth:`exchange`."""
        turn = Turn(device_id)
        try:
            unprepared = self._start_turn(turn)
            kept = self._setups.get(device_id, {}) if device_id in unprepared else {}
            self._apply({**kept, **setup}, unprepared)
            self._setups.setdefault(device_id, {}).update(setup)
            unprepared.discard(device_id)
        finally:
            turn.over = True
            self._turns.pass_on()

    def keep_setup(self, device_id: int, setup: Setup) -> None:
        """Run these commands on this link and every new one, before any other command to the unit."""
        self._setups.setdefault(device_id, {}).update(setup)
        self._unprepared.add(device_id)

    def _start_turn(self, turn: Turn) -> set[int]:
        """Wait for the turn and for late replies of the unit; return the set that identifies the link."""
        if not self._turns.claim(turn):
            self._turns.wait(turn, self._turn_timeout())
        unprepared = self._unprepared
        if self._awaited[turn.key]:
            self._catch_up(turn.key, unprepared)
        return unprepared

    def _turn_timeout(self) -> float:
        """Return how many seconds to wait for a turn: while a link is being prepared, what the attempt has left."""
        seconds = max(TURN_TIMEOUT, TURN_TIMEOUT_IN_REPLIES * self.reply_timeout)
        if self.connected:
            return seconds
        thread, deadline = self._preparation
        if thread != get_ident():
            raise NotConnected(not_connected(self.name, self.last_error))
        left = deadline.remaining()
        return seconds if left is None else min(seconds, left)

    def _apply(self, setup: Setup, unprepared: set[int]) -> None:
        for calls in tuple(setup.values()):  # a copy, as another thread may keep a setup meanwhile
            for call in calls:
                self._run(call, unprepared)

    def _run(self, call: Call, unprepared: set[int]) -> Answer:
        """Send one command and return the answer to it; the calling thread has the turn."""
        end = self._send(call, unprepared)
        while (frame := self._next_frame(end, unprepared)) is not None:
            reply = self._parse(frame)
            if reply.answers(call):
                return self._answer(call, reply)
            text = "%s: discarded %s, which does not answer %s"
            log_of_peer(log, logging.DEBUG, text, self.name, reply.frame, call.text)
        raise self._no_reply(call)

    def _answer(self, call: Call, reply: Reply) -> Answer:
        """Return the answer in a reply to this command, or raise the error in it."""
        awaited = self._awaited[call.device_id]
        if reply.error is ErrorCode.NONE:
            value = reply.value(call, lenient=self.lenient)
            awaited.clear()
            return Answer(call, reply.frame, value)
        # A bare rejection names no unit, so it may be a late reply of another one.
        if reply.error is not ErrorCode.REJECTED or not self._others_awaited(call):
            awaited.clear()
        raise device_error(call, reply, f"{self.name}: unit {call.device_id:02d}")

    def _catch_up(self, device_id: int, unprepared: set[int]) -> None:
        """Send a probe and discard everything until its answer, so that no late reply of the unit can follow."""
        awaited = self._awaited[device_id]
        unused = [number for number in PROBES if number not in awaited]
        # If every probe is awaited, the one sent longest ago is the least likely to be answered late.
        number = (unused or [number for number in awaited if number in PROBES])[0]
        probe = Call(number, PROBES[number], "", device_id)
        end = self._send(probe, unprepared)
        while (frame := self._next_frame(end, unprepared)) is not None:
            try:
                reply = self._parse(frame)
            except ProtocolError as error:
                log_of_peer(log, logging.DEBUG, "%s: discarded %s", self.name, error)
                continue
            if reply.error is not ErrorCode.REJECTED and reply.answers(probe):
                awaited.clear()
                return
            log_of_peer(log, logging.DEBUG, "%s: discarded %s, which came too late", self.name, reply.frame)
        raise self._no_reply(probe)

    def _send(self, call: Call, unprepared: set[int]) -> float:
        """Discard what arrived unasked, and write a command; return when its reply timeout ends."""
        if self._pause:
            self._wait_for_pause()
        try:
            late = self.read_waiting()
        except (ConnectionLost, LimitExceeded):  # about what came before; a command begins with itself
            late = self.read_waiting()
        if late:
            log_of_peer(log, logging.DEBUG, "%s: discarded %r, which came too late", self.name, late)
        self._check_same_link(unprepared)
        awaited = self._awaited[call.device_id]
        awaited.pop(call.number, None)  # to become the last one
        awaited[call.number] = None  # before it is written: an interrupt may come right after that
        self.write(call.frame, timeout=self._reply_timeout)
        return monotonic() + self._reply_timeout

    def _next_frame(self, end: float, unprepared: set[int]) -> bytes | None:
        """Return the next frame that arrives until ``end``, or ``None``.

        This is no generator, as an interrupt while a generator is closed would be lost.
        """
        self._check_same_link(unprepared)
        left = end - monotonic()
        if left <= 0:  # also while frames keep arriving
            return None
        try:
            frame: bytes = self.receive(timeout=left)
        except TimedOut:
            return None
        self._replied_at = monotonic()
        return frame

    def _parse(self, frame: bytes) -> Reply:
        """Return the reply in a frame; very many bad frames in a row end the link.

        Raises:
            ProtocolError: the frame is not a reply, or was damaged.
        """
        try:
            reply = parse_reply(frame)
        except ProtocolError:
            self._bad_frames += 1
            if self._bad_frames >= MOST_BAD_FRAMES:
                self.raise_alarm(
                    ProtocolError(
                        f"{self._bad_frames} frames in a row are no replies; is it a chiller, at this baud rate?"
                    )
                )
            raise
        self._bad_frames = 0
        return reply

    def _wait_for_pause(self) -> None:
        """Wait until the pause after the last reply is over, or the link ends."""
        while (left := self._replied_at + self._pause - monotonic()) > 0:
            try:
                frame = self.receive(timeout=left)
            except TimedOut:
                return
            log_of_peer(log, logging.DEBUG, "%s: discarded %r, which came too late", self.name, frame)

    def _check_same_link(self, unprepared: set[int]) -> None:
        """Raise if the link on which a command began was replaced, since the new one has not been set up for it.

        Raises:
            ConnectionLost: there is a new link.
        """
        if unprepared is not self._unprepared:
            raise ConnectionLost(f"{self.name}: the link ended during a command")

    def _others_awaited(self, call: Call) -> bool:
        """Whether another unit on the line has not answered a command."""
        return any(numbers for device_id, numbers in self._awaited.items() if device_id != call.device_id)

    def _no_reply(self, call: Call) -> TimedOut:
        return TimedOut(
            f"{self.name}: unit {call.device_id:02d} did not answer {call.text} within {self.reply_timeout:g} s; "
            "check its power, its id and the line"
        )


def checked_seconds(name: str, seconds: float, *, least: float = 0.001) -> float:
    """Return ``seconds`` if it is a number from ``least`` to 3600.

    Raises:
        TypeError, ValueError: it is not; the message names the argument.
    """
    checked = checked_timeout(seconds, name)
    if checked is None or not least <= checked <= 3600.0:
        raise ValueError(f"{name} must be from {least:g} to 3600 seconds, not {seconds!r}")
    return checked
