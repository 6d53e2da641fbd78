"""A client for the M2 cell controller as a whole: both ports as one connection, and commands with results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any

from typing_extensions import Unpack

from cnx.clients.m2.client.commands import PendingCommand, PendingCommands
from cnx.clients.m2.client.events import CommandResult, M2Signals
from cnx.clients.m2.client.ports import Port, PortSettings
from cnx.clients.m2.client.topics import Expectation, Predicate, Sample, Topics
from cnx.clients.m2.protocol.messages import (
    COMMAND_PORT,
    TELEMETRY_PORT,
    Kind,
    kind_of,
    parse_reply,
    prepare_command,
)
from cnx.clients.m2.protocol.table import command as entry_of
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY
from cnx.connections.cancellable import CancellableConnection
from cnx.connections.connection import STOP_TIMEOUT, Traffic
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, CnxError, ProtocolError, as_failure
from cnx.logs import log_of_peer, logger
from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import emit
from cnx.threads.locks import Lock

__all__ = ["M2Controller"]

log = logger(__name__)


class M2Controller(CancellableConnection):
    """The M2 cell controller: commands with results, events, telemetry. Thread-safe.

    Both ports are one connection: it is up when both are, and when one is lost the other is closed. A
    :class:`~cnx.ConnectionManager` connects both again; the sequence ids of commands continue.

    It emits the signals of every connection, and ``EVENT``, ``TELEMETRY`` and ``COMMAND_DONE`` of
    :class:`~cnx.clients.m2.client.events.M2Signals`. For each link: ``CONNECTED``, then what either port brings, then
    one end. Handlers of events run on the thread that brings the results of commands, so they may start commands, but
    must not wait for them.

    Args:
        host: the controller.
        command_port, telemetry_port: its ports.
        sequence: source of the sequence ids of commands: any iterator of integers from 0 to 2147483647.
        **settings: of both ports, see :class:`M2Client`; but ``name`` and ``connect_timeout`` are those of this
            connection, and one attempt is made with both ports.

    Attributes:
        commands, telemetries: the two ports, whose own signals you can subscribe to.
    """

    message_signals = (M2Signals.EVENT, M2Signals.TELEMETRY, M2Signals.COMMAND_DONE)
    """The signals that it emits beyond those of every connection."""

    def __init__(
        self,
        host: str,
        command_port: int = COMMAND_PORT,
        telemetry_port: int = TELEMETRY_PORT,
        *,
        sequence: Iterator[int] | None = None,
        **settings: Unpack[PortSettings],
    ) -> None:
        name = settings.pop("name", None)
        connect_timeout = settings.pop("connect_timeout", 10.0)
        settings["name"] = f"{name} {command_port}" if name else None
        self.commands = Port(
            host,
            command_port,
            consume=self._take_command_message,
            on_end=self._on_port_end,
            is_up=lambda: self._up,
            sequence=sequence,
            **settings,
        )
        settings["name"] = f"{name} {telemetry_port}" if name else None
        self.telemetries = Port(
            host,
            telemetry_port,
            consume=self._take_telemetry,
            on_end=self._on_port_end,
            is_up=lambda: self._up,
            sequence=self.commands.sequence,
            **settings,
        )
        self._ports = (self.commands, self.telemetries)
        self._event_emitter = Emitter(self, M2Signals.EVENT, "message")
        self._telemetry_emitter = Emitter(self, M2Signals.TELEMETRY, "message")
        self._done_emitter = Emitter(self, M2Signals.COMMAND_DONE, "result")
        self._begin()
        super().__init__(name=name, connect_timeout=connect_timeout)

    def _begin(self) -> None:
        """Start without a link and without anything that waits; also in a forked child process."""
        self._lock = Lock()
        self._up = False
        self._reason: BaseException | None = None  # why the last link ended; None until it does
        self._open: set[Port] = set()  # the ports whose end belongs to the end of this link, and was not emitted yet
        self._pending = PendingCommands(self.commands, self._check_may_wait_for_result, self._emit_done)
        self._events = Topics(EVENTS, self._check_may_wait_for_result)
        self._telemetry = Topics(TELEMETRY, self._check_may_wait_for_telemetry)

    # -- commands --------------------------------------------------------------------------------------------------

    def command(self, name: str, /, *, timeout: float | None = None, **parameters: Any) -> CommandResult:
        """Have a command executed, and return when it has succeeded.

        Args:
            name: of the command table, without ``cmd_``.
            timeout: seconds, for sending and for the result; that of the command table if omitted.
            **parameters: as in the command table; they are checked against it before anything is sent.

        Raises:
            ValueError, TypeError: no such command, wrong parameters, or the sequence gave no usable sequence id.
            MessageNotSent: there is no connection.
            CommandRefused: the controller does not know it (``noack``).
            CommandFailed: the controller could not execute it (``fail``).
            CommandTimedOut: no result in time.
            TimedOut: it was not sent, as earlier commands were not sent in time.
            CommandLost: the connection ended before the result.
            LimitExceeded: 10,000 commands have no result yet.
            RuntimeError: a handler called it on the thread that would bring the result; nothing was sent.
        """
        entry = entry_of(name)
        line_of = prepare_command(name, entry.check(parameters))
        seconds = entry.timeout if timeout is None else checked_timeout(timeout)
        self.commands.check_usable(name)
        self._check_may_wait(self.commands, "wait for a result")
        began = monotonic()
        return self._pending.wait(self._pending.send(name, line_of, seconds), seconds, began)

    def start_command(self, name: str, /, *, timeout: float | None = None, **parameters: Any) -> PendingCommand:
        """Send a command without waiting for its result.

        Args:
            name, parameters: as for :meth:`command`.
            timeout: seconds for the sending; ``None`` for no limit.

        Raises:
            ValueError, TypeError, MessageNotSent, TimedOut, LimitExceeded: as for :meth:`command`.
        """
        line_of = prepare_command(name, entry_of(name).check(parameters))
        seconds = checked_timeout(timeout)
        self.commands.check_usable(name)
        return self._pending.send(name, line_of, seconds)

    def _emit_done(self, result: CommandResult) -> None:
        if self._done_emitter.has_subscribers():
            emit(self, M2Signals.COMMAND_DONE, result=result)  # as several threads may do that at once

    # -- events and telemetry --------------------------------------------------------------------------------------

    def event(self, topic: str) -> Sample | None:
        """Return the latest event of a topic, ``None`` if there was none.

        Raises:
            ValueError: there is no such topic.
        """
        return self._events.latest(topic)

    def telemetry(self, topic: str) -> Sample | None:
        """Return the latest telemetry of a topic, ``None`` if there was none.

        Raises:
            ValueError: there is no such topic.
        """
        return self._telemetry.latest(topic)

    def expect_event(self, topic: str, condition: Predicate | None = None) -> Expectation:
        """Start waiting for an event; do so before you send the command that causes it::

            with controller.expect_event("powerSystemState", lambda event: event["state"] == 5) as powered:
                controller.command("power", powerType=1, status=True)
                powered.wait(timeout=10.0)

        Args:
            topic: its ``id``.
            condition: gets each event of the topic and returns whether it is the one; the first one is if omitted.

        Raises:
            ValueError: there is no such topic.
        """
        return self._events.expect(topic, condition)

    def expect_telemetry(self, topic: str, condition: Predicate | None = None) -> Expectation:
        """Start waiting for telemetry; see :meth:`expect_event`."""
        return self._telemetry.expect(topic, condition)

    def wait_for_event(
        self, topic: str, condition: Predicate | None = None, *, timeout: float | None = 10.0
    ) -> dict[str, Any]:
        """Wait for the next event of a topic that meets a condition, and return it.

        Raises:
            ValueError: there is no such topic.
            TimedOut: none arrived in time.
            ConnectionLost: the connection ended.
        """
        with self.expect_event(topic, condition) as expectation:
            return expectation.wait(timeout)

    def wait_for_telemetry(
        self, topic: str, condition: Predicate | None = None, *, timeout: float | None = 10.0
    ) -> dict[str, Any]:
        """Wait for the next telemetry of a topic that meets a condition, and return it; see :meth:`wait_for_event`."""
        with self.expect_telemetry(topic, condition) as expectation:
            return expectation.wait(timeout)

    # -- the connection --------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return f"{self.commands.address}+{self.telemetries.address.rpartition(':')[2]}"

    @property
    def connected(self) -> bool:
        return self._up

    @property
    def traffic(self) -> Traffic:
        """What went over both ports."""
        return self.commands.traffic.plus(self.telemetries.traffic)

    def establish(self, deadline: Deadline) -> None:
        # The end of the last link must be over before, or it would count for the new one. When one port was lost, the
        # other one may still be about to be closed by the thread that noticed that.
        for port in self._ports:
            port.release(self._reason or Cancelled("a new link is being made"), 0.0)
        for port in self._ports:
            port.wait_ended(deadline)
        with self._lock:
            self._reason = None
        self.commands.establish(deadline)
        try:
            self.telemetries.establish(deadline)
        except BaseException as error:
            self.commands.release(error, 0.0)
            raise

    def announce(self) -> None:
        with self._lock:
            reason = self._reason
            if reason is None:
                self._up = True
                self._open = set(self._ports)
        if reason is not None:  # such as an alarm that was raised while the ports were connecting
            self.release(reason, STOP_TIMEOUT)
            raise as_failure(reason)
        try:
            super().announce()
        finally:  # also after a KeyboardInterrupt: CONNECTED may have been emitted, so the end has to be
            try:
                self._announce_port(self.commands)
            finally:
                self._announce_port(self.telemetries)

    def _announce_port(self, port: Port) -> None:
        """Let a port emit what it brings."""
        try:
            port.announce()
        except (CnxError, OSError) as error:  # it has ended before, so it does not emit that
            self._on_port_end(port, error)

    def release(self, reason: BaseException, timeout: float) -> None:
        end = monotonic() + timeout
        first = self._lose(reason)
        for port in self._ports:
            port.release(first, 0.0)
        for port in self._ports:
            port.release(first, max(0.0, end - monotonic()))

    def wait_ended(self, deadline: Deadline) -> bool:
        ended = [port.wait_ended(deadline) for port in self._ports]  # of both, whatever the first one says
        return all(ended)

    def is_current_thread(self) -> bool:
        return super().is_current_thread() or any(port.is_current_thread() for port in self._ports)

    def after_fork(self) -> None:
        self._begin()

    def _on_port_end(self, port: Port, reason: BaseException) -> None:
        """Close the other port when one has ended; emit the end of the connection when both have."""
        first = self._lose(reason)
        other = self.telemetries if port is self.commands else self.commands
        # A new link waits until this port has ended, so this cannot close the other port of the new link.
        other.release(first, 0.0)
        with self._lock:
            was_open = port in self._open
            self._open.discard(port)
            ended = was_open and not self._open
        if ended:
            self.emit_end(first)

    def _lose(self, reason: BaseException) -> BaseException:
        """Note why the link ends, end everything that waits, and return the first reason that was given."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
            first = self._reason
            self._up = False
        # Every time, as a thread that has seen the connection up may have started to wait only after the first time.
        self._pending.lose_all(first)
        self._events.lose_all(first)
        self._telemetry.lose_all(first)
        return first

    def _check_may_wait_for_result(self, doing: str) -> None:
        self._check_may_wait(self.commands, doing)

    def _check_may_wait_for_telemetry(self, doing: str) -> None:
        self._check_may_wait(self.telemetries, doing)

    def _check_may_wait(self, port: Port, doing: str) -> None:
        """Raise RuntimeError on a thread that emits what a port brings, or that the controller is connected."""
        if super().is_current_thread() or port.is_current_thread():
            raise RuntimeError(f"a handler cannot {doing} on the thread that would bring it; wait on another thread")

    # -- what the ports bring --------------------------------------------------------------------------------------

    def _take_command_message(self, message: Any) -> None:
        kind = kind_of(message)
        if kind is Kind.REPLY:
            try:
                self._pending.settle(*parse_reply(message))
            except ProtocolError as error:
                log_of_peer(log, logging.WARNING, "%s: ignored a reply: %s", self.name, error)
        elif kind is Kind.EVENT or has_name(message):
            self._events.store(message)
            self._event_emitter.emit(message)

    def _take_telemetry(self, message: Any) -> None:
        if has_name(message):
            self._telemetry.store(message)
            self._telemetry_emitter.emit(message)


def has_name(message: Any) -> bool:
    """Return whether a message has an ``id`` that is text, so that it belongs to a topic."""
    return isinstance(message, dict) and isinstance(message.get("id"), str)
