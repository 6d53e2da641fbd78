"""Log lines: what others have sent is printable in them, and a peer cannot cause very many."""

from __future__ import annotations

import io
import itertools
import logging

import pytest

from cnx import logs
from cnx.logs import AT_ONCE, log_of_peer, logger

EVIL = "\x1b[2J\x9b31m\r\nFAKE line\u202e\x7f"


@pytest.fixture
def log() -> logging.Logger:
    """Give a logger as each module has it."""
    return logger("cnx.test")


def lines_of(stream: io.StringIO) -> list[str]:
    """Return the lines that a terminal would show, after a check that none is forged and nothing acts on it."""
    text = stream.getvalue()
    assert text.replace("\n", "").isprintable()
    return text.splitlines()


@pytest.fixture
def stream(log: logging.Logger) -> io.StringIO:
    """Give what a plain handler writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    return stream


def test_arguments_are_printable(log: logging.Logger, stream: io.StringIO) -> None:
    """Text, exceptions and anything else, by position and by name; numbers and bytes stay what they are."""
    log.warning("a %s b %r c %d %5.1f %s", EVIL, ValueError(EVIL), 5, 1.25, b"\x1b")
    log.warning("by name %(x)s", {"x": EVIL})
    first, second = lines_of(stream)
    assert first.startswith(r"cnx.test: a \u001b[2J\u009b31m\r\nFAKE line\u202e\u007f b ValueError(")
    assert first.endswith(r"c 5   1.2 b'\x1b'")
    assert r"by name \u001b[2J" in second


def test_tracebacks_are_printable(log: logging.Logger, stream: io.StringIO) -> None:
    """Also the exceptions that led to it; that of plain text is the usual one."""
    try:
        try:
            raise KeyError("plain")
        except KeyError as error:
            raise ValueError(EVIL) from error
    except ValueError:
        log.exception("failed")
    lines = lines_of(stream)
    assert lines[-1] == r"ValueError: \u001b[2J\u009b31m\r\nFAKE line\u202e\u007f"
    assert "KeyError: 'plain'" in lines
    assert "Traceback (most recent call last):" in lines


class Silent(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_exception_without_a_text(log: logging.Logger, stream: io.StringIO) -> None:
    """Does not stop the line."""
    try:
        raise Silent
    except Silent:
        log.exception("failed")
    assert "failed" in lines_of(stream)[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give a time that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(logs, "monotonic", lambda: now[0])
    monkeypatch.setattr(logs, "_budgets", {})
    return now


def test_peer_has_a_budget(log: logging.Logger, stream: io.StringIO, clock: list[float]) -> None:
    """Twenty lines at once, then one in a second, which says how many were left out; other peers have their own."""
    for number in range(1000):
        log_of_peer(log, logging.WARNING, "%s: line %d", "peer", number)
    lines = lines_of(stream)
    assert len(lines) == AT_ONCE
    assert lines[0] == "cnx.test: peer: line 0"
    assert lines[-1] == "cnx.test: peer: line 19 (more lines about it are limited to one in a second)"
    log_of_peer(log, logging.WARNING, "%s: line %d", "other", 1)
    assert lines_of(stream)[-1] == "cnx.test: other: line 1"
    clock[0] += 1.5
    for number in range(3):
        log_of_peer(log, logging.WARNING, "%s: again %d", "peer", number)
    assert lines_of(stream)[AT_ONCE + 1 :] == ["cnx.test: peer: again 0 (980 lines about it were left out before)"]


def test_budgets_are_bounded(log: logging.Logger, stream: io.StringIO, clock: list[float]) -> None:
    """However many peers there are; what is not logged at all costs nothing."""
    for number in range(2 * logs.MOST_PEERS):
        log_of_peer(log, logging.INFO, "%s", f"peer {number}")
    assert len(logs._budgets) == logs.MOST_PEERS
    log.setLevel(logging.ERROR)
    for _ in itertools.repeat(None, 100):
        log_of_peer(log, logging.INFO, "%s", "unheard")
    assert "unheard" not in logs._budgets


def test_line_names_its_place(log: logging.Logger, caplog: pytest.LogCaptureFixture, clock: list[float]) -> None:
    """Not that of the limiter."""
    log_of_peer(log, logging.ERROR, "%s", "peer")
    assert caplog.records[-1].filename == "test_logs.py"
