"""Run benchmarks and print their results."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.table import Table

from tests.benchmarks.harness import Result, load, missed, run_case

SHORT = ("bulk", "lines", "json", "request", "serial-lines", "serial-write", "serial-request")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--short", is_flag=True, help="Run only the main cases of the core.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each case, each in its own process.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the results to this file.")
def main(names: tuple[str, ...], short: bool, rounds: int, json_file: Path | None) -> None:
    """Run the benchmarks NAMES, or all. The exit status is 1 if a result misses its bound."""
    cases = load()
    unknown = set(names) - set(cases)
    if unknown:
        raise click.UsageError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    console = Console(width=120)
    where = f"{interpreter()}, {platform.machine()}, {os.cpu_count()} cores, medians of {rounds} rounds"
    console.print(where)
    results: list[list[Result]] = []
    began = monotonic()
    for name in names or (SHORT if short else cases):
        for rows in run_case(name, rounds):
            console.print(table_of(rows))
            results.append(rows)
    console.print(f"{monotonic() - began:.0f} s")
    if json_file is not None:
        json_file.write_text("\n".join(json_lines(where, results)) + "\n", encoding="utf-8")
    misses = [line for rows in results for line in missed(rows)]
    for line in misses:
        console.print(line, style="red")
    sys.exit(bool(misses))


def interpreter() -> str:
    """Return the name and version of the interpreter."""
    lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    return f"{platform.python_implementation()} {platform.python_version()}" + ("" if lock else ", free-threaded")


def json_lines(where: str, results: list[list[Result]]) -> Iterator[str]:
    """Yield the results as JSON, one way on each line so that changes are easy to compare."""
    rows = [asdict(row) for case in results for row in case]
    for row in rows:
        for key in ("figure", "ratio", "low", "high"):
            row[key] = float(f"{row[key]:.4g}")
    yield f'{{"where": {json.dumps(where)}, "cases": ['
    shared = ("case", "unit", "less", "absolute")
    groups = [list(group) for _, group in groupby(rows, lambda row: row["case"])]
    for group in groups:
        yield json.dumps({key: group[0][key] for key in shared})[:-1] + ', "ways": ['
        ways = [{key: value for key, value in row.items() if key not in shared} for row in group]
        for way in ways:
            yield (
                " "
                + json.dumps(way)
                + ("," if way is not ways[-1] else "]}" + ("," if group is not groups[-1] else ""))
            )
    yield "]}"


def table_of(rows: list[Result]) -> Table:
    """Return the results of one case as a table; red marks a missed bound."""
    table = Table(title=rows[0].case, title_justify="left")
    table.add_column("way", min_width=46)
    for head in (rows[0].unit, "ratio", "half of the rounds", "bound"):
        table.add_column(head, justify="right", min_width=8)
    for row in rows:
        ratio, spread = ("", "") if row.absolute else (f"{row.ratio:.3f}", f"{row.low:.3f} to {row.high:.3f}")
        bound, style = "", None
        if row.bound is not None:
            bound = f"{'<=' if row.less else '>='} {row.bound:g}"
            style = "red" if row.is_worse_than(row.bound) else "green"
        table.add_row(row.way, f"{row.figure:,.{1 if row.figure >= 1 else 2}f}", ratio, spread, bound, style=style)
    return table


if __name__ == "__main__":
    main()
