"""Commands that were sent and have no result yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic

from cnx.clients.m2.client.client import explicit
from cnx.clients.m2.client.events import (
    CommandFailed,
    CommandLost,
    CommandRefused,
    CommandResult,
    CommandTimedOut,
)
from cnx.clients.m2.client.ports import Port
from cnx.clients.m2.protocol.enums import CommandStatus
from cnx.clients.m2.protocol.table import command
from cnx.deadline import checked_timeout, left_of
from cnx.errors import ConnectionLost, LimitExceeded, NotConnected, TimedOut
from cnx.logs import log_of_peer, logger
from cnx.threads.locks import Lock

__all__ = ["PendingCommand", "PendingCommands"]

MOST_PENDING = 10_000
"""Commands without a result after which no further one is sent."""

log = logger(__name__)


class PendingCommand:
    """A command that was sent, as :meth:`M2Controller.start_command` returns it. Thread-safe.

    Attributes:
        command: its name.
        sequence_id: its sequence id; -1 before it has one.
        acknowledged: whether the controller has accepted the command (``ack``).
        result: how it ended; ``None`` until then.
    """

    def __init__(self, name: str, commands: PendingCommands) -> None:
        self.command = name
        self.sequence_id = -1
        self.acknowledged = False
        self.result: CommandResult | None = None
        self._commands = commands

    def __repr__(self) -> str:
        return f"<PendingCommand {self}>"

    def __str__(self) -> str:
        return f"{self.command} (sequence id {self.sequence_id})"

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Return the result when the command has succeeded.

        Args:
            timeout: seconds; that of the command table if omitted.

        Raises:
            CommandRefused, CommandFailed, CommandTimedOut, CommandLost: it did not succeed.
            RuntimeError: a handler called it on the thread that would bring the result.
        """
        seconds = command(self.command).timeout if timeout is None else checked_timeout(timeout)
        if self.result is None:
            self._commands.check_may_wait("wait for a result")
        return self._commands.wait(self, seconds, monotonic())


class PendingCommands:
    """All commands of a controller that have no result yet. Thread-safe.

    A command ends once, with the first of these: a result that arrives, its timeout, the end of the connection.

    Args:
        port: sends commands, and brings their results.
        check_may_wait: raises RuntimeError on a thread that must not wait for results; gets what it wants to do.
        on_done: called with each result, by the thread that found it.
    """

    def __init__(
        self, port: Port, check_may_wait: Callable[[str], None], on_done: Callable[[CommandResult], None]
    ) -> None:
        self.check_may_wait = check_may_wait
        self._port = port
        self._on_done = on_done
        self._lock = Lock()
        self._pending: dict[int, PendingCommand] = {}  # by sequence id

    def send(self, name: str, line_of: Callable[[int], bytes], timeout: float | None) -> PendingCommand:
        """Send a command. If the connection or the time ends while it is being sent, it has ended with that.

        Args:
            name: the command.
            line_of: returns its line for a sequence id.
            timeout: seconds; ``None`` for no limit.

        Raises:
            LimitExceeded: too many commands have no result yet.
            TimedOut: its turn to be sent did not come in time.
            ValueError: the sequence gave no valid sequence id, or that of another command that has no result yet.
        """
        if len(self._pending) >= MOST_PENDING:
            raise LimitExceeded(f"{MOST_PENDING} commands have no result yet; {name} was not sent")
        pending = PendingCommand(name, self)
        try:
            self._port.send_numbered(line_of, timeout, partial(self._register, pending))
        except (ConnectionLost, NotConnected) as error:
            self._lose(pending, error)
        except TimedOut as error:
            if pending.sequence_id < 0:
                raise
            text = f"command {pending} could not be sent: {error}"
            self._fail(pending, CommandTimedOut, text, cause=error)
        return pending

    def wait(self, pending: PendingCommand, timeout: float | None, began: float) -> CommandResult:
        """Return the result of a command that has succeeded; raises as :meth:`PendingCommand.wait` does.

        Args:
            pending: the command.
            timeout: seconds; ``None`` for no limit.
            began: when the timeout began, in the time of ``monotonic()``.
        """
        if pending.result is None:
            try:
                self._port.wait_for(lambda: pending.result, timeout=explicit(left_of(timeout, began)))
            except TimedOut:
                text = f"command {pending}: no result within {timeout:g} s" + (
                    "" if pending.acknowledged else ", and no ack"
                )
                self._fail(pending, CommandTimedOut, text)
            except (ConnectionLost, NotConnected) as error:
                self._lose(pending, error.__cause__ or error)
        result = pending.result
        assert result is not None, "it has ended now, with a result or with an error"
        if result.error is not None:
            raise result.error
        return result

    def settle(self, status: CommandStatus, sequence_id: int) -> None:
        """Take a reply of the controller. One for a command that is not pending is ignored."""
        pending = self._pending.get(sequence_id)
        if pending is None:
            log_of_peer(
                log,
                logging.INFO,
                "%s: ignored %s for sequence id %d: no such command is pending",
                self._port.name,
                status.value,
                sequence_id,
            )
        elif status is CommandStatus.ACK:
            pending.acknowledged = True
        elif status is CommandStatus.SUCCESS:
            pending.acknowledged = True  # also if the ack is missing
            self._finish(pending, status)
        elif status is CommandStatus.FAIL:
            self._fail(pending, CommandFailed, f"command {pending} failed; the controller gives no reason", status)
        else:
            text = f"command {pending} was refused: the controller does not know it, or expected another sequence id"
            self._fail(pending, CommandRefused, text, status)

    def lose_all(self, reason: BaseException) -> None:
        """End all commands because the connection has ended."""
        for pending in self._pending.copy().values():
            self._lose(pending, reason)

    def _register(self, pending: PendingCommand, number: int) -> None:
        pending.sequence_id = number  # before a reply can find it
        other = self._pending.setdefault(number, pending)
        if other is not pending:
            pending.sequence_id = -1
            raise ValueError(
                f"{pending.command} was not sent: its sequence id is that of {other}, which has no result yet"
            )

    def _lose(self, pending: PendingCommand, reason: BaseException) -> None:
        text = f"command {pending}: no result, as the connection ended: {reason}"
        self._fail(pending, CommandLost, text, cause=reason)

    def _fail(
        self,
        pending: PendingCommand,
        kind: type[CommandFailed | CommandRefused | CommandTimedOut | CommandLost],
        text: str,
        status: CommandStatus | None = None,
        cause: BaseException | None = None,
    ) -> None:
        error = kind(text, pending.command, pending.sequence_id)
        error.__cause__ = cause
        self._finish(pending, status or (CommandStatus.ACK if pending.acknowledged else None), error)

    def _finish(self, pending: PendingCommand, status: CommandStatus | None, error: Exception | None = None) -> None:
        """End a command, unless it has ended already."""
        result = CommandResult(pending.command, pending.sequence_id, status, error)
        with self._lock:
            if pending.result is not None:
                return
            pending.result = result
            self._pending.pop(pending.sequence_id, None)
        self._port.notify()
        self._on_done(result)
