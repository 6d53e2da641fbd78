"""How Sphinx makes the documentation: ``python -m sphinx -W -b html docs docs/_build/html``."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

setup_cfg = configparser.ConfigParser()
setup_cfg.read(HERE.parent / "setup.cfg", encoding="utf-8")

project = "cnx"
copyright = "2026, the cnx developers"
version = release = setup_cfg["metadata"]["version"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "architecture",
    "chiller_commands",
    "command_help",
    "lifecycle",
    "m2_tables",
    "performance",
    "plain_attributes",
    "private_names",
    "subclassing",
]
exclude_patterns = ["_build", "examples"]

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"

html_theme = "alabaster"
html_static_path = ["_static"]
html_title = f"cnx {release}"
html_theme_options = {
    "description": "Connections that stay up",
    "fixed_sidebar": True,
    "font_family": "system-ui, sans-serif",
    "page_width": "1140px",
    "body_max_width": "880px",
    "show_powered_by": False,
    "show_relbars": True,
}
html_sidebars = {"**": ["about.html", "searchbox.html", "navigation.html"]}
html_show_copyright = False

# Names of the standard library and of other packages are not looked up, as that takes a network; those of cnx are.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!cnx\.).*|.*\._\w+|cnx\.manager\.manager\.Managed")]
