"""Every example of the documentation runs as it is shown, prints what is shown, and leaves nothing behind."""

from __future__ import annotations

import doctest
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import PROCESS_PATIENCE

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.with_suffix(".out").exists())
TESTS = sorted(EXAMPLES.glob("test_*.py"))
MODULES = {"thermometer", "thermometer_simulator"}
"""What examples import from each other."""


def ordered(text: str) -> str:
    """Return the lines in an order of their own, as threads may print in any."""
    return "".join(sorted(text.splitlines(keepends=True)))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let examples import each other, anew each time."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_prints_what_is_shown(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script prints the lines of the file beside it; ``...`` there stands for anything."""
    runpy.run_path(str(script), run_name="__main__")
    printed = ordered(capsys.readouterr().out)
    expected = ordered(script.with_suffix(".out").read_text(encoding="utf-8"))
    if not doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
        assert printed == expected


@pytest.mark.parametrize("module", TESTS, ids=lambda path: path.stem)
def test_shown_tests_pass(module: Path) -> None:
    """The tests that the tutorial shows pass, run as a reader runs them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", module.name]
    done = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_example_is_left_out() -> None:
    """Every file is a script that is run, a test that is run, or imported by one of them."""
    known = {path.stem for path in [*SCRIPTS, *TESTS]} | MODULES
    assert {path.stem for path in EXAMPLES.glob("*.py")} == known
