"""Sphinx directives ``extension-points`` and ``final-names``, made from the marks in ``cnx.connections.names``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

import cnx
from cnx.connections.names import extension_points, is_final
from cnx.connections.transport import TransportConnection

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CLASSES = {
    "cnx.Connection": cnx.Connection,
    "cnx.CancellableConnection": cnx.CancellableConnection,
    "cnx.connections.transport.TransportConnection": TransportConnection,
    "cnx.StreamConnection": cnx.StreamConnection,
    "cnx.SocketConnection": cnx.SocketConnection,
    "cnx.UdpConnection": cnx.UdpConnection,
}
"""The classes to derive from that have names of their own, by the names under which the reference has them."""


def points() -> Iterator[tuple[str, str, str]]:
    """Yield class, signature and summary of each extension point, with the class that is the first to have it."""
    known: set[str] = set()
    for full, cls in CLASSES.items():
        for name in vars(cls):
            if name in extension_points(cls) and name not in known:
                known.add(name)
                yield full, signature(cls, name), summary(cls, name)


def final_names() -> Iterator[tuple[str, list[str]]]:
    """Yield each class and the names that it makes final."""
    for full, cls in CLASSES.items():
        names = [name for name, member in vars(cls).items() if is_final(member)]
        if names:
            yield full, names


def signature(cls: type, name: str) -> str:
    """Return a method with its parameters, or the name of a property."""
    member = inspect.getattr_static(cls, name)
    if isinstance(member, property):
        return name
    return f"{name}({', '.join(list(inspect.signature(member).parameters)[1:])})"


def summary(cls: type, name: str) -> str:
    """Return the first sentence of the description of a method or property."""
    text = " ".join((inspect.getdoc(inspect.getattr_static(cls, name)) or "").partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."


class Table(Directive):
    """A table of names, by class."""

    heads: tuple[str, ...] = ()
    widths = ""

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows, as reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {self.widths}", ""]
        for row in (self.heads, *self.cells()):
            lines += [f"   {'*' if number == 0 else ' '} - {text}" for number, text in enumerate(row)]
        content = nodes.container()
        self.state.nested_parse(StringList(lines, source=__file__), 0, content)
        return content.children


class ExtensionPoints(Table):
    """What cnx calls and a subclass may override."""

    heads = ("Class", "Extension point", "What it is for")
    widths = "24 32 44"

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield class, signature and summary; the class once for all of its rows."""
        last = ""
        for full, name, text in points():
            yield "" if full == last else f":class:`~{full}`", f"``{name}``", text
            last = full


class FinalNames(Table):
    """What belongs to cnx."""

    heads = ("Class", "Final names")
    widths = "24 76"

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield class and names."""
        for full, names in final_names():
            yield f":class:`~{full}`", ", ".join(f"``{name}``" for name in names)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("extension-points", ExtensionPoints)
    app.add_directive("final-names", FinalNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
