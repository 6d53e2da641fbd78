"""The signals of an M2 client, and the ways in which a command can end."""

from __future__ import annotations

from typing import NamedTuple

from cnx.clients.m2.protocol.enums import CommandStatus
from cnx.clients.m2.protocol.messages import Kind
from cnx.errors import ConnectionLost, DeviceError, NotConnected, TimedOut
from cnx.signals.subscriptions import Signal, SignalName

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

    An :class:`~cnx.clients.m2.client.client.M2Client` emits all of them but ``COMMAND_DONE``. An
    :class:`~cnx.clients.m2.client.controller.M2Controller` emits ``EVENT``, ``TELEMETRY`` and ``COMMAND_DONE``.
    """

    REPLY = SignalName("m2-reply", "message")
    """A reply to a command arrived. ``message``: the reply."""
    EVENT = SignalName("m2-event", "message")
    """An event arrived. ``message``: the event. A controller also emits messages that are in no table."""
    TELEMETRY = SignalName("m2-telemetry", "message")
    """Telemetry arrived. ``message``: the values."""
    UNKNOWN = SignalName("m2-unknown", "message")
    """A message arrived whose ``id`` is in no table. ``message``: any JSON value."""
    BROKEN = SignalName("m2-broken", "reason")
    """A line that is not a valid message was skipped. ``reason``: the exception that says why."""
    COMMAND_DONE = SignalName("m2-command-done", "result")
    """A command ended. ``result``: a :class:`CommandResult`."""


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
        status: the last answer of the controller; ``None`` if there was none.
        error: the exception that the caller gets; ``None`` after ``success``.
    """

    command: str
    sequence_id: int
    status: CommandStatus | None = None
    error: Exception | None = None


class MessageNotSent(NotConnected, RuntimeError):
    """A message was not sent, as there is no connection; also a ``RuntimeError``, as in ``ts_m2com``."""


class _OfCommand(Exception):
    """An exception that carries the name and the sequence id of a command."""

    def __init__(self, message: str, command: str, sequence_id: int) -> None:
        super().__init__(message)
        self.command = command
        self.sequence_id = sequence_id

    def __reduce__(self) -> tuple[type[_OfCommand], tuple[str, str, int]]:
        return type(self), (str(self), self.command, self.sequence_id)


class CommandRefused(_OfCommand, DeviceError):
    """The controller does not know the command, or expected another sequence id (``noack``)."""


class CommandFailed(_OfCommand, DeviceError):
    """The controller knows the command, but could not execute it (``fail``); it never gives a reason."""


class CommandTimedOut(_OfCommand, TimedOut):
    """No result arrived in time. The controller may still execute the command."""


class CommandLost(_OfCommand, ConnectionLost):
    """The connection ended before the result arrived. The controller may have executed the command."""
