"""The documentation says what the code says: the lifecycle, the names in the reference, the interactive examples."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import cnx
from cnx.connections.names import is_extension_point, is_final
from cnx.manager.lifecycle import INPUTS, TRANSITIONS, State
from tests.project import test_layers

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts)


def extension(name: str) -> ModuleType:
    """Load a module of the extensions of Sphinx."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lifecycle_figure() -> ModuleType:
    """Load the module that makes the figure and the table."""
    return extension("lifecycle_figure")


def words_in(svg: str) -> Iterator[str]:
    """Yield the words that a figure shows."""
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        yield from ((text.text or "") + " ".join(part.text or "" for part in text)).split()


def test_every_pair_is_in_the_table(lifecycle_figure: ModuleType) -> None:
    """Each pair of state and input has one row, with the next state and output that the machine has."""
    rows = {(state, name): (target, output) for state, name, target, output in lifecycle_figure.rows()}
    assert len(lifecycle_figure.rows()) == len(rows) == len(State) * len(INPUTS)
    for (state, name), (target, output) in TRANSITIONS.items():
        assert rows.pop((state.value, name)) == (target.value if target is not state else "", output or "")
    assert set(rows.values()) <= {("", "")}


def test_every_change_of_state_is_in_the_figure(lifecycle_figure: ModuleType) -> None:
    """An arrow is drawn for each transition to another state, or one for an input that leads there from everywhere."""
    once = lifecycle_figure.from_everywhere()
    drawn = lifecycle_figure.arrows()
    for (state, name), (target, _) in TRANSITIONS.items():
        assert target is state or once.get(name) is target or name in drawn[state, target]
    words = set(words_in(lifecycle_figure.figure()))
    assert {state.value for state in State} <= words
    assert {word for name in INPUTS for word in name.split("_")} <= words


def test_every_import_is_in_the_picture_of_the_packages() -> None:
    """Each package has a box, and the arrows lead to exactly what it imports, directly or over other packages."""
    picture = extension("architecture_figure")
    imported, drawn = picture.packages(), picture.arrows()
    assert set(map(picture.shown, test_layers.MODULES)) - {"cnx"} == set(drawn) <= set(words_in(picture.figure()))
    for name, targets in imported.items():
        assert drawn[name] <= targets
        reached = set(drawn[name])
        while more := set().union(*(drawn[each] for each in reached)) - reached:
            reached |= more
        assert targets <= reached


def test_every_mark_is_on_the_page_about_subclassing() -> None:
    """The tables have each extension point and each final name of the classes to derive from, under the right class."""
    page = extension("subclassing")
    points, finals = list(page.points()), dict(page.final_names())
    assert {text.partition("(")[0] for _, text, _ in points} >= {"try_connect", "establish", "prepare", "on_message"}
    assert all(summary.strip(".") for _, _, summary in points)
    for full, cls in page.CLASSES.items():
        for name, member in vars(cls).items():
            if is_extension_point(member):
                assert any(
                    text.partition("(")[0] == name and issubclass(cls, page.CLASSES[at]) for at, text, _ in points
                )
            assert (name in finals.get(full, [])) == is_final(member)
    public = [cls for cls in vars(cnx).values() if inspect.isclass(cls) and issubclass(cls, cnx.Connection)]
    for cls in public:
        assert cls in page.CLASSES.values() or not any(map(is_final, vars(cls).values()))


def test_every_public_name_is_in_the_reference() -> None:
    """What can be imported from cnx is documented under that name."""
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.rst"))
    documented = re.findall(r"^\.\. auto\w+:: cnx\.(\w+)$", text, re.MULTILINE)
    assert set(cnx.__all__) - set(documented) == set()
    for path in (Path(cnx.__file__).parent / "transports").glob("[a-z]*.py"):
        assert path.stem == "transport" or f"automodule:: cnx.transports.{path.stem}\n" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_interactive_examples(page: Path) -> None:
    """What a page shows at the prompt of Python is what Python answers, and nothing is shown that no test runs."""
    text = page.read_text(encoding="utf-8")
    failed, _ = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
    assert ".. code-block:: python" not in text


def test_every_file_that_is_shown_exists() -> None:
    """Every page shows files of docs/examples, and all that are there are shown."""
    shown = set()
    for page in PAGES:
        for name in re.findall(r"^\.\. literalinclude:: (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert (page.parent / name).resolve().parent == DOCS / "examples"
            shown.add(Path(name).name)
    there = {path.name for path in (DOCS / "examples").glob("*.*")}
    assert {name for name in there if name.endswith(".py")} <= shown <= there


def test_every_module_of_the_core_has_its_place() -> None:
    """The page on the architecture names each module and package."""
    core = Path(cnx.__file__).parent
    names = {path.stem for path in core.glob("*.py")} | {path.parent.name for path in core.glob("*/__init__.py")}
    text = (DOCS / "topics" / "architecture.rst").read_text(encoding="utf-8")
    missing = {name for name in names if not name.startswith("_") and not re.search(rf"\b{name}\b", text)}
    assert missing == set()
