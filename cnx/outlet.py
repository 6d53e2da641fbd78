"""The fast way to tell a signal that happens often: receivers are resolved once, not for every message."""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from cnx.signals import ANY, NOBODY, call_filtered, connections, dispatcher, handler_of, registered, report, takes_only

__all__ = ["Outlet"]

_ANY_SIGNAL = dispatcher.Any
_Call = Callable[[Any], Any]
_Entry = tuple[Any, bool, bool]  # what is registered, whether weakly, whether it is called with the argument alone


def _ignore(payload: Any) -> None:
    """Stand in for a handler that unsubscribed while its signal is being told."""


class Outlet:
    """Tells one signal of one sender, with one argument, to the same receivers as ``dispatcher.send``.

    It compares PyDispatcher's lists with the copies that its plan was made from, so it needs no hook there:
    whoever subscribes, by whatever way, is found by the next message. Weak references stay weak.

    One thread at a time may emit; any thread may ask :meth:`wanted`, :meth:`refresh` or :meth:`stop`.

    Args:
        sender: kept as a weak reference.
        signal: the signal to tell.
        name: name of its argument.
    """

    def __init__(self, sender: object, signal: object, name: str) -> None:
        self._sender = weakref.ref(sender)
        self._own = id(sender)
        self._signal = signal
        self._name = name
        self._copies: tuple[Any, ...] = (None, None, None, None)
        self._plan: list[_Entry] = []
        self._ready: list[_Call] | None = []
        self._running: list[_Call] = []
        self._batch: list[Any] = []
        self._rest: Iterator[Any] = iter(())

    def wanted(self) -> bool:
        """Whether anybody is subscribed."""
        own, everybody = connections.get(self._own, NOBODY), connections.get(ANY, NOBODY)
        signal = self._signal
        return bool(own.get(signal) or everybody.get(signal) or own.get(_ANY_SIGNAL) or everybody.get(_ANY_SIGNAL))

    def emit(self, payload: Any) -> None:
        """Tell the signal once."""
        calls = self._running = self._calls()
        for call in calls:
            try:
                call(payload)
            except Exception:
                report(call, self._signal)

    def emit_each(self, payloads: list[Any]) -> None:
        """Tell the signal for each of ``payloads``, which is emptied when it is stopped half-way."""
        while payloads:
            calls = self._running = self._calls()
            self._batch, self._rest = payloads, iter(payloads)
            if len(calls) == 1:
                self._run_one(calls[0], self._rest)
            elif calls:
                self._run_all(calls, self._rest)
            if self._batch is payloads:
                return
            payloads = self._batch

    def refresh(self) -> None:
        """Let a change of subscribers take effect on the message that is being told, and on the rest of its batch."""
        fresh = set(map(id, self._calls()))
        running = self._running
        for index, call in enumerate(running):
            if id(call) not in fresh:
                running[index] = _ignore
        left = operator.length_hint(self._rest)
        if left:
            batch = self._batch
            self._batch = batch[-left:]
            batch.clear()

    def stop(self) -> None:
        """Tell nothing after the message that is being told."""
        self._batch.clear()
        self._running[:] = [_ignore] * len(self._running)
        self._ready = None

    def _current(self) -> list[_Entry]:
        """Return what is registered now; PyDispatcher's tables are only read."""
        own, everybody = connections.get(self._own, NOBODY), connections.get(ANY, NOBODY)
        signal, any_signal = self._signal, dispatcher.Any
        lists = (own.get(signal), own.get(any_signal), everybody.get(signal), everybody.get(any_signal))
        if lists != self._copies:
            self._copies = tuple(None if found is None else list(found) for found in lists)
            sender = self._sender()
            self._plan = [] if sender is None else [self._entry(item) for item in registered(sender, signal)]
            self._ready = None
        return self._plan

    def _entry(self, item: Any) -> _Entry:
        weak = isinstance(item, dispatcher.WEAKREF_TYPES)
        target = item() if weak else item
        return item, weak, target is not None and takes_only(target, self._name)

    def _calls(self) -> list[_Call]:
        """Return what to call; what PyDispatcher holds weakly is resolved anew each time."""
        plan = self._current()
        if self._ready is not None:
            return self._ready
        calls: list[_Call] = []
        for item, weak, direct in plan:
            target = item() if weak else item
            if target is not None:
                calls.append(handler_of(target) if direct else self._filtered(target))
        if not any(weak for _, weak, _ in plan):
            self._ready = calls
        return calls

    def _filtered(self, target: Any) -> _Call:
        return functools.partial(call_filtered, target, self._sender, self._signal, self._name)

    def _run_one(self, call: _Call, rest: Iterator[Any]) -> None:
        while True:
            try:
                for payload in rest:
                    call(payload)
                return
            except Exception:
                report(call, self._signal)

    def _run_all(self, calls: list[_Call], rest: Iterator[Any]) -> None:
        for payload in rest:
            for call in calls:
                try:
                    call(payload)
                except Exception:
                    report(call, self._signal)
