"""Plan: the faults of one simulator, their random decisions from a seed, and the trace of what was decided."""

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

    The random decisions for each fault, direction and link depend on the seed alone. So the same seed, chunks and order
    of clients give the same trace, however the threads are scheduled.

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
                raise TypeError(f"faults must be of cnx.faults, not {fault!r}")
        self.seed = seed
        self.trace: deque[TraceEntry] = deque(maxlen=TRACE_LIMIT)
        self._numbers = itertools.count()
        self._arrivals = itertools.count()

    def __repr__(self) -> str:
        return f"<Plan {' '.join(map(str, self.faults))} seed={self.seed}>"

    @property
    def outages(self) -> list[tuple[float, float]]:
        """The seconds until each outage of the simulator, and its duration in seconds."""
        return [outage for fault in self.faults if (outage := fault.outage()) is not None]

    @property
    def certificate(self) -> ssl.SSLContext | None:
        """The TLS context to use instead of the right one, if there is one."""
        return next((context for fault in self.faults if (context := fault.certificate()) is not None), None)

    def enrol(self) -> Course:
        """Return the course of a link that is already open."""
        return Course(self, next(self._numbers), [])

    def receive(self, tls: bool) -> Course:
        """Return the course of the link to the next client."""
        arrival = next(self._arrivals)
        steps = [step for fault in self.faults for step in fault.arrival(arrival, tls)]
        return Course(self, next(self._numbers), steps)

    def trace_of(self, session: int, direction: str) -> list[str]:
        """Return the steps of one direction of one link."""
        return [entry.step for entry in tuple(self.trace) if entry[:2] == (session, direction)]


class Course:
    """What the faults have in store for one link.

    Attributes:
        number: of the link in the trace.
        arrival: the steps to take before it is served.
        inbound, outbound: the stages that the chunks of each direction pass.
        timed: how the link ends, and how many seconds from its start.
    """

    def __init__(self, plan: Plan, number: int, arrival: list[Step]) -> None:
        self.number = number
        self._plan = plan
        self.arrival = arrival
        self.timed = [timed for fault in plan.faults if (timed := fault.timed()) is not None]
        self.inbound = self._pipe("in")
        self.outbound = self._pipe("out")

    def record(self, direction: str, step: Step) -> None:
        """Add a step to the trace."""
        self._plan.trace.append(TraceEntry(self.number, direction, describe(step)))

    def _pipe(self, direction: str) -> Pipe:
        stages = []
        for index, fault in enumerate(self._plan.faults):
            chances = random.Random(f"{self._plan.seed}/{self.number}/{direction}/{index}")
            stages.append(fault.stage(direction, chances))
        return Pipe([stage for stage in stages if stage is not None], lambda step: self.record(direction, step))


class Pipe:
    """The stages that the chunks of one direction of one link pass, one after the other."""

    def __init__(self, stages: list[Stage], record: Callable[[Step], None]) -> None:
        self._stages = stages
        self._record = record

    @property
    def holds(self) -> float | None:
        """The seconds after which to call ``flush()``; ``None`` if nothing is held back."""
        waits = [stage.within for stage in self._stages if isinstance(stage, Held) and stage.data]
        return min(waits, default=None)

    def feed(self, data: bytes) -> Iterator[Step]:
        """Turn a chunk into steps. If none of it passes, the trace has an entry of 0 bytes."""
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
        """Release what is held back."""
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
    """A simulator, as far as fault injection is concerned."""

    def inject(self, plan: Plan | None) -> None:
        """Apply a plan to open links and to new ones; ``None`` ends it."""


@contextmanager
def faults(simulator: Injectable, *values: Fault, seed: int = 0) -> Iterator[Plan]:
    """Let ``simulator`` misbehave while the block runs, also on links that are already open.

    Links that are half-open work again after the block.

    Raises:
        TypeError: a value is not a fault.
        RuntimeError: there are faults already; pass all of them in one call.
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
