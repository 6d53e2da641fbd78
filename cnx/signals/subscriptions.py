"""Signals: what happened is told through PyDispatcher.

This is the only module that knows PyDispatcher. Its tables have no lock, ``send`` stops at the first
receiver that raises, and it costs microseconds for each receiver. So here a signal takes a snapshot of
the receivers, calls them outside of any lock, and isolates them from each other. The rules of who
receives a signal, and with which arguments, are PyDispatcher's own.
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import functools
import inspect
import logging
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pydispatch import dispatcher as dispatcher
from pydispatch.robustapply import function as receiving_function
from pydispatch.robustapply import robustApply as call_with_accepted

from cnx.threads.locks import Lock

__all__ = ["Signal", "Subscription", "emit", "subscribe"]

log = logging.getLogger(__name__)

_tables = Lock()  # PyDispatcher's tables are not safe against two threads that subscribe at once
if hasattr(
    os, "register_at_fork"
):  # a child must not inherit them half changed, nor locked by a thread it does not have
    os.register_at_fork(before=_tables.acquire, after_in_parent=_tables.release, after_in_child=_tables.release)
atexit.register(dispatcher.senders.clear)  # its weak references run code of a module that may be gone by then
connections: dict[int, dict[Any, list[Any]]] = dispatcher.connections
table_of = connections.get
"""Returns what is registered for the ``id`` of a sender, if anything. It has a name of its own as this is asked for
every signal, and CPython since 3.11 makes a new method object wherever a method of an imported name is called.
"""
NOBODY: dict[Any, list[Any]] = {}
ANY = id(dispatcher.Any)


class Signal(enum.Enum):
    """Derive enumerations of signals from this class: its members hash by identity, five times as fast as others."""

    __hash__ = object.__hash__


def registered(sender: object, signal: object) -> list[Any]:
    """Return what is registered for ``signal`` of ``sender``, as ``dispatcher.send`` finds it: each once, in its order.

    An entry is a handler, or a weak reference to one.
    """
    tables = connections.get(id(sender), NOBODY), connections.get(ANY, NOBODY)
    return each_once(tuple(table.get(key, ())) for table in tables for key in (signal, dispatcher.Any))


def each_once(lists: Iterable[Iterable[Any] | None]) -> list[Any]:
    """Return the entries of PyDispatcher's lists, each once, in their order."""
    found: dict[Any, None] = {}
    for entries in lists:
        for entry in entries or ():
            try:
                if entry:
                    found[entry] = None
            except TypeError:  # a dead weak reference that was never hashed
                continue
    return list(found)


def alive(receivers: list[Any]) -> list[Any]:
    """Return the handlers behind registered entries, without those that have died."""
    targets = [entry() if isinstance(entry, dispatcher.WEAKREF_TYPES) else entry for entry in receivers]
    return [target for target in targets if target is not None]


def describe(call: Any) -> str:
    """Return the name of a handler for a log line."""
    if isinstance(call, functools.partial) and call.func is call_filtered:
        call = call.args[0]
    owner = getattr(call, "__self__", call)
    handler = owner.handler if isinstance(owner, Subscription) else call
    return getattr(handler, "__qualname__", None) or repr(handler)


def report(call: object, signal: object) -> None:
    """Log the exception that a handler raised."""
    log.exception("handler %s of %s raised; the other handlers still get the signal", describe(call), signal)


def emit(sender: object, signal: object, **arguments: Any) -> None:
    """Tell every subscriber that ``signal`` happened at ``sender``. Never raises what a handler raises."""
    for receiver in alive(registered(sender, signal)):
        try:
            call_with_accepted(receiver, signal=signal, sender=sender, **arguments)
        except Exception:
            report(receiver, signal)


def takes_only(receiver: Any, name: str) -> bool:
    """Whether calling ``receiver`` with the argument ``name`` alone, by position, does what PyDispatcher does."""
    if isinstance(receiver, Subscription):
        return receiver.takes_only(name)
    try:
        _, code, first = receiving_function(receiver)
    except ValueError:
        return False
    names = code.co_varnames[first : code.co_argcount]
    takes_all = code.co_flags & inspect.CO_VARKEYWORDS
    return bool(names) and names[0] == name and not takes_all and not {"sender", "signal"} & set(names)


def direct_call(receiver: Any, told: bool) -> Callable[[Any], Any]:
    """Return what to call in place of a receiver of which :func:`takes_only` holds.

    Args:
        receiver: a handler, or a subscription.
        told: the caller is told of each subscription to its sender that is cancelled.
    """
    return receiver.direct_call(told) if isinstance(receiver, Subscription) else receiver


def call_filtered(receiver: Any, sender: weakref.ref[Any], signal: object, name: str, payload: Any) -> None:
    """Call ``receiver`` with those of the signal's argument, sender and signal that it accepts."""
    call_with_accepted(receiver, signal=signal, sender=sender(), **{name: payload})


_ABOUT = frozenset({"sender", "signal"})


class _Parameters(NamedTuple):
    """How a handler takes arguments."""

    names: frozenset[str] | None  # those it takes by keyword; None for any
    first: str | None  # the name of its first one by position, "" where that has none; None where there is none


def _parameters(handler: Callable[..., Any]) -> _Parameters:
    """Find out how a handler takes arguments."""
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # some builtins do not tell
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
    """Return what gives ``sender``, without keeping it alive where that is possible."""
    try:
        return weakref.ref(sender)
    except TypeError:  # such as a str
        return lambda: sender


class Subscription:
    """A handler that stays subscribed until :meth:`cancel`; also a context manager. Thread-safe.

    The handler gets the arguments that it names (those of the signal, ``sender`` and ``signal``); one that
    names none of them, such as ``list.append`` or ``lambda chunk: ...``, gets the signal's arguments by position.
    """

    def __init__(self, sender: object, signal: object, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.signal = signal
        self._sender = _weakly(sender)
        self._parameters = _parameters(handler)
        self.active = True

    def __call__(self, **arguments: Any) -> None:
        """Hand the signal to the handler."""
        if not self.active:
            return
        if self._by_position(set(arguments)):
            self.handler(*(value for name, value in arguments.items() if name not in _ABOUT))
        elif self._parameters.names is None:
            self.handler(**arguments)
        else:
            self.handler(**{name: value for name, value in arguments.items() if name in self._parameters.names})

    def takes_only(self, name: str) -> bool:
        """Whether the handler may be called with nothing but the argument ``name``, by position."""
        names, first = self._parameters
        return self._by_position({name}) or (names is not None and first == name and not names & _ABOUT)

    def direct_call(self, told: bool) -> Callable[[Any], Any]:
        """Return what to call with an argument alone; the handler itself if the caller is told of :meth:`cancel`."""
        return self.handler if told and self._sender() is not dispatcher.Any else self._call_while_active

    def _call_while_active(self, payload: Any) -> None:
        if self.active:
            self.handler(payload)

    def _by_position(self, given: set[str]) -> bool:
        """Whether the handler takes arguments by position, and names none of those that are ``given``."""
        names, first = self._parameters
        return names is not None and first is not None and not names & (given | _ABOUT)

    def cancel(self) -> None:
        """Unsubscribe; the handler is not called again, not even for signals that are being told. Once is enough.

        A call that another thread has begun goes on.
        """
        with _tables:
            if not self.active:
                return
            self.active = False
            sender = self._sender()
            while self in connections.get(id(sender), NOBODY).get(self.signal, ()):
                with contextlib.suppress(dispatcher.errors.DispatcherKeyError, KeyError):
                    dispatcher.disconnect(self, signal=self.signal, sender=sender, weak=False)
        _tell_changed(sender)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()


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
        # a handler that dies at this moment may take the very table away that the new one is being put into
        while subscription not in connections.get(id(sender), NOBODY).get(signal, ()):
            with contextlib.suppress(KeyError):
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
