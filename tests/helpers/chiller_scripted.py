"""A line on which a test decides what comes in place of the next replies."""

from __future__ import annotations

from collections.abc import Callable

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.frames import Frames
from cnx.clients.chiller.simulator.unit import Unit
from cnx.simulation import Session, Simulator
from tests.helpers.chiller_bench import Clock

Spoil = Callable[[bytes], bytes]
"""Turns the right reply into what is sent."""


class ScriptedLine(Simulator):
    """Unit 1, whose time stands still and whose next replies pass through ``script``.

    Attributes:
        script: for each of the next replies what becomes of it; afterwards replies are right.
        received: all command frames, without CR.
    """

    def __init__(self) -> None:
        super().__init__("scripted line")
        self.unit = Unit(clock=Clock())
        self.script: list[Spoil] = []
        self.received: list[bytes] = []

    def serve(self, session: Session) -> None:
        """Answer the commands of one client."""
        framing, buffer = Frames(b"."), ReceiveBuffer()
        while data := session.read():
            buffer.append(data)
            for frame in framing.take_all(buffer):
                self.received.append(frame)
                reply = self.unit.answer(frame) or b""
                session.write(self.script.pop(0)(reply) if self.script else reply)


def replace(old: bytes, new: bytes) -> Spoil:
    """Return the spoiler that changes a part of a reply and sets the checksum right again."""

    def spoil(reply: bytes) -> bytes:
        changed = reply[:-3].replace(old, new)
        assert changed != reply[:-3]
        return b"%s%02X\r" % (changed, sum(changed) & 0xFF)

    return spoil


def instead(frame: bytes) -> Spoil:
    """Return the spoiler that sends something else."""
    return lambda reply: frame


def nothing(reply: bytes) -> bytes:
    """Send nothing."""
    return b""


class Late:
    """Holds a reply back, and sends it before the next one."""

    def __init__(self) -> None:
        self._held = b""

    def __call__(self, reply: bytes) -> bytes:
        if not self._held:
            self._held = reply
            return b""
        return self._held + reply
