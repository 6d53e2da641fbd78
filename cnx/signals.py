"""Signals: what happened is told through PyDispatcher.

This is the only module that knows PyDispatcher. Its tables have no lock, ``send`` stops at the first
receiver that raises, and it costs microseconds for each receiver. So here a signal takes a snapshot of
the receivers, calls them outside of any lock, and isolates them from each other. The rules of who
receives a signal, and with which arguments, are PyDispatcher's own.
"""

from __future__ import annotations

import enum
import functools
import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from pydispatch import dispatcher as dispatcher
from pydispatch.robustapply import function as receiving_function
from pydispatch.robustapply import robustApply as call_with_accepted

__all__ = ["Signal", "Subscription", "emit", "subscribe"]

log = logging.getLogger(__name__)

_tables = threading.RLock()  # PyDispatcher's tables are not safe against two threads that subscribe at once
connections: dict[int, dict[Any, list[Any]]] = dispatcher.connections
NOBODY: dict[Any, list[Any]] = {}
ANY = id(dispatcher.Any)


class Signal(enum.Enum):
    """Derive enumerations of signals from this class: its members hash by identity, five times faster than plain ones."""

    __hash__ = object.__hash__


def registered(sender: object, signal: object) -> list[Any]:
    """Return what is registered for ``signal`` of ``sender``, as ``dispatcher.send`` finds it: each once, in its order.

    An entry is a handler, or a weak reference to one.
    """
    own, everybody = connections.get(id(sender), NOBODY), connections.get(ANY, NOBODY)
    found: dict[Any, None] = {}
    for table in (own, everybody):
        for key in (signal, dispatcher.Any):
            for receiver in tuple(table.get(key, ())):
                try:
                    if receiver:
                        found[receiver] = None
                except TypeError:  # a dead weak reference that was never hashed
                    continue
    return list(found)


def alive(receivers: list[Any]) -> list[Any]:
    """Return the handlers behind registered entries, without those that have died."""
    targets = [entry() if isinstance(entry, dispatcher.WEAKREF_TYPES) else entry for entry in receivers]
    return [target for target in targets if target is not None]


def handler_of(receiver: Any) -> Any:
    """Return the user's function behind a receiver."""
    return receiver.handler if isinstance(receiver, Subscription) else receiver


def describe(receiver: object) -> str:
    """Return the name of a handler for a log line."""
    handler = handler_of(receiver.args[0] if isinstance(receiver, functools.partial) else receiver)
    return getattr(handler, "__qualname__", None) or repr(handler)


def report(receiver: object, signal: object) -> None:
    """Log the exception that a handler raised."""
    log.exception("handler %s of %s raised; the other handlers still get the signal", describe(receiver), signal)


def emit(sender: object, signal: object, **arguments: Any) -> None:
    """Tell every subscriber that ``signal`` happened at ``sender``. Never raises what a handler raises."""
    for receiver in alive(registered(sender, signal)):
        try:
            call_with_accepted(receiver, signal=signal, sender=sender, **arguments)
        except Exception:
            report(receiver, signal)


def takes_only(receiver: Any, name: str) -> bool:
    """Whether calling ``receiver`` with nothing but the argument ``name``, by position, is what PyDispatcher does in effect."""
    if isinstance(receiver, Subscription):
        return receiver.takes_only(name)
    try:
        _, code, first = receiving_function(receiver)
    except ValueError:
        return False
    names = code.co_varnames[first : code.co_argcount]
    takes_all = code.co_flags & inspect.CO_VARKEYWORDS
    return bool(names) and names[0] == name and not takes_all and not {"sender", "signal"} & set(names)


def call_filtered(receiver: Any, sender: weakref.ref[Any], signal: object, name: str, payload: Any) -> None:
    """Call ``receiver`` with those of the signal's argument, sender and signal that it accepts."""
    call_with_accepted(receiver, signal=signal, sender=sender(), **{name: payload})


class Subscription:
    """A handler that stays subscribed until :meth:`cancel`; also a context manager. Thread-safe.

    The handler gets the arguments that it names (those of the signal, ``sender`` and ``signal``); one that
    names none of them, such as ``list.append`` or ``lambda chunk: ...``, gets the signal's arguments by position.
    """

    def __init__(self, sender: object, signal: object, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.signal = signal
        self._sender = weakref.ref(sender) if sender not in (dispatcher.Any, dispatcher.Anonymous) else lambda: sender
        self._names, self._by_position = _accepted(handler)
        self.active = True

    def __call__(self, **arguments: Any) -> None:
        """Hand the signal to the handler."""
        if not self.active:
            return
        if self._by_position(arguments):
            payload = [value for name, value in arguments.items() if name not in ("sender", "signal")]
            self.handler(*payload)
        elif self._names is None:
            self.handler(**arguments)
        else:
            self.handler(**{name: value for name, value in arguments.items() if name in self._names})

    def takes_only(self, name: str) -> bool:
        """Whether the handler may be called with nothing but the argument ``name``, by position."""
        return self._by_position((name,)) or self._names == [name]

    def cancel(self) -> None:
        """Unsubscribe; the handler is not called again, not even for a signal that is being told. Once is enough."""
        with _tables:
            if not self.active:
                return
            self.active = False
            sender = self._sender()  # type: ignore[no-untyped-call]
            if sender is not None:
                dispatcher.disconnect(self, signal=self.signal, sender=sender, weak=False)
        if sender is not None:
            _tell_changed(sender)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()


def _accepted(handler: Callable[..., Any]) -> tuple[list[str] | None, Callable[[Any], bool]]:
    """Return the names a handler accepts (``None`` for all), and whether given arguments must go by position."""
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # some builtins do not tell
        return [], lambda names: True
    if any(p.kind is p.VAR_KEYWORD for p in parameters) and not any(p.kind is p.POSITIONAL_ONLY for p in parameters):
        return None, lambda names: False
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    known = {"sender", "signal"}
    return by_name, lambda names: takes_any and not (known | set(names)) & set(by_name)


def subscribe(sender: object, signal: object, handler: Callable[..., Any]) -> Subscription:
    """Call ``handler`` whenever ``signal`` happens at ``sender``, until the subscription is cancelled.

    The handler is kept alive, unlike by ``dispatcher.connect``. It runs on the thread that tells the signal.

    Raises:
        TypeError: ``handler`` is not callable, or ``signal`` is ``None``.
    """
    if not callable(handler):
        raise TypeError(f"a handler is callable, not {handler!r}")
    if signal is None:
        raise TypeError("signal must not be None")
    subscription = Subscription(sender, signal, handler)
    with _tables:
        dispatcher.connect(subscription, signal=signal, sender=sender, weak=False)
    _tell_changed(sender)
    return subscription


def subscribe_weakly(sender: object, signal: object, method: Callable[..., Any]) -> None:
    """Subscribe a method for as long as its object lives, by PyDispatcher's rules."""
    with _tables:
        dispatcher.connect(method, signal=signal, sender=sender)


def _tell_changed(sender: object) -> None:
    """Let a sender know that its subscribers changed, so that it need not look."""
    changed = getattr(sender, "_on_subscribers_changed", None)
    if changed is not None:
        changed()
