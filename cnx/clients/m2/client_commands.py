"""Commands that were sent and have no result yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
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

# at once, where the constructor of a named tuple is a function that calls this
_new_result: Callable[[tuple[str, int, CommandStatus | None, Exception | None]], CommandResult]
_new_result = partial(tuple.__new__, CommandResult)


class PendingCommand:
    """A command on its way, as :meth:`M2Controller.start_command` returns it. Thread-safe.

    Attributes:
        command: its name.
        sequence_id: its number; -1 before it has one.
        acknowledged: the controller said that it knows the command and is at it.
        result: how it ended; ``None`` until then.
    """

    sequence_id: int = -1
    acknowledged: bool = False
    result: CommandResult | None = None

    def __init__(self, command: Command, table: PendingCommands) -> None:
        self.command = command.name
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
        return self.outcome(seconds, monotonic())

    def outcome(self, timeout: float | None, began: float) -> CommandResult:
        """Return the result as :meth:`wait` does, for a thread that may wait.

        At the latest it ends by the timeout, which began at ``monotonic()`` time ``began``.
        """
        try:
            if self.result is None:
                self._table.port.wait_for_result(self, timeout, began)
        except TimedOut:
            late = f"command {self}: no result within {timeout:g} s" + ("" if self.acknowledged else ", and no ack")
            self._table.end(self, CommandTimedOut, late)
        except (ConnectionLost, NotConnected) as error:
            self._table.lose(self, error.__cause__ or error)
        result: CommandResult = self.result  # type: ignore[assignment]  # it has ended now
        if result.error is not None:
            raise result.error
        return result

    def line(self, line_of: Callable[[int], bytes]) -> bytes:
        """Take the next number and return the line that ``line_of`` makes of it, for the one thread that may write now.

        The result is waited for from now on.

        Raises:
            LimitExceeded: far too many commands have no result yet.
            ValueError: there is no such number, or another command waits under it.
        """
        table = self._table
        if len(table.pending) >= MOST_PENDING:
            raise LimitExceeded(f"{MOST_PENDING} commands have no result yet; the next one was not sent")
        self.sequence_id = number = table.port.next_number(self.command)  # before others find it
        other = table.pending.setdefault(number, self)
        if other is not self:
            self.sequence_id = -1
            raise ValueError(f"{self.command} was not sent: its sequence id is that of {other}, which has no result")
        table.port.usual = USUAL_REPLY % (number, number), partial(table.finish, self, SUCCESS)
        return line_of(number)


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
            self.finish(pending, SUCCESS)
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
        self.finish(pending, status, error)

    def finish(self, pending: PendingCommand, status: CommandStatus | None, error: Exception | None = None) -> None:
        """End a command, unless it has ended already."""
        number = pending.sequence_id
        with self._lock:
            if self.pending.get(number) is not pending:
                return
            del self.pending[number]
            if status is SUCCESS:
                pending.acknowledged = True
            pending.result = result = _new_result((pending.command, number, status, error))
        self._on_done(result)
