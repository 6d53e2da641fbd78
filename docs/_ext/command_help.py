"""A Sphinx directive ``command-help``: what ``--help`` says, of every command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive

from cnx.cli.commands import cnx

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def helps(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield each command, as it is typed, and its help: this one, and those below it."""
    settings = {**command.context_settings, "terminal_width": 96}
    context = click.Context(command, info_name=path.split()[-1], parent=parent, **settings)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from helps(below, f"{path} {name}", context)


class CommandHelp(Directive):
    """The help of all commands, a section each."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        sections: list[nodes.Node] = []
        for path, text in helps(cnx, "cnx"):
            section = nodes.section(ids=[nodes.make_id(path)])
            section += [nodes.title(text=path), nodes.literal_block(text, text, language="text")]
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
