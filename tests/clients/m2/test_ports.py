"""Both ports as one connection, where threads meet in an unlucky order."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cnx import Connection, subscribe
from cnx.clients.m2 import CommandResult, CommandStatus, M2Controller
from cnx.deadline import Deadline
from tests.helpers.m2_scripted import DEADLINE, ScriptedController, succeed

Script = tuple[ScriptedController, M2Controller]


@pytest.fixture
def script() -> Iterator[Script]:
    """Return a scripted controller on which every command succeeds, and a client that is not connected."""
    with ScriptedController(succeed) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        yield scripted, client
        client.teardown()


def hold_up(instance: Any, name: str) -> tuple[threading.Event, threading.Event]:
    """Make the next call of a method set the first event, then wait until the second one is set."""
    method, came, go = getattr(instance, name), threading.Event(), threading.Event()

    def wait_first(*arguments: Any) -> Any:
        if not came.is_set():
            came.set()
            assert go.wait(DEADLINE)
        return method(*arguments)

    setattr(instance, name, wait_first)
    return came, go


def when_called(instance: Any, name: str, do: Callable[[], object]) -> None:
    """Do something before each call of a method."""
    method = getattr(instance, name)

    def do_first(*arguments: Any) -> Any:
        do()
        return method(*arguments)

    setattr(instance, name, do_first)


def test_late_release_of_the_other_port(script: Script) -> None:
    """A thread that is late to close the other port of a lost connection does not close that of the next one."""
    scripted, client = script
    ends: list[BaseException] = []
    lost = threading.Event()
    client.connect()
    came, go = hold_up(client.commands, "release")
    scripted.link(1).close()
    assert came.wait(DEADLINE)
    subscribe(client.commands, Connection.Signals.DISCONNECTED, lambda: lost.set())
    scripted.link(0).close()
    assert lost.wait(DEADLINE)
    subscribe(client, Connection.Signals.DISCONNECTED, lambda reason: ends.append(reason))
    when_called(client.telemetries, "wait_ended", go.set)
    assert client.try_connect(Deadline(DEADLINE)), client.last_error
    assert client.command("setMirrorHome", timeout=DEADLINE).status is CommandStatus.SUCCESS
    assert client.connected
    assert len(ends) <= 1, "the connection that came next has ended too"


def test_late_report_of_the_end_of_a_port(script: Script) -> None:
    """The end of a port that is reported while the next attempt is under way does not fail that attempt."""
    _, client = script
    client.connect()
    came, go = hold_up(client.telemetries, "on_disconnected")
    client.raise_alarm("of the first connection")
    assert came.wait(DEADLINE)
    when_called(client.telemetries, "wait_ended", go.set)
    assert client.try_connect(Deadline(DEADLINE)), client.last_error
    assert client.command("setMirrorHome", timeout=DEADLINE).status is CommandStatus.SUCCESS


@pytest.mark.parametrize("timeout", [DEADLINE, math.inf])
@pytest.mark.parametrize("whole", [True, False])
def test_command_while_connected_is_being_emitted(script: Script, whole: bool, timeout: float) -> None:
    """A thread that sees the connection up can send a command, though handlers of CONNECTED are still running."""
    scripted, client = script
    results: list[CommandResult] = []
    answered = threading.Event()

    def answer(controller: ScriptedController, message: dict[str, Any]) -> None:
        succeed(controller, message)
        answered.set()

    def command() -> None:
        assert client.connected
        results.append(client.command("setMirrorHome", timeout=timeout))

    def on_connected() -> None:
        commanding.start()
        assert answered.wait(DEADLINE)

    scripted.answer = answer
    commanding = threading.Thread(target=command)
    subscribe(client if whole else client.commands, Connection.Signals.CONNECTED, on_connected)
    client.connect()
    commanding.join(DEADLINE)
    assert results == [CommandResult("setMirrorHome", 1, CommandStatus.SUCCESS)]


@pytest.mark.parametrize("port", ["commands", "telemetries"])
def test_a_port_that_ends_before_it_is_announced(script: Script, port: str) -> None:
    """A port that is lost while CONNECTED is being emitted ends the connection, once and with its reason."""
    _, client = script
    emitted: list[str] = []
    ended = threading.Event()
    signals = Connection.Signals

    def on_connected() -> None:
        emitted.append("connected")
        getattr(client, port).raise_alarm("of this test")

    def on_disconnected(reason: BaseException) -> None:
        emitted.append(f"disconnected: {reason}")
        ended.set()

    subscribe(client, signals.CONNECTED, on_connected)
    subscribe(client, signals.RAISE_ALARM, lambda: emitted.append("alarm"))
    subscribe(client, signals.DISCONNECTED, on_disconnected)
    assert not client.try_connect()
    assert ended.wait(DEADLINE)
    client.teardown()
    assert emitted == ["connected", "alarm", "disconnected: of this test"]


def test_lost_while_connected_is_being_emitted(script: Script) -> None:
    """A command that was sent while CONNECTED is being emitted ends when the connection is lost then."""
    scripted, client = script
    errors: list[Exception] = []
    received = threading.Event()

    def command() -> None:
        try:
            client.command("setMirrorHome", timeout=DEADLINE)
        except ConnectionError as error:
            errors.append(error)

    def on_connected() -> None:
        commanding.start()
        assert received.wait(DEADLINE)
        client.raise_alarm("of this test")
        commanding.join(DEADLINE)

    scripted.answer = lambda controller, message: received.set()
    commanding = threading.Thread(target=command)
    subscribe(client, Connection.Signals.CONNECTED, on_connected)
    assert not client.try_connect()
    assert not commanding.is_alive()
    assert "of this test" in str(errors[0])
