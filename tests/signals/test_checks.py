"""``subscribe()`` refuses what would never be called, or could not be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import cnx
from cnx import Connection, ConnectionManager, Signal, SocketConnection, has_subscribers, subscribe
from cnx.clients.m2 import M2Client, M2Controller, M2Signals
from cnx.clients.smartbus import BusSignals, SmartBusClient
from cnx.signals import SignalName

SIGNALS = Connection.Signals
CONNECTION = SocketConnection("host", 1)
MANAGER = ConnectionManager(SocketConnection("host", 1))


def nothing(**arguments: Any) -> None:
    """Take everything."""


@pytest.mark.parametrize(
    ("sender", "signal", "hint"),
    [
        (CONNECTION, ConnectionManager.Signals.STATE_CHANGED, "it emits Signals.CONNECTED, Signals.DISCONNECTED"),
        (MANAGER, SIGNALS.CONNECTED, "did you mean to subscribe to its connection"),
        (CONNECTION, M2Signals.REPLY, "it emits"),
        (CONNECTION, BusSignals.PEER_CONNECTED, "it emits"),
        (M2Client("host", 1), M2Signals.COMMAND_DONE, "it emits"),
        (M2Controller("host"), M2Signals.REPLY, "it emits"),
        (CONNECTION, "data-received", "did you mean Signals.DATA_RECEIVED"),
        (CONNECTION, "DATA_RECEIVED", "did you mean Signals.DATA_RECEIVED"),
        (CONNECTION, "data-recieved", "did you mean Signals.DATA_RECEIVED"),
        (CONNECTION, "Signals.CONNECTED", "did you mean Signals.CONNECTED"),
        (MANAGER, "state-changed", "did you mean Signals.STATE_CHANGED"),
    ],
    ids=str,
)
def test_signal_that_is_never_emitted(sender: object, signal: Any, hint: str) -> None:
    """The error says which ones are, or which one was meant; nothing is subscribed."""
    with pytest.raises(ValueError, match=f"a {type(sender).__name__} never emits .*; {hint}"):
        subscribe(sender, signal, nothing)
    assert not has_subscribers(sender, signal)


def test_class_in_place_of_an_object() -> None:
    """A class emits nothing."""
    with pytest.raises(ValueError, match="SocketConnection is a class; pass a SocketConnection"):
        subscribe(SocketConnection, SIGNALS.CONNECTED, nothing)


class LampSignals(Signal):
    """Signals of a user."""

    LIT = SignalName("lit", "colour")
    DARK = "dark"


class Lamp(SocketConnection):
    """A connection of a user, which emits signals of its own."""


@pytest.mark.parametrize(
    ("sender", "signal"),
    [
        (Lamp("host", 1), LampSignals.LIT),
        (Lamp("host", 1), SIGNALS.CONNECTED),
        (Lamp("host", 1), "a signal of my own"),
        (Lamp("host", 1), cnx.signals.subscriptions.dispatcher.Any),
        (cnx.signals.subscriptions.dispatcher.Any, SIGNALS.CONNECTED),
        (LampSignals, SIGNALS.CONNECTED),
        (M2Client("host", 1), M2Signals.BROKEN),
        (M2Controller("host"), M2Signals.COMMAND_DONE),
        (SmartBusClient("host", 1, unit_id=20, client_id=1, client_type=9), BusSignals.PEER_CONNECTED),
        ("any object", SIGNALS.CONNECTED),
    ],
    ids=str,
)
def test_signal_that_may_be_emitted(sender: object, signal: Any) -> None:
    """By a subclass, or by a sender of another kind."""
    with subscribe(sender, signal, nothing):
        pass


def takes_two(data: bytes, extra: int) -> None:
    """Take too much."""


def takes_keyword(*, chunk: bytes) -> None:
    """Take something else by keyword."""


@pytest.mark.parametrize(
    ("signal", "handler"),
    [
        (SIGNALS.DATA_RECEIVED, takes_two),
        (SIGNALS.DATA_RECEIVED, takes_keyword),
        (SIGNALS.DATA_RECEIVED, lambda one, two: None),
        (SIGNALS.CONNECTED, lambda connection: None),
        (SIGNALS.CONNECTED, [].append),
        (SIGNALS.DISCONNECTED, functools.partial(takes_two)),
        (SIGNALS.DISCONNECTED, lambda reason, link: None),
    ],
    ids=["two", "keyword", "two by position", "none given", "list", "partial", "one too many"],
)
def test_handler_that_cannot_be_called(signal: Signal, handler: Callable[..., Any]) -> None:
    """Neither by name nor by position; the error comes when it is subscribed, not when it is called."""
    with pytest.raises(
        TypeError, match=r"cannot be called for Signals\.\w+, which has (no arguments|the arguments \w+): "
    ):
        subscribe(CONNECTION, signal, handler)
    assert not has_subscribers(CONNECTION, signal)


@pytest.mark.parametrize(
    ("signal", "handler"),
    [
        (SIGNALS.DATA_RECEIVED, lambda: None),
        (SIGNALS.DATA_RECEIVED, lambda chunk: None),
        (SIGNALS.DATA_RECEIVED, lambda data, sender, signal: None),
        (SIGNALS.DATA_RECEIVED, lambda chunk, extra=1: None),
        (SIGNALS.DATA_RECEIVED, lambda *chunks: None),
        (SIGNALS.DATA_RECEIVED, lambda sender: None),
        (SIGNALS.DATA_RECEIVED, [].append),
        (SIGNALS.DATA_RECEIVED, print),
        (SIGNALS.CONNECTED, lambda: None),
        (SIGNALS.CONNECTED, lambda sender: None),
        (SIGNALS.CONNECTED, lambda **arguments: None),
        (LampSignals.DARK, takes_two),
    ],
)
def test_handler_that_can_be_called(signal: Signal, handler: Callable[..., Any]) -> None:
    """Whatever it takes; of a signal whose arguments are not known, nothing is checked."""
    with subscribe(CONNECTION, signal, handler):
        assert has_subscribers(CONNECTION, signal)


def test_declared_arguments_of_a_user() -> None:
    """Are checked as well."""
    assert (LampSignals.LIT.arguments, LampSignals.LIT.value, LampSignals.DARK.arguments) == (("colour",), "lit", None)
    with pytest.raises(TypeError, match=r"cannot be called for LampSignals\.LIT, which has the arguments colour"):
        subscribe(CONNECTION, LampSignals.LIT, takes_two)
