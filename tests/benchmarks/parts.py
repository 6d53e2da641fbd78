"""What a request and its reply are made of: the parts by themselves, with warm caches, and without system calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from threading import get_ident
from timeit import repeat
from typing import Any

from cnx import SocketConnection
from cnx.deadline import Deadline
from cnx.transports.transport import Transport
from tests.benchmarks.floor import Floor
from tests.benchmarks.harness import Case, case
from tests.benchmarks.measuring import QUESTION
from tests.benchmarks.server import REPLY

CALLS = 20_000


class Nowhere(Transport):
    """Takes everything, and always has the reply."""

    address = "nowhere"

    def __init__(self) -> None:
        self._never, self._other = os.pipe()

    def fileno(self) -> int:
        return self._never

    def read(self, size: int, timeout: float | None) -> bytes:
        return REPLY

    def read_now(self, size: int) -> bytes | None:
        return None

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
            "write(): the record": lambda: link.recorder.note(">", QUESTION),
            "write(): the role": taking_a_role(),
            "readexactly(): all": lambda: connection.readexactly(50),
            "readexactly(): the transport": lambda: link.transport.read(50, None),
            "readexactly(): the record": lambda: link.recorder.note("<", REPLY),
            "readexactly(): the role": taking_a_role(),
            "readexactly(): who is subscribed": link._sink.wanted,
            "readexactly(): leaving the reading to others": link._leave,
        }.items():
            made.way(way, lambda once=once: best(once))  # type: ignore[misc]
        yield made


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
