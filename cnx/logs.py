"""Loggers of cnx: what others have sent is made printable in each line, and a peer cannot cause very many lines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from cnx.printable import printable

__all__ = ["log_of_peer", "logger"]

AT_ONCE = 20
"""Lines about one peer that are logged at once; after that, one in a second."""

MOST_PEERS = 1000
"""Peers whose lines are counted."""


def logger(name: str) -> logging.Logger:
    """Return the logger of a module of cnx; every module gets its logger here."""
    made = logging.getLogger(name)
    made.addFilter(_make_printable)
    return made


class _Shown:
    """An object whose text is printable, in ``%s`` and in ``%r``."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(str(self._value))

    def __repr__(self) -> str:
        return printable(repr(self._value))


def _make_printable(record: logging.LogRecord) -> bool:
    """Make the arguments and the exception of a record printable; the message itself is a text of cnx."""
    arguments = record.args
    if isinstance(arguments, Mapping):
        record.args = {name: _shown(value) for name, value in arguments.items()}
    elif arguments:
        record.args = tuple(map(_shown, arguments))
    if record.exc_info and record.exc_info[1] is not None:
        text = logging.Formatter().formatException(record.exc_info)
        shown = text
        for message in _messages_of(record.exc_info[1]):
            shown = shown.replace(message, printable(message))
        shown = "\n".join(map(printable, shown.split("\n")))
        if shown != text:
            record.exc_text = shown  # which formatters use in place of their own
    return True


def _shown(value: Any) -> Any:
    return value if isinstance(value, (int, float, bytes)) else _Shown(value)


def _messages_of(error: BaseException | None) -> Iterator[str]:
    """Yield the texts of an exception and of those that led to it which are not printable."""
    for _ in range(100):
        if error is None:
            return
        try:
            message = str(error)
        except Exception:
            message = ""  # the traceback says that it has no text
        if not message.isprintable():
            yield message
        error = error.__cause__ or error.__context__


class _Budget:
    """How many lines about a peer may be logged."""

    __slots__ = ("left", "left_out", "since")

    def __init__(self, now: float) -> None:
        self.left, self.left_out, self.since = float(AT_ONCE), 0, now

    def spend(self, now: float) -> bool:
        """Return whether one more line may be logged."""
        self.left = min(float(AT_ONCE), self.left + now - self.since)
        self.since = now
        if self.left < 1.0:
            self.left_out += 1
            return False
        self.left -= 1.0
        return True


_budgets: dict[str, _Budget] = {}
_lock = threading.RLock()


def log_of_peer(log: logging.Logger, level: int, text: str, name: str, *arguments: object, **options: Any) -> None:
    """Log a line that a peer can cause as often as it likes. Thread-safe.

    All such lines about one peer have one budget: twenty at once, then one in a second. A line that follows others
    which were left out says how many these were.

    Args:
        log: the logger of the module.
        level: of the line.
        text: the line, with ``%s`` for the name at its beginning.
        name: of the connection, or the address of the peer.
        *arguments: the rest of the line.
        **options: such as ``exc_info``.
    """
    if not log.isEnabledFor(level):
        return
    with _lock:
        budget = _budgets.pop(name, None) or _Budget(monotonic())
        _budgets[name] = budget  # the last one now
        if len(_budgets) > MOST_PEERS:
            del _budgets[next(iter(_budgets))]
        if not budget.spend(monotonic()):
            return
        left_out, budget.left_out = budget.left_out, 0
        last = budget.left < 1.0
    if left_out:
        text, arguments = f"{text} (%d lines about it were left out before)", (*arguments, left_out)
    elif last:
        text += " (more lines about it are limited to one in a second)"
    log.log(level, text, name, *arguments, stacklevel=2, **options)
