"""Commands with results over both ports."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cnx import Connection, ConnectionLost, DeviceError, LimitExceeded, TimedOut, subscribe
from cnx.clients.m2 import (
    EVENTS,
    CommandFailed,
    CommandLost,
    CommandRefused,
    CommandResult,
    CommandStatus,
    CommandTimedOut,
    M2Controller,
    M2Signals,
    MessageNotSent,
    PendingCommand,
)
from cnx.clients.m2.client import commands as client_commands
from cnx.clients.m2.client.topics import Topics
from tests.helpers.m2_scripted import DEADLINE, ScriptedController, stay_silent, succeed

Script = tuple[ScriptedController, M2Controller]


@pytest.fixture
def script() -> Iterator[Script]:
    """Return a scripted controller on which every command succeeds, and a client that is connected to it."""
    with ScriptedController(succeed) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        client.connect()
        yield scripted, client
        client.teardown()


def statuses(*names: str) -> Any:
    """Return a script that answers every command with these statuses."""
    return lambda controller, message: controller.reply(message, *names)


def test_success(script: Script) -> None:
    """A command returns after its success, and went out as in the original."""
    scripted, client = script
    result = client.command("power", powerType=2, status=True)
    assert result == CommandResult("power", 1, CommandStatus.SUCCESS)
    assert scripted.received == [{"powerType": 2, "status": True, "id": "cmd_power", "sequence_id": 1}]
    assert client.command("clearErrors").sequence_id == 2


@pytest.mark.parametrize(
    ("answers", "error", "status"),
    [
        (["noack"], CommandRefused, CommandStatus.NOACK),
        (["ack", "fail"], CommandFailed, CommandStatus.FAIL),
        (["fail"], CommandFailed, CommandStatus.FAIL),
    ],
)
def test_no_success(script: Script, answers: list[str], error: type[Exception], status: CommandStatus) -> None:
    """A command that was refused or failed is a typed error with the command and its sequence id."""
    scripted, client = script
    results: list[CommandResult] = []
    emitted = threading.Event()

    def on_done(result: CommandResult) -> None:
        results.append(result)
        emitted.set()

    subscribe(client, M2Signals.COMMAND_DONE, on_done)
    scripted.answer = statuses(*answers)
    with pytest.raises(error, match=r"clearErrors \(sequence id 1\)") as caught:
        client.command("clearErrors")
    assert isinstance(caught.value, DeviceError)
    assert (caught.value.command, caught.value.sequence_id) == ("clearErrors", 1)  # type: ignore[attr-defined]
    assert emitted.wait(DEADLINE)  # maybe by another thread, at the same time
    assert results == [CommandResult("clearErrors", 1, status, caught.value)]
    scripted.answer = succeed
    assert client.command("clearErrors").sequence_id == 2


@pytest.mark.parametrize(("answers", "text"), [([], "no ack"), (["ack"], "no result within")])
def test_no_result_in_time(script: Script, answers: list[str], text: str) -> None:
    """A command without a result ends at its timeout; the error says whether an ack had arrived."""
    scripted, client = script

    def answer_in_part(controller: ScriptedController, message: dict[str, Any]) -> None:
        controller.reply(message, *answers)
        controller.say({"id": "interlock", "state": True})

    scripted.answer = answer_in_part
    with client.expect_event("interlock") as answered:
        pending = client.start_command("clearErrors")
        answered.wait(DEADLINE)
    with pytest.raises(CommandTimedOut, match=text) as caught:
        pending.wait(0.01)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.command, caught.value.sequence_id) == ("clearErrors", 1)


def test_a_late_result_is_ignored(script: Script) -> None:
    """The result of a command that timed out does not end the next one."""
    scripted, client = script
    scripted.answer = stay_silent
    with pytest.raises(CommandTimedOut):
        client.command("clearErrors", timeout=0.02)
    next_one = client.start_command("setMirrorHome")
    scripted.say({"id": "ack", "sequence_id": 1}, {"id": "fail", "sequence_id": 1}, {"id": "noack", "sequence_id": 99})
    scripted.say({"id": "ack"}, {"id": "success", "sequence_id": "2"}, {"id": "success", "sequence_id": 2})
    assert next_one.wait(DEADLINE).status is CommandStatus.SUCCESS


@pytest.mark.parametrize(
    ("name", "parameters", "error"),
    [
        ("nope", {}, ValueError),
        (["power"], {}, ValueError),
        ("power", {"powerType": 2}, TypeError),
        ("power", {"powerType": 3, "status": True}, ValueError),
        ("clearErrors", {"x": 1}, TypeError),
        ("positionMirror", {"x": float("nan"), "y": 0, "z": 0, "xRot": 0, "yRot": 0, "zRot": 0}, ValueError),
    ],
)
def test_bad_parameters_are_not_sent(script: Script, name: str, parameters: Any, error: type[Exception]) -> None:
    """Wrong names, types, units and ranges are errors before anything is sent, and use no number."""
    scripted, client = script
    with pytest.raises(error):
        client.command(name, **parameters)
    with pytest.raises((TypeError, ValueError)):
        client.command("clearErrors", timeout=-1)
    assert client.command("clearErrors").sequence_id == 1
    assert len(scripted.received) == 1


def test_each_thread_gets_its_own_result(script: Script) -> None:
    """Eight threads send commands at once; results arrive in any order, and each thread gets its own."""
    scripted, client = script
    waiting: list[dict[str, Any]] = []

    def answer_backwards(controller: ScriptedController, message: dict[str, Any]) -> None:
        waiting.append(message)
        if len(waiting) < 8:
            return
        for late in reversed(waiting):
            controller.reply(late, "ack", "success" if late["sequence_id"] % 2 else "fail")
        waiting.clear()

    scripted.answer = answer_backwards
    succeeded: list[int] = []
    failed: list[int] = []

    def command() -> None:
        for _ in range(40):
            try:
                succeeded.append(client.command("setMirrorHome", timeout=DEADLINE).sequence_id)
            except CommandFailed as error:
                failed.append(error.sequence_id)

    threads = [threading.Thread(target=command) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(succeeded) == list(range(1, 321, 2))
    assert sorted(failed) == list(range(2, 321, 2))
    assert [message["sequence_id"] for message in scripted.received] == list(range(1, 321))


@pytest.mark.parametrize("port", [0, 1])
def test_a_lost_port_ends_all_commands(script: Script, port: int) -> None:
    """When either port is lost, every outstanding command ends at once with the reason, and both ports are closed."""
    scripted, client = script
    scripted.answer = stay_silent
    ended = threading.Event()
    subscribe(client, Connection.Signals.DISCONNECTED, lambda: ended.set())
    pending = [client.start_command("clearErrors") for _ in range(5)]
    expectation = client.expect_telemetry("position")
    scripted.link(port).close()
    for command in pending:
        with pytest.raises(CommandLost, match="closed the connection") as caught:
            command.wait(DEADLINE)
        assert isinstance(caught.value, ConnectionLost)
        assert caught.value.sequence_id == command.sequence_id
    with pytest.raises(ConnectionLost, match="position"):
        expectation.wait(DEADLINE)
    assert ended.wait(DEADLINE)
    assert not client.connected
    assert not client.commands.connected
    assert not client.telemetries.connected
    with pytest.raises(MessageNotSent):
        client.command("clearErrors")


def test_disconnect_ends_all_commands(script: Script) -> None:
    """A command that waits while another thread disconnects ends at once."""
    scripted, client = script
    scripted.answer = lambda controller, message: stop.start()
    stop = threading.Thread(target=client.disconnect)
    with pytest.raises(CommandLost, match="disconnect"):
        client.command("clearErrors")
    stop.join()


def test_not_connected() -> None:
    """Without a connection a command raises at once, an error that is also a RuntimeError."""
    client = M2Controller("127.0.0.1", 1, 2)
    with pytest.raises(RuntimeError, match="not connected"):
        client.command("clearErrors")
    assert "127.0.0.1:1+2" in repr(client)


def test_too_many_commands_without_results(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are never answered do not pile up for ever."""
    monkeypatch.setattr(client_commands, "MOST_PENDING", 3)
    scripted, client = script
    scripted.answer = stay_silent
    for _ in range(3):
        client.start_command("clearErrors")
    with pytest.raises(LimitExceeded, match="3 commands"):
        client.start_command("clearErrors")


def test_handlers_start_commands_and_do_not_wait(script: Script) -> None:
    """On the thread that brings results a handler may start a command; to wait there is refused, not a deadlock."""
    scripted, client = script
    started: list[PendingCommand] = []
    refused: list[str] = []
    done = threading.Event()

    def on_event(message: dict[str, Any]) -> None:
        started.append(client.start_command("clearErrors"))
        for wait in (started[0].wait, lambda: client.wait_for_event("interlock")):
            try:
                wait()
            except RuntimeError as error:
                refused.append(str(error))
        done.set()

    subscribe(client, M2Signals.EVENT, on_event)
    scripted.say({"id": "interlock", "state": False})
    assert done.wait(DEADLINE)
    assert started[0].wait(DEADLINE).sequence_id == 1
    assert ["another thread" in text for text in refused] == [True, True]


def test_telemetry_handlers_may_wait_for_commands(script: Script) -> None:
    """Telemetry arrives on another thread, so its handlers can wait for commands."""
    scripted, client = script
    results: list[CommandResult] = []
    done = threading.Event()

    def on_telemetry(message: dict[str, Any]) -> None:
        results.append(client.command("clearErrors", timeout=DEADLINE))
        done.set()

    subscribe(client, M2Signals.TELEMETRY, on_telemetry)
    scripted.send_telemetry({"id": "position", "x": 1.0})
    assert done.wait(DEADLINE)
    assert results[0].status is CommandStatus.SUCCESS


def test_a_controller_takes_no_callback() -> None:
    """All messages go to the controller, which emits signals; a callback among its settings is an error."""
    with pytest.raises(TypeError, match="callback"):
        M2Controller("127.0.0.1", 1, 2, callback=print)  # type: ignore[call-arg]  # that is the point


def test_an_abandoned_controller_is_closed() -> None:
    """A controller that is garbage collected while connected warns, and leaves no thread and no descriptor."""
    with ScriptedController(succeed) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        client.connect()
        client.command("clearErrors")
        scripted.link(1)
        del client
        with pytest.warns(ResourceWarning, match="not disconnected"):
            gc.collect()


def test_errors_can_be_copied() -> None:
    """An error keeps command and number when it is pickled or copied."""
    for kind in (CommandFailed, CommandLost, CommandRefused, CommandTimedOut):
        error = kind("text", "power", 7)
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(twin), str(twin), twin.command, twin.sequence_id) == (kind, "text", "power", 7)


# -- events and telemetry --------------------------------------------------------------------------------------------


def test_the_latest_of_each_topic(script: Script) -> None:
    """The latest event and telemetry of each topic is kept with its age, also of topics that are in no table."""
    scripted, client = script
    assert client.event("interlock") is None
    assert client.telemetry("position") is None
    with client.expect_event("interlock", lambda event: event["state"]) as locked:
        scripted.say(
            {"id": "new", "a": 1}, {"id": "interlock", "state": False}, {"id": "interlock", "state": True}, [1], {}
        )
        assert locked.wait(DEADLINE) == {"id": "interlock", "state": True}
    with client.expect_telemetry("position", lambda position: position["x"] == 2) as there:
        scripted.send_telemetry(
            {"id": "position", "x": 1}, {"id": "position", "x": 2}, {"id": "zenithAngle", "measured": 3}
        )
        there.wait(DEADLINE)
    sample = client.telemetry("position")
    assert sample is not None
    assert sample.message["x"] == 2
    assert 0 <= sample.age < DEADLINE
    new = client.event("new")
    assert new is not None
    assert new.message == {"id": "new", "a": 1}


@pytest.mark.parametrize("call", ["event", "telemetry", "expect_event", "wait_for_telemetry"])
def test_unknown_topics(script: Script, call: str) -> None:
    """A topic that is in no table and has never arrived is a ValueError."""
    with pytest.raises(ValueError, match="poistion"):
        getattr(script[1], call)("poistion")


def test_topics_are_bounded() -> None:
    """A peer that makes up any number of topics does not fill the memory: the oldest ones are forgotten."""
    topics = Topics(EVENTS, lambda doing: None)
    for number in range(1100):
        topics.store({"id": f"topic{number}"})
    assert topics.latest("topic1099") is not None
    with pytest.raises(ValueError, match="topic99"):
        topics.latest("topic99")


def test_waiting_in_vain(script: Script) -> None:
    """Waiting ends at its timeout, and can be continued; an exception of the condition reaches the waiting thread."""
    scripted, client = script
    expectation = client.expect_telemetry("position")
    with pytest.raises(TimedOut, match="no position arrived within"):
        expectation.wait(0.01)
    with client.expect_event("interlock", lambda event: event["no such key"]) as broken:
        scripted.say({"id": "interlock", "state": True})
        raised: list[BaseException] = []
        for _ in range(2):  # each waiting thread gets an exception of its own
            with pytest.raises(KeyError, match="no such key") as caught:
                broken.wait(DEADLINE)
            raised.append(caught.value)
        assert raised[0] is not raised[1]
        assert raised[0].__cause__ is raised[1].__cause__
    scripted.send_telemetry({"id": "position"})
    assert expectation.wait(DEADLINE) == {"id": "position"}
    assert expectation.wait(0.0) == {"id": "position"}
    with pytest.raises(TimedOut, match="condition"):
        client.wait_for_event("interlock", lambda event: False, timeout=0.01)


def test_broken_messages_end_nothing(script: Script) -> None:
    """Garbage on either port is skipped, and the port emits BROKEN."""
    scripted, client = script
    broken: list[BaseException] = []
    subscribe(client.commands, M2Signals.BROKEN, lambda reason: broken.append(reason))
    scripted.say(b"not json\r\n\r\n")
    assert client.command("clearErrors").status is CommandStatus.SUCCESS
    assert len(broken) == 2


def test_a_line_over_the_limit_ends_both(script: Script) -> None:
    """A line without an end closes both ports with a reason that says so."""
    scripted, client = script
    reasons: list[BaseException] = []
    ended = threading.Event()
    subscribe(client, Connection.Signals.RAISE_ALARM, lambda reason: reasons.append(reason))
    subscribe(client, Connection.Signals.DISCONNECTED, lambda: ended.set())
    scripted.say(b"x" * 70000)
    assert ended.wait(DEADLINE)
    assert isinstance(reasons[0], LimitExceeded)


@pytest.mark.parametrize("subscribed", [False, True])
@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"id": "ack", "sequence_id": 1}\r\n{"id": "success", "sequence_id": 1}\r\n'],
        [b'{"id": "ack", "sequence_id": 1}\r\n', b'{"id": "success", "sequence_id": 1}\r\n'],
        [b'{"id": "ack", "sequ', b'ence_id": 1}\r\n{"id": "success", "sequence_id": 1}\r', b"\n"],
        [b'{"sequence_id":1,"id":"success"}\r\n'],
        [
            b'{"id": "ack", "sequence_id": 1}\r\n{"id": "interlock", "state": true}\r\n'
            b'{"id": "success", "sequence_id": 1}\r\n'
        ],
    ],
)
def test_any_form_of_success(script: Script, pieces: list[bytes], subscribed: bool) -> None:
    """A result is found however the reply is written and split, and subscribers of the port get the replies."""
    scripted, client = script
    replies: list[Any] = []
    if subscribed:
        subscribe(client.commands, M2Signals.REPLY, replies.append)

    def answer(controller: ScriptedController, message: dict[str, Any]) -> None:
        for piece in pieces:
            controller.say(piece)

    scripted.answer = answer
    assert client.command("clearErrors", timeout=DEADLINE).status is CommandStatus.SUCCESS
    scripted.answer = succeed
    assert client.command("clearErrors", timeout=DEADLINE).sequence_id == 2
    if subscribed:
        client.teardown()
        assert [reply["id"] for reply in replies[-3:]] == ["success", "ack", "success"]
