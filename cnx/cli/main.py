"""Entry point of the ``cnx`` command."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or print what to install if libraries are missing."""
    missing = [name for name in ("click", "rich", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"cnx: the command line needs more packages: {sys.executable} -m pip install {' '.join(missing)}")
    from cnx.cli.commands import cnx

    cnx(prog_name="cnx")


if __name__ == "__main__":
    main()
