"""Run benchmarks and print their table."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.table import Table

from tests.benchmarks.chart import draw
from tests.benchmarks.harness import Result, load, run_case

SHORT = ("bulk", "lines", "json", "request", "emit", "cycle", "serial-lines", "serial-write", "serial-request")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--short", is_flag=True, help="Run only the main cases of the core.")
@click.option(
    "--rounds", default=7, show_default=True, help="Interleaved rounds of each case, each in a process of its own."
)
@click.option(
    "--json", "json_file", help="Write the results there, too; VERSION in the name stands for that of Python."
)
@click.option("--svg", "svg_file", type=click.Path(path_type=Path), help="Draw the ratios there.")
def main(names: tuple[str, ...], short: bool, rounds: int, json_file: str | None, svg_file: Path | None) -> None:
    """Run the benchmarks NAMES, or all; every figure is a ratio to a bare loop measured in the same run."""
    cases = load()
    unknown = set(names) - set(cases)
    if unknown:
        raise click.UsageError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    console = Console(width=120)
    where = (
        f"{interpreter()}, {platform.machine()}, {os.cpu_count()} cores, medians of {rounds} rounds in a process each"
    )
    console.print(where)
    results: list[Result] = []
    began = monotonic()
    for name in names or (SHORT if short else cases):
        for rows in run_case(name, rounds):
            console.print(table_of(rows))
            results += rows
    console.print(f"{monotonic() - began:.0f} s")
    if json_file is not None:
        found = {"where": where, "python": python_version(), "results": [asdict(row) for row in results]}
        version = python_version()
        Path(json_file.replace("VERSION", version)).write_text(json.dumps(found, indent=1) + "\n")
    if svg_file is not None:
        draw(results, where, svg_file)


def python_version() -> str:
    """Return the version of Python as ``3.13``, or ``3.13t`` where threads are free."""
    return ".".join(platform.python_version_tuple()[:2]) + ("" if gil() else "t")


def interpreter() -> str:
    """Return what runs this."""
    return f"{platform.python_implementation()} {platform.python_version()}" + ("" if gil() else ", free-threaded")


def gil() -> bool:
    """Whether there is an interpreter lock."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def table_of(rows: list[Result]) -> Table:
    """Return the results of one case as people read them."""
    table = Table(title=rows[0].case, title_justify="left")
    table.add_column("way", min_width=46)
    for head in (rows[0].unit, "ratio", "half of the rounds", "must", "aim"):
        table.add_column(head, justify="right", min_width=8)
    for row in rows:
        target = row.target
        style = None if target is None else "green" if row.met else "red"
        sign = "" if target is None else "<= " if target.upper else ">= "
        wanted = ("", "") if target is None else (f"{sign}{target.must:g}", f"{target.aim:g}")
        spread = "" if row.absolute else f"{row.low:.3f} to {row.high:.3f}"
        ratio = "" if row.absolute else f"{row.ratio:.3f}"
        table.add_row(row.way, f"{row.figure:,.{1 if row.figure >= 1 else 2}f}", ratio, spread, *wanted, style=style)
    return table


if __name__ == "__main__":
    main()
