"""Delivery: how the bytes of a link become signals of its connection."""

from __future__ import annotations

import inspect
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from cnx.buffer import MESSAGES_AT_ONCE, ReceiveBuffer
from cnx.connections.connection import Connection, emit_end
from cnx.errors import CnxError, ProtocolError
from cnx.framing import Framing, failure
from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import ANY, Signal, connections
from cnx.threads.hook import PROGRAMMING, report_error

__all__ = ["Delivery"]


class Delivery:
    """Emits the data and messages of one link. It does not keep the connection alive.

    Args:
        connection: the sender of the signals.
        framing: cuts the stream into messages; without one, each piece of bytes is a message.
        on_message: the connection's own method for messages, if it has one. It is called before a message is emitted.
        emit_messages: the connection's own way to emit messages, if it has one.
        signals: signals that ``emit_messages`` emits: a subscriber of one of them wants what arrives.
        note_loss: notes why the link ends; called before a reader hears of it.

    What has arrived is emitted in steps of some hundred messages: one chunk may have 100,000, and in between the thread
    that reads looks at the time, and at what else it has to do.

    Attributes:
        pending: something that arrived has not been emitted yet; see :meth:`deliver_more`.
        messages: how many messages arrived.
        emitters: emit messages, by the signal.
    """

    def __init__(
        self,
        connection: Connection,
        framing: Framing | None,
        on_message: Callable[[Any], object] | None = None,
        emit_messages: Callable[[list[Any]], object] | None = None,
        signals: tuple[Signal, ...] = (),
        note_loss: Callable[[BaseException], object] = lambda reason: None,
    ) -> None:
        self.pending = False
        self.messages = 0
        self._arrived: deque[bytes] = deque()  # pieces that were not emitted yet
        self._cut: list[Any] = []  # messages that were not emitted yet, if the framing gave too many at once
        self._connection = weakref.ref(connection)
        self._note_loss = note_loss
        self._sender_key = id(connection)
        self._framing = framing
        self._partial = ReceiveBuffer()  # the beginning of a message, or more if a step was not the last one
        self._exhausted = True  # there is no complete message in it
        self._on_message = None if on_message is None else _weakly(on_message)
        self._emit_messages = None if emit_messages is None else _weakly(emit_messages)
        self._data = Emitter(connection, Connection.Signals.DATA_RECEIVED, "data")
        self._message = Emitter(connection, Connection.Signals.MESSAGE_RECEIVED, "message")
        self.emitters = {signal: Emitter(connection, signal, "message") for signal in signals}
        self.emitters[Connection.Signals.MESSAGE_RECEIVED] = self._message
        self._had_subscribers = False
        self._stopped = False

    def wanted(self) -> bool:
        """Return whether anybody is subscribed to what arrives, or the connection has an ``on_message``."""
        if self._on_message is not None:
            return True
        if self._sender_key in connections or ANY in connections:
            self._had_subscribers = True
        elif self._had_subscribers:
            self._had_subscribers = False  # once more, so that the emitters let go of what they prepared
        else:
            return False
        if self._data.has_subscribers():
            return True
        wanted = False
        for emitter in self.emitters.values():
            wanted = emitter.has_subscribers() or wanted  # each lets go of handlers that were cancelled
        return wanted

    def add(self, data: bytes) -> None:
        """Have a piece of bytes emitted, and the messages that it completes, by the next steps."""
        self._arrived.append(data)
        self.pending = True

    def deliver_more(self) -> None:
        """Take one step: emit the next piece of bytes and the messages that it completes, or some hundred of these.

        Raises:
            ProtocolError, LimitExceeded: the framing cannot go on.
        """
        self.pending = False  # if a handler raises something like SystemExit, this was the last step
        if self._stopped:
            return
        framing = self._framing
        if framing is None:
            self._deliver_piece(self._arrived.popleft())
        else:
            if self._exhausted and not self._cut:
                data = self._arrived.popleft()
                self._data.emit(data)
                self._partial.append(data)
            messages = self._next_messages(framing)
            if messages:
                self._deliver_messages(messages)
        if self._arrived or self._cut or not self._exhausted:
            self.pending = not self._stopped

    def _deliver_piece(self, data: bytes) -> None:
        """Emit a piece of bytes which, without a framing, is a message, too."""
        self._data.emit(data)
        if self._on_message is None and self._emit_messages is None:
            self.messages += 1
            self._message.emit(data)
        else:
            self._deliver_messages([data])

    def _next_messages(self, framing: Framing) -> list[Any]:
        messages = self._cut
        if not messages:
            partial = self._partial
            try:
                messages = framing.take_all(partial)
            except CnxError:
                raise
            except Exception as error:
                if isinstance(error, PROGRAMMING):
                    self._report(error, framing.take_all)
                raise failure(framing, error) from error
            self._exhausted = not messages or partial.exhausted or not len(partial)
            if len(messages) <= MESSAGES_AT_ONCE:
                return messages
        self._cut = messages[MESSAGES_AT_ONCE:]  # a framing of a user may give any number
        return messages[:MESSAGES_AT_ONCE]

    def stop(self) -> None:
        """Emit nothing after the message that is being emitted."""
        self._stopped = True
        self.pending = False
        for emitter in (self._data, *self.emitters.values()):
            emitter.stop()

    def note_loss(self, reason: BaseException) -> None:
        """Note why the link ends, before a reader hears of it; calls no code of users."""
        self._note_loss(reason)

    def on_end(self, reason: BaseException) -> None:
        """Emit the end of the link."""
        connection = self._connection()
        if connection is not None:
            emit_end(connection, reason)

    def _deliver_messages(self, messages: list[Any]) -> None:
        self.messages += len(messages)
        if self._on_message is not None:
            on_message = self._on_message()  # holds the connection while it handles these messages
            if on_message is None:
                return
            for message in messages:
                if self._stopped:
                    return
                try:  # here, as a function for it would be one more call for every message
                    on_message(message)
                except ProtocolError:
                    raise
                except Exception as error:
                    self._report(error, on_message)
        if self._stopped:
            return
        if self._emit_messages is None:
            self._message.emit_each(messages)
            return
        emit_messages = self._emit_messages()
        if emit_messages is not None:
            try:
                emit_messages(messages)
            except ProtocolError:
                raise
            except Exception as error:
                self._report(error, emit_messages)

    def _report(self, error: Exception, method: Callable[[Any], object]) -> None:
        """Show an exception that a method of the connection or of its framing has raised."""
        connection = self._connection()
        report_error(error, f"{'?' if connection is None else connection.name}: {method.__name__} failed")


def _weakly(function: Callable[[Any], object]) -> Callable[[], Callable[[Any], object] | None]:
    """Return a weak reference to a method, which does not keep its object alive; a strong one to any other function."""
    return weakref.WeakMethod(function) if inspect.ismethod(function) else lambda: function
