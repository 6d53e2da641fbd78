"""Faults at work: which steps every link takes, decided by a seed, and written down."""

from __future__ import annotations

import itertools
import random
import ssl
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from cnx.faults.fault import Ending, Fault, Held, Stage, Step

__all__ = ["Course", "Injectable", "Pipe", "Plan", "TraceEntry", "faults"]

TRACE_LIMIT = 100_000


class TraceEntry(NamedTuple):
    """One step.

    Attributes:
        session: number of the link, from 0, in the order of arrival.
        direction: ``"in"``, ``"out"``, or ``"link"`` for what happens to the link as a whole.
        step: what was decided, in words.
    """

    session: int
    direction: str
    step: str


class Plan:
    """Faults for one simulator.

    The chances of each fault, direction and link come from the seed alone: the same seed, chunks and order of
    clients give the same trace, whatever the threads do.

    Args:
        faults: applied in this order to the bytes.
        seed: any number.

    Attributes:
        trace: what was decided, the last 100,000 steps; those of one link and direction are in order.
    """

    def __init__(self, faults: Iterable[Fault], seed: int = 0) -> None:
        self.faults = tuple(faults)
        for fault in self.faults:
            if not isinstance(fault, Fault):
                raise TypeError(f"not a fault: {fault!r}")
        self.seed = seed
        self.trace: deque[TraceEntry] = deque(maxlen=TRACE_LIMIT)
        self._numbers = itertools.count()
        self._arrivals = itertools.count()

    def __repr__(self) -> str:
        return f"<Plan {' '.join(map(str, self.faults))} seed={self.seed}>"

    @property
    def outages(self) -> list[tuple[float, float]]:
        """After how many seconds the simulator is gone, and for how many."""
        return [outage for fault in self.faults if (outage := fault.outage()) is not None]

    @property
    def certificate(self) -> ssl.SSLContext | None:
        """The context to serve TLS with, if it is not the right one."""
        return next((context for fault in self.faults if (context := fault.certificate()) is not None), None)

    def enrol(self) -> Course:
        """Return what a link that is open already has to expect."""
        return Course(self, next(self._numbers), [])

    def receive(self, tls: bool) -> Course:
        """Return what the next client has to expect."""
        arrival = next(self._arrivals)
        steps = [step for fault in self.faults for step in fault.arrival(arrival, tls)]
        return Course(self, next(self._numbers), steps)

    def trace_of(self, session: int, direction: str) -> list[str]:
        """Return the steps of one direction of one link."""
        return [entry.step for entry in tuple(self.trace) if entry[:2] == (session, direction)]


class Course:
    """What one link has to expect.

    Attributes:
        number: of the link in the trace.
        arrival: the steps before it is served.
        inbound, outbound: what the chunks of each direction pass.
        timed: seconds from the start, and what happens then.
    """

    def __init__(self, plan: Plan, number: int, arrival: list[Step]) -> None:
        self.number = number
        self._plan = plan
        self.arrival = arrival
        self.timed = [timed for fault in plan.faults if (timed := fault.timed()) is not None]
        self.inbound = self._pipe("in")
        self.outbound = self._pipe("out")

    def record(self, direction: str, step: Step) -> None:
        """Write a step down."""
        self._plan.trace.append(TraceEntry(self.number, direction, describe(step)))

    def _pipe(self, direction: str) -> Pipe:
        stages = []
        for index, fault in enumerate(self._plan.faults):
            chances = random.Random(f"{self._plan.seed}/{self.number}/{direction}/{index}")
            stages.append(fault.stage(direction, chances))
        return Pipe([stage for stage in stages if stage is not None], lambda step: self.record(direction, step))


class Pipe:
    """The stages that one direction of one link passes."""

    def __init__(self, stages: list[Stage], record: Callable[[Step], None]) -> None:
        self._stages = stages
        self._record = record

    @property
    def holds(self) -> float | None:
        """After how many seconds ``flush()`` is due, or ``None`` when nothing is held back."""
        waits = [stage.within for stage in self._stages if isinstance(stage, Held) and stage.data]
        return min(waits, default=None)

    def feed(self, data: bytes) -> Iterator[Step]:
        """Turn a chunk into steps; that nothing of it passes is written down as no bytes."""
        if not self._stages:
            yield data
            return
        taken = True
        for step in self._through(data, 0):
            taken = False
            self._record(step)
            yield step
        if taken:
            self._record(b"")

    def flush(self) -> Iterator[Step]:
        """Give away what is held back."""
        for index, stage in enumerate(self._stages):
            if isinstance(stage, Held) and stage.data:
                for held in stage(b""):
                    for step in self._after(held, index + 1):
                        self._record(step)
                        yield step

    def _through(self, data: bytes, index: int) -> Iterator[Step]:
        if index == len(self._stages):
            yield data
            return
        for step in self._stages[index](data):
            yield from self._after(step, index + 1)

    def _after(self, step: Step, index: int) -> Iterator[Step]:
        if isinstance(step, bytes):
            yield from self._through(step, index)
        else:
            yield step


class Injectable(Protocol):
    """A simulator, as far as faults are concerned."""

    def inject(self, plan: Plan | None) -> None:
        """Put a plan into force, for the links that are open and those to come, or end it."""


@contextmanager
def faults(simulator: Injectable, *values: Fault, seed: int = 0) -> Iterator[Plan]:
    """Let ``simulator`` misbehave while the block runs; links that are open are affected too.

    Half-open links are as before after the block.

    Raises:
        TypeError: a value is not a fault.
        RuntimeError: there are faults already; give all of them to one call.
    """
    plan = Plan(values, seed)
    simulator.inject(plan)
    try:
        yield plan
    finally:
        simulator.inject(None)


def describe(step: Step) -> str:
    """Return a step in words, the same in every run."""
    if isinstance(step, bytes):
        return f"pass {len(step)} bytes, crc {zlib.crc32(step):08x}"
    return step.value if isinstance(step, Ending) else f"wait {step:.6f} s"
