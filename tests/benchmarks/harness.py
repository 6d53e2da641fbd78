"""How a benchmark is run: ways that take turns in short slices, paired ratios, medians.

A machine does not run at one speed: other programs, caches and clocks change it by the second. So the ways of a case
do a little each and take turns, every other time backwards, and the figures of one round are compared with each other.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["CASES", "Case", "Result", "Target", "View", "case", "isolated", "percentile", "pin", "run_case", "server"]

CORE = 0
"""Client and server share one core: that is the steady placement, see the performance page."""

Figures = float | list[float]


@dataclass(frozen=True)
class Target:
    """What a ratio has to reach, and what is aimed for; ``upper`` says that less is better."""

    must: float
    aim: float
    upper: bool = False

    def met(self, ratio: float) -> bool:
        """Whether the ratio is good enough."""
        return ratio <= self.must if self.upper else ratio >= self.must


@dataclass(frozen=True)
class View:
    """What is made of the figures of a slice: a name, the function, and the targets by the name of the way.

    The median of the slices of a round counts; so what another program takes away from a few of them is not seen.
    """

    name: str
    of: Callable[[list[float]], float]
    targets: dict[str, Target] = field(default_factory=dict)


@dataclass
class Case:
    """A workload and the ways to do it; the first way is the bare loop that the others are compared with.

    Attributes:
        unit: of the figures that the ways return.
        absolute: targets are about the figures themselves, in place of the ratios.
        slices: how often the ways take turns in one round.
        views: what is told of the figures of a slice, where there are many.
        ways: by name; each does a slice of the work and returns a figure, or many.
        targets: by the name of the way, for the median.
    """

    name: str
    unit: str
    absolute: bool = False
    slices: int = 1
    views: list[View] = field(default_factory=list)
    ways: dict[str, Callable[[], Figures]] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)

    def way(self, name: str, run: Callable[[], Figures], target: Target | None = None) -> None:
        """Add a way."""
        self.ways[name] = run
        if target is not None:
            self.targets[name] = target

    def all_views(self) -> list[View]:
        """Return what is told of the figures."""
        return self.views or [View("", statistics.fmean, self.targets)]


@dataclass(frozen=True)
class Result:
    """Median figure and median paired ratio of one way; half of the rounds had a ratio from ``low`` to ``high``."""

    case: str
    way: str
    unit: str
    figure: float
    ratio: float
    low: float
    high: float
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


def percentile(number: int) -> Callable[[list[float]], float]:
    """Return what finds a percentile, from 1 to 99, of many figures."""
    return lambda figures: statistics.quantiles(figures, n=100)[number - 1]


def run_case(name: str, rounds: int) -> Iterator[list[Result]]:
    """Run all cases of one name; yield the results of each."""
    for made in CASES[name]():
        if made.slices > 1:
            _round(made, 1)  # warms caches up, and counts nothing
        gc.collect()
        gc.freeze()  # what there is already is not looked at again by every collection
        taken = [_round(made, made.slices) for _ in range(rounds)]
        gc.unfreeze()
        for view in made.all_views():
            figures = {way: [statistics.median(map(view.of, one[way])) for one in taken] for way in made.ways}
            bare = next(iter(figures.values()))
            yield [_result(made, view, way, values, bare) for way, values in figures.items()]


def _round(made: Case, slices: int) -> dict[str, list[list[float]]]:
    figures: dict[str, list[list[float]]] = {way: [] for way in made.ways}
    for number in range(slices):
        ways = list(made.ways.items())
        for way, run in reversed(ways) if number % 2 else ways:
            found = run()
            figures[way].append(found if isinstance(found, list) else [found])
    return figures


def _result(made: Case, view: View, way: str, values: list[float], bare: list[float]) -> Result:
    ratios = [value / base if base else 0.0 for value, base in zip(values, bare, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    name = f"{made.name}, {view.name}" if view.name else made.name
    figure, ratio = statistics.median(values), statistics.median(ratios)
    return Result(name, way, made.unit, figure, ratio, low, high, view.targets.get(way), made.absolute)


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
    with other_side(mode, *arguments, core=core) as line:
        yield int(line)


@contextmanager
def other_side(mode: str, *arguments: object, core: int = CORE) -> Iterator[str]:
    """Run the other side in a process of its own; give the line that it prints at first."""
    command = [sys.executable, "-m", "tests.benchmarks.server", mode, str(core), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
