"""What a request and its reply are made of: the parts by themselves, with warm caches, and without system calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import get_ident
from time import time
from timeit import repeat
from types import FrameType
from typing import Any

from cnx import SocketConnection, subscribe
from cnx.deadline import Deadline
from cnx.transports.transport import Transport
from tests.benchmarks.floor import Floor
from tests.benchmarks.harness import Case, case
from tests.benchmarks.measuring import QUESTION, SIGNALS
from tests.benchmarks.server import REPLY

CALLS = 20_000


class Nowhere(Transport):
    """Takes everything, and always has the reply."""

    address = "nowhere"
    unasked: bytes | None = None

    def __init__(self) -> None:
        self._never, self._other = os.pipe()

    def fileno(self) -> int:
        return self._never

    def read(self, size: int, timeout: float | None) -> bytes:
        return REPLY

    def read_now(self, size: int) -> bytes | None:
        return self.unasked

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        return len(data)

    def shutdown(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        os.close(self._never)
        os.close(self._other)


class ToNowhere(SocketConnection):
    """A connection over that."""

    def open_transport(self, deadline: Deadline) -> Transport:
        return Nowhere()


@case("parts")
def parts() -> Iterator[Case]:
    """Each part alone; the best of several loops, as other programs only add to it."""
    with ToNowhere("nowhere", 1) as connection:
        link: Any = connection._link
        connection.write(QUESTION)
        connection.readexactly(50)
        floor = Floor(len, lambda size: REPLY)
        made = Case("parts of a request and its reply, warm", "us", absolute=True)
        for way, once in {
            "cnx write(), readexactly()": lambda: (connection.write(QUESTION), connection.readexactly(50)),  # type: ignore[func-returns-value]
            "floor: write(), read()": lambda: (floor.write(QUESTION), floor.read(50)),  # type: ignore[func-returns-value]
            "write(): all": lambda: connection.write(QUESTION),
            "write(): the transport": lambda: link.transport.write(QUESTION, None),
            "write(): the record": lambda: link.recorder.append((time(), ">", QUESTION, len(QUESTION))),
            "write(): the role": taking_a_role(),
            "readexactly(): all": lambda: connection.readexactly(50),
            "readexactly(): the transport": lambda: link.transport.read(50, None),
            "readexactly(): the record": lambda: link.recorder.append((time(), "<", REPLY, len(REPLY))),
            "readexactly(): the role": taking_a_role(),
            "readexactly(): who is subscribed": link._sink.wanted,
            "readexactly(): leaving the reading to others": link._leave,
        }.items():
            made.way(way, lambda once=once: best(once))  # type: ignore[misc]
        yield made


@case("instructions")
def instructions() -> Iterator[Case]:
    """How many instructions the interpreter runs: the same on every machine, and what a cold cache multiplies."""
    made = Case("instructions of the interpreter, short ways", "instructions", absolute=True)
    floor = Floor(len, lambda size: REPLY)
    with ExitStack() as stack:
        asking, told = (stack.enter_context(ToNowhere("nowhere", 1)) for _ in range(2))
        stack.enter_context(subscribe(told, SIGNALS.DATA_RECEIVED, on_data))
        asking.request(QUESTION)  # from now on it counts as one that is read
        link: Any = told._link
        link.transport.unasked = REPLY
        for way, calls in {
            "floor: write(), read()": (lambda: floor.write(QUESTION), lambda: floor.read(50)),
            "cnx write(), readexactly()": (lambda: asking.write(QUESTION), lambda: asking.readexactly(50)),
            "cnx request()": (lambda: asking.request(QUESTION),),
            "cnx, the turn of a listener, one subscriber": (lambda: link.attend(True),),
        }.items():
            made.way(way, lambda calls=calls: sum(map(fewest_instructions, calls)))  # type: ignore[misc]
        yield made


def on_data(data: bytes) -> None:
    """Be a subscriber."""


def fewest_instructions(call: Callable[[], object]) -> float:
    """Return how many instructions it takes at best; the first time, and after a pause, there is more to do."""
    return min(instructions_of(call) for _ in range(10))


def instructions_of(call: Callable[[], object]) -> float:
    """Return how many instructions ``call`` runs below itself."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode" and frame.f_code is not call.__code__  # type: ignore[attr-defined]
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return count


def taking_a_role() -> Callable[[], None]:
    """Return what takes a role, and gives it back."""
    vacant, reader = {"reader": True}, 0

    def take() -> None:
        nonlocal reader
        try:
            del vacant["reader"]
            reader = get_ident()
        finally:
            reader = 0
            vacant["reader"] = True

    return take


def best(once: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    return min(repeat(once, number=CALLS, repeat=5)) / CALLS * 1e6
