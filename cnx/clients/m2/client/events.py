"""What an M2 client tells, and how a command can end."""

from __future__ import annotations

from typing import NamedTuple

from cnx.clients.m2.protocol.enums import CommandStatus
from cnx.clients.m2.protocol.messages import Kind
from cnx.errors import ConnectionLost, DeviceError, NotConnected, TimedOut
from cnx.signals.subscriptions import Signal

__all__ = [
    "CommandFailed",
    "CommandLost",
    "CommandRefused",
    "CommandResult",
    "CommandTimedOut",
    "M2Signals",
    "MessageNotSent",
]


class M2Signals(Signal):
    """Signals of an M2 client beyond those of every connection.

    A client tells each message by ``MESSAGE_RECEIVED`` and then by its kind; a controller tells events, telemetry and
    the results of commands.
    """

    REPLY = "m2-reply"
    """The controller answered a command. ``message``."""
    EVENT = "m2-event"
    """Something happened. ``message``."""
    TELEMETRY = "m2-telemetry"
    """Values of the moment. ``message``."""
    UNKNOWN = "m2-unknown"
    """A message whose ``id`` is in no table. ``message``."""
    BROKEN = "m2-broken"
    """A line was no message, and was skipped; ``reason`` is the exception that says why."""
    COMMAND_DONE = "m2-command-done"
    """A command of a controller ended; ``result`` is a :class:`CommandResult`."""


SIGNALS = {
    Kind.REPLY: M2Signals.REPLY,
    Kind.EVENT: M2Signals.EVENT,
    Kind.TELEMETRY: M2Signals.TELEMETRY,
    Kind.UNKNOWN: M2Signals.UNKNOWN,
    Kind.COMMAND: M2Signals.UNKNOWN,
}


class CommandResult(NamedTuple):
    """How a command ended.

    Attributes:
        command: its name.
        sequence_id: its number.
        status: what the controller answered last; ``None`` if nothing.
        error: the error that the caller gets; ``None`` after ``success``.
    """

    command: str
    sequence_id: int
    status: CommandStatus | None = None
    error: Exception | None = None


class MessageNotSent(NotConnected, RuntimeError):
    """There is no connection to send a message by; also the ``RuntimeError`` of the original client."""


class _OfCommand(Exception):
    """Carries which command an error is about."""

    def __init__(self, message: str, command: str, sequence_id: int) -> None:
        super().__init__(message)
        self.command = command
        self.sequence_id = sequence_id

    def __reduce__(self) -> tuple[type[_OfCommand], tuple[str, str, int]]:
        return type(self), (str(self), self.command, self.sequence_id)


class CommandRefused(_OfCommand, DeviceError):
    """The controller does not know the command, or expected another sequence id (``noack``)."""


class CommandFailed(_OfCommand, DeviceError):
    """The controller knows the command and could not carry it out (``fail``); it never says why."""


class CommandTimedOut(_OfCommand, TimedOut):
    """No result came in time. The controller may still carry the command out."""


class CommandLost(_OfCommand, ConnectionLost):
    """The connection ended before the result came. The controller may have carried the command out."""
