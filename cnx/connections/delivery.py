"""Pass what a link receives on to the subscribers of its connection: bytes, and the messages that they complete."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from cnx.buffer import ReceiveBuffer
from cnx.connections.connection import Connection
from cnx.errors import CnxError, ProtocolError
from cnx.framing import Framing
from cnx.signals.emitter import Emitter

if TYPE_CHECKING:
    from cnx.connections.transport import TransportConnection

__all__ = ["Delivery"]

log = logging.getLogger(__name__)


class Delivery:
    """Emits the data and messages of one link; does not keep the connection alive.

    One thread at a time may deliver. Any thread may call the other methods.

    Args:
        connection: the sender of the signals.
        framing: what cuts the bytes into messages; without one, a message is whatever arrived together.
        limit: bytes that may wait for the reading methods before the peer is held back.

    Attributes:
        limit: as above.
        keeping: bytes that are emitted are kept for the reading methods, too.
        provisional: no reading method was called yet, so bytes are kept only up to the limit, and anew with every
            write: a program that subscribes, then writes a request and reads, finds the reply.
        messages: how many messages were received.
    """

    __slots__ = (
        "_connection",
        "_consumes",
        "_data",
        "_framing",
        "_message",
        "_partial",
        "_stopped",
        "keeping",
        "limit",
        "messages",
        "provisional",
    )

    def __init__(self, connection: TransportConnection, framing: Framing | None, limit: int) -> None:
        self.limit = limit
        self.messages = 0
        self._connection = weakref.ref(connection)
        self._consumes = hasattr(connection, "on_message")
        self.provisional = not (connection.reading or self._consumes)
        self.keeping = connection.reading or self.provisional
        self._framing = framing
        self._partial = ReceiveBuffer()  # the beginning of a message whose end did not arrive yet
        self._stopped = False
        self._data = Emitter(connection, Connection.Signals.DATA_RECEIVED, "data")
        self._message = Emitter(connection, Connection.Signals.MESSAGE_RECEIVED, "message")

    def wanted(self) -> bool:
        """Return whether somebody wants what arrives: a subscriber, or the connection's own ``on_message``."""
        return self._consumes or self._data.has_subscribers() or self._message.has_subscribers()

    def deliver(self, data: bytes) -> None:
        """Emit ``data``, then the messages that it completes.

        Raises:
            ProtocolError, LimitExceeded: the framing cannot go on.
        """
        self._data.emit(data)
        framing = self._framing
        if framing is None:
            self.messages += 1
            self._emit_messages([data])
            return
        partial = self._partial
        partial.append(data)
        while not self._stopped:
            try:
                messages = framing.take_all(partial)
            except CnxError:
                raise
            except Exception as error:
                raise ProtocolError(f"{type(framing).__name__} failed on what came: {error!r}") from error
            self.messages += len(messages)
            if not messages:
                return
            self._emit_messages(messages)
            if partial.exhausted or not len(partial):
                return

    def stop(self) -> None:
        """Emit nothing from now on, even if messages are being emitted."""
        self._stopped = True
        self._data.stop()
        self._message.stop()

    def on_end(self, reason: BaseException) -> None:
        """Emit the end of the link."""
        connection = self._connection()
        if connection is not None:
            connection.tell_end(reason)

    def _emit_messages(self, messages: list[Any]) -> None:
        """Pass messages to ``on_message`` if the connection has it, then emit them."""
        if self._consumes:
            self._consume(messages)
        self._message.emit_each(messages)

    def _consume(self, messages: list[Any]) -> None:
        """Pass messages to the connection's own ``on_message``."""
        connection: Any = self._connection()
        if connection is None:
            return
        for message in messages:
            if self._stopped:
                return
            try:
                connection.on_message(message)
            except ProtocolError:
                raise
            except Exception:
                log.exception("%s: on_message failed", connection.name)
