"""How a benchmark is run: ways that take turns in short slices, paired ratios, medians.

A machine does not run at one speed: other programs, caches and clocks change it by the second. So the ways of a case
do a little each and take turns, every other time backwards, and the figures of one round are compared with each other.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from typing import TypeVar

from tests.helpers.processes import started

__all__ = [
    "Case",
    "Result",
    "Target",
    "View",
    "case",
    "in_new_process",
    "load",
    "percentile",
    "pin",
    "run_case",
    "server",
]

_OF_THE_CORE = ("receive", "request", "parts", "emit", "serial_port", "scale", "recovery", "recorder")
MODULES = (*_OF_THE_CORE, "m2", "chiller", "smartbus")
"""Those with cases, in the order of the table."""

T = TypeVar("T")

CORE = 0
"""Client and server share one core: that is the steady placement, see the performance page."""

LARGE = 16 * 1024 * 1024
"""Bytes that are freed at first, as in most programs: from then on glibc does not map and unmap memory for every piece
of 128 KiB or more, which would make asyncio, as it reads 256 KiB at a time, take twice as long.
"""

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

    Each slice is compared with the one of the bare loop that is next to it, and the median of the slices of a round
    counts; so what another program takes away from a few of them is not seen.
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


_cases: dict[str, Callable[[], Iterator[Case]]] = {}


def load() -> dict[str, Callable[[], Iterator[Case]]]:
    """Return all cases by their names."""
    for module in MODULES:
        importlib.import_module(f"tests.benchmarks.{module}")
    return _cases


def case(name: str) -> Callable[[Callable[[], Iterator[Case]]], Callable[[], Iterator[Case]]]:
    """Register a generator function that sets a case up, yields it, and tears it down."""

    def register(make: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
        _cases[name] = make
        return make

    return register


def percentile(number: int) -> Callable[[list[float]], float]:
    """Return what finds a percentile, from 1 to 99, of many figures."""
    return lambda figures: statistics.quantiles(figures, n=100)[number - 1]


def run_case(name: str, rounds: int) -> list[list[Result]]:
    """Run all cases of one name; return the results of each.

    Each round has a process of its own: where the system puts a program in memory, which is chance, changes what a
    few microseconds of Python cost by a tenth, for as long as the process lives.
    """
    taken = [in_new_process(run_round, name) for _ in range(rounds)]
    return [[merged(each) for each in zip(*rows, strict=True)] for rows in zip(*taken, strict=True)]


def run_round(name: str) -> list[list[Result]]:
    """Run one round of all cases of one name; return the results of each."""
    pin()
    bytes(LARGE)
    results = []
    for made in load()[name]():
        if made.slices > 1:
            _take(made, 1)  # warms caches up, and counts nothing
        gc.collect()
        gc.freeze()  # what there is already is not looked at again by every collection
        taken = _take(made, made.slices)
        gc.unfreeze()
        results += [_told(made, view, taken) for view in made.all_views()]
    return results


def _take(made: Case, slices: int) -> dict[str, list[list[float]]]:
    figures: dict[str, list[list[float]]] = {way: [] for way in made.ways}
    for number in range(slices):
        ways = list(made.ways.items())
        for way, run in reversed(ways) if number % 2 else ways:
            found = run()
            figures[way].append(found if isinstance(found, list) else [found])
    return figures


def _told(made: Case, view: View, taken: dict[str, list[list[float]]]) -> list[Result]:
    """Return what a view makes of the figures of one round."""
    name = f"{made.name}, {view.name}" if view.name else made.name
    figures = {way: list(map(view.of, slices)) for way, slices in taken.items()}
    bare = next(iter(figures.values()))
    results = []
    for way, values in figures.items():
        ratio = statistics.median(value / base if base else 0.0 for value, base in zip(values, bare, strict=True))
        figure, target = statistics.median(values), view.targets.get(way)
        results.append(Result(name, way, made.unit, figure, ratio, ratio, ratio, target, made.absolute))
    return results


def merged(rounds: tuple[Result, ...]) -> Result:
    """Return the medians of the results that one way had in several rounds."""
    ratios = [one.ratio for one in rounds]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    figure = statistics.median(one.figure for one in rounds)
    return replace(rounds[0], figure=figure, ratio=statistics.median(ratios), low=low, high=high)


def in_new_process(function: Callable[..., T], *arguments: object) -> T:
    """Return what a function returns in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


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
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
