"""How a benchmark is run: interleaved rounds, paired ratios, medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["CASES", "Case", "Result", "Target", "case", "isolated", "pin", "run_case", "server"]

CORE = 0
"""Client and server share one core: that is the steady placement, see the performance page."""


@dataclass(frozen=True)
class Target:
    """What a ratio has to reach, and what is aimed for; ``upper`` says that less is better."""

    must: float
    aim: float
    upper: bool = False

    def met(self, ratio: float) -> bool:
        """Whether the ratio is good enough."""
        return ratio <= self.must if self.upper else ratio >= self.must


@dataclass
class Case:
    """A workload and the ways to do it; the first way is the bare loop that the others are compared with.

    Attributes:
        unit: of the figures that the ways return.
        absolute: targets are about the figures themselves, in place of the ratios.
        ways: by name; each does the work once and returns a figure.
        targets: by the name of the way.
    """

    name: str
    unit: str
    absolute: bool = False
    ways: dict[str, Callable[[], float]] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)

    def way(self, name: str, run: Callable[[], float], target: Target | None = None) -> None:
        """Add a way."""
        self.ways[name] = run
        if target is not None:
            self.targets[name] = target


@dataclass(frozen=True)
class Result:
    """Median figure and median paired ratio of one way."""

    case: str
    way: str
    unit: str
    figure: float
    ratio: float
    target: Target | None
    absolute: bool

    @property
    def met(self) -> bool:
        """Whether the target is met, if there is one."""
        return self.target is None or self.target.met(self.figure if self.absolute else self.ratio)


CASES: dict[str, Callable[[], Iterator[Case]]] = {}


def case(name: str) -> Callable[[Callable[[], Iterator[Case]]], Callable[[], Iterator[Case]]]:
    """Register a generator function that sets a case up, yields it, and tears it down."""

    def register(make: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
        CASES[name] = make
        return make

    return register


def run_case(name: str, rounds: int) -> Iterator[list[Result]]:
    """Run all cases of one name; yield the results of each."""
    for made in CASES[name]():
        figures: dict[str, list[float]] = {way: [] for way in made.ways}
        for _ in range(rounds):
            for way, run in made.ways.items():
                figures[way].append(run())
        bare = next(iter(figures.values()))
        yield [
            Result(
                made.name,
                way,
                made.unit,
                statistics.median(values),
                statistics.median(value / base if base else 0.0 for value, base in zip(values, bare, strict=True)),
                made.targets.get(way),
                made.absolute,
            )
            for way, values in figures.items()
        ]


def isolated(module: str, function: str, *arguments: str) -> dict[str, float]:
    """Return what a function returns in a new process."""
    code = f"import json, {module} as m; print(json.dumps(m.{function}(*{arguments!r})))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def pin(core: int = CORE) -> None:
    """Keep this process on one core, where the system can do that."""
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {core})


@contextmanager
def server(mode: str, *arguments: object, core: int = CORE) -> Iterator[int]:
    """Run the load generator in a process of its own; give its port."""
    command = [sys.executable, "-m", "tests.benchmarks.server", mode, str(core), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
