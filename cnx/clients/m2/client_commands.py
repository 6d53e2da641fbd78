"""Commands that were sent and have no result yet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cnx.clients.m2.client_events import CommandFailed, CommandLost, CommandRefused, CommandResult, CommandTimedOut
from cnx.clients.m2.protocol import Reply
from cnx.clients.m2.protocol_enums import CommandStatus
from cnx.clients.m2.protocol_fields import Command
from cnx.deadline import checked_timeout
from cnx.errors import ConnectionLost, LimitExceeded, NotConnected, TimedOut

__all__ = ["PendingCommand", "PendingCommands"]

MOST_PENDING = 10_000

log = logging.getLogger(__name__)

Wait = Callable[[Callable[[], CommandResult | None], float | None], object]


class PendingCommand:
    """A command on its way, as :meth:`M2Controller.start_command` returns it. Thread-safe.

    Attributes:
        command: its name.
        sequence_id: its number.
        acknowledged: the controller said that it knows the command and is at it.
        result: how it ended; ``None`` until then.
    """

    def __init__(self, command: Command, sequence_id: int, table: PendingCommands) -> None:
        self.command = command.name
        self.sequence_id = sequence_id
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
            self._table.await_result(self, seconds)
        assert self.result is not None
        if self.result.error is not None:
            raise self.result.error
        return self.result


class PendingCommands:
    """All commands of a controller that have no result yet. Thread-safe.

    Args:
        wait: waits until a function returns something, at most so many seconds, while the connection is up.
        on_done: called with each result, on the thread that found it.
    """

    def __init__(self, wait: Wait, on_done: Callable[[CommandResult], object]) -> None:
        self._wait = wait
        self._on_done = on_done
        self._lock = threading.RLock()
        self._pending: dict[int, PendingCommand] = {}

    def await_result(self, pending: PendingCommand, timeout: float | None) -> None:
        """Wait until a command has ended; at the latest it ends by the timeout."""
        try:
            self._wait(lambda: pending.result, timeout)
        except TimedOut:
            late = f"command {pending}: no result within {timeout:g} s" + (
                "" if pending.acknowledged else ", and no ack"
            )
            self.end(pending, CommandTimedOut, late)
        except (ConnectionLost, NotConnected) as error:
            self.lose(pending, error.__cause__ or error)

    def check_room(self) -> None:
        """Raise LimitExceeded if the controller answers far too few commands."""
        if len(self._pending) >= MOST_PENDING:
            raise LimitExceeded(f"{MOST_PENDING} commands have no result yet; the next one was not sent")

    def add(self, command: Command, sequence_id: int) -> PendingCommand:
        """Note a command that is about to be sent."""
        pending = self._pending[sequence_id] = PendingCommand(command, sequence_id, self)
        return pending

    def fail_to_send(self, pending: PendingCommand, error: Exception) -> None:
        """End a command that could not be sent."""
        if isinstance(error, TimedOut):
            self.end(pending, CommandTimedOut, f"command {pending} could not be sent: {error}", cause=error)
        else:
            self.lose(pending, error)

    def settle(self, reply: Reply) -> None:
        """Take a reply; one that belongs to no command that waits is ignored."""
        pending = self._pending.get(reply.sequence_id)
        if pending is None:
            log.info("ignored %s for sequence id %d, which nothing waits for", reply.status.value, reply.sequence_id)
        elif reply.status is CommandStatus.ACK:
            pending.acknowledged = True
        elif reply.status is CommandStatus.SUCCESS:
            self.end(pending, status=reply.status)
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
        with self._lock:
            pending = list(self._pending.values())
        for command in pending:
            self.lose(command, reason)

    def end(
        self,
        pending: PendingCommand,
        kind: type[CommandFailed | CommandRefused | CommandTimedOut | CommandLost] | None = None,
        text: str = "",
        status: CommandStatus | None = None,
        cause: BaseException | None = None,
    ) -> None:
        """End a command, unless it has ended already."""
        error = None if kind is None else kind(text, pending.command, pending.sequence_id)
        if error is not None:
            error.__cause__ = cause
        status = status or (CommandStatus.ACK if pending.acknowledged else None)
        result = CommandResult(pending.command, pending.sequence_id, status, error)
        with self._lock:
            if self._pending.get(pending.sequence_id) is not pending:
                return
            del self._pending[pending.sequence_id]
            pending.result = result
        self._on_done(result)
