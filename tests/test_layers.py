"""Tests of the source itself: who imports whom, how long things are, and that the public ones are described."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cnx

ROOT = Path(cnx.__file__).parent
PAGE = ROOT.parent / "docs" / "topics" / "architecture.rst"


class Layer(NamedTuple):
    """Some modules, and what they may import of cnx besides each the ones before it."""

    modules: str
    may_import: str


WAITING = "errors locks monitor registry recorder watch deadline"
BYTES = f"{WAITING} buffer framing json_lines signals outlet capture history tape"
LINKS = "parties life transmission reception direct link timers listener heartbeat"
CORE = "connection reading writing delivery transport_connection stream"
KINDS = "socket_connection serial_connection udp_connection urls"
MANAGING = "backoff lifecycle worker recovery manager"

LAYERS = [
    Layer("errors", ""),
    Layer("backoff", ""),
    Layer("buffer", ""),
    Layer("registry", ""),
    Layer("recorder", ""),
    Layer("locks", "errors"),
    Layer("monitor", "locks errors"),
    Layer("watch", "locks errors"),
    Layer("deadline lifecycle signals", "monitor locks errors"),
    Layer("capture history tape", "recorder errors"),
    Layer("outlet", "signals"),
    Layer("framing json_lines", "buffer errors"),
    Layer("transports transports.*", "transports.* deadline monitor locks recorder errors"),
    Layer(LINKS, "transports.transport deadline watch monitor registry recorder errors"),
    Layer(f"{CORE} {KINDS}", f"{BYTES} {LINKS} transports.*"),
    Layer("worker recovery manager", "lifecycle backoff connection signals deadline monitor locks registry errors"),
    Layer("faults faults.*", "faults faults.* errors"),
    Layer("simulation simulation.*", "simulation simulation.* faults.* transports.* deadline monitor framing errors"),
    Layer("proxy replay", "simulation transports.* deadline monitor framing recorder errors"),
    Layer("doctor", f"{BYTES} {LINKS} {CORE} {KINDS} transports.*"),
    Layer("clients", ""),
    Layer("clients.*.protocol*", "OWN.protocol* framing json_lines buffer errors"),
    Layer("clients.*.client*", f"OWN.client* OWN.protocol* {BYTES} {LINKS} {CORE} {KINDS} {MANAGING} transports.*"),
    Layer("clients.*.simulator*", "OWN.simulator* OWN.protocol* simulation* faults* framing json_lines buffer errors"),
    Layer("clients.*", "OWN*"),
    Layer("cli cli.* testing __main__", "*"),
    Layer("cnx", f"{BYTES} {LINKS} {CORE} {KINDS} {MANAGING} transports.*"),
]

NOT_PURE = {"socket", "ssl", "serial", "threading", "queue", "time", "logging", "select", "subprocess", "asyncio"}

ONLY_IN = {"pydispatch": ["signals"], "automat": ["lifecycle"], "serial": ["transports.serial_ports", "cli.*"]}


def name_of(path: Path) -> str:
    """Return the name of a module without ``cnx.``; that of the package itself is ``cnx``."""
    parts = [*path.relative_to(ROOT).with_suffix("").parts]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "cnx"


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def layer_of(name: str) -> Layer | None:
    """Return the first layer that a module is in."""
    return next((layer for layer in LAYERS if any(fnmatch(name, each) for each in layer.modules.split())), None)


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes that matter when a program runs; what is only for type checkers does not."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from nodes(child)


@functools.cache
def imports(name: str) -> set[str]:
    """Return the full names of the modules that a module imports."""
    found: set[str] = set()
    for node in nodes(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, "relative"
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(full if full.removeprefix("cnx.") in MODULES else node.module for full in within)
    return found


def allowed(name: str) -> list[str]:
    """Return patterns of what a module may import of cnx."""
    layer = layer_of(name)
    assert layer is not None, f"{name} is in no layer; put it into one here and in docs/topics/architecture.rst"
    own = ".".join(name.split(".")[:2])
    row = layer.modules.split()
    before = row[: row.index(name)] if name in row else []
    return [pattern.replace("OWN", own) for pattern in layer.may_import.split()] + before


def test_modules_import_only_layers_below() -> None:
    """As the page on the architecture says."""
    wrong: dict[str, set[str]] = {}
    for name in MODULES:
        ours = {full.removeprefix("cnx.") for full in imports(name) if full.split(".")[0] == "cnx"}
        patterns = allowed(name)
        wrong[name] = {each for each in ours if not any(fnmatch(each, pattern) for pattern in patterns)}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_protocols_are_pure() -> None:
    """They do no input or output, know no threads and no clock."""
    protocols = [name for name in MODULES if fnmatch(name, "clients.*.protocol*")]
    assert len(protocols) >= 4
    impure = {name: {full.split(".")[0] for full in imports(name)} & NOT_PURE for name in protocols}
    assert {name: found for name, found in impure.items() if found} == {}


def test_foreign_libraries_have_one_door() -> None:
    """So that they can be replaced, and their oddities are known in one place."""
    for foreign, doors in ONLY_IN.items():
        users = [name for name in MODULES if any(full.split(".")[0] == foreign for full in imports(name))]
        assert users
        assert [name for name in users if not any(fnmatch(name, door) for door in doors)] == []


def test_the_page_on_the_architecture_knows_every_module_of_the_core() -> None:
    """In its table of layers."""
    table = PAGE.read_text().partition(".. _layers:")[2].partition("\nA link and its")[0]
    words = set(table.replace("`", " ").replace(",", " ").split())
    core = {name for name in MODULES if "." not in name} - {"cnx", "clients", "__main__", "transports"}
    assert core - words == set()


# -- sizes and manners -------------------------------------------------------------------------------------------------


def test_modules_classes_and_functions_are_short() -> None:
    """At most 300, 250 and 50 lines; blank lines of modules and docstrings of the others do not count."""
    long: dict[str, int] = {}
    for name, path in MODULES.items():
        source = path.read_text()
        sizes = {name: (sum(1 for line in source.splitlines() if line.strip()), 300)}
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                size = (node.end_lineno or 0) - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
                sizes[f"{name}.{node.name}"] = size, 50 if isinstance(node, ast.FunctionDef) else 250
        long |= {what: size for what, (size, limit) in sizes.items() if size > limit}
    assert long == {}


def test_the_library_neither_prints_nor_sleeps() -> None:
    """It logs, and waits for what happens."""
    wrong: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        calls = [node for node in nodes(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        wrong[name] = {ast.unparse(call.func) for call in calls} & {"print", "time.sleep", "sleep"}
    assert {name: found for name, found in wrong.items() if found and not fnmatch(name, "cli*")} == {}


def public_things(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what a module defines for others: its classes and functions, and their public methods."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing) or inspect.isroutine(thing):
            yield f"{module.__name__}.{name}", thing
        if inspect.isclass(thing) and not getattr(thing, "_is_protocol", False):
            for inner, member in vars(thing).items():
                if not inner.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                    yield f"{module.__name__}.{name}.{inner}", getattr(thing, inner)


def test_public_things_are_described() -> None:
    """Each module, class, function and method that others use, if only by what it overrides."""
    bare: list[str] = []
    for name, path in MODULES.items():
        if name == "__main__" or not path.read_text().strip():
            continue
        module = importlib.import_module("cnx" if name == "cnx" else f"cnx.{name}")
        bare += [module.__name__] * (not module.__doc__)
        bare += [thing for thing, value in public_things(module) if not inspect.getdoc(value)]
    assert bare == []
