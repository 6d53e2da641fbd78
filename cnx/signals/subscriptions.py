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
import difflib
import enum
import inspect
import os
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from pydispatch import dispatcher as dispatcher
from pydispatch.robustapply import function as receiving_function
from pydispatch.robustapply import robustApply

from cnx.threads.hook import report_error
from cnx.threads.locks import Lock

__all__ = ["Signal", "SignalName", "Subscription", "emit", "has_subscribers", "subscribe"]

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


class SignalName(str):
    """The name of a signal, with the names of its arguments: ``DATA_RECEIVED = SignalName("data-received", "data")``.

    A member of an enumeration may have a plain name as well; then :func:`subscribe` cannot check handlers.

    Attributes:
        arguments: the names of the arguments, without ``sender`` and ``signal``.
    """

    arguments: tuple[str, ...]

    def __new__(cls, name: str, *arguments: str) -> SignalName:
        made = super().__new__(cls, name)
        made.arguments = arguments
        return made


class Signal(enum.Enum):
    """The base class of enumerations of signals. Members hash by identity, five times as fast as those of ``Enum``.

    For type checkers the functions of cnx take members of such enumerations only, so that they find a misspelt signal.
    At run time they take whatever PyDispatcher takes; ``dispatcher.connect`` remains for other kinds of signals.
    """

    __hash__ = object.__hash__

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The names of its arguments, without ``sender`` and ``signal``; ``None`` if they were not declared."""
        return getattr(self.value, "arguments", None)


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


def is_any_alive(own: Table | None, everyone: Table | None, signal: object) -> bool:
    """Return whether :func:`receivers_of` the same arguments would find a handler; it looks only for the first one."""
    for table in (own, everyone):
        for key in (signal, dispatcher.Any) if table else ():
            for receiver in table.get(key, ()):  # type: ignore[union-attr]  # it is not None
                if handler_of(receiver) is not None:
                    return True
    return False


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


def report(error: Exception, receiver: object, signal: object) -> None:
    """Show the exception that the handler of ``receiver`` raised."""
    report_error(error, f"handler {describe(receiver)} of {signal} raised; the other handlers still get the signal")


def emit(sender: object, signal: Signal, **arguments: Any) -> None:
    """Call every subscriber of a signal with the arguments that it accepts. Thread-safe.

    An exception that a handler raises is shown by ``cnx.excepthook``, and the other handlers still get the signal. They
    also do if it raises something else, such as ``SystemExit``, which is raised after that.
    """
    handlers = [handler_of(receiver) for receiver in _registered(sender, signal)]  # alive until all were called
    left = iter([handler for handler in handlers if handler is not None])
    interrupt: BaseException | None = None
    handler: Any = None
    while True:
        try:  # around the loop, as an interrupt may also come between two handlers
            for handler in left:
                try:
                    call_with_accepted(handler, signal=signal, sender=sender, **arguments)
                except Exception as error:
                    report(error, handler, signal)
            break
        except BaseException as error:
            interrupt = interrupt or error
    if interrupt is not None:
        raise interrupt


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

    def check_handler(self) -> None:
        """Raise TypeError if the handler cannot be called with the arguments of the signal, where these are known."""
        arguments: tuple[str, ...] | None = getattr(self.signal, "arguments", None)
        if not isinstance(self.signal, Signal) or arguments is None:
            return
        try:
            signature = inspect.signature(self.handler)
        except (TypeError, ValueError):  # some builtins have no signature
            return
        given = dict.fromkeys((*arguments, *_ABOUT))
        try:
            if self._by_position(set(arguments)):
                signature.bind(*arguments)
            elif self._parameters.names is None:
                signature.bind(**given)
            else:
                signature.bind(**{name: None for name in given if name in self._parameters.names})
        except TypeError as error:
            what = f"the arguments {', '.join(arguments)}" if arguments else "no arguments"
            raise TypeError(
                f"{describe(self.handler)} cannot be called for {self.signal}, which has {what}: {error}; "
                "a handler may also name sender and signal"
            ) from None

    def cancel(self) -> None:
        """Unsubscribe the handler; calling this again does nothing.

        The handler is not called again, even for data already received. A call in progress on another thread goes on.
        """
        with _tables:
            if not self.active:
                return
            sender = self._sender()
            while True:
                with contextlib.suppress(dispatcher.errors.DispatcherKeyError, KeyError):
                    dispatcher.disconnect(self, signal=self.signal, sender=sender, weak=False)
                if self not in connections.get(id(sender), _EMPTY).get(self.signal, ()):
                    break  # otherwise another thread has changed the list meanwhile
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
        TypeError: ``handler`` cannot be called with the arguments of ``signal``, or ``signal`` is ``None``.
        ValueError: ``sender`` never emits ``signal``.
    """
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {handler!r}")
    if signal is None:
        raise TypeError("signal must not be None")
    emitted = _emitted_by(type(sender))
    _check_emitted(sender, signal, emitted)
    subscription = Subscription(sender, signal, handler)
    if emitted:  # another kind of sender may emit the same signal with other arguments
        subscription.check_handler()
    with _tables:
        # When the last handler of a sender dies, PyDispatcher drops its table, even while connect() adds to that table.
        while True:
            with contextlib.suppress(KeyError):
                dispatcher.connect(subscription, signal=signal, sender=sender, weak=False)
            receivers = connections.get(id(sender), _EMPTY).get(signal, ())
            if receivers[-1:] == [subscription] or subscription in receivers:  # mostly the last one: no long search
                break
    _note_change(sender)
    return subscription


def _check_emitted(sender: object, signal: object, emitted: tuple[Signal, ...]) -> None:
    """Raise ValueError if it is known that ``sender`` never emits ``signal``.

    That is known of the kinds of senders and the enumerations of cnx. Signals of your own may be emitted by any sender.
    """
    if isinstance(sender, type) and _emitted_by(sender):
        raise ValueError(f"signals are emitted by objects, and {sender.__name__} is a class; pass a {sender.__name__}")
    if not emitted or signal in emitted or signal is dispatcher.Any:
        return
    name = type(sender).__name__
    if isinstance(signal, Signal):
        if not type(signal).__module__.startswith("cnx."):
            return
        other = getattr(sender, "connection", None)
        same = [each for each in emitted if each.name == signal.name]
        near = [f"{each}" for each in same]
        hint = " did you mean to subscribe to its connection?" if signal in _emitted_by(type(other)) else ""
    else:
        near = _near(str(signal), emitted)
        hint = ""
        if not near:
            return
    hint = hint or (f" did you mean {' or '.join(near)}?" if near else f" it emits {', '.join(map(str, emitted))}")
    raise ValueError(f"a {name} never emits {signal};{hint}")


def _emitted_by(kind: type) -> tuple[Signal, ...]:
    """Return the signals that senders of a class are known to emit.

    These are the members of enumerations that are attributes of the class or its base classes, and
    ``message_signals``.
    """
    found: dict[Signal, None] = {}
    for base in kind.__mro__:
        for member in vars(base).values():
            if isinstance(member, type) and issubclass(member, Signal):
                found.update(dict.fromkeys(member))
    found.update(dict.fromkeys(getattr(kind, "message_signals", ())))
    return tuple(found)


def _near(name: str, emitted: tuple[Signal, ...]) -> list[str]:
    """Return the signal that a text seems to mean: its name or its value, maybe misspelt."""
    names = {text.upper().replace("_", "-"): each for each in emitted for text in (each.name, str(each.value))}
    close = difflib.get_close_matches(name.upper().replace("_", "-").rpartition(".")[2], names, 1, 0.8)
    return [str(names[text]) for text in close]


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
