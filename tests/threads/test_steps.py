"""Steps that must all be made."""

from __future__ import annotations

import logging

import pytest

from cnx.threads.steps import run_each


def subject() -> str:
    """Name what the steps of these tests are about."""
    return "the link"


def test_every_step_is_made(caplog: pytest.LogCaptureFixture) -> None:
    """What a step raises is logged when all are done, with what it was for."""
    made: list[int] = []

    def fail() -> None:
        made.append(1)
        raise ZeroDivisionError("no")

    run_each(subject, [("failing", fail), ("second", lambda: made.append(2)), ("third", lambda: made.append(3))])
    assert made == [1, 2, 3]
    assert [record.getMessage() for record in caplog.records] == ["the link: failing failed"]
    assert caplog.records[0].exc_info is not None


def test_interrupt_is_raised_at_the_end() -> None:
    """The first one, after all steps and after the failures were logged."""
    made: list[int] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def leave() -> None:
        raise SystemExit

    with pytest.raises(KeyboardInterrupt):
        run_each(subject, [("1", interrupt), ("2", leave), ("3", lambda: made.append(3))])
    assert made == [3]


def test_logging_that_raises_keeps_no_step_from_being_made() -> None:
    """Nor is it raised."""
    made: list[int] = []

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise OSError("the log is full")

    broken, log = Broken(), logging.getLogger("cnx.threads.hook")
    log.addFilter(broken)
    try:
        run_each(subject, [("1", lambda: 1 // 0), ("2", lambda: made.append(2))])
    finally:
        log.removeFilter(broken)
    assert made == [2]
