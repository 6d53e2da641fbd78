"""Sphinx directives ``architecture-figure`` and ``layers-table``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import architecture_figure
from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

IN_WORDS = {
    "*": "everything",
    "OWN": "their own package",
    "OWN.*": "and all that is in it",
    "OWN.protocol": "their own protocol",
}
"""Entries of the rules that are not names of packages."""


class Figure(Directive):
    """The packages, and the imports between them, as a picture."""

    def run(self) -> list[nodes.Node]:
        """Return the picture; only HTML shows it."""
        return [nodes.raw("", architecture_figure.figure(), format="html")]


class Table(Directive):
    """What each package may import, as a table."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (30, 70)), cols=2)
        group += nodes.thead("", row(nodes.paragraph(text=text) for text in ("Packages", "May import")))
        group += nodes.tbody("", *(row(map(listed, pair)) for pair in architecture_figure.rows()))
        return [nodes.table("", group)]


def row(cells: Any) -> nodes.row:
    """Return a row of a table."""
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def listed(names: list[str]) -> nodes.paragraph:
    """Return names as a list in one line."""
    paragraph = nodes.paragraph()
    for number, name in enumerate(names):
        if number:
            paragraph += nodes.Text(", ")
        paragraph += nodes.Text(IN_WORDS[name]) if name in IN_WORDS else nodes.literal(name, name)
    return paragraph if names else nodes.paragraph(text="nothing of cnx")


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("architecture-figure", Figure)
    app.add_directive("layers-table", Table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
