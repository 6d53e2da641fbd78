"""Type checkers accept what is right, and find misspelt settings, methods and signals."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.processes import PROCESS_PATIENCE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_mypy_finds_the_mistakes_and_nothing_else(tmp_path: Path) -> None:
    """Every line that ends in ``# E: text`` has one error with that text, and no other line has any."""
    paths = [HERE / "right.py", HERE / "wrong.py"]
    options = ["--strict", "--no-pretty", "--no-error-summary", "--hide-error-context", f"--cache-dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PROCESS_PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for where, text in re.findall(r"^(\S+:\d+): error: (.*)$", done.stdout, re.MULTILINE):
        found.setdefault(where, []).append(text)
    expected = {
        f"{path.relative_to(ROOT)}:{number}": text
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for text in re.findall(r"# E: (.+)$", line)
    }
    assert {where: texts for where, texts in found.items() if where not in expected} == {}, "unexpected errors"
    missed = {
        where: (text, found.get(where, []))
        for where, text in expected.items()
        if [text in error for error in found.get(where, [])] != [True]
    }
    assert missed == {}, "mistakes that were not found, each with what was found there"
