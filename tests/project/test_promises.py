"""The promises of the documentation name tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES = (ROOT / "docs" / "topics" / "promises.rst").read_text(encoding="utf-8")
NAMED = re.findall(r"``(tests/[\w/]+\.py)::(\w+)``", PROMISES)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_test_exists(path: str, name: str) -> None:
    """A test that was renamed takes its promise along."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_every_promise_names_its_proof() -> None:
    """No promise without a test."""
    promises = re.split(r"^\* ", PROMISES, flags=re.MULTILINE)[1:]
    assert promises
    assert [promise for promise in promises if "``tests/" not in promise] == []
