"""Show what code of users raises on threads of cnx, as ``threading.excepthook`` does for their own threads.

Such an error has no caller that could handle it. If nobody has configured logging it would vanish, and a program whose
handler is misspelt would just do nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback

from cnx.logs import log_of_peer, logger
from cnx.printable import printable

__all__ = ["PROGRAMMING", "excepthook", "report_error"]

log = logger(__name__)

PROGRAMMING = (AttributeError, NameError, TypeError)
"""Errors of the program itself, such as a misspelt name in ``prepare``, which no further attempt can cure."""

KEPT = 1000
"""Different errors of which it is known how often they were printed."""


def excepthook(error: BaseException, where: str) -> None:
    """Show an error that code of yours has raised: a handler, a timer, ``on_message``, ``prepare`` or another method.

    It is logged if logging is configured, and else printed to ``sys.stderr``; when the same error comes again and
    again, the 1st, 10th, 100th time and so on. Set ``cnx.excepthook`` to another function with the same arguments to do
    something else; it is called on the thread on which the error was raised, and must not block.

    Args:
        error: what was raised, with its traceback.
        where: what raised it, as a sentence without a full stop.
    """
    if _is_logging_configured():
        log_of_peer(log, logging.ERROR, "%s", where, exc_info=error)
    else:
        _printer.show(error, where)


def report_error(error: BaseException, where: str) -> None:
    """Call ``cnx.excepthook``; what that raises itself is shown in the usual way. Never fails."""
    hook = getattr(sys.modules.get("cnx"), "excepthook", excepthook)
    try:
        hook(error, where)
    except Exception as failure:
        with contextlib.suppress(Exception):  # there is nobody left to report it to
            excepthook(error, where)
            excepthook(failure, "cnx.excepthook raised")


def _is_logging_configured() -> bool:
    """Return whether any handler would get a record of cnx."""
    logger: logging.Logger | None = log
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


class _Printer:
    """Prints errors to stderr, each kind of them less and less often. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, type, int], int] = {}

    def show(self, error: BaseException, where: str) -> None:
        """Print an error with its traceback, if it is its turn."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        kind = where, type(error), (last[0].lineno or 0) if last else 0
        with self._lock:
            if len(self._counts) >= KEPT:
                self._counts.clear()
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if sys.stderr is not None and str(count).rstrip("0") == "1":
            often = "" if count == 1 else f", for the {count}th time"
            text = "".join(traceback.format_exception(error))
            shown = "\n".join(map(printable, f"cnx: {where}{often}:\n{text}".split("\n")))  # it may quote a peer
            sys.stderr.write(shown)
            sys.stderr.flush()


_printer = _Printer()
