"""A client for the M2 cell controller as a whole: both ports as one connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from cnx.clients.m2.client.commands import PendingCommand, PendingCommands, prepared, prepared_bare
from cnx.clients.m2.client.events import CommandResult, M2Signals, MessageNotSent
from cnx.clients.m2.client.ports import Port, TwoPorts
from cnx.clients.m2.client.topics import Condition, Expectation, Sample, Topics
from cnx.clients.m2.protocol.fields import Command
from cnx.clients.m2.protocol.messages import (
    COMMAND_PORT,
    TELEMETRY_PORT,
    Kind,
    kind_of,
    parse_reply,
)
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY
from cnx.deadline import checked_timeout
from cnx.errors import ConnectionLost, NotConnected, ProtocolError, TimedOut
from cnx.link.life import READER
from cnx.signals import Emitter, emit

__all__ = ["M2Controller"]

log = logging.getLogger(__name__)


class M2Controller(TwoPorts):
    """The M2 cell controller: commands with results, events, telemetry. Thread-safe.

    Both ports are one connection: it is up when both are, and when one is lost both are closed. A
    :class:`~cnx.ConnectionManager` brings both up again; numbers of commands go on.

    Signals: those of every connection, and ``EVENT``, ``TELEMETRY`` and ``COMMAND_DONE`` of
    :class:`~cnx.clients.m2.client.events.M2Signals`. Handlers of events run on the thread that brings results: they may
    start commands, and not wait for them.

    Args:
        host: the controller.
        command_port, telemetry_port: its ports.
        sequence: where commands get their numbers; any iterator of integers from 0 to 2147483647.
        name: what it is called in log lines; its address if omitted.
        connect_timeout: seconds for one attempt with both ports.
        **settings: of both :class:`M2Client`.
    """

    def __init__(
        self,
        host: str,
        command_port: int = COMMAND_PORT,
        telemetry_port: int = TELEMETRY_PORT,
        *,
        sequence: Iterator[int] | None = None,
        name: str | None = None,
        connect_timeout: float | None = 10.0,
        **settings: Any,
    ) -> None:
        names = [f"{name} {port}" if name else None for port in (command_port, telemetry_port)]
        settings["sequence"] = sequence
        self.commands = Port(host, command_port, self, self._take_command_message, name=names[0], **settings)
        settings["sequence"] = self.commands.sequence
        self.telemetries = Port(host, telemetry_port, self, self._take_telemetry, name=names[1], **settings)
        self._event_emitter = Emitter(self, M2Signals.EVENT, "message")
        self._telemetry_emitter = Emitter(self, M2Signals.TELEMETRY, "message")
        super().__init__(name=name, connect_timeout=connect_timeout)

    def _let_go(self) -> None:
        super()._let_go()
        self._pending = PendingCommands(self.commands, self)
        self._events = Topics(EVENTS, self.commands.check_may_wait)
        self._telemetry = Topics(TELEMETRY, self.telemetries.check_may_wait)

    # -- commands --------------------------------------------------------------------------------------------------

    def command(self, name: str, /, *, timeout: float | None = None, **parameters: Any) -> CommandResult:
        """Have a command carried out, and return when it succeeded.

        Args:
            name: of the command table, without ``cmd_``.
            timeout: seconds; that of the command table if omitted.
            **parameters: as in the command table, which they are checked against before anything is sent.

        Raises:
            ValueError, TypeError: no such command, wrong parameters, or the sequence gave no number that is free.
            MessageNotSent: there is no connection.
            CommandRefused: the controller does not know it (``noack``).
            CommandFailed: the controller could not do it (``fail``).
            CommandTimedOut: no result in time.
            CommandLost: the connection ended before the result.
            RuntimeError: called by a handler on the thread that would bring the result; nothing was sent.
        """
        plain = not parameters and isinstance(name, str)  # so it can be looked up
        entry, line_of = prepared_bare(name) if plain else prepared(name, parameters)
        seconds = entry.timeout if timeout is None else checked_timeout(timeout)
        link = self.commands._link
        if link is None or not link.live or READER not in link.vacant:  # else this thread tells nobody anything
            self.commands.check_may_wait("wait for a result")
        began = monotonic()
        return self._start(entry, line_of, seconds).outcome(seconds, began)

    def start_command(self, name: str, /, *, timeout: float | None = None, **parameters: Any) -> PendingCommand:
        """Send a command without waiting for its result; ``timeout`` is for the sending.

        Raises:
            ValueError, TypeError, MessageNotSent, CommandTimedOut, CommandLost: see :meth:`command`.
            LimitExceeded: far too many commands have no result yet.
        """
        entry, line_of = prepared(name, parameters)
        return self._start(entry, line_of, checked_timeout(timeout))

    def _start(self, entry: Command, line_of: Callable[[int], bytes], timeout: float | None) -> PendingCommand:
        if not self._up:
            self.commands.check_usable(entry.name)
        pending = PendingCommand(entry.name, self._pending)
        try:
            link = self.commands._link or self.commands._current()
            link.write(line_of, timeout, pending.line)
        except (ConnectionLost, NotConnected, TimedOut) as error:
            if pending.sequence_id < 0 and isinstance(error, TimedOut):
                raise
            if pending.sequence_id < 0:
                raise MessageNotSent(f"{self.name} is not connected; {entry.name} was not sent: {error}") from error
            pending.fail_to_send(error)
        return pending

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

    def expect_event(self, topic: str, condition: Condition | None = None) -> Expectation:
        """Begin to wait for an event, before the command that causes it::

            with controller.expect_event("powerSystemState", lambda event: event["state"] == 5) as powered:
                controller.command("power", powerType=1, status=True)
                powered.wait(timeout=10.0)

        Args:
            topic: its ``id``.
            condition: gets each event of the topic and says whether it is the one; the first one is if omitted.

        Raises:
            ValueError: there is no such topic.
        """
        return self._events.expect(topic, condition)

    def expect_telemetry(self, topic: str, condition: Condition | None = None) -> Expectation:
        """Begin to wait for telemetry; see :meth:`expect_event`."""
        return self._telemetry.expect(topic, condition)

    def wait_for_event(
        self, topic: str, condition: Condition | None = None, *, timeout: float | None = 10.0
    ) -> dict[str, Any]:
        """Wait for the next event of a topic that meets a condition, and return it.

        Raises:
            ValueError: there is no such topic.
            TimedOut: none came in time.
            ConnectionLost: the connection ended.
        """
        with self.expect_event(topic, condition) as expectation:
            return expectation.wait(timeout)

    def wait_for_telemetry(
        self, topic: str, condition: Condition | None = None, *, timeout: float | None = 10.0
    ) -> dict[str, Any]:
        """Wait for the next telemetry of a topic that meets a condition, and return it; see :meth:`wait_for_event`."""
        with self.expect_telemetry(topic, condition) as expectation:
            return expectation.wait(timeout)

    # -- the connection --------------------------------------------------------------------------------------------

    def on_lost(self, reason: BaseException) -> None:
        """End all waiting."""
        self._pending.lose_all(reason)
        self._events.lose_all(reason)
        self._telemetry.lose_all(reason)

    # -- what comes ------------------------------------------------------------------------------------------------

    def _take_command_message(self, message: Any) -> None:
        kind = kind_of(message)
        if kind is Kind.REPLY:
            try:
                self._pending.settle(parse_reply(message))
            except ProtocolError as error:
                log.warning("%s: ignored a reply: %s", self.name, error)
        elif isinstance(message, dict) and isinstance(message.get("id"), str):
            self._events.store(message)
            self._event_emitter.emit(message)

    def _take_telemetry(self, message: Any) -> None:
        if isinstance(message, dict) and isinstance(message.get("id"), str):
            self._telemetry.store(message)
            self._telemetry_emitter.emit(message)

    def tell_result(self, result: CommandResult) -> None:
        """Tell that a command has ended."""
        emit(self, M2Signals.COMMAND_DONE, result=result)
