"""A Sphinx directive ``benchmark-tables``: the results of a run of the benchmarks, from the JSON file that it wrote."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADS = ("way", "figure", "ratio", "must be", "aim")
WIDTHS = (44, 18, 12, 14, 12)


def cells(row: dict[str, Any]) -> list[str]:
    """Return one line of a table."""
    target = row["target"]
    sign = "" if target is None else "at most" if target["upper"] else "at least"
    wanted = ("", "") if target is None else (f"{sign} {target['must']:g}", f"{target['aim']:g}")
    return [row["way"], f"{row['figure']:,.1f} {row['unit']}", f"{row['ratio']:.2f}", *wanted]


def table_of(rows: list[dict[str, Any]]) -> nodes.table:
    """Return the table of one case."""
    group = nodes.tgroup(cols=len(HEADS))
    group += [nodes.colspec(colwidth=width) for width in WIDTHS]
    body = [nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in cells(row))) for row in rows]
    head = nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in HEADS))
    group += [nodes.thead("", head), nodes.tbody("", *body)]
    return nodes.table("", nodes.title(text=rows[0]["case"]), group)


class BenchmarkTables(Directive):
    """Put a table for every case of the file that the directive names, relative to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the tables."""
        source = Path(self.state.document.current_source).parent / self.arguments[0]
        found = json.loads(source.read_text(encoding="utf-8"))
        made: list[nodes.Node] = [nodes.paragraph(text=f"Measured with {found['where']}.")]
        return made + [table_of(list(rows)) for _, rows in groupby(found["results"], lambda row: row["case"])]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("benchmark-tables", BenchmarkTables)
    return {"parallel_read_safe": True}
