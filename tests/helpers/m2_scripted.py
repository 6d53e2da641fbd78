"""A controller that does what a test says: both ports, and a function for every message on the command port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.clients.m2.protocol.messages import M2Lines, encode
from cnx.simulation import Session, Simulator

DEADLINE = 10.0


class ScriptedController(Simulator):
    """Calls ``answer(controller, message)`` for every command that comes, on the thread of the command port."""

    def __init__(self, answer: Callable[[ScriptedController, dict[str, Any]], object]) -> None:
        super().__init__("scripted controller")
        self.answer = answer
        self.received: list[dict[str, Any]] = []
        self.ports = [int(self.listen_tcp().rpartition(":")[2]) for _ in range(2)]
        self._links: list[Session | None] = [None, None]
        self._changed = threading.Condition()

    def serve(self, session: Session) -> None:
        """Answer the messages that arrive."""
        port = self.urls.index(session.url)
        with self._changed:
            self._links[port] = session
            self._changed.notify_all()
        buffer, lines = ReceiveBuffer(), M2Lines()
        while data := session.read():
            buffer.append(data)
            for message in lines.take_all(buffer):
                self.received.append(message)
                with suppress(ConnectionError):
                    self.answer(self, message)
        with self._changed:
            if self._links[port] is session:  # and not the one that has come after it
                self._links[port] = None

    def say(self, *messages: Any) -> None:
        """Send messages on the command port: dictionaries, or bytes as they are."""
        self.link(0).write(b"".join(message if isinstance(message, bytes) else encode(message) for message in messages))

    def send_telemetry(self, *messages: dict[str, Any]) -> None:
        """Send telemetry."""
        self.link(1).write(b"".join(map(encode, messages)))

    def reply(self, message: dict[str, Any], *statuses: str) -> None:
        """Answer a command."""
        self.say(*({"id": status, "sequence_id": message["sequence_id"]} for status in statuses))

    def link(self, port: int) -> Session:
        """Return the link of a port, as soon as there is one."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._links[port] is not None, DEADLINE), "nobody connected"
            link = self._links[port]
        assert link is not None
        return link


def succeed(controller: ScriptedController, message: dict[str, Any]) -> None:
    """Let every command succeed."""
    controller.reply(message, "ack", "success")


def stay_silent(controller: ScriptedController, message: dict[str, Any]) -> None:
    """Never answer."""


def as_lines(messages: list[dict[str, Any]]) -> list[str]:
    """Return messages in a form that can be compared, NaN included."""
    return [json.dumps(message) for message in messages]
