"""A Sphinx extension: types in signatures may be private; every other reference to a name of cnx has to resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sphinx import addnodes

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def keep_unlinked(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.TextElement | None:
    """Show a name in a signature as it is, where it has no page to link to."""
    ancestor: Any = node.parent
    while ancestor is not None:
        if isinstance(ancestor, addnodes.desc_signature):
            return content
        ancestor = ancestor.parent
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the hook."""
    app.connect("missing-reference", keep_unlinked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
