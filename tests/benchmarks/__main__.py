"""Run benchmarks and print their table."""

from __future__ import annotations

import importlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.benchmarks.chart import draw
from tests.benchmarks.harness import CASES, Result, run_case

MODULES = ("core", "peers", "serial_port", "scale", "m2", "chiller", "recorder", "smartbus")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", default=7, show_default=True, help="Interleaved rounds of each case.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the results there, too.")
@click.option("--svg", "svg_file", type=click.Path(path_type=Path), help="Draw the ratios there.")
def main(names: tuple[str, ...], rounds: int, json_file: Path | None, svg_file: Path | None) -> None:
    """Run the benchmarks NAMES, or all; every figure is a ratio to a bare loop measured in the same run."""
    for module in MODULES:
        importlib.import_module(f"tests.benchmarks.{module}")
    unknown = set(names) - set(CASES)
    if unknown:
        raise click.UsageError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    console = Console(width=110)
    where = (
        f"CPython {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, medians of {rounds} rounds"
    )
    console.print(where)
    results: list[Result] = []
    for name in names or CASES:
        for rows in run_case(name, rounds):
            console.print(table_of(rows))
            results += rows
    if json_file is not None:
        found = {"where": where, "results": [asdict(row) for row in results]}
        json_file.write_text(json.dumps(found, indent=1) + "\n")
    if svg_file is not None:
        draw(results, where, svg_file)


def table_of(rows: list[Result]) -> Table:
    """Return the results of one case as people read them."""
    table = Table(title=rows[0].case, title_justify="left")
    table.add_column("way", min_width=46)
    for head in (rows[0].unit, "ratio", "must", "aim"):
        table.add_column(head, justify="right", min_width=8)
    for row in rows:
        target = row.target
        style = None if target is None else "green" if row.met else "red"
        sign = "" if target is None else "<= " if target.upper else ">= "
        wanted = ("", "") if target is None else (f"{sign}{target.must:g}", f"{target.aim:g}")
        table.add_row(row.way, f"{row.figure:,.1f}", f"{row.ratio:.3f}", *wanted, style=style)
    return table


if __name__ == "__main__":
    main()
