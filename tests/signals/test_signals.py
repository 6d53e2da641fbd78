"""Tests of signals: who gets them, with which arguments, for how long."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from pydispatch import dispatcher

from cnx.signals import Signal, Subscription, emit, has_subscribers, subscribe
from cnx.signals.subscriptions import subscribe_weakly


class Happening(Signal):
    """Two signals."""

    ONE = "one"
    TWO = "two"


class Sender:
    """Something that signals are of."""


class Told(Sender):
    """A sender that hears when its subscribers change, as the parts of a connection do."""

    def __init__(self) -> None:
        self.changes = 0
        self._cnx = self

    def on_subscribers_changed(self) -> None:
        self.changes += 1


def tell(sender: object, **arguments: Any) -> None:
    """Emit a signal."""
    emit(sender, Happening.ONE, **arguments)


def test_handlers_get_the_arguments_that_they_name() -> None:
    """Those of the signal, the sender and the signal, by name; the rest is left out."""
    sender, got = Sender(), list[Any]()
    subscribe(sender, Happening.ONE, lambda data: got.append(data))
    subscribe(sender, Happening.ONE, lambda more, data: got.append((more, data)))
    subscribe(sender, Happening.ONE, lambda signal, sender: got.append((signal, sender)))
    subscribe(sender, Happening.ONE, lambda **everything: got.append(everything))
    subscribe(sender, Happening.ONE, lambda: got.append("nothing"))
    tell(sender, data=1, more=2)
    everything = {"data": 1, "more": 2, "sender": sender, "signal": Happening.ONE}
    assert got == [1, (2, 1), (Happening.ONE, sender), everything, "nothing"]


def test_keyword_only_arguments_are_given_by_name() -> None:
    """A handler whose argument is keyword-only gets it."""
    sender, got = Sender(), list[Any]()

    def handler(*, data: int) -> None:
        got.append(data)

    with subscribe(sender, Happening.ONE, handler) as subscription:
        tell(sender, data=1)
        assert not subscription.takes_only("data")
    assert got == [1]


def positional_only(value: Any, /, kept: list[Any] | None = None) -> None:
    """Take an argument that cannot be named."""
    positional_got.append(value)


positional_got: list[Any] = []


@pytest.mark.parametrize("takes", ["append", "other name", "positional only", "any number", "update", "partial"])
def test_handlers_that_name_nothing_are_given_by_position(takes: str) -> None:
    """Such as ``list.append``, lambdas with a name of their own, and partials."""
    sender = Sender()
    got: list[Any] = []
    found: dict[Any, Any] = {}
    positional_got.clear()
    handlers: dict[str, Callable[..., Any]] = {
        "append": got.append,
        "other name": lambda chunk: got.append(chunk),
        "positional only": positional_only,
        "any number": lambda *chunks: got.extend(chunks),
        "update": found.update,  # a builtin without a signature
        "partial": functools.partial(lambda kept, chunk: kept.append(chunk), got),
    }
    with subscribe(sender, Happening.ONE, handlers[takes]):
        tell(sender, data={"a": 1})
    assert got + positional_got + ([found] if found else []) == [{"a": 1}]


def test_partial_with_a_named_argument() -> None:
    """What a partial has bound by name is not given again, the rest is given by name."""
    sender, got = Sender(), list[Any]()
    bound = functools.partial(lambda kept, data: kept.append(data), kept=got)
    subscribe(sender, Happening.ONE, bound)
    tell(sender, data=7)
    assert got == [7]


def test_signal_without_arguments_reaches_all_kinds_of_handlers() -> None:
    """A handler without parameters and one with defaults only are both called."""
    sender, got = Sender(), list[Any]()
    subscribe(sender, Happening.ONE, lambda: got.append("none"))
    subscribe(sender, Happening.ONE, lambda x="default": got.append(x))
    tell(sender)
    assert got == ["none", "default"]


def test_subscription_is_strong_and_plain_connect_is_weak() -> None:
    """A lambda stays subscribed by ``subscribe``, and vanishes with PyDispatcher's own ``connect``."""
    sender, got = Sender(), list[Any]()
    subscribe(sender, Happening.ONE, lambda data: got.append(("kept", data)))
    dispatcher.connect(lambda data: got.append(("lost", data)), signal=Happening.ONE, sender=sender)
    gc.collect()
    tell(sender, data=1)
    assert got == [("kept", 1)]


def test_subscribers_do_not_keep_the_sender_alive() -> None:
    """A sender that nobody else holds goes, and its subscriptions with it."""
    sender = Sender()
    subscription = subscribe(sender, Happening.ONE, print)
    watch = weakref.ref(sender)
    key = id(sender)
    del sender
    gc.collect()
    assert watch() is None
    assert key not in dispatcher.connections
    subscription.cancel()  # finds nothing, and does not fail


def test_weak_method_lives_with_its_object() -> None:
    """``subscribe_weakly`` ends with the object."""

    class Listener:
        def __init__(self) -> None:
            self.got: list[int] = []

        def on_one(self, data: int) -> None:
            self.got.append(data)

    sender, listener = Sender(), Listener()
    got = listener.got
    subscribe_weakly(sender, Happening.ONE, listener.on_one)
    tell(sender, data=1)
    del listener
    gc.collect()
    tell(sender, data=2)
    assert got == [1]


def test_cancel_ends_a_subscription_once_and_for_all() -> None:
    """Also for a signal that is being told, and a second time harmlessly."""
    sender, got = Sender(), list[Any]()
    second: list[Subscription] = []
    subscribe(sender, Happening.ONE, lambda: second[0].cancel())
    second.append(subscribe(sender, Happening.ONE, lambda: got.append("second")))
    subscribe(sender, Happening.ONE, lambda: got.append("third"))
    tell(sender)
    second[0].cancel()
    tell(sender)
    assert got == ["third", "third"]
    assert not second[0].active


def test_subscription_is_a_context_manager() -> None:
    """It ends with the block."""
    sender, got = Sender(), list[Any]()
    with subscribe(sender, Happening.ONE, got.append):
        tell(sender, data=1)
    tell(sender, data=2)
    assert got == [1]


def test_two_subscriptions_of_one_handler_are_two() -> None:
    """Unlike with PyDispatcher, each counts, and ends by itself."""
    sender, got = Sender(), list[Any]()
    first = subscribe(sender, Happening.ONE, got.append)
    subscribe(sender, Happening.ONE, got.append)
    tell(sender, data=1)
    first.cancel()
    tell(sender, data=2)
    assert got == [1, 1, 2]


@pytest.mark.parametrize("sender", ["a text", 7, None, ("a", "tuple")], ids=repr)
def test_senders_that_cannot_be_referenced_weakly(sender: object) -> None:
    """They work like others."""
    got: list[Any] = []
    subscription = subscribe(sender, Happening.TWO, got.append)
    emit(sender, Happening.TWO, data=1)
    subscription.cancel()
    emit(sender, Happening.TWO, data=2)
    assert got == [1]


def test_has_subscribers() -> None:
    """Of every kind: subscriptions, plain handlers as long as they live, any sender, any signal."""
    sender = Sender()
    assert not has_subscribers(sender, Happening.ONE)
    for who in (sender, dispatcher.Any):
        for signal in (Happening.ONE, dispatcher.Any):
            with subscribe(who, signal, print):
                assert has_subscribers(sender, Happening.ONE)
            assert not has_subscribers(sender, Happening.ONE)
    with subscribe(sender, Happening.TWO, print), subscribe(Sender(), Happening.ONE, print):
        assert not has_subscribers(sender, Happening.ONE)

    def plain() -> None:
        """Be a handler."""

    dispatcher.connect(plain, signal=Happening.ONE, sender=sender)
    assert has_subscribers(sender, Happening.ONE)
    del plain
    gc.collect()
    assert not has_subscribers(sender, Happening.ONE)


def test_any_sender_and_any_signal() -> None:
    """PyDispatcher's wildcards hold for subscriptions too."""
    sender, got = Sender(), list[Any]()
    with (
        subscribe(dispatcher.Any, Happening.ONE, lambda data: got.append(("any sender", data))),
        subscribe(sender, dispatcher.Any, lambda data: got.append(("any signal", data))),
    ):
        emit(sender, Happening.TWO, data=2)
        emit(Sender(), Happening.ONE, data=1)
    emit(sender, Happening.ONE, data=3)
    assert got == [("any signal", 2), ("any sender", 1)]


def test_sender_hears_of_subscribers() -> None:
    """Of each that comes, and of each that goes."""
    sender = Told()
    subscription = subscribe(sender, Happening.ONE, print)
    assert sender.changes == 1
    subscription.cancel()
    subscription.cancel()
    assert sender.changes == 2


def test_raising_handler_is_logged_by_name_and_isolated(caplog: pytest.LogCaptureFixture) -> None:
    """The others still get the signal; what is not callable as PyDispatcher demands is reported, too."""
    sender, got = Sender(), list[Any]()

    def broken(data: int) -> None:
        raise RuntimeError("broken handler")

    subscribe(sender, Happening.ONE, broken)
    partial = functools.partial(print)
    dispatcher.connect(partial, signal=Happening.ONE, sender=sender)
    subscribe(sender, Happening.ONE, got.append)
    with caplog.at_level(logging.ERROR, "cnx"):
        tell(sender, data=1)
    assert got == [1]
    assert [record.getMessage().split(" of ")[0] for record in caplog.records] == [
        "handler test_raising_handler_is_logged_by_name_and_isolated.<locals>.broken",
        "handler functools.partial(<built-in function print>)",
    ]


def test_interrupts_are_not_swallowed() -> None:
    """``KeyboardInterrupt`` in a handler reaches the one who emits."""
    sender = Sender()

    def interrupt() -> None:
        raise KeyboardInterrupt

    subscribe(sender, Happening.ONE, interrupt)
    with pytest.raises(KeyboardInterrupt):
        tell(sender)


@pytest.mark.parametrize(("signal", "handler"), [(Happening.ONE, "no callable"), (None, print), ([], print)], ids=repr)
def test_bad_subscriptions_are_refused(signal: Any, handler: Any) -> None:
    """At the call."""
    with pytest.raises(TypeError):
        subscribe(Sender(), signal, handler)


def test_subscription_survives_a_handler_that_dies_at_the_wrong_moment() -> None:
    """PyDispatcher drops the table of a sender with its last handler, also while a new one is put into it."""
    got: list[int] = []

    class Sly(Sender):
        """Drops its other handler when PyDispatcher looks at it in the middle of ``connect``."""

        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            if armed:
                handlers.clear()
            return self is other

    sender, armed = Sly(), False
    handlers = [lambda data: None]
    dispatcher.connect(handlers[0], signal=Happening.ONE, sender=sender)
    armed = True
    subscribe(sender, Happening.ONE, got.append)
    tell(sender, data=1)
    assert not handlers
    assert got == [1]


def test_signals_of_an_enumeration_hash_by_identity_and_stay_themselves() -> None:
    """Members can be looked up by value, and are keys."""
    assert Happening("one") is Happening.ONE
    assert {Happening.ONE: 1}[Happening("one")] == 1
    assert Happening.__hash__ is object.__hash__


def test_subscribing_from_many_threads_loses_nobody() -> None:
    """Eight threads subscribe and cancel on one sender while a ninth tells; who stays gets everything."""
    sender, got, steady = Told(), list[Any](), list[Any]()
    rounds = 300
    steady_subscription = subscribe(sender, Happening.ONE, lambda data: steady.append(data))
    lasting: list[Subscription] = []
    barrier = threading.Barrier(9)

    def churn() -> None:
        barrier.wait(10)
        for _ in range(rounds):
            subscribe(sender, Happening.ONE, lambda data: None).cancel()
        lasting.append(subscribe(sender, Happening.ONE, got.append))

    threads = [threading.Thread(target=churn, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait(10)
    for number in range(rounds):
        tell(sender, data=number)
    for thread in threads:
        thread.join(30)
    got.clear()
    tell(sender, data="last")
    assert got == ["last"] * 8
    assert steady == [*range(rounds), "last"]
    for subscription in [*lasting, steady_subscription]:
        subscription.cancel()
    assert id(sender) not in dispatcher.connections
