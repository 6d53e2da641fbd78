"""Delivery: how the bytes of a link become signals of its connection."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.connections.connection import Connection, emit_end
from cnx.errors import CnxError, ProtocolError
from cnx.framing import Framing, failure
from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import ANY, Signal, connections

__all__ = ["Delivery"]

log = logging.getLogger(__name__)


class Delivery:
    """Emits the data and messages of one link. It does not keep the connection alive.

    Args:
        connection: the sender of the signals.
        framing: cuts the stream into messages; without one, each piece of bytes is a message.
        on_message: the connection's own method for messages, if it has one. It is called before a message is emitted.
        emit_messages: the connection's own way to emit messages, if it has one.
        signals: signals that ``emit_messages`` emits: a subscriber of one of them wants what arrives.

    Attributes:
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
    ) -> None:
        self.messages = 0
        self._connection = weakref.ref(connection)
        self._sender_key = id(connection)
        self._framing = framing
        self._partial = ReceiveBuffer()  # the beginning of a message
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

    def deliver(self, data: bytes) -> None:
        """Emit a piece of bytes, and the messages that it completes.

        Raises:
            ProtocolError, LimitExceeded: the framing cannot go on.
        """
        self._data.emit(data)
        if self._framing is None:
            if self._on_message is None and self._emit_messages is None:
                self.messages += 1
                self._message.emit(data)
            else:
                self._deliver_messages([data])
            return
        partial = self._partial
        partial.append(data)
        while not self._stopped:
            try:
                messages = self._framing.take_all(partial)
            except CnxError:
                raise
            except Exception as error:
                raise failure(self._framing, error) from error
            if messages:
                self._deliver_messages(messages)
            if not messages or partial.exhausted or not len(partial):
                return

    def stop(self) -> None:
        """Emit nothing after the message that is being emitted."""
        self._stopped = True
        for emitter in (self._data, *self.emitters.values()):
            emitter.stop()

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
                except Exception:
                    self._log_failed(on_message)
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
            except Exception:
                self._log_failed(emit_messages)

    def _log_failed(self, method: Callable[[Any], object]) -> None:
        """Log the exception that a method of the connection has raised; only a ``ProtocolError`` ends the link."""
        connection = self._connection()
        log.exception("%s: %s failed", "?" if connection is None else connection.name, method.__name__)


def _weakly(function: Callable[[Any], object]) -> Callable[[], Callable[[Any], object] | None]:
    """Return a weak reference to a method, which does not keep its object alive; a strong one to any other function."""
    return weakref.WeakMethod(function) if inspect.ismethod(function) else lambda: function
