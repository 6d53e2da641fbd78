"""A Sphinx extension: the docstring of an attribute is a sentence, also where it has a colon.

Napoleon takes what stands before a colon for the attribute's type. Types are annotated here, so the text is put back as
it was, unless it has a section such as "Raises:".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

KINDS = {"attribute", "data", "property"}
SECTION = re.compile(r"[A-Z]\w+:$")

_written: dict[str, list[str]] = {}


def keep(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Keep a docstring before Napoleon has it."""
    if what in KINDS and not any(map(SECTION.match, lines)):
        _written[name] = list(lines)


def put_back(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Undo what Napoleon did."""
    if what in KINDS:
        lines[:] = _written.pop(name, lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the hooks around Napoleon's, whose priority is 500."""
    app.connect("autodoc-process-docstring", keep, priority=400)
    app.connect("autodoc-process-docstring", put_back, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
