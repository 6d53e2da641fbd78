"""Commands that were sent and have no result yet."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from cnx.clients.m2.client.events import CommandFailed, CommandLost, CommandRefused, CommandResult, CommandTimedOut
from cnx.clients.m2.protocol.enums import CommandStatus
from cnx.clients.m2.protocol.fields import Command
from cnx.clients.m2.protocol.messages import Reply, prepare_command
from cnx.clients.m2.protocol.table import command
from cnx.deadline import checked_timeout, left_of
from cnx.errors import ConnectionLost, LimitExceeded, NotConnected, TimedOut
from cnx.signals.subscriptions import ANY, connections

if TYPE_CHECKING:
    from cnx.clients.m2.client.controller import M2Controller
    from cnx.clients.m2.client.ports import Port

__all__ = ["PendingCommand", "PendingCommands", "prepared", "prepared_bare"]

MOST_PENDING = 10_000

SUCCESS = CommandStatus.SUCCESS  # members of an enumeration are slow to look up, on some versions of Python

log = logging.getLogger(__name__)

# at once, where the constructor of a named tuple is a function that calls this
_new_result: Callable[[tuple[str, int, CommandStatus | None, Exception | None]], CommandResult]
_new_result = functools.partial(tuple.__new__, CommandResult)


def prepared(name: str, parameters: Mapping[str, Any]) -> tuple[Command, Callable[[int], bytes]]:
    """Return the table's entry of a command, and what makes its line of a number; parameters are checked.

    Raises:
        ValueError, TypeError: no such command, or wrong parameters.
    """
    entry = command(name)
    return entry, prepare_command(name, entry.check(parameters))


@functools.lru_cache(maxsize=100)
def prepared_bare(name: str) -> tuple[Command, Callable[[int], bytes]]:
    """Return the same for a command without parameters, which most are; it is the same every time."""
    return prepared(name, {})


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

    def __init__(self, name: str, table: PendingCommands) -> None:
        self.command = name
        self._table = table

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
        seconds = command(self.command).timeout if timeout is None else checked_timeout(timeout)
        if self.result is None:
            self._table.port.check_may_wait("wait for a result")
        return self.outcome(seconds, monotonic())

    def outcome(self, timeout: float | None, began: float) -> CommandResult:
        """Return the result as :meth:`wait` does, for a thread that may wait.

        At the latest it ends by the timeout, which began at ``monotonic()`` time ``began``.
        """
        port = self._table.port
        try:
            link = port._link
            if link is not None:
                gone = monotonic() - began  # and what is left, as left_of() says
                link.hear(self, timeout if timeout is None or gone < timeout / 100 else max(0.0, timeout - gone))
            if self.result is None:
                port.wait_for(lambda: self.result, left_of(timeout, began))
        except TimedOut:
            late = f"command {self}: no result within {timeout:g} s" + ("" if self.acknowledged else ", and no ack")
            self.fail(CommandTimedOut, late)
        except (ConnectionLost, NotConnected) as error:
            self.lose(error.__cause__ or error)
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
        port = table.port
        if len(table.pending) >= MOST_PENDING:
            raise LimitExceeded(f"{MOST_PENDING} commands have no result yet; the next one was not sent")
        self.sequence_id = port.last_sequence_id = number = next(port.numbers)  # before others find it
        other = table.pending.setdefault(number, self)
        if other is not self:
            self.sequence_id = -1
            raise ValueError(f"{self.command} was not sent: its sequence id is that of {other}, which has no result")
        return line_of(number)

    def fail_to_send(self, error: Exception) -> None:
        """End because it could not be sent."""
        if isinstance(error, TimedOut):
            self.fail(CommandTimedOut, f"command {self} could not be sent: {error}", cause=error)
        else:
            self.lose(error)

    def lose(self, reason: BaseException) -> None:
        """End because the connection ended."""
        self.fail(CommandLost, f"command {self}: no result, as the connection ended: {reason}", cause=reason)

    def fail(
        self,
        kind: type[CommandFailed | CommandRefused | CommandTimedOut | CommandLost],
        text: str,
        status: CommandStatus | None = None,
        cause: BaseException | None = None,
    ) -> None:
        """End with an error, unless it has ended already."""
        error = kind(text, self.command, self.sequence_id)
        error.__cause__ = cause
        self.finish(status or (CommandStatus.ACK if self.acknowledged else None), error)

    def finish(self, status: CommandStatus | None = SUCCESS, error: Exception | None = None) -> None:
        """End, unless it has ended already."""
        table, number = self._table, self.sequence_id
        result = _new_result((self.command, number, status, error))
        if status is SUCCESS:
            self.acknowledged = True
        if self.__dict__.setdefault("result", result) is result:  # one step, so for one thread only
            table.pending.pop(number, None)
            link = table.port._link
            if link is None or link.gates:  # somebody waits for it
                table.port.notify()
            if table.owner in connections or ANY in connections:  # somebody is subscribed to something
                table.tell(result)


class PendingCommands:
    """All commands of a controller that have no result yet. Thread-safe.

    Args:
        port: where they go, and what answers them comes.
        controller: tells each result to its subscribers, on the thread that found it.

    Attributes:
        pending: by their numbers.
        owner, tell: the controller's id, and what tells a result.
    """

    def __init__(self, port: Port, controller: M2Controller) -> None:
        self.port = port
        self.owner, self.tell = id(controller), controller.tell_result
        self.pending: dict[int, PendingCommand] = {}

    def settle(self, reply: Reply) -> None:
        """Take a reply; one that belongs to no command that waits is ignored."""
        pending = self.pending.get(reply.sequence_id)
        if pending is None:
            log.info("ignored %s for sequence id %d, which nothing waits for", reply.status.value, reply.sequence_id)
        elif reply.status is CommandStatus.ACK:
            pending.acknowledged = True
        elif reply.status is CommandStatus.SUCCESS:
            pending.finish()
        elif reply.status is CommandStatus.FAIL:
            pending.fail(CommandFailed, f"command {pending} failed; the controller does not say why", reply.status)
        else:
            text = f"command {pending} was refused: the controller does not know it, or expected another sequence id"
            pending.fail(CommandRefused, text, reply.status)

    def lose_all(self, reason: BaseException) -> None:
        """End all commands because the connection ended."""
        for pending in self.pending.copy().values():
            pending.lose(reason)
