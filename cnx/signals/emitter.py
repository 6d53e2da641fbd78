"""Emit one signal of one sender very often, at a tenth of the cost of ``dispatcher.send``."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from cnx.signals.subscriptions import (
    ANY,
    Signal,
    Subscription,
    Table,
    call_with_accepted,
    changes,
    connections,
    handler_of,
    is_any_alive,
    receivers_of,
    report,
    takes_only,
)

__all__ = ["Emitter"]

Call = Callable[[Any], Any]
Calls = list[tuple[Any, Call]]
"""Functions to call with each value, each with the receiver that it calls."""
Prepared = tuple[Table | None, Table | None, Calls | None]
"""PyDispatcher's tables of the sender and of all senders, and the calls that were prepared from them.

``None`` stands for calls that are prepared when something is emitted. So a thousand handlers that are added or removed
one after the other, each time with a look whether there are any, are not prepared a thousand times.
"""

_NOTHING: Prepared = None, None, []

# A function, as CPython since 3.11 makes a new method object for every call of a method of an imported name.
_table_of = connections.get


class Emitter:
    """Emits a signal with one argument to the same receivers, in the same order, as ``dispatcher.send``. Thread-safe.

    For every value, ``dispatcher.send`` looks up the handlers and the arguments that each one takes. An emitter
    prepares a list of calls instead, and rebuilds it when PyDispatcher's tables differ from the copies that the list
    was made from. So it finds handlers however they were connected, without a hook in PyDispatcher. Weak references
    stay weak. A cancelled handler is released the next time the emitter is used.

    An exception that a handler raises is shown by ``cnx.excepthook``, and the other handlers still get the value.

    Args:
        sender: the sender; only a weak reference is kept.
        signal: the signal to emit.
        argument: name of the argument that carries the value.
    """

    __slots__ = ("_argument", "_prepared", "_sender", "_sender_key", "_signal", "_stopped")

    def __init__(self, sender: object, signal: Signal, argument: str) -> None:
        self._sender = weakref.ref(sender)
        self._sender_key = id(sender)
        self._signal = signal
        self._argument = argument
        self._prepared = _NOTHING  # only replaced as a whole, as several threads may do so at once
        self._stopped = False

    def has_subscribers(self) -> bool:
        """Return whether anybody is subscribed."""
        own, everyone = _table_of(self._sender_key), _table_of(ANY)
        own_then, everyone_then, calls = self._prepared
        if own != own_then or everyone != everyone_then:
            own, everyone = _copied(own), _copied(everyone)
            calls = None if is_any_alive(own, everyone, self._signal) else []
            self._prepared = own, everyone, calls
        return calls is None or bool(calls)

    def emit(self, value: Any) -> None:
        """Emit the signal once."""
        mark = changes
        seen = mark.latest  # read first, so that a change during the lookup is noticed
        for receiver, call in self._calls():
            if self._stopped or (mark.latest is not seen and self._is_over(receiver)):
                continue
            try:
                call(value)
            except Exception as error:
                report(error, receiver, self._signal)

    def emit_each(self, values: Iterable[Any]) -> None:
        """Emit the signal for each of ``values``, in order.

        A handler removed with ``cancel()`` meanwhile is not called again; one added with :func:`cnx.subscribe` gets the
        next value. ``dispatcher.connect`` and ``disconnect``, which do not report what they do, may take effect only
        with the next batch.
        """
        mark = changes
        calls: Calls = []
        only: Call | None = None
        seen = None  # unlike any mark, so the first value looks up the calls
        for value in values:
            if mark.latest is not seen:
                seen = mark.latest  # read first, so that a change during the lookup is noticed at the next value
                calls = [] if self._stopped else self._calls()
                only = calls[0][1] if len(calls) == 1 else None
            if only is not None:  # the most frequent case; setting up the inner loop would cost as much as the call
                try:
                    only(value)
                except Exception as error:
                    report(error, calls[0][0], self._signal)
                continue
            for receiver, call in calls:
                if mark.latest is not seen and self._is_over(receiver):
                    continue
                try:
                    call(value)
                except Exception as error:
                    report(error, receiver, self._signal)

    def stop(self) -> None:
        """Emit nothing from now on, even if a batch is being emitted. A call in progress goes on."""
        self._stopped = True
        changes.note()

    def _is_over(self, receiver: Any) -> bool:
        """Return whether a receiver must not be called any more, after a change while a value is being emitted."""
        return self._stopped or (isinstance(receiver, Subscription) and not receiver.active)

    def _calls(self) -> Calls:
        """Return the calls to make for each value, with their receivers."""
        own, everyone = _table_of(self._sender_key), _table_of(ANY)
        own_then, everyone_then, calls = self._prepared
        if calls is None or own != own_then or everyone != everyone_then:
            own, everyone = _copied(own), _copied(everyone)
            calls = [(receiver, self._prepare(receiver)) for receiver in receivers_of(own, everyone, self._signal)]
            self._prepared = own, everyone, calls
        return calls

    def _prepare(self, receiver: Any) -> Call:
        """Return a function that calls a receiver with a value, as PyDispatcher would.

        A handler that takes nothing but the value is called directly, which is the fastest. That includes the handler
        of a subscription; :meth:`emit_each` makes sure that the subscription is still active.
        """
        handler = handler_of(receiver)
        weak = handler is not receiver
        if handler is not None and takes_only(handler, self._argument):
            if not weak:
                return handler.handler if isinstance(handler, Subscription) else handler

            def call_weakly(value: Any) -> None:
                handler = receiver()
                if handler is not None:
                    handler(value)

            return call_weakly

        sender, signal, argument = self._sender, self._signal, self._argument  # not self: that would be a cycle

        def call_filtered(value: Any) -> None:
            handler = handler_of(receiver)
            if handler is not None:
                call_with_accepted(handler, signal=signal, sender=sender(), **{argument: value})

        return call_filtered


def _copied(table: Table | None) -> Table | None:
    """Return the contents of a table as they are now, although other threads may change it."""
    return None if table is None else {signal: list(found) for signal, found in table.copy().items()}
