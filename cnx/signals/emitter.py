"""The fast way to tell a signal that happens often: receivers are resolved once, not for every message."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

from cnx.signals.subscriptions import (
    ANY,
    call_filtered,
    direct_call,
    dispatcher,
    each_once,
    report,
    table_of,
    takes_only,
)

__all__ = ["NO_PLAN", "Outlet", "Plan"]

_Call = Callable[[Any], Any]
Table = dict[Any, list[Any]]
"""Of PyDispatcher: what is registered for each signal of one sender."""

_ANY_SIGNAL = dispatcher.Any


def _ignore(payload: Any = None) -> None:
    """Stand in for a handler that unsubscribed while its signal is being told, and for what finds it."""


class Plan:
    """Whom to tell, as PyDispatcher's tables had it. Only replaced as a whole, as several threads may make one at once.

    Attributes:
        own, everybody: the contents of its tables of the sender, and of all senders.
        items: what is registered there.
        found: gives what to call for each item, ``None`` where it has died.
        calls: what to call for each item; ``None`` where some are held weakly, so that it has to be found each time.
        change: the change of subscribers up to which it was found right.
        whole: nobody was taken out of it.
    """

    __slots__ = ("calls", "change", "everybody", "found", "items", "own", "whole")

    def __init__(
        self, own: Table | None, everybody: Table | None, items: list[Any], found: list[Callable[[], _Call | None]]
    ) -> None:
        self.own, self.everybody = own, everybody
        self.items = items
        self.found = found
        self.change: object = None
        self.whole = True
        weak = any(isinstance(item, dispatcher.WEAKREF_TYPES) for item in items)
        self.calls: list[Any] | None = None if weak else [find() for find in found]

    def kept_alive(self) -> Plan:
        """Return a plan that has its calls, and so keeps alive what is held weakly here, for a batch."""
        plan = Plan(self.own, self.everybody, self.items, self.found)
        plan.calls = [_ignore if (call := find()) is None else call for find in self.found]
        return plan

    def keep_only(self, registered: list[Any]) -> None:
        """Have the others called no more, and not kept alive, although the plan is being carried out."""
        for index, item in enumerate(self.items):
            if item not in registered:
                self.whole = False  # and who subscribes once more needs another one
                self.own = self.everybody = self.items[index] = None
                self.found[index] = _ignore
                if self.calls is not None:
                    self.calls[index] = _ignore


NO_PLAN = Plan(None, None, [], [])  # one for all that nobody has subscribed to yet, as there are many
_OVER: Iterator[Any] = iter(())
_NONE: list[Any] = []


class Outlet:
    """Tells one signal of one sender, with one argument, to the same receivers as ``dispatcher.send``.

    It compares PyDispatcher's tables with those that its plan was made from, so it needs no hook there: whoever
    subscribes, by whatever way, is found by the next message, or the next batch. Weak references stay weak.

    One thread at a time may emit; any thread may ask :meth:`wanted`, :meth:`refresh` or :meth:`stop`.

    Args:
        sender: kept as a weak reference.
        signal: the signal to tell.
        name: name of its argument.
        refreshed: :meth:`refresh` is called after each change that :func:`cnx.subscribe` makes for the sender, so no
            subscription has to be asked each time whether it still stands.
    """

    __slots__ = (
        "_change",
        "_late",
        "_name",
        "_own",
        "_plan",
        "_refreshed",
        "_rest",
        "_running",
        "_sender",
        "_signal",
        "_stopped",
        "_teller",
    )

    def __init__(self, sender: object, signal: object, name: str, *, refreshed: bool = False) -> None:
        self._sender = weakref.ref(sender)
        self._own = id(sender)
        self._signal = signal
        self._name = name
        self._refreshed = refreshed
        self._plan = self._running = NO_PLAN
        self._change: object = None  # another one with every refresh
        self._rest = _OVER  # of the batch that is being told
        self._late = _NONE  # what of it is to be told to those who are there by then
        self._teller = 0  # the thread that tells a batch
        self._stopped = False

    def wanted(self) -> bool:
        """Whether anybody is subscribed."""
        return bool(self.plan().items)

    def emit(self, payload: Any, plan: Plan | None = None) -> None:
        """Tell the signal once, to those of ``plan``, or to whoever is subscribed now."""
        plan = self._running = plan or self.plan()
        while plan.change is not self._change and plan is not NO_PLAN:
            # somebody unsubscribed, and could not know yet what to take the handler out of
            plan = self._running = self._plan_as_of(self._change)
        if self._stopped:
            return
        if plan.calls is not None:
            for call in plan.calls:
                try:
                    call(payload)
                except Exception:
                    report(call, self._signal)
            return
        for find in plan.found:
            call = find()
            if call is not None:
                try:
                    call(payload)
                except Exception:
                    report(call, self._signal)

    def emit_each(self, payloads: list[Any], plan: Plan | None = None) -> None:
        """Tell the signal for each of ``payloads``, to those of ``plan``, or to whoever is subscribed now."""
        self._teller = get_ident()
        while payloads:
            change = self._change
            if plan is None or plan.change is not change:
                plan = self._plan_as_of(change)
            running = self._running = plan if plan.calls is not None else plan.kept_alive()
            rest, self._late = iter(payloads), _NONE
            self._rest = rest
            if self._stopped:
                break
            if self._change is not change:
                continue  # somebody unsubscribed, and could not know yet what to take the handler out of
            if running.calls:
                run = self._run_one if len(running.calls) == 1 else self._run_all
                run(running.calls, rest)
            payloads = self._late
        self._teller = 0
        self._running, self._rest, self._late = self._plan, _OVER, _NONE  # keep nothing alive

    def refresh(self) -> None:
        """Let a change of subscribers take effect on what is being told.

        Who unsubscribed is called no more. Who subscribed is told from the next message on, or, if another thread is
        telling, from the next batch on.
        """
        self._change = object()
        self._running.keep_only(self.plan().items)
        if self._teller == get_ident():
            self._late = list(self._rest) or self._late  # the second change in a row finds nothing more there
        elif all(item is None for item in self._running.items):
            _use_up(self._rest)  # nobody is left of those who are being told

    def stop(self) -> None:
        """Tell nothing after the message that is being told."""
        self._stopped = True
        self._running.keep_only([])
        _use_up(self._rest)

    def plan(self) -> Plan:
        """Return the plan for what is registered now; PyDispatcher's tables are only read."""
        plan, own, everybody = self._plan, table_of(self._own), table_of(ANY)
        if own == plan.own and everybody == plan.everybody and plan.whole:
            return plan
        return self._new_plan(copied(own), copied(everybody))

    def _plan_as_of(self, change: object) -> Plan:
        """Return the plan for what is registered now, at least up to a change."""
        plan = self.plan()
        if plan is not NO_PLAN:
            plan.change = change
        return plan

    def _new_plan(self, own: Table | None, everybody: Table | None) -> Plan:
        """Make a plan. Several threads may do so at once: whoever is late with an old one is found out by the next."""
        tables = (own or {}, everybody or {})
        items = each_once(table.get(signal) for table in tables for signal in (self._signal, _ANY_SIGNAL))
        self._plan = plan = Plan(own, everybody, items, [self._resolver(item) for item in items])
        return plan

    def _resolver(self, item: Any) -> Callable[[], _Call | None]:
        """Return what gives the call for ``item``; a weak one that takes the argument alone gives it by itself."""
        weak = isinstance(item, dispatcher.WEAKREF_TYPES)
        target = item() if weak else item
        if target is not None and takes_only(target, self._name):
            if weak:
                return item  # type: ignore[no-any-return]
            call = direct_call(target, self._refreshed)
        elif weak:
            return lambda: None if (target := item()) is None else self._filtered(target)
        else:
            call = self._filtered(target)
        return lambda: call

    def _filtered(self, target: Any) -> _Call:
        return functools.partial(call_filtered, target, self._sender, self._signal, self._name)

    def _run_one(self, calls: list[_Call], rest: Iterator[Any]) -> None:
        call, over = calls[0], False
        while not over:
            try:
                for payload in rest:  # the rest is empty as soon as refresh() has taken the handler out
                    call(payload)
                over = True
            except Exception:
                report(call, self._signal)

    def _run_all(self, calls: list[_Call], rest: Iterator[Any]) -> None:
        for payload in rest:
            for call in calls:
                try:
                    call(payload)
                except Exception:
                    report(call, self._signal)


def _use_up(rest: Iterator[Any]) -> None:
    """Leave nothing for whoever iterates over it."""
    deque(rest, maxlen=0)


def copied(table: Table | None) -> Table | None:
    """Return the contents of a table as they are now, although other threads may change it."""
    return None if table is None else {signal: list(found) for signal, found in table.copy().items()}
