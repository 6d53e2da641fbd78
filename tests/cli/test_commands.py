"""The command as a whole: help, logging, and what is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from cnx.cli.commands import cnx
from tests.helpers.dead_ports import closed_port
from tests.helpers.processes import PROCESS_PATIENCE


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command, those of groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [(), *commands(cnx)], ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """``--help`` and ``-h`` say how it is used and what it does."""
    result = CliRunner().invoke(cnx, [*path, "--help"], prog_name="cnx")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: {' '.join(['cnx', *path])} ")
    assert len(result.output.split("\n\n")[1].split()) >= 3
    assert CliRunner().invoke(cnx, [*path, "-h"], prog_name="cnx").output == result.output


def test_short_help_is_what_the_command_says() -> None:
    """The list names every command; an unknown one is wrong usage."""
    result = CliRunner().invoke(cnx, ["--help"])
    for name in cnx.list_commands(click.Context(cnx)):
        assert f"\n  {name} " in result.output
    result = CliRunner().invoke(cnx, ["nonsense"])
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.output


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False
    )


def test_version() -> None:
    """It is told as everywhere."""
    done = run("-m", "cnx", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cnx, version ")


def test_verbose() -> None:
    """Log lines go where they do not mix with the output, and name the connection."""
    address = f"127.0.0.1:{closed_port()}"
    done = run("-m", "cnx", "-v", "monitor", "--once", f"tcp://{address}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"INFO    cnx.manager.manager: {address}: ready -> connecting" in done.stderr


def test_missing_libraries() -> None:
    """Without the extra, one line says what to install."""
    program = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in ("rich", "click") else found(name, package)
from cnx.cli.main import main
main()
"""
    done = run("-c", program)
    assert done.returncode == 1
    assert done.stderr == f"cnx: the command line needs more packages: {sys.executable} -m pip install click rich\n"
