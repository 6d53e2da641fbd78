"""Subscribe to signals and emit them.

cnx reports what happens, such as data that arrived, as PyDispatcher signals: a *sender* emits a *signal* with
arguments, and PyDispatcher calls the handlers that are connected to both. This package is the only part of cnx that
touches PyDispatcher. It finds the same receivers, in the same order and with the same arguments, as
``dispatcher.send``, and plain ``dispatcher.connect`` works. It calls the handlers itself because of these facts about
PyDispatcher 2.0.7:

* ``send`` stops at the first handler that raises; the handlers after it get nothing.
* A handler that disconnects itself while ``send`` runs makes ``send`` skip the next handler.
* Its tables have no lock. ``connect`` and ``disconnect`` on one thread during ``send`` on another can raise
  ``DispatcherKeyError`` or lose a signal.
* ``connect`` keeps only a weak reference by default, so lambdas and local functions vanish at once.
* It silently drops arguments that a handler does not name, and fails on handlers without Python code, such as
  ``list.append`` and ``functools.partial``.
* One ``send`` takes 2.8 us with one handler and 17 us with ten.

So :func:`emit` takes a snapshot of the receivers, calls each outside of any lock, and logs what it raises.
:func:`subscribe` adds a handler under a lock, keeps it alive until it is cancelled, and accepts any callable.
For signals that are emitted very often there is :class:`~cnx.signals.emitter.Emitter`.
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import inspect
import logging
import os
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from pydispatch import dispatcher as dispatcher
from pydispatch.robustapply import function as receiving_function
from pydispatch.robustapply import robustApply

from cnx.threads.locks import Lock

__all__ = ["Signal", "Subscription", "emit", "has_subscribers", "subscribe"]

log = logging.getLogger(__name__)

_tables = Lock()  # for changes of PyDispatcher's tables, which are not safe when two threads subscribe at once
if hasattr(os, "register_at_fork"):
    # A child process must not inherit the tables half changed, or the lock held by a thread that it does not have.
    os.register_at_fork(before=_tables.acquire, after_in_parent=_tables.release, after_in_child=_tables.release)
# At exit the weak references to senders would run code of PyDispatcher, whose module may be gone by then.
atexit.register(dispatcher.senders.clear)

Table = dict[Any, list[Any]]
"""The receivers of one sender, by signal."""
connections: dict[int, Table] = dispatcher.connections
"""PyDispatcher's tables, by the ``id()`` of the sender."""
ANY = id(dispatcher.Any)
"""The key of the table for all senders."""
_EMPTY: Table = {}

call_with_accepted = robustApply
"""Calls a handler with those of the arguments that it names: PyDispatcher's own rule."""


class Changes:
    """A mark that changes whenever subscriptions do, so that an emitter in the middle of a batch notices.

    ``latest`` is another object after each change. A new object needs no lock, unlike a counter: a change may be noted
    on any thread, also by a finalizer.
    """

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.note()

    def note(self) -> None:
        """Note a change; call this after it was made, so that a look that follows finds it."""
        self.latest = object()


changes = Changes()


class Signal(enum.Enum):
    """The base class of enumerations of signals. Members hash by identity, five times as fast as those of ``Enum``.

    For type checkers the functions of cnx take members of such enumerations only, so that they find a misspelt signal.
    At run time they take whatever PyDispatcher takes; ``dispatcher.connect`` remains for other kinds of signals.
    """

    __hash__ = object.__hash__


def receivers_of(own: Table | None, everyone: Table | None, signal: object) -> list[Any]:
    """Return the receivers of a signal that ``dispatcher.send`` would find: each once, in its order.

    A receiver is a handler, a :class:`Subscription`, or a weak reference to a handler.

    Args:
        own: PyDispatcher's table of the sender, if there is one.
        everyone: its table of all senders, if there is one.
        signal: the signal.
    """
    found: dict[Any, None] = {}
    for table in (own, everyone):
        if not table:
            continue
        for key in (signal, dispatcher.Any):
            for receiver in tuple(table.get(key, ())):
                try:
                    if receiver:
                        found[receiver] = None
                except TypeError:  # a dead weak reference that was never hashed
                    continue
    return list(found)


def _registered(sender: object, signal: object) -> list[Any]:
    """Return the receivers of a signal as they are registered now."""
    return receivers_of(connections.get(id(sender)), connections.get(ANY), signal)


def handler_of(receiver: Any) -> Any:
    """Return the handler of a receiver, or ``None`` if it was registered weakly and is gone."""
    return receiver() if isinstance(receiver, dispatcher.WEAKREF_TYPES) else receiver


def has_subscribers(sender: object, signal: Signal) -> bool:
    """Return whether a signal emitted now would reach any handler. Thread-safe.

    Use it to avoid work that only a subscriber needs. It counts handlers of every kind: of :func:`subscribe` and of
    ``dispatcher.connect``, for this sender or for all, for this signal or for all.
    """
    return any(handler_of(receiver) is not None for receiver in _registered(sender, signal))


def describe(receiver: Any) -> str:
    """Return the name of a receiver's handler for a log line."""
    handler = handler_of(receiver)
    if isinstance(handler, Subscription):
        handler = handler.handler
    return getattr(handler, "__qualname__", None) or repr(handler)


def report(receiver: object, signal: object) -> None:
    """Log the exception that the handler of ``receiver`` raised; call it from an ``except`` block."""
    log.exception("handler %s of %s raised; the other handlers still get the signal", describe(receiver), signal)


def emit(sender: object, signal: Signal, **arguments: Any) -> None:
    """Call every subscriber of a signal with the arguments that it accepts. Thread-safe.

    An exception that a handler raises is logged, and the other handlers still get the signal.
    """
    handlers = [handler_of(receiver) for receiver in _registered(sender, signal)]  # alive until all were called
    for handler in handlers:
        if handler is None:
            continue
        try:
            call_with_accepted(handler, signal=signal, sender=sender, **arguments)
        except Exception:
            report(handler, signal)


def takes_only(handler: Any, argument: str) -> bool:
    """Return whether ``handler(value)`` does the same as PyDispatcher's call with ``argument=value`` by name.

    It does if the handler's first parameter has that name and it takes neither ``sender`` nor ``signal``.
    """
    if isinstance(handler, Subscription):
        return handler.takes_only(argument)
    try:
        _, code, first = receiving_function(handler)
    except ValueError:
        return False
    names = code.co_varnames[first : code.co_argcount]
    takes_all = code.co_flags & inspect.CO_VARKEYWORDS
    return bool(names) and names[0] == argument and not takes_all and not _ABOUT & set(names)


_ABOUT = frozenset({"sender", "signal"})
"""Arguments that every signal has."""


class _Parameters(NamedTuple):
    """The parameters of a handler.

    Attributes:
        names: those that can be passed by keyword; ``None`` if any can.
        first: name of the first one that can be passed by position; "" if it has no name, ``None`` if there is none.
    """

    names: frozenset[str] | None
    first: str | None


def _parameters(handler: Callable[..., Any]) -> _Parameters:
    """Return the parameters of a handler."""
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # some builtins have no signature
        return _Parameters(frozenset(), "")
    kinds = {parameter.kind for parameter in parameters}
    by_name = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    any_name = inspect.Parameter.VAR_KEYWORD in kinds and inspect.Parameter.POSITIONAL_ONLY not in kinds
    first = None
    for parameter in parameters[:1]:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            first = ""
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            first = parameter.name
    return _Parameters(None if any_name else frozenset(by_name), first)


def _weakly(sender: object) -> Callable[[], Any]:
    """Return a weak reference to ``sender``, or a function that returns it if it cannot be referenced weakly."""
    try:
        return weakref.ref(sender)
    except TypeError:  # a str, for example
        return lambda: sender


class Subscription:
    """A handler that stays subscribed until :meth:`cancel`; also a context manager. Thread-safe.

    The handler gets the arguments that it names: those of the signal, ``sender`` and ``signal``. A handler that names
    none of them, such as ``list.append`` or ``lambda chunk: ...``, gets the signal's arguments by position.

    Attributes:
        handler, signal: as passed to :func:`subscribe`.
        active: whether it was not cancelled yet.
    """

    def __init__(self, sender: object, signal: Signal, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.signal = signal
        self._sender = _weakly(sender)
        self._parameters = _parameters(handler)
        self.active = True

    def __call__(self, **arguments: Any) -> None:
        """Call the handler with the arguments that it accepts; PyDispatcher calls this."""
        if not self.active:
            return
        if self._by_position(set(arguments)):
            self.handler(*(value for name, value in arguments.items() if name not in _ABOUT))
        elif self._parameters.names is None:
            self.handler(**arguments)
        else:
            self.handler(**{name: value for name, value in arguments.items() if name in self._parameters.names})

    def takes_only(self, argument: str) -> bool:
        """Return whether the handler may be called with the argument alone, by position."""
        names, first = self._parameters
        return self._by_position({argument}) or (names is not None and first == argument and not names & _ABOUT)

    def _by_position(self, given: set[str]) -> bool:
        """Return whether the handler takes arguments by position, and names none of the ``given`` ones."""
        names, first = self._parameters
        return names is not None and first is not None and not names & (given | _ABOUT)

    def cancel(self) -> None:
        """Unsubscribe the handler; calling this again does nothing.

        The handler is not called again, even for data already received. A call in progress on another thread goes on.
        """
        with _tables:
            if not self.active:
                return
            sender = self._sender()
            while self in connections.get(id(sender), _EMPTY).get(self.signal, ()):
                with contextlib.suppress(dispatcher.errors.DispatcherKeyError, KeyError):
                    dispatcher.disconnect(self, signal=self.signal, sender=sender, weak=False)
            # Only now: an emitter that still found the handler in the table would leave a value out and then call it.
            self.active = False
        _note_change(sender)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()


def subscribe(sender: object, signal: Signal, handler: Callable[..., Any]) -> Subscription:
    """Call ``handler`` whenever ``sender`` emits ``signal``, until the subscription is cancelled. Thread-safe.

    The handler is kept alive, unlike with ``dispatcher.connect``. It runs on the thread that emits the signal.

    Raises:
        TypeError: ``handler`` is not callable, or ``signal`` is ``None``.
    """
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {handler!r}")
    if signal is None:
        raise TypeError("signal must not be None")
    subscription = Subscription(sender, signal, handler)
    with _tables:
        # When the last handler of a sender dies, PyDispatcher drops its table, even while connect() adds to that table.
        while subscription not in connections.get(id(sender), _EMPTY).get(signal, ()):
            with contextlib.suppress(KeyError):
                dispatcher.connect(subscription, signal=signal, sender=sender, weak=False)
    _note_change(sender)
    return subscription


def subscribe_weakly(sender: object, signal: Signal, method: Callable[..., Any]) -> None:
    """Subscribe a method for as long as its object lives; its arguments are passed by PyDispatcher's rules."""
    with _tables:
        dispatcher.connect(method, signal=signal, sender=sender)


def _note_change(sender: object) -> None:
    """Let running emitters look again, and notify a sender that wants to know, such as a connection that reads."""
    changes.note()
    parts = getattr(sender, "_cnx", None)
    if parts is not None:
        parts.on_subscribers_changed()
