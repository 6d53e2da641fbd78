"""Sphinx directives ``m2-commands``, ``m2-topics`` and ``m2-faults``: drawn from the tables in the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

from cnx.clients.m2 import COMMANDS, EVENTS, FAULTS, TELEMETRY
from cnx.clients.m2.protocol.fields import Field

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Row = tuple[nodes.Node, ...]


def table(heads: tuple[str, ...], widths: tuple[int, ...], rows: Iterable[Row]) -> list[nodes.Node]:
    """Return a table."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(heads))
    group += nodes.thead("", table_row(nodes.Text(head) for head in heads))
    group += nodes.tbody("", *(table_row(row) for row in rows))
    return [nodes.table("", group, classes=["m2"])]


def table_row(cells: Iterable[nodes.Node]) -> nodes.row:
    """Return a row of a table."""
    return nodes.row(
        "",
        *(
            nodes.entry("", cell if isinstance(cell, nodes.bullet_list) else nodes.paragraph("", "", cell))
            for cell in cells
        ),
    )


def code(text: str) -> nodes.literal:
    """Return a name as it stands on the wire."""
    return nodes.literal(text, text)


def described(fields: Iterable[Field]) -> nodes.Node:
    """Return fields as a list; a dash for none."""
    items = [
        nodes.list_item("", nodes.paragraph("", "", code(field.name), nodes.Text(f": {describe(field)}")))
        for field in fields
    ]
    return nodes.bullet_list("", *items) if items else nodes.Text("none")


def describe(field: Field) -> str:
    """Return what a field holds, in words."""
    parts = [field.kind]
    if field.size is not None:
        least, most = field.size
        parts = [f"{least} x {field.kind}" if least == most else f"{least} to {most} x {field.kind}"]
    if field.range:
        parts.append(field.range)
    if field.optional:
        parts.append("may be left out")
    return "; ".join(parts)


class CommandTable(Directive):
    """All commands."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = (
            (
                code(entry.name),
                nodes.Text(entry.summary),
                described(entry.parameters),
                nodes.Text(f"{entry.timeout:g} s"),
            )
            for entry in COMMANDS.values()
        )
        return table(("command", "does", "parameters", "timeout"), (22, 30, 40, 8), rows)


class TopicTable(Directive):
    """Events, or telemetry."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        topics = {"events": EVENTS, "telemetry": TELEMETRY}[self.arguments[0]].values()
        rows = ((code(topic.name), nodes.Text(topic.summary), described(topic.fields)) for topic in topics)
        return table(("id", "tells", "fields"), (25, 30, 45), rows)


class FaultTable(Directive):
    """Bits of the faults."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return table(("bit", "code", "kind", "meaning"), (8, 10, 12, 70), self._rows())

    def _rows(self) -> Iterator[Row]:
        for fault in FAULTS.values():
            kind = "warning" if fault.warning else "fault"
            yield tuple(nodes.Text(text) for text in (str(fault.bit), str(fault.code), kind, fault.meaning))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("m2-commands", CommandTable)
    app.add_directive("m2-topics", TopicTable)
    app.add_directive("m2-faults", FaultTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
