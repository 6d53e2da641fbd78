"""Faults of a line: what may happen to the reply of a chiller on its way.

A fault takes a reply and yields what is done in its place: bytes are written, a number is a wait in
seconds, and an exception ends the link.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

from cnx.errors import ConnectionLost

__all__ = [
    "Fault",
    "corrupt",
    "flow_control",
    "hang_up",
    "late",
    "lose",
    "merge",
    "mixture",
    "noise",
    "pass_on",
    "split",
]

Fault = Callable[[bytes], Iterable[bytes | float]]


def pass_on(reply: bytes) -> Iterator[bytes | float]:
    """No fault."""
    yield reply


def late(seconds: float) -> Fault:
    """Return the fault that a reply, and all after it, comes ``seconds`` late."""

    def fault(reply: bytes) -> Iterator[bytes | float]:
        yield seconds
        yield reply

    return fault


def split(reply: bytes) -> Iterator[bytes | float]:
    """A reply comes byte by byte."""
    for byte in reply:
        yield bytes([byte])
        yield 0.0


def merge() -> Fault:
    """Return the fault that every second reply comes together with the one before it."""
    held: list[bytes] = []

    def fault(reply: bytes) -> Iterator[bytes | float]:
        held.append(reply)
        if len(held) == 2:
            yield b"".join(held)
            held.clear()

    return fault


def corrupt(reply: bytes) -> Iterator[bytes | float]:
    """The last character before the checksum changes."""
    place = max(1, len(reply) - 4)
    yield reply[:place] + bytes([reply[place] ^ 1]) + reply[place + 1 :]


def lose(reply: bytes) -> Iterator[bytes | float]:
    """A reply never comes."""
    yield from ()


def flow_control(reply: bytes) -> Iterator[bytes | float]:
    """The unit pauses and resumes the host before and within a reply."""
    yield b"\x13\x11" + reply[:5] + b"\x13\x11" + reply[5:]


def noise(reply: bytes) -> Iterator[bytes | float]:
    """Noise comes before a reply."""
    yield b"\n\xff!~#0" + reply


def hang_up(reply: bytes) -> Iterator[bytes | float]:
    """The link ends in the middle of a reply.

    Raises:
        ConnectionLost: after the first half was yielded.
    """
    yield reply[: len(reply) // 2]
    raise ConnectionLost("the simulated line was cut in the middle of a reply")


def mixture(rate: float, faults: Sequence[Fault], seed: int = 0) -> Fault:
    """Return the fault that is one of ``faults`` for a share of ``rate`` of all replies, and none for the others."""
    chance = random.Random(seed)

    def fault(reply: bytes) -> Iterable[bytes | float]:
        return (chance.choice(faults) if chance.random() < rate else pass_on)(reply)

    return fault
