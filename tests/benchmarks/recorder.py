"""The flight recorder: what a piece of bytes costs, and what a round trip costs with and without it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from time import perf_counter, time

import cnx
from cnx.recording.recorder import PIECE, Recorder
from tests.benchmarks.harness import Case, Target, View, case, server
from tests.benchmarks.measuring import QUESTION, connected, times_of

PIECES, REQUESTS = 20_000, 200


@case("recorder")
def recorder() -> Iterator[Case]:
    """Pieces of two sizes, and requests of 50 bytes."""
    for size in (50, 65536):
        made = Case(f"record pieces of {size} bytes", "us", absolute=True, slices=5)
        made.way("append()", partial(per_piece, Recorder(), bytes(size)), Target(2.0, 0.5, upper=True))
        yield made
    with server("echo") as port, ExitStack() as stack:
        target = Target(1.03, 1.02, upper=True)
        views = [View("p50", statistics.median, {"recording": target})]
        made = Case("request and reply with the recorder", "us", slices=20, views=views)
        for way, records in (("record=0", 0), ("recording", 200)):
            made.way(way, times_of(asking(stack.enter_context(connected(port, record=records))), REQUESTS))
        yield made


def per_piece(ring: Recorder, data: bytes) -> float:
    """Return the microseconds for one piece."""
    began = perf_counter()
    for _ in range(PIECES):
        ring.append((time(), "<", data if len(data) <= PIECE else data[:PIECE], len(data)))
    return (perf_counter() - began) / PIECES * 1e6


def asking(connection: cnx.SocketConnection) -> Callable[[], object]:
    """Return what makes one round trip."""
    return lambda: (connection.write(QUESTION), connection.readexactly(50))  # type: ignore[func-returns-value]
