"""Commands that were sent and have no result yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cnx.clients.m2.client_events import CommandFailed, CommandLost, CommandRefused, CommandResult, CommandTimedOut
from cnx.clients.m2.protocol import USUAL_REPLY, Reply
from cnx.clients.m2.protocol_enums import CommandStatus
from cnx.clients.m2.protocol_fields import Command
from cnx.deadline import checked_timeout
from cnx.errors import ConnectionLost, LimitExceeded, NotConnected, TimedOut
from cnx.locks import Lock

if TYPE_CHECKING:
    from cnx.clients.m2.client_ports import Port

__all__ = ["PendingCommand", "PendingCommands"]

MOST_PENDING = 10_000

SUCCESS = CommandStatus.SUCCESS  # members of an enumeration are slow to look up, on some versions of Python

log = logging.getLogger(__name__)


class PendingCommand:
    """A command on its way, as :meth:`M2Controller.start_command` returns it. Thread-safe.

    Raises LimitExceeded if the controller answers far too few.

    Attributes:
        command: its name.
        sequence_id: its number; -1 before it has one.
        acknowledged: the controller said that it knows the command and is at it.
        result: how it ended; ``None`` until then.
    """

    def __init__(self, command: Command, table: PendingCommands) -> None:
        if len(table.pending) >= MOST_PENDING:
            raise LimitExceeded(f"{MOST_PENDING} commands have no result yet; the next one was not sent")
        self.command = command.name
        self.sequence_id = -1
        self.acknowledged = False
        self.result: CommandResult | None = None
        self._table = table
        self._timeout = command.timeout

    def __repr__(self) -> str:
        return f"<PendingCommand {self}>"

    def __str__(self) -> str:
        return f"{self.command} (sequence id {self.sequence_id})"

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Return the result after ``success``.

        Args:
            timeout: seconds; that of the command table if omitted.

        Raises:
            CommandRefused, CommandFailed, CommandTimedOut, CommandLost: anything else.
            RuntimeError: called by a handler on the thread that the result would come by.
        """
        seconds = self._timeout if timeout is None else checked_timeout(timeout)
        if self.result is None:
            self._table.port.check_may_wait("wait for a result")
        return self.outcome(seconds)

    def outcome(self, timeout: float | None) -> CommandResult:
        """Return the result as :meth:`wait` does, for a thread that may wait; at the latest it ends by the timeout."""
        try:
            if self.result is None:
                self._table.port.wait_for_result(self, timeout)
        except TimedOut:
            late = f"command {self}: no result within {timeout:g} s" + ("" if self.acknowledged else ", and no ack")
            self._table.end(self, CommandTimedOut, late)
        except (ConnectionLost, NotConnected) as error:
            self._table.lose(self, error.__cause__ or error)
        result = self.result
        assert result is not None
        if result.error is not None:
            raise result.error
        return result

    def number(self, sequence_id: int) -> None:
        """Take a number; the result is waited for from now on. Raises ValueError if another command waits under it."""
        self.sequence_id = sequence_id  # before others find it
        other = self._table.pending.setdefault(sequence_id, self)
        if other is not self:
            self.sequence_id = -1
            raise ValueError(f"{self.command} was not sent: its sequence id is that of {other}, which has no result")
        self._table.port.expected = USUAL_REPLY % (sequence_id, sequence_id), self.succeed

    def succeed(self) -> None:
        """End as after ``ack`` and ``success``."""
        self.acknowledged = True
        self._table.finish(self, CommandResult(self.command, self.sequence_id, SUCCESS))


class PendingCommands:
    """All commands of a controller that have no result yet. Thread-safe.

    Args:
        port: where they go, and what answers them comes.
        on_done: called with each result, on the thread that found it.

    Attributes:
        pending: by their numbers.
    """

    def __init__(self, port: Port, on_done: Callable[[CommandResult], object]) -> None:
        self.port = port
        self._on_done = on_done
        self._lock = Lock()
        self.pending: dict[int, PendingCommand] = {}

    def fail_to_send(self, pending: PendingCommand, error: Exception) -> None:
        """End a command that could not be sent."""
        if isinstance(error, TimedOut):
            self.end(pending, CommandTimedOut, f"command {pending} could not be sent: {error}", cause=error)
        else:
            self.lose(pending, error)

    def settle(self, reply: Reply) -> None:
        """Take a reply; one that belongs to no command that waits is ignored."""
        pending = self.pending.get(reply.sequence_id)
        if pending is None:
            log.info("ignored %s for sequence id %d, which nothing waits for", reply.status.value, reply.sequence_id)
        elif reply.status is CommandStatus.ACK:
            pending.acknowledged = True
        elif reply.status is CommandStatus.SUCCESS:
            self.finish(pending, CommandResult(pending.command, pending.sequence_id, reply.status))
        elif reply.status is CommandStatus.FAIL:
            self.end(pending, CommandFailed, f"command {pending} failed; the controller does not say why", reply.status)
        else:
            text = f"command {pending} was refused: the controller does not know it, or expected another sequence id"
            self.end(pending, CommandRefused, text, reply.status)

    def lose(self, pending: PendingCommand, reason: BaseException) -> None:
        """End a command because its connection ended."""
        self.end(pending, CommandLost, f"command {pending}: no result, as the connection ended: {reason}", cause=reason)

    def lose_all(self, reason: BaseException) -> None:
        """End all commands because the connection ended."""
        for command in self.pending.copy().values():
            self.lose(command, reason)

    def end(
        self,
        pending: PendingCommand,
        kind: type[CommandFailed | CommandRefused | CommandTimedOut | CommandLost],
        text: str,
        status: CommandStatus | None = None,
        cause: BaseException | None = None,
    ) -> None:
        """End a command with an error, unless it has ended already."""
        error = kind(text, pending.command, pending.sequence_id)
        error.__cause__ = cause
        status = status or (CommandStatus.ACK if pending.acknowledged else None)
        self.finish(pending, CommandResult(pending.command, pending.sequence_id, status, error))

    def finish(self, pending: PendingCommand, result: CommandResult) -> None:
        """End a command with its result, unless it has ended already."""
        with self._lock:
            if self.pending.get(pending.sequence_id) is not pending:
                return
            del self.pending[pending.sequence_id]
            pending.result = result
        self._on_done(result)
