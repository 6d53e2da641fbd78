"""How what a link brings reaches the subscribers of its connection."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from cnx.buffer import ReceiveBuffer
from cnx.connection import Connection
from cnx.errors import CnxError, ProtocolError
from cnx.framing import Framing
from cnx.outlet import Outlet
from cnx.signals import ANY, NOBODY, connections, dispatcher

if TYPE_CHECKING:
    from cnx.transport_connection import TransportConnection

__all__ = ["Delivery"]

log = logging.getLogger(__name__)

_DATA, _MESSAGE = Connection.Signals.DATA_RECEIVED, Connection.Signals.MESSAGE_RECEIVED
_ANY_SIGNAL = dispatcher.Any


class Delivery:
    """Tells the data and messages of one link; does not keep the connection alive.

    Attributes:
        limit: bytes that may wait for the reading methods before the peer is held back.
        keeping: bytes that are told are kept for the reading methods, too.
        provisional: nobody has called a reading method yet, so they are kept only up to the limit, and anew with
            every write: a program that subscribes and then asks and reads finds the answer.
        messages: how many messages were told.
    """

    def __init__(self, connection: TransportConnection, framing: Framing | None, limit: int) -> None:
        self.limit = limit
        self.messages = 0
        self._connection = weakref.ref(connection)
        self._own = id(connection)
        self._consumes = hasattr(connection, "on_message")
        self.provisional = not (connection.reading or self._consumes)
        self.keeping = connection.reading or self.provisional
        self._framing = framing
        self._partial = ReceiveBuffer()
        self._stopped = False
        self._data = Outlet(connection, _DATA, "data", refreshed=True)
        self._message = Outlet(connection, _MESSAGE, "message", refreshed=True)

    def wanted(self) -> bool:
        """Whether anybody is subscribed."""
        if self._own not in connections and ANY not in connections:  # asked for every message, so the short way first
            return self._consumes
        if self._consumes:
            return True
        own = connections.get(self._own)
        if own and (own.get(_DATA) or own.get(_MESSAGE) or own.get(_ANY_SIGNAL)):
            return True
        own = connections.get(ANY)
        return bool(own and (own.get(_DATA) or own.get(_MESSAGE) or own.get(_ANY_SIGNAL)))

    def deliver(self, data: bytes) -> None:
        """Tell ``data``, and the messages that it completes.

        Raises:
            ProtocolError, LimitExceeded: the framing cannot go on.
        """
        self._data.emit(data)
        if self._framing is None:
            self.messages += 1
            if self._consumes:
                self._consume([data])
            own = connections.get(self._own, NOBODY)
            if _MESSAGE in own or _ANY_SIGNAL in own or ANY in connections:  # rarely, where there is no framing
                self._message.emit(data)
            return
        self._partial.append(data)
        while not self._stopped:
            messages = self._cut(self._framing)
            if not messages:
                return
            self._tell(messages)
            if not len(self._partial):
                return

    def stop(self) -> None:
        """Tell nothing more after the message that is being told."""
        self._stopped = True
        self._data.stop()
        self._message.stop()

    def refresh(self) -> None:
        """Let a change of subscribers take effect on what is being told by this thread."""
        self._data.refresh()
        self._message.refresh()

    def on_end(self, reason: BaseException) -> None:
        """Tell the end of the link."""
        connection = self._connection()
        if connection is not None:
            connection.tell_end(reason)

    def _cut(self, framing: Framing) -> list[Any]:
        try:
            return framing.take_all(self._partial)
        except CnxError:
            raise
        except Exception as error:
            raise ProtocolError(f"{type(framing).__name__} failed on what came: {error!r}") from error

    def _tell(self, messages: list[Any]) -> None:
        self.messages += len(messages)
        if self._consumes:
            self._consume(messages)
        if not self._stopped:
            self._message.emit_each(messages)

    def _consume(self, messages: list[Any]) -> None:
        """Give the messages to the connection's own ``on_message``."""
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
