"""README.rst shows what runs, and renders wherever docutils renders it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from textwrap import dedent

import docutils.core
from docutils.writers.html5_polyglot import Writer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ +(python3 -m venv .*)$", README, re.MULTILINE)


def blocks() -> list[str]:
    """Return the indented blocks, without their indentation."""
    return [dedent(block).strip() for block in re.findall(r"(?:^(?: {4}.*)?\n)+", README, re.MULTILINE)]


def test_the_example_is_the_one_that_is_tested() -> None:
    """Program and output are those of docs/examples, which test_examples runs."""
    for name in ("readme.py", "readme.out"):
        assert (ROOT / "docs" / "examples" / name).read_text(encoding="utf-8").strip() in blocks()


def test_there_are_two_commands() -> None:
    """Each does its own set-up in one line; the line that runs the tests can be told by ``python -m pytest``."""
    assert len(COMMANDS) == 2
    assert all(" && " in command and " -m pip install " in command for command in COMMANDS)
    assert [line.strip() for line in README.splitlines() if "python -m pytest" in line] == [COMMANDS[1]]


def test_it_renders() -> None:
    """docutils, which package indexes use, has nothing to complain about; links within the project lead somewhere."""
    complaints = io.StringIO()
    settings = {"warning_stream": complaints, "report_level": 1, "file_insertion_enabled": False}
    html = docutils.core.publish_string(README, writer=Writer(), settings_overrides=settings).decode()
    assert complaints.getvalue() == ""
    for target in re.findall(r'href="([^"#:]+)"', html):
        assert (ROOT / target).exists()
