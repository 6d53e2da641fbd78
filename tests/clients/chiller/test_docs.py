"""The table of commands in the documentation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cnx.clients.chiller.protocol.table import COMMANDS

EXTENSION = Path(__file__).parents[3] / "docs" / "_ext" / "chiller_commands.py"


def test_every_command_has_a_method() -> None:
    """The table has a row for each command, with what is sent and received, and with the method for it."""
    spec = importlib.util.spec_from_file_location("chiller_commands", EXTENSION)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = list(module.rows())
    assert [int(row[0]) for row in rows] == [command.number for command in COMMANDS]
    assert [row for row in rows if not all(row)] == []
    assert {row[0]: row[5] for row in rows}["15"] == "start, stop"
