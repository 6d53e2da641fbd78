"""Who may import whom, and how large things may be: read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cnx

HOME = Path(cnx.__file__).parent
SOURCES = {".".join(path.relative_to(HOME).with_suffix("").parts): path for path in sorted(HOME.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}

LAYERS = [
    "errors backoff buffer watch monitor registry recorder",
    "deadline lifecycle signals",
    "capture history tape",
    "outlet framing json_lines",
    "transports",
    "life transmission reception link listener heartbeat",
    "connection reading writing delivery transport_connection stream",
    "socket_connection serial_connection udp_connection urls",
    "worker recovery manager",
    "faults simulation proxy replay",
    "clients",
    "doctor",
    "cli testing",
]
"""Modules and packages of cnx from the ground up: each may import only what stands before it."""

ORDER = " ".join(LAYERS).split()

PURE = {"socket", "ssl", "serial", "threading", "queue", "time", "logging", "select", "subprocess"}
"""What a protocol module must not import."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full names of the imported modules, but those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
        else:
            yield from imports(node)


def ours(name: str) -> list[str]:
    """Return the modules of cnx that a module imports, without the leading ``cnx.``."""
    return [module.removeprefix("cnx.") for module in imports(TREES[name]) if module.startswith("cnx.")]


def part(name: str) -> str:
    """Return the first part of a name."""
    return name.partition(".")[0]


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith("__")])
def test_imports_go_downwards(name: str) -> None:
    """A module imports only modules of layers below its own, or of its own package."""
    for module in ours(name):
        if part(module) != part(name):
            assert ORDER.index(part(module)) < ORDER.index(part(name)), f"{name} imports {module}"


CLIENTS = [name for name in SOURCES if name.startswith("clients.") and name.count(".") == 2]


@pytest.mark.parametrize("name", CLIENTS)
def test_clients_keep_apart(name: str) -> None:
    """No client knows another; protocols are pure; simulators know no client, and clients no simulator."""
    _, package, module = name.split(".")
    role = module.partition("_")[0]
    for imported in ours(name):
        pieces = imported.split(".")
        if pieces[0] == "clients":
            assert pieces[1] == package, f"{name} imports {imported}"
            other = pieces[2].partition("_")[0] if len(pieces) > 2 else "client"
            allowed = {
                "protocol": {"protocol"},
                "simulator": {"protocol", "simulator"},
                "client": {"protocol", "client"},
            }
            if role in allowed:
                assert other in allowed[role], f"{name} imports {imported}"
    if role == "protocol":
        foreign = set(map(part, imports(TREES[name])))
        assert not foreign & PURE
        assert {part(imported) for imported in ours(name)} <= {"framing", "json_lines", "buffer", "errors", "clients"}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [("pydispatch", {"signals"}), ("automat", {"lifecycle"}), ("serial", {"transports.serial_ports", "cli.ports"})],
)
def test_libraries_are_known_in_one_place(library: str, allowed: set[str]) -> None:
    """Only one module knows each of the libraries below."""
    users = {name for name, tree in TREES.items() if library in map(part, imports(tree))}
    assert users <= allowed


@pytest.mark.parametrize("name", SOURCES)
def test_sizes(name: str) -> None:
    """A module has at most 300 lines that are not blank, a class 250 and a function 50, without their docstrings."""
    lines = [line for line in SOURCES[name].read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 300
    for node in ast.walk(TREES[name]):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            documented = len((ast.get_docstring(node) or "").splitlines())
            size = (node.end_lineno or 0) - node.lineno + 1 - documented
            assert size <= (250 if isinstance(node, ast.ClassDef) else 50), f"{name}.{node.name} has {size} lines"


@pytest.mark.parametrize("name", SOURCES)
def test_manners(name: str) -> None:
    """The library prints nothing outside of the command line, sleeps nowhere, and explains every public class."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("time.sleep", "sleep"), f"{name}:{node.lineno}"
            assert called != "print" or part(name) == "cli", f"{name}:{node.lineno}"
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}.{node.name}"
    assert ast.get_docstring(TREES[name])
