"""Sphinx directives for the results of the benchmarks, from the JSON files that they wrote.

``benchmark-tables FILE`` puts a table for every case; ``benchmark-versions PATTERN`` puts one table with a column for
every file, that is, for every version of Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADS = ("way", "figure", "ratio", "half of the rounds", "must be", "aim")
WIDTHS = (40, 18, 10, 16, 14, 8)

Row = dict[str, Any]


def wanted(row: Row) -> str:
    """Return what the ratio, or the figure, has to be."""
    target = row["target"]
    return "" if target is None else f"{'at most' if target['upper'] else 'at least'} {target['must']:g}"


def figure(row: Row) -> str:
    """Return the figure with three digits or more."""
    value = row["figure"]
    return f"{value:,.{0 if value >= 100 or not value else 1 if value >= 10 else 2}f} {row['unit']}"


def short(ratio: float) -> str:
    """Return a ratio with at least two digits that count."""
    return f"{ratio:.{2 if ratio >= 0.1 else 3 if ratio >= 0.01 else 5}f}"


def verdict(row: Row) -> nodes.paragraph:
    """Return the figure that a target is about; in bold where it is missed."""
    target, value = row["target"], row["figure"] if row["absolute"] else row["ratio"]
    missed = target is not None and (value > target["must"] if target["upper"] else value < target["must"])
    text = short(value) if value else "0"
    return nodes.paragraph("", "", nodes.strong(text=text) if missed else nodes.Text(text))


def cells(row: Row) -> list[nodes.paragraph]:
    """Return one line of a table."""
    aim = "" if row["target"] is None else f"{row['target']['aim']:g}"
    spread = "" if row["absolute"] else f"{short(row['low'])} to {short(row['high'])}"
    ratio = nodes.paragraph() if row["absolute"] else verdict(row)
    texts = [row["way"], figure(row), spread, wanted(row), aim]
    made = [nodes.paragraph(text=text) for text in texts]
    return [*made[:2], ratio, *made[2:]]


def table(
    title: str, heads: Iterable[str], widths: Iterable[int], body: Iterable[list[nodes.paragraph]]
) -> nodes.table:
    """Return a table."""
    specs = [nodes.colspec(colwidth=width) for width in widths]
    head = nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in heads))
    rows = [nodes.row("", *(nodes.entry("", cell) for cell in line)) for line in body]
    group = nodes.tgroup("", *specs, nodes.thead("", head), nodes.tbody("", *rows), cols=len(specs))
    return nodes.table("", nodes.title(text=title), group)


class BenchmarkTables(Directive):
    """Put a table for every case of the file that the directive names, relative to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the tables."""
        source = Path(self.state.document.current_source).parent / self.arguments[0]
        found = json.loads(source.read_text(encoding="utf-8"))
        made: list[nodes.Node] = [nodes.paragraph(text=f"Measured with {found['where']}.")]
        for name, rows in groupby(found["results"], lambda row: row["case"]):
            made.append(table(name, HEADS, WIDTHS, map(cells, rows)))
        return made


def version_of(python: str) -> list[int]:
    """Return the numbers in what an interpreter is called, such as ``3.13t`` or ``3.11 Debian``."""
    return [int(part) for part in python.split()[0].rstrip("t").split(".")]


class BenchmarkVersions(Directive):
    """Put a table of what has a target, with a column for every file that the directive's pattern finds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        folder = Path(self.state.document.current_source).parent
        found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(self.arguments[0])]
        found.sort(key=lambda each: (version_of(each["python"]), each["python"]))
        by_version = [{(row["case"], row["way"]): row for row in each["results"]} for each in found]
        lines = []
        for (case, way), row in (by_version[0] if by_version else {}).items():
            if row["target"] is not None:
                rows = [version.get((case, way)) for version in by_version]
                values = [nodes.paragraph() if each is None else verdict(each) for each in rows]
                lines.append([nodes.paragraph(text=f"{case}: {way}"), nodes.paragraph(text=wanted(row)), *values])
        heads = ("ratio", "must be", *(each["python"] for each in found))
        widths = (60, 14, *(9 for _ in found))
        where = nodes.paragraph(text=f"Measured with {'; '.join(each['where'].split(', ')[0] for each in found)}.")
        return [where, table("All versions of Python", heads, widths, lines)] if found else []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("benchmark-tables", BenchmarkTables)
    app.add_directive("benchmark-versions", BenchmarkVersions)
    return {"parallel_read_safe": True}
