"""Commands that were sent and have no result yet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from cnx.clients.m2.client_events import CommandFailed, CommandLost, CommandRefused, CommandResult, CommandTimedOut
from cnx.clients.m2.client_topics import Turnstile
from cnx.clients.m2.protocol import Reply
from cnx.clients.m2.protocol_enums import CommandStatus
from cnx.deadline import checked_timeout
from cnx.errors import LimitExceeded

__all__ = ["PendingCommand", "PendingCommands"]

MOST_PENDING = 10_000

log = logging.getLogger(__name__)


class PendingCommand:
    """A command on its way, as :meth:`M2Controller.start_command` returns it. Thread-safe.

    Attributes:
        command: its name.
        sequence_id: its number.
        acknowledged: the controller said that it knows the command and is at it.
    """

    def __init__(self, command: str, sequence_id: int, table: PendingCommands, timeout: float) -> None:
        self.command = command
        self.sequence_id = sequence_id
        self.acknowledged = False
        self._table = table
        self._timeout = timeout
        self._future: Future[CommandResult] = Future()

    def __repr__(self) -> str:
        return f"<PendingCommand {self}>"

    def __str__(self) -> str:
        return f"{self.command} (sequence id {self.sequence_id})"

    @property
    def last_status(self) -> CommandStatus | None:
        """What the controller answered so far, before the result."""
        return CommandStatus.ACK if self.acknowledged else None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self._future.done()

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Return the result after ``success``.

        Args:
            timeout: seconds; that of the command table if omitted.

        Raises:
            CommandRefused, CommandFailed, CommandTimedOut, CommandLost: anything else.
            RuntimeError: called by a handler on the thread that the result would come by.
        """
        seconds = self._timeout if timeout is None else checked_timeout(timeout)
        if not self.done:
            self._table.turnstile.check(f"wait for the result of {self}")
        try:
            result = self._future.result(seconds)
        except FutureTimeoutError:
            late = f"command {self}: no result within {seconds:g} s" + ("" if self.acknowledged else ", and no ack")
            self._table.end(self, self.last_status, CommandTimedOut, late)
            result = self._future.result()
        if result.error is not None:
            raise result.error
        return result

    def resolve(self, result: CommandResult) -> None:
        """Give the result to whoever waits; called once, by the table."""
        self._future.set_result(result)


class PendingCommands:
    """All commands of a controller that have no result yet. Thread-safe.

    Args:
        on_done: called with each result, on the thread that found it.
        turnstile: of the thread that brings the replies.
    """

    def __init__(self, on_done: Callable[[CommandResult], object], turnstile: Turnstile) -> None:
        self.turnstile = turnstile
        self._on_done = on_done
        self._lock = threading.Lock()
        self._pending: dict[int, PendingCommand] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, command: str, sequence_id: int, timeout: float) -> PendingCommand:
        """Note a command that is about to be sent.

        Raises:
            LimitExceeded: the controller answers too few of them.
        """
        pending = PendingCommand(command, sequence_id, self, timeout)
        with self._lock:
            if len(self._pending) >= MOST_PENDING:
                raise LimitExceeded(f"{MOST_PENDING} commands have no result yet; {pending} was not sent")
            self._pending[sequence_id] = pending
        return pending

    def settle(self, reply: Reply) -> None:
        """Take a reply; one that belongs to no command that waits is ignored."""
        pending = self._pending.get(reply.sequence_id)
        if pending is None:
            log.info("ignored %s for sequence id %d, which nothing waits for", reply.status.value, reply.sequence_id)
        elif reply.status is CommandStatus.ACK:
            pending.acknowledged = True
        elif reply.status is CommandStatus.SUCCESS:
            self.end(pending, reply.status)
        elif reply.status is CommandStatus.FAIL:
            self.end(pending, reply.status, CommandFailed, f"command {pending} failed; the controller does not say why")
        else:
            text = f"command {pending} was refused: the controller does not know it, or expected another sequence id"
            self.end(pending, reply.status, CommandRefused, text)

    def lose(self, pending: PendingCommand, reason: BaseException) -> None:
        """End a command because its connection ended."""
        text = f"command {pending}: no result, as the connection ended: {reason}"
        self.end(pending, pending.last_status, CommandLost, text, reason)

    def lose_all(self, reason: BaseException) -> None:
        """End all commands because the connection ended."""
        with self._lock:
            pending = list(self._pending.values())
        for command in pending:
            self.lose(command, reason)

    def end(
        self,
        pending: PendingCommand,
        status: CommandStatus | None,
        kind: type[CommandFailed | CommandRefused | CommandTimedOut | CommandLost] | None = None,
        text: str = "",
        cause: BaseException | None = None,
    ) -> None:
        """End a command, unless it has ended already."""
        with self._lock:
            if self._pending.get(pending.sequence_id) is not pending:
                return
            del self._pending[pending.sequence_id]
        error = None if kind is None else kind(text, pending.command, pending.sequence_id)
        if error is not None:
            error.__cause__ = cause
        result = CommandResult(pending.command, pending.sequence_id, status, error)
        pending.resolve(result)
        self._on_done(result)
