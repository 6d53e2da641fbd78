"""Sphinx directives ``performance-table`` and ``performance-chart`` for the results of the benchmarks.

Both take the name of the JSON file that ``python -m tests.benchmarks --json`` wrote, relative to the page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import performance_chart
from docutils import nodes
from docutils.parsers.rst import Directive
from performance_chart import is_ours

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADS = ("Work", "With cnx", "Result", "Ratio", "Bound", "Best of the others")
WIDTHS = (24, 27, 15, 8, 10, 26)

Row = dict[str, Any]


def value_of(case: Row, way: Row) -> float:
    """Return what the bound applies to."""
    return way["figure"] if case["absolute"] else way["ratio"]


def is_missed(case: Row, way: Row) -> bool:
    """Whether a result is worse than its bound."""
    value, bound = value_of(case, way), way["bound"]
    return bound is not None and (value > bound if case["less"] else value < bound)


def short(value: float) -> str:
    """Return a number with at least two significant digits."""
    return f"{value:,.{0 if value >= 100 or not value else 1 if value >= 10 else 2 if value >= 0.1 else 3}f}"


def best_peer(case: Row, way: Row) -> str:
    """Return the best result of what cnx is compared with, for the way of cnx that is compared; else nothing."""
    peers = [other for other in case["ways"][1:] if not is_ours(other["way"])]
    leaders = {peer["behind"] for peer in peers} - {None}
    if not peers or (leaders and way["way"] not in leaders):
        return ""
    best = (min if case["less"] else max)(peers, key=lambda peer: value_of(case, peer))
    return f"{short(value_of(case, best))}: {best['way']}"


def bounded_ways(case: Row) -> list[Row]:
    """Return the ways of cnx that the table shows: those with a bound, and those that must stay ahead of others."""
    leaders = {way["behind"] for way in case["ways"]}
    return [way for way in case["ways"] if way["bound"] is not None or way["way"] in leaders]


def cells(case: Row, way: Row) -> list[nodes.paragraph]:
    """Return one line of the table, without its first cell."""
    bound = "" if way["bound"] is None else f"{'≤' if case['less'] else '≥'} {way['bound']:,g}"
    texts = [
        way["way"].removeprefix("cnx").lstrip(", "),
        f"{short(way['figure'])} {case['unit']}",
        "" if case["absolute"] else short(way["ratio"]),
        bound,
        best_peer(case, way),
    ]
    made = [nodes.paragraph(text=text) for text in texts]
    if is_missed(case, way):
        number = 1 if case["absolute"] else 2
        made[number] = nodes.paragraph("", "", nodes.strong(text=texts[number]))
    return made


def table(cases: list[Row]) -> nodes.table:
    """Return the table of all results that have a bound."""
    rows = []
    for case in cases:
        ways = bounded_ways(case)
        for number, way in enumerate(ways):
            row = nodes.row("", *(nodes.entry("", cell) for cell in cells(case, way)))
            if number == 0:
                row.insert(0, nodes.entry("", nodes.paragraph(text=case["case"]), morerows=len(ways) - 1))
            rows.append(row)
    specs = [nodes.colspec(colwidth=width) for width in WIDTHS]
    head = nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in HEADS))
    group = nodes.tgroup("", *specs, nodes.thead("", head), nodes.tbody("", *rows), cols=len(specs))
    return nodes.table("", group)


class FromResults(Directive):
    """A directive with the name of a file of results."""

    required_arguments = 1

    def results(self) -> Row:
        """Return the results; the page is built again when they change."""
        source = Path(self.state.document.current_source).parent / self.arguments[0]
        self.state.document.settings.record_dependencies.add(str(source))
        found: Row = json.loads(source.read_text(encoding="utf-8"))
        return found


class Table(FromResults):
    """One table of all results that have a bound."""

    def run(self) -> list[nodes.Node]:
        """Return the table, after the name of the machine."""
        found = self.results()
        return [nodes.paragraph(text=f"Measured with {found['where']}."), table(found["cases"])]


class Chart(FromResults):
    """Bars for the two kinds of work that most programs do."""

    def run(self) -> list[nodes.Node]:
        """Return the chart; only HTML shows it."""
        return [nodes.raw("", performance_chart.chart(self.results()["cases"]), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("performance-table", Table)
    app.add_directive("performance-chart", Chart)
    return {"parallel_read_safe": True}
