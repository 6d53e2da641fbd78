"""Sequence ids of commands, and which command a reply belongs to."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cnx import subscribe
from cnx.clients.m2 import CommandResult, CommandStatus, M2Controller, M2Signals
from cnx.clients.m2.client import client as client_module
from tests.helpers.m2_scripted import DEADLINE, ScriptedController, stay_silent, succeed


@pytest.fixture
def scripted() -> Iterator[ScriptedController]:
    """Return a scripted controller on which every command succeeds."""
    with ScriptedController(succeed) as scripted:
        yield scripted


def connected(scripted: ScriptedController, **options: Any) -> M2Controller:
    """Return a client that is connected."""
    return M2Controller("127.0.0.1", *scripted.ports, **options).connect()


@pytest.mark.parametrize("number", ["7", 1.0, None, True, -1, 2**31])
def test_a_sequence_that_gives_no_number(scripted: ScriptedController, number: Any) -> None:
    """Anything but a valid sequence id is a ValueError; nothing is sent, and the connection stays up."""
    with connected(scripted, sequence=iter([number, 0, 2**31 - 1])) as client:
        with pytest.raises(ValueError, match="the command was not sent: a sequence id is an integer"):
            client.command("setMirrorHome")
        assert client.commands.last_sequence_id == -1
        assert client.command("setMirrorHome").sequence_id == 0
        assert client.command("setMirrorHome").sequence_id == 2**31 - 1
        for send in (client.command, client.start_command, client.commands.send_command):
            with pytest.raises(ValueError, match="the sequence has ended"):
                send("setMirrorHome")
    assert [message["sequence_id"] for message in scripted.received] == [0, 2**31 - 1]


def test_a_number_that_another_command_waits_under(scripted: ScriptedController) -> None:
    """A sequence id that is repeated too early does not replace the command that has it."""
    with connected(scripted, sequence=itertools.repeat(5)) as client:
        scripted.answer = stay_silent
        first = client.start_command("power", powerType=1, status=True)
        with pytest.raises(ValueError, match=r"power \(sequence id 5\)"):
            client.command("setMirrorHome")
        scripted.say({"id": "success", "sequence_id": 5})
        assert first.wait(DEADLINE).command == "power"
        scripted.answer = succeed
        assert client.command("setMirrorHome").sequence_id == 5
    assert len(scripted.received) == 2


def test_replies_count(scripted: ScriptedController, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies are counted as messages: in the traffic, and in the rate if that is measured."""
    monkeypatch.setattr(client_module, "RATE_PERIOD", 0.0)
    for measured in (False, True):
        with connected(scripted, check_message_rate=measured) as client:
            for _ in range(3):
                pending = client.start_command("setMirrorHome")
                assert pending.wait(DEADLINE).status is CommandStatus.SUCCESS
                assert pending.acknowledged
            assert client.traffic.messages_received == 6
            assert client.traffic.messages_sent == 3
            assert (client.commands.message_rate is not None) is measured


def test_replies_of_two_commands(scripted: ScriptedController) -> None:
    """Of several pending commands, each reply ends its own, however the replies are split into pieces."""

    def note(controller: ScriptedController, message: dict[str, Any]) -> None:
        if message["id"] == "cmd_clearErrors":  # only then it has read all, and says nothing more between our pieces
            controller.say({"id": "interlock", "state": True})

    with connected(scripted) as client:
        scripted.answer = note
        for split in (1, 20, 35, 36, 70, 71):
            with client.expect_event("interlock") as both:
                first, second = (client.start_command("setMirrorHome") for _ in range(2))
                third = client.start_command("clearErrors")
                both.wait(DEADLINE)
            replies = b"".join(
                b'{"id": "ack", "sequence_id": %d}\r\n{"id": "%s", "sequence_id": %d}\r\n' % (number, status, number)
                for number, status in (
                    (third.sequence_id, b"success"),
                    (first.sequence_id, b"success"),
                    (second.sequence_id, b"fail"),
                )
            )
            for piece in (replies[:split], replies[split:]):
                scripted.say(piece)
            assert third.wait(DEADLINE) == CommandResult("clearErrors", third.sequence_id, CommandStatus.SUCCESS)
            assert first.wait(DEADLINE) == CommandResult("setMirrorHome", first.sequence_id, CommandStatus.SUCCESS)
            with pytest.raises(Exception, match="failed"):
                second.wait(DEADLINE)


def test_a_handler_sends_nothing_that_it_could_not_wait_for(scripted: ScriptedController) -> None:
    """A command that a handler would have to wait for on the thread that brings results is not sent."""
    refused: list[str] = []
    done = threading.Event()
    with connected(scripted) as client:

        def on_event(message: dict[str, Any]) -> None:
            try:
                client.command("clearErrors")
            except RuntimeError as error:
                refused.append(str(error))
            done.set()

        with subscribe(client, M2Signals.EVENT, on_event):
            scripted.say({"id": "interlock", "state": False})
            assert done.wait(DEADLINE)
        assert client.command("setMirrorHome").sequence_id == 1
    assert "another thread" in refused[0]
    assert [message["id"] for message in scripted.received] == ["cmd_setMirrorHome"]
