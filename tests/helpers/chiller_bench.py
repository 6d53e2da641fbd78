"""A chiller on a bench: a simulated unit whose time passes only when a test says so."""

from __future__ import annotations

from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.frames import Call, Frames, Reply, parse_reply
from cnx.clients.chiller.protocol.table import find_command
from cnx.clients.chiller.simulator.quirks import Quirks
from cnx.clients.chiller.simulator.unit import Unit


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A unit and a host that talks to it without any link between them."""

    def __init__(self, quirks: Quirks | None = None, device_id: int = 1) -> None:
        self.clock = Clock()
        self.unit = Unit(device_id, clock=self.clock, quirks=quirks)
        self._buffer = ReceiveBuffer()

    def after(self, seconds: float) -> Bench:
        """Let time pass, in steps as a host that polls would see it."""
        while seconds > 0:
            step = min(seconds, 60.0)
            self.clock.now += step
            seconds -= step
            self.unit.advance()
        return self

    def exchange(self, frame: bytes) -> Reply | None:
        """Send a frame with its CR; return the reply, or ``None`` for silence."""
        commands = ReceiveBuffer()
        commands.append(frame)
        for command in Frames(b".").take_all(commands):
            self._buffer.append(self.unit.answer(command) or b"")
        found = Frames(b"#").take(self._buffer)
        return None if found is None else parse_reply(found)

    def ask(self, number: int, *values: Any, half: str = "") -> Reply:
        """Send a command of the table and return the reply."""
        reply = self.exchange(self.call(number, *values, half=half).frame)
        assert reply is not None
        return reply

    def call(self, number: int, *values: Any, half: str = "") -> Call:
        """Return a command of the table."""
        command = find_command(number, half)
        assert command is not None
        return Call(number, command.name, command.encode(*values), self.unit.device_id)

    def value(self, number: int, *values: Any, half: str = "") -> Any:
        """Send a command of the table and return the value of the reply."""
        call = self.call(number, *values, half=half)
        return self.ask(number, *values, half=half).value(call)
