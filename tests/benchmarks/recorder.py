"""The flight recorder: what a piece of bytes costs, and what a round trip costs with and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from time import perf_counter

import cnx
from cnx.recorder import Recorder
from tests.benchmarks.core import connected, round_trip
from tests.benchmarks.harness import Case, Target, case, pin, server

PIECES, REQUESTS = 100_000, 4000
QUESTION = b"q" * 48 + b"\r\n"


@case("recorder")
def recorder() -> Iterator[Case]:
    """Pieces of two sizes, and requests of 50 bytes."""
    pin()
    for size in (50, 65536):
        made = Case(f"record pieces of {size} bytes", "us", absolute=True)
        made.way("note()", partial(per_piece, Recorder(), bytes(size)), Target(2.0, 0.5, upper=True))
        yield made
    with server("echo") as port, ExitStack() as stack:
        made = Case("request and reply, p50", "us")
        for way, records, target in (("record=0", 0, None), ("recording", 200, Target(1.03, 1.02, upper=True))):
            ask = asking(stack.enter_context(connected(port, record=records)))
            made.way(way, partial(round_trip, ask, 50, REQUESTS), target)
        yield made


def per_piece(ring: Recorder, data: bytes) -> float:
    """Return the microseconds for one piece."""
    began = perf_counter()
    for _ in range(PIECES):
        ring.note("<", data)
    return (perf_counter() - began) / PIECES * 1e6


def asking(connection: cnx.SocketConnection) -> Callable[[], object]:
    """Return what makes one round trip."""
    return lambda: (connection.write(QUESTION), connection.readexactly(50))  # type: ignore[func-returns-value]
