"""How a benchmark runs: the ways of a case take turns in short slices, and each slice is compared with the bare loop.

A machine does not run at one speed: other programs, caches and clock rates change it by the second. So each way does a
little work per turn, every second turn goes through the ways backwards, and only neighbouring slices are compared.
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
    "View",
    "case",
    "in_new_process",
    "load",
    "missed",
    "percentile",
    "pin",
    "run_case",
    "server",
]

MODULES = ("receive", "request", "serial_port", "scale", "garbage", "recovery", "m2", "chiller", "smartbus")
"""The modules that contain cases, in the order of the results."""

T = TypeVar("T")

CORE = 0
"""Client and server share this core: the placement that varies least."""

LARGE = 16 * 1024 * 1024
"""Bytes that each process frees before it measures, as most programs have done by then.

From then on glibc does not map and unmap memory for every piece of 128 KiB or more. Without this, asyncio, which reads
256 KiB at a time, would take twice as long.
"""

Figures = float | list[float]


@dataclass(frozen=True)
class View:
    """A statistic of the figures of a slice, and its bounds by the names of the ways."""

    name: str
    of: Callable[[list[float]], float]
    bounds: dict[str, float] = field(default_factory=dict)


@dataclass
class Case:
    """A workload and the ways to do it. The first way is the bare loop that the others are compared with.

    A bound is the worst acceptable ratio to the bare loop, or the worst acceptable figure if the case is absolute.

    Attributes:
        unit: of the figures that the ways return.
        less: less is better, as for times; otherwise more is, as for rates.
        absolute: bounds apply to the figures themselves, not to the ratios.
        slices: how often the ways take turns in one round.
        leader: the way of cnx that has to stay ahead of every other library, and of what programs do by hand.
        views: the statistics to report, where a slice returns many figures; by default their mean.
        ways: by name; each does one slice of the work and returns a figure, or many. Those of cnx begin with "cnx".
        bounds: by the name of the way, for the default view.
    """

    name: str
    unit: str
    less: bool = False
    absolute: bool = False
    slices: int = 1
    leader: str | None = None
    views: list[View] = field(default_factory=list)
    ways: dict[str, Callable[[], Figures]] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)

    def way(self, name: str, run: Callable[[], Figures], bound: float | None = None) -> None:
        """Add a way."""
        self.ways[name] = run
        if bound is not None:
            self.bounds[name] = bound

    def all_views(self) -> list[View]:
        """Return the statistics to report."""
        return self.views or [View("", statistics.fmean, self.bounds)]


@dataclass(frozen=True)
class Result:
    """The median figure and median ratio of one way.

    Attributes:
        low, high: half of the rounds had a ratio in this range.
        behind: the way of cnx that has to stay ahead of this one.
    """

    case: str
    way: str
    unit: str
    less: bool
    absolute: bool
    figure: float
    ratio: float
    low: float
    high: float
    bound: float | None
    behind: str | None

    @property
    def value(self) -> float:
        """What the bound applies to."""
        return self.figure if self.absolute else self.ratio

    def is_worse_than(self, value: float) -> bool:
        """Whether this way does worse than ``value``."""
        return self.value > value if self.less else self.value < value


def missed(rows: list[Result]) -> list[str]:
    """Return a line for each bound that the results of one case miss, and for each peer that is ahead."""
    by_way = {row.way: row for row in rows}
    lines = []
    for row in rows:
        if row.bound is not None and row.is_worse_than(row.bound):
            lines.append(f"{row.case}: {row.way}: {row.value:.4g}, the bound is {row.bound:g}")
        if row.behind is not None and by_way[row.behind].is_worse_than(row.value):
            lines.append(f"{row.case}: {row.way}: ahead of {row.behind}")
    return lines


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


def is_ours(way: str) -> bool:
    """Whether a way of this name uses cnx."""
    return way.partition(",")[0].partition(" ")[0] == "cnx"


def percentile(number: int) -> Callable[[list[float]], float]:
    """Return a function that computes a percentile, from 1 to 99, of many figures."""
    return lambda figures: statistics.quantiles(figures, n=100)[number - 1]


def run_case(name: str, rounds: int) -> list[list[Result]]:
    """Run all cases of one name; return the results of each.

    Each round runs in its own process: where the system places a program in memory is chance, and changes the cost of
    a few microseconds of Python by a tenth for as long as the process lives.
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
            _take(made, 1)  # warms the caches up; not counted
        gc.collect()
        gc.freeze()  # existing objects are not examined again by every collection
        taken = _take(made, made.slices)
        gc.unfreeze()
        results += [_results(made, view, taken) for view in made.all_views()]
    return results


def _take(made: Case, slices: int) -> dict[str, list[list[float]]]:
    figures: dict[str, list[list[float]]] = {way: [] for way in made.ways}
    for number in range(slices):
        ways = list(made.ways.items())
        for way, run in reversed(ways) if number % 2 else ways:
            found = run()
            figures[way].append(found if isinstance(found, list) else [found])
    return figures


def _results(made: Case, view: View, taken: dict[str, list[list[float]]]) -> list[Result]:
    """Return one statistic of the figures of one round."""
    name = f"{made.name}, {view.name}" if view.name else made.name
    figures = {way: list(map(view.of, slices)) for way, slices in taken.items()}
    bare = next(iter(figures.values()))
    results = []
    for number, (way, values) in enumerate(figures.items()):
        figure = statistics.median(values)
        # The median of paired ratios ignores the few slices in which another program took the processor away.
        ratio = statistics.median(value / base if base else 0.0 for value, base in zip(values, bare, strict=True))
        behind = made.leader if number and not is_ours(way) else None
        results.append(
            Result(
                name,
                way,
                made.unit,
                made.less,
                made.absolute,
                figure,
                ratio,
                ratio,
                ratio,
                view.bounds.get(way),
                behind,
            )
        )
    return results


def merged(rounds: tuple[Result, ...]) -> Result:
    """Return the medians of the results that one way had in several rounds."""
    ratios = [one.ratio for one in rounds]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    figure = statistics.median(one.figure for one in rounds)
    return replace(rounds[0], figure=figure, ratio=statistics.median(ratios), low=low, high=high)


def in_new_process(function: Callable[..., T], *arguments: object) -> T:
    """Return the result of a function called in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def pin(core: int = CORE) -> None:
    """Keep this process on one core, where the system supports it."""
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {core})


@contextmanager
def server(mode: str, *arguments: object, core: int = CORE) -> Iterator[int]:
    """Run a server in its own process; yield its port."""
    with other_side(mode, *arguments, core=core) as line:
        yield int(line)


@contextmanager
def other_side(mode: str, *arguments: object, core: int = CORE) -> Iterator[str]:
    """Run the other side in its own process; yield the first line that it prints."""
    command = [sys.executable, "-m", "tests.benchmarks.server", mode, str(core), *map(str, arguments)]
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
