"""Sphinx directives ``lifecycle-figure`` and ``lifecycle-table``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lifecycle_figure
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class Figure(Directive):
    """The states and the inputs that lead from one to another, as a picture."""

    def run(self) -> list[nodes.Node]:
        """Return the picture; only HTML shows it."""
        return [nodes.raw("", lifecycle_figure.figure(), format="html")]


class Table(Directive):
    """Every pair of state and input, as a table."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        lines = [".. list-table::", "   :header-rows: 1", "", *cells("State", "Input", "Next state", "Output")]
        for state, name, target, output in lifecycle_figure.rows():
            lines += cells(state, f"``{name}``", target or "(the same)", f"``{output}``" if output else "")
        content = nodes.container()
        self.state.nested_parse(StringList(lines, source=__file__), 0, content)
        return content.children


def cells(*texts: str) -> list[str]:
    """Return the lines of one row of a ``list-table``."""
    return [f"   {'*' if number == 0 else ' '} - {text}" for number, text in enumerate(texts)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("lifecycle-figure", Figure)
    app.add_directive("lifecycle-table", Table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
