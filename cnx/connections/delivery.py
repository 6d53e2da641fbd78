"""How what a link brings reaches the subscribers of its connection."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from cnx.buffer import ReceiveBuffer
from cnx.connections.connection import Connection
from cnx.errors import CnxError, ProtocolError
from cnx.framing import Framing
from cnx.signals.emitter import NO_PLAN, Outlet, Plan
from cnx.signals.subscriptions import ANY, connections, dispatcher, table_of

if TYPE_CHECKING:
    from cnx.connections.transport import TransportConnection

__all__ = ["Delivery"]

log = logging.getLogger(__name__)

_DATA, _MESSAGE = Connection.Signals.DATA_RECEIVED, Connection.Signals.MESSAGE_RECEIVED
_ANY_SIGNAL = dispatcher.Any


class Audience:
    """Who listens to a link, as somebody found them; several threads may look, so one is never changed.

    Attributes:
        usual: PyDispatcher's table of the connection if there was none of all senders, or else nothing like any.
        wanted: somebody is subscribed.
        plan, messages: whom to tell data, and messages.
    """

    __slots__ = ("messages", "plan", "usual", "wanted")

    def __init__(self, wanted: bool, plan: Plan = NO_PLAN, messages: Plan = NO_PLAN) -> None:
        self.usual = plan.own if plan.everybody is None else _NEVER
        self.wanted = wanted
        self.plan, self.messages = plan, messages


_NEVER = object()
_NOBODY = {wanted: Audience(wanted) for wanted in (False, True)}  # shared, as there are many


class Delivery:
    """Tells the data and messages of one link; does not keep the connection alive.

    Attributes:
        limit: bytes that may wait for the reading methods before the peer is held back.
        keeping: bytes that are told are kept for the reading methods, too.
        provisional: nobody has called a reading method yet, so they are kept only up to the limit, and anew with
            every write: a program that subscribes and then asks and reads finds the answer.
        messages: how many messages were told.
    """

    __slots__ = (
        "_audience",
        "_connection",
        "_consumes",
        "_data",
        "_framing",
        "_message",
        "_own",
        "_partial",
        "_stopped",
        "keeping",
        "limit",
        "messages",
        "provisional",
    )

    signals: frozenset[object] = frozenset((_DATA, _MESSAGE, _ANY_SIGNAL))
    """Those that say that somebody wants what comes."""

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
        self._audience = _NOBODY[self._consumes]

    def audience(self) -> Audience | None:
        """Return those who are subscribed now, for :meth:`deliver`; ``None`` if nobody wants what comes."""
        audience = self._audience
        if table_of(self._own) != audience.usual or ANY in connections:
            audience = self._look()
        return audience if audience.wanted else None

    def deliver(self, data: bytes, audience: Audience | None = None) -> None:
        """Tell ``data``, and the messages that it completes, to ``audience``, or to those who are subscribed now.

        Raises:
            ProtocolError, LimitExceeded: the framing cannot go on.
        """
        if audience is None:
            audience = self._look()
        if audience.plan.items:
            self._data.emit(data, audience.plan)
        framing = self._framing
        if framing is None:
            self.messages += 1
            if audience.messages.items or self._consumes:  # rarely, where there is no framing
                self._tell([data])
            return
        known = None if audience.plan.items or self._consumes else audience.messages  # who is told before may change it
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
            self._tell(messages, known)
            known = None
            if partial.exhausted or not len(partial):
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
        self._look()  # so that nobody who has gone is kept alive

    def on_end(self, reason: BaseException) -> None:
        """Tell the end of the link."""
        connection = self._connection()
        if connection is not None:
            connection.tell_end(reason)

    def _look(self) -> Audience:
        """Find out who is subscribed."""
        while True:
            audience, plan, messages = self._audience, self._data.plan(), self._message.plan()
            if plan is audience.plan and messages is audience.messages:
                return audience
            tables = (plan.own, plan.everybody)
            if plan.whole:  # else another thread has just taken somebody out, and the tables with that
                break
        heard = {signal for table in tables if table for signal, found in table.items() if found}
        wanted = self._consumes or not heard.isdisjoint(self.signals)
        self._audience = audience = Audience(wanted, plan, messages)
        return audience

    def _tell(self, messages: list[Any], known: Plan | None = None) -> None:
        """Tell messages, to those of ``known``, or to whoever is subscribed now."""
        if self._consumes:
            self._consume(messages)
        if not self._stopped:
            self._message.emit_each(messages, known)

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
