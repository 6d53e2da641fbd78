"""Tests of the source itself: who imports whom, and that public things are described.

The page on the architecture shows ``LAYERS`` as a table, and the imports as a picture.
"""

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


class Layer(NamedTuple):
    """Some packages, or modules that are in none, and the packages that they may import besides their own."""

    packages: str
    may_import: str


ERRORS = "errors threads deadline logs printable"
BYTES = f"{ERRORS} buffer framing json_lines recording"
CORE = f"{BYTES} signals transports link connections"

LAYERS = [
    Layer("errors buffer printable", ""),
    Layer("logs", "printable"),
    Layer("threads", "errors logs printable"),
    Layer("deadline", "threads errors"),
    Layer("recording", "errors logs printable"),
    Layer("signals", "threads errors logs"),
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
    Layer("clients.*.simulator", "OWN.protocol errors logs threads buffer framing json_lines simulation faults"),
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


@functools.cache
def imports(name: str) -> set[str]:
    """Return the full names of the modules that a module imports, also in functions and for type checkers only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, "relative"
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(full if full.removeprefix("cnx.") in MODULES else node.module for full in within)
    return found


def imports_of_ours(name: str) -> set[str]:
    """Return the names of the modules of cnx that a module imports."""
    return {full.removeprefix("cnx.") for full in imports(name) if full.split(".")[0] == "cnx"}


def members(package: str) -> dict[str, set[str]]:
    """Return which members of a package import which others.

    A member is a module, a package with all that is in it, or the ``__init__`` of the package, which has its name. The
    package ``""`` is that of all packages.
    """

    def member_of(name: str) -> str | None:
        if name == package:
            return package
        if package and not name.startswith(f"{package}."):
            return None
        return ".".join(name.split(".")[: len(package.split(".")) + 1 if package else 1])

    found: dict[str, set[str]] = {}
    for name in MODULES:
        member = member_of(name)
        if member is not None:
            others = {member_of(other) for other in imports_of_ours(name)}
            found.setdefault(member, set()).update(other for other in others if other is not None and other != member)
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a path that leads back to where it begins, and begins and ends with the same name; empty without one."""
    done: set[str] = set()

    def follow(path: list[str]) -> list[str]:
        if path[-1] in path[:-1]:
            return path[path.index(path[-1]) :]
        for other in sorted(graph[path[-1]] - done):
            if found := follow([*path, other]):
                return found
        done.add(path[-1])
        return []

    return next((found for name in sorted(graph) if (found := follow([name]))), [])


def allowed(package: str) -> list[str]:
    """Return patterns of the packages that a package may import."""
    layer = layer_of(package)
    assert layer is not None, f"{package} is in no layer; put it into one of LAYERS"
    client = ".".join(package.split(".")[:2])
    return [package, *(pattern.replace("OWN", client) for pattern in layer.may_import.split())]


def test_packages_import_only_layers_below() -> None:
    """As the table on the page on the architecture says."""
    wrong: dict[str, set[str]] = {}
    for name in MODULES:
        patterns = allowed(package_of(name))
        wrong[name] = {
            each
            for each in imports_of_ours(name)
            if not any(fnmatch(package_of(each), pattern) for pattern in patterns)
        }
    assert {name: found for name, found in wrong.items() if found} == {}


def test_no_imports_go_in_a_circle() -> None:
    """Neither between modules nor between packages, nor for the sake of a type.

    A circle of modules is one of the members of the smallest package that holds them all.
    """
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"} - {"cnx"}
    circles = {package: circle(members(package)) for package in ["", *sorted(packages)]}
    assert {package: " -> ".join(path) for package, path in circles.items() if path} == {}


def test_circles_are_found() -> None:
    """Also behind other names, and whichever name the search begins with."""
    assert circle({"a": {"b", "d"}, "b": {"d"}, "c": {"e"}, "d": {"c"}, "e": {"d"}}) == ["d", "c", "e", "d"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert members("")["manager"] >= {"connections", "signals"}
    assert members("signals")["signals.emitter"] == {"signals.subscriptions"}


def test_clients_stand_on_the_public_interface_of_the_core() -> None:
    """Neither they nor the commands and tools look into a link or a connection."""
    inside: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if package_of(name).split(".")[0] in ("clients", "cli", "doctor", "proxy", "replay", "simulation"):
            of_link = {full for full in imports(name) if full.startswith("cnx.link.")} - {"cnx.link.listener"}
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            inside[name] = of_link | {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"_cnx"}
    assert {name: found for name, found in inside.items() if found} == {}


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


# -- manners -------------------------------------------------------------------------------------------------


def test_the_library_neither_prints_nor_sleeps() -> None:
    """It logs, and waits for what happens."""
    wrong: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        wrong[name] = {ast.unparse(call.func) for call in calls} & {"print", "time.sleep", "sleep"}
    assert {name: found for name, found in wrong.items() if found and not fnmatch(name, "cli*")} == {}


def test_every_logger_makes_its_lines_printable() -> None:
    """All modules get their loggers from one, which does that."""
    users = [
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger")
    ]
    assert sorted(set(users)) == ["cnx", "logs"]  # the package itself only adds a handler that does nothing
    assert ast.unparse(ast.parse(MODULES["cnx"].read_text())).count("getLogger") == 1


def test_commands_print_through_one_function() -> None:
    """Which escapes what is not printable, as it may come from a peer."""
    printing = {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
    allowed = {
        "cli.console": {"click.echo", "click.secho"},
        "cli.monitor": {"print"},  # to a file; see the test of that command
        "threads.hook": {"sys.stderr.write"},  # errors of the user's own code, made printable
    }
    wrong: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        wrong[name] = {ast.unparse(call.func) for call in calls} & printing - allowed.get(name, set())
    assert {name: found for name, found in wrong.items() if found} == {}


def test_what_else_shows_text_makes_it_printable() -> None:
    """Tables on a terminal and files for spreadsheets; those of the demonstration have no text of others."""
    users = {
        name for name in MODULES if {"csv"} & imports(name) or any(full.startswith("rich.") for full in imports(name))
    } - {"cli.demo.view"}
    assert {"cli.m2.recording", "cli.chiller.watch"} <= users
    assert {name for name in users if "printable" not in imports_of_ours(name)} == set()


def test_threads_are_started_in_one_place() -> None:
    """So each is a daemon with a name, and a shortage of threads is an error of cnx everywhere."""
    makers = [name for name, path in MODULES.items() if "threading.Thread(" in path.read_text(encoding="utf-8")]
    assert makers == ["threads.starting"]


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
