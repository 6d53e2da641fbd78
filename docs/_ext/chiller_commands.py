"""A Sphinx directive ``chiller-commands``: the command table of the chiller, made from the table in the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

from cnx.clients.chiller import ControlSensor, Threshold
from cnx.clients.chiller.client.commands import ChillerCommands
from cnx.clients.chiller.client.line import Setup
from cnx.clients.chiller.protocol.fields import Field, Literal
from cnx.clients.chiller.protocol.frames import Call
from cnx.clients.chiller.protocol.table import COMMANDS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADS = ("no.", "name", "does", "data sent", "data received", "method")
WIDTHS = (6, 11, 27, 24, 24, 20)

ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "tec_current": [(1,), (2,)],
    "fan_speed": [(1,), (2,), (3,), (4,)],
    "threshold": [(which,) for which in Threshold],
    "set_threshold": [(which, 1.0) for which in Threshold],
    "set_temperature": [(1.0,)],
    "set_control_sensor": [(ControlSensor.SUPPLY,)],
    "enable_external_sensors": [(True,)],
}
"""What to call the methods with that take arguments."""


NOT_COMMANDS = ("configure", "status", "telemetry")
"""Methods that send several commands, and so belong to none of them."""


class Sent(Exception):
    """A method sent the command ``call``."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call


class Recorder(ChillerCommands):
    """A unit, and its line, that raise :class:`Sent` instead of sending a command."""

    device_id = 1

    @property
    def line(self) -> Any:
        """The line: this object."""
        return self

    def exchange(self, call: Call) -> Any:
        """Raise the command."""
        raise Sent(call)

    def set_up(self, device_id: int, setup: Setup) -> None:
        """Raise the only command of a setup."""
        ((call,),) = setup.values()
        raise Sent(call)


def methods() -> dict[tuple[int, str], str]:
    """Return the methods by number and selector of the command that they send."""
    recorder, found = Recorder(), dict[tuple[int, str], str]()
    for name, method in vars(ChillerCommands).items():
        if name.startswith("_") or name in NOT_COMMANDS or not callable(method):
            continue
        for arguments in ARGUMENTS.get(name, [()]):
            try:
                method(recorder, *arguments)
            except Sent as sent:
                call = sent.call
                assert call.command is not None
                key = call.number, call.command.selector
                found[key] = f"{found[key]}, {name}" if key in found else name
    return found


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    by_key = methods()
    for command in COMMANDS:
        sent, received = described(command.request), "the same" if command.sets else described(command.reply)
        summary = f"{command.summary}; {command.danger}" if command.danger else command.summary
        method = by_key.get((command.number, command.selector), "")
        yield f"{command.number:02d}", command.name, summary, sent, received, method


def described(fields: tuple[Field, ...]) -> str:
    """Return the fields as text."""
    several = sum(not isinstance(field, Literal) for field in fields) > 1
    names = [f"{field.name}: " if several and not isinstance(field, Literal) else "" for field in fields]
    return "; ".join(name + field.describe() for name, field in zip(names, fields, strict=True)) or "none"


class ChillerCommandTable(Directive):
    """The table."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in WIDTHS), cols=len(HEADS))
        group += nodes.thead("", self._row(HEADS, nodes.Text))
        group += nodes.tbody("", *(self._row(row, self._cell) for row in rows()))
        return [nodes.table("", group, classes=["chiller-commands"])]

    def _row(self, texts: tuple[str, ...], make: Any) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", make(text))) for text in texts))

    def _cell(self, text: str) -> nodes.Node:
        known = any(text == command.name for command in COMMANDS) or text in methods().values()
        return nodes.literal(text, text) if known else nodes.Text(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("chiller-commands", ChillerCommandTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
