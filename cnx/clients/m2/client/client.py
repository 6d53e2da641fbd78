"""A client for one port of the M2 cell controller."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

from typing_extensions import Unpack

from cnx.clients.m2.client.events import SIGNALS, M2Signals, MessageNotSent
from cnx.clients.m2.protocol.enums import MsgType
from cnx.clients.m2.protocol.messages import (
    BrokenMessage,
    M2Lines,
    checked_numbers,
    compose,
    encode,
    kind_of,
    prepare_command,
    sequence_numbers,
)
from cnx.connections.connection import Connection
from cnx.connections.sockets import SocketConnection, SocketSettings
from cnx.deadline import Deadline, checked_timeout, left_of
from cnx.errors import ProtocolError
from cnx.logs import log_of_peer, logger
from cnx.signals.subscriptions import emit, has_subscribers, subscribe_weakly
from cnx.threads.locks import Lock, within

__all__ = ["M2Client", "MessageRate"]

log = logger(__name__)

MOST_BROKEN_LINES = 1000
"""Lines in a row that are not messages, after which the link ends."""

RATE_PERIOD = 2.0
"""Seconds, at least, over which messages are counted."""


class M2Client(SocketConnection):
    """A connection to one port of the controller: commands, or telemetry. Thread-safe.

    Each message is emitted as ``MESSAGE_RECEIVED`` and then as the signal of its kind, see
    :class:`~cnx.clients.m2.client.events.M2Signals`. Without subscribers, take messages with :meth:`receive`. All other
    methods of :class:`~cnx.SocketConnection` work too.

    A line that is not a valid message is skipped, and emitted as ``M2Signals.BROKEN``; ``on_message`` of a subclass
    gets a :class:`~cnx.clients.m2.protocol.messages.BrokenMessage` for it. A thousand such lines in a row, or a line of
    more than 65536 bytes, end the connection.

    Args:
        host, port: one port of the controller; 50000 for commands, 50001 for telemetry.
        callback: called with every message, as ``callback(*callback_args, message=message)``, on the thread that reads.
            An exception that it raises is logged.
        callback_args: the first arguments of the callback.
        sequence: source of the sequence ids of commands: any iterator of integers from 0 to 2147483647. Clients may
            share one. If omitted, the ids count from 1.
        check_message_rate: measure messages per second: see :attr:`message_rate`; also logged at debug level.
        **settings: see :class:`~cnx.SocketConnection`. The default ``framing`` is
            :class:`~cnx.clients.m2.protocol.messages.M2Lines` with the fastest JSON decoder that is installed.

    Attributes:
        sequence: source of the sequence ids of commands.
        last_sequence_id: sequence id of the last command; -1 before the first.
        message_rate: messages per second over the last period of at least two seconds; ``None`` before the first.
    """

    message_signals = (*SIGNALS.values(), M2Signals.BROKEN)

    def __init__(
        self,
        host: str,
        port: int,
        *,
        callback: Callable[..., object] | None = None,
        callback_args: tuple[Any, ...] = (),
        sequence: Iterator[int] | None = None,
        check_message_rate: bool = False,
        **settings: Unpack[SocketSettings],
    ) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        if sequence is not None and not isinstance(sequence, Iterator):
            raise TypeError(f"sequence must be an iterator, not {sequence!r}")
        if settings.get("framing") is None:
            settings["framing"] = M2Lines(loads=fastest_decoder())
        super().__init__(host, port, **settings)
        self.sequence = sequence_numbers() if sequence is None else sequence
        self.last_sequence_id = -1
        self.message_rate: int | None = None
        self._numbers = self.sequence if sequence is None else checked_numbers(sequence)
        self._turn = Lock()  # held by the thread whose command is next; see send_numbered()
        self._measures_rate = check_message_rate
        self._rate = MessageRate(monotonic())
        self._broken_lines = 0  # in a row, on this link
        if callback is not None:
            self._callback = callback
            self._callback_args = callback_args
            subscribe_weakly(self, Connection.Signals.MESSAGE_RECEIVED, self._call_back)

    # -- sending ---------------------------------------------------------------------------------------------------

    def write_message(
        self,
        msg_type: int,
        msg_name: str,
        msg_details: Mapping[str, Any] | None = None,
        comp_name: str | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a message to the controller. Its parameters are not checked against the tables.

        Args:
            msg_type: a :class:`~cnx.clients.m2.protocol.enums.MsgType`, or its number.
            msg_name: the identifier without its prefix.
            msg_details: the other fields.
            comp_name: the component that an event or telemetry belongs to; ignored for commands.
            timeout: seconds; the ``timeout`` of the connection if omitted.

        Raises:
            MessageNotSent: there is no connection; this is also a ``RuntimeError``.
            TypeError: the details are not a mapping, or have no JSON form.
            ValueError: the details have an ``id``, there is no such type, or ``sequence`` gave no valid sequence id.
            ConnectionLost, TimedOut: as for :meth:`write`.
        """
        if msg_type == MsgType.COMMAND:
            self.send_command(msg_name, msg_details, timeout=timeout)
            return
        self.check_usable(msg_name)
        self.write(encode(compose(msg_type, msg_name, msg_details, comp_name)), timeout=timeout)

    def send_command(
        self, name: str, details: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a command, without waiting for its result; raises as :meth:`write_message` does.

        Commands go out in the order of their sequence ids, so ``timeout`` includes waiting for earlier commands.
        """
        self.check_usable(name)
        line_of = prepare_command(name, details)
        self.send_numbered(line_of, self.timeout if timeout is None else checked_timeout(timeout))

    def send_numbered(
        self,
        line_of: Callable[[int], bytes],
        timeout: float | None,
        register: Callable[[int], None] | None = None,
    ) -> None:
        """Take the next sequence id and send the line that ``line_of`` makes of it.

        Args:
            line_of: returns the line for a sequence id.
            timeout: seconds, for waiting and sending together; ``None`` for no limit.
            register: called with the sequence id before the line is sent, so that an answer finds it. If it raises,
                nothing is sent.

        Raises:
            ValueError: ``sequence`` gave no valid sequence id.
            NotConnected, ConnectionLost, TimedOut: as for :meth:`write`.
        """
        began = monotonic()
        # One lock for taking the number and for sending the line: the controller expects the numbers in their order.
        with within(self._turn, timeout, "an earlier command was not sent in time, so this one was not sent either"):
            number = next(self._numbers)
            self.last_sequence_id = number
            if register is not None:
                register(number)
            self.write(line_of(number), timeout=explicit(left_of(timeout, began)))

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, *, timeout: float | None = None) -> Any:
        """Return the next message. Lines that are not valid messages are logged and skipped."""
        deadline = Deadline(self.timeout if timeout is None else timeout)
        while isinstance(message := super().receive(timeout=explicit(deadline.remaining())), BrokenMessage):
            if self._skip(message):
                self.raise_alarm(self._too_many_broken())
        self._broken_lines = 0
        return message

    def emit_messages(self, messages: list[Any]) -> None:
        """Emit messages as ``MESSAGE_RECEIVED`` and as the signal of their kind; broken lines as ``BROKEN`` alone."""
        too_many = False
        if BrokenMessage in map(type, messages):
            messages, too_many = self._emit_broken(messages)
        else:
            self._broken_lines = 0
        if self._measures_rate:
            self._count_messages(len(messages))
        self.emit_each(Connection.Signals.MESSAGE_RECEIVED, messages)
        for kind, run in itertools.groupby(messages, kind_of):
            self.emit_each(SIGNALS[kind], run)
        if too_many:
            raise self._too_many_broken()

    def _emit_broken(self, messages: list[Any]) -> tuple[list[Any], bool]:
        """Emit the broken lines; return the messages, up to the place where there were too many broken lines in a row.

        Also return whether there were too many.
        """
        whole = []
        wanted = has_subscribers(self, M2Signals.BROKEN)
        for message in messages:
            if not isinstance(message, BrokenMessage):
                whole.append(message)
                self._broken_lines = 0
                continue
            too_many = self._skip(message)
            if wanted:
                emit(self, M2Signals.BROKEN, reason=message.reason)
            if too_many:
                return whole, True
        return whole, False

    def _skip(self, message: BrokenMessage) -> bool:
        """Log and count a broken line; return whether there were too many in a row."""
        log_of_peer(log, logging.WARNING, "%s: skipped a broken message: %s", self.name, message)
        self._broken_lines += 1
        return self._broken_lines >= MOST_BROKEN_LINES

    def _too_many_broken(self) -> ProtocolError:
        return ProtocolError(
            f"{self._broken_lines} lines in a row are no messages; is {self.address} an M2 controller?"
        )

    def _count_messages(self, count: int) -> None:
        rate = self._rate.count(count, monotonic())
        if rate is not None:
            self.message_rate = rate
            log.debug("%s: %d messages per second", self.name, rate)

    def _call_back(self, message: Any) -> None:
        self._callback(*self._callback_args, message=message)

    # -- the connection --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Disconnect. Safe at any time, also from within the callback, and any number of times."""
        self.disconnect()

    def check_usable(self, what: str) -> None:
        """Raise MessageNotSent if there is no connection."""
        if not self.connected:
            raise MessageNotSent(f"{self.name} is not connected; {what} was not sent")

    def establish(self, deadline: Deadline) -> None:
        self._broken_lines = 0
        super().establish(deadline)
        self._rate = MessageRate(monotonic())  # time without a connection does not count

    def after_fork(self) -> None:
        super().after_fork()
        self._turn = Lock()


class MessageRate:
    """Messages per second, over periods of at least two seconds. Time is passed in."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._count = 0

    def count(self, messages: int, now: float) -> int | None:
        """Count messages; return the rate, rounded down, when a period has ended, else ``None``."""
        self._count += messages
        elapsed = now - self._since
        if elapsed < RATE_PERIOD:
            return None
        rate = math.floor(self._count / elapsed)
        self._since, self._count = now, 0
        return rate


def explicit(seconds: float | None) -> float:
    """Return a timeout for a method of a connection, to which ``None`` would mean the ``timeout`` of the connection."""
    return math.inf if seconds is None else seconds


def fastest_decoder() -> Callable[[bytes], Any] | None:
    """Return msgspec's decoder if it is installed (``cnx[speed]``), else ``None`` for the standard library's.

    Of the fast decoders, msgspec is the one that keeps integers above 64 bits exact. What it refuses, such as ``NaN``,
    is decoded by the standard library.
    """
    try:
        import msgspec
    except ImportError:
        return None
    return msgspec.json.Decoder().decode
