"""Tests of the source itself: who imports whom, and that public things are described."""

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
    """Some packages, or modules that are in none, and the packages that they may import besides their own."""

    packages: str
    may_import: str


ERRORS = "errors threads deadline"
BYTES = f"{ERRORS} buffer framing json_lines recording"
CORE = f"{BYTES} signals transports link connections"

LAYERS = [
    Layer("errors buffer", ""),
    Layer("threads recording", "errors"),
    Layer("deadline signals", "threads errors"),
    Layer("framing", "buffer errors"),
    Layer("json_lines", "framing buffer errors"),
    Layer("transports", f"{ERRORS} recording"),
    Layer("link", f"{ERRORS} buffer recording transports"),
    Layer("connections", f"{BYTES} signals transports link"),
    Layer("manager", f"{ERRORS} signals connections"),
    Layer("faults", "errors"),
    Layer("simulation", f"{ERRORS} framing transports faults"),
    Layer("proxy replay", f"{ERRORS} framing recording transports simulation"),
    Layer("doctor", CORE),
    Layer("clients.*.protocol", "errors buffer framing json_lines"),
    Layer("clients.*.client", f"OWN.protocol {CORE} manager"),
    Layer("clients.*.simulator", "OWN.protocol errors buffer framing json_lines simulation faults"),
    Layer("clients.*", "OWN OWN.*"),
    Layer("clients", ""),
    Layer("cli testing __main__", "*"),
    Layer("cnx", f"{CORE} manager"),
]

NOT_PURE = {"socket", "ssl", "serial", "threading", "queue", "time", "logging", "select", "subprocess", "asyncio"}

ONLY_IN = {"pydispatch": ["signals.*"], "automat": ["manager.*"], "serial": ["transports.serial_ports", "cli.*"]}


def name_of(path: Path) -> str:
    """Return the name of a module without ``cnx.``; that of the package itself is ``cnx``."""
    parts = [*path.relative_to(ROOT).with_suffix("").parts]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "cnx"


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def package_of(name: str) -> str:
    """Return the package of a module: its first part, or the first three for a client."""
    parts = name.split(".")
    return ".".join(parts[: 3 if parts[0] == "clients" else 1])


def layer_of(package: str) -> Layer | None:
    """Return the first layer that a package is in."""
    return next((layer for layer in LAYERS if any(fnmatch(package, each) for each in layer.packages.split())), None)


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


def allowed(package: str) -> list[str]:
    """Return patterns of the packages that a package may import."""
    layer = layer_of(package)
    assert layer is not None, f"{package} is in no layer; put it into one here and in docs/topics/architecture.rst"
    client = ".".join(package.split(".")[:2])
    return [package, *(pattern.replace("OWN", client) for pattern in layer.may_import.split())]


def test_packages_import_only_layers_below() -> None:
    """As the page on the architecture says."""
    wrong: dict[str, set[str]] = {}
    for name in MODULES:
        ours = {full.removeprefix("cnx.") for full in imports(name) if full.split(".")[0] == "cnx"}
        patterns = allowed(package_of(name))
        wrong[name] = {each for each in ours if not any(fnmatch(package_of(each), pattern) for pattern in patterns)}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_protocols_are_pure() -> None:
    """They do no input or output, know no threads and no clock."""
    protocols = [name for name in MODULES if fnmatch(name, "clients.*.protocol.*")]
    assert len(protocols) >= 4
    impure = {name: {full.split(".")[0] for full in imports(name)} & NOT_PURE for name in protocols}
    assert {name: found for name, found in impure.items() if found} == {}


def test_foreign_libraries_have_one_door() -> None:
    """So that they can be replaced, and their oddities are known in one place."""
    for foreign, doors in ONLY_IN.items():
        users = [name for name in MODULES if any(full.split(".")[0] == foreign for full in imports(name))]
        assert users
        assert [name for name in users if not any(fnmatch(name, door) for door in doors)] == []


def test_the_page_on_the_architecture_knows_every_package() -> None:
    """In its table of layers."""
    table = PAGE.read_text(encoding="utf-8").partition(".. _layers:")[2].partition("\nA link and its")[0]
    words = set(table.replace("`", " ").replace(",", " ").split())
    assert {word for layer in LAYERS[:-1] for word in layer.packages.split()} - words == set()


# -- manners -------------------------------------------------------------------------------------------------


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
