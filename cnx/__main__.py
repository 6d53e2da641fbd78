"""``python -m cnx`` is the ``cnx`` command."""

from cnx.cli.main import main

main()
