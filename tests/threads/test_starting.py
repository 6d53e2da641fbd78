"""Starting threads where there may be none to spare."""

from __future__ import annotations

import threading

import pytest

from cnx.errors import ConnectError
from cnx.testing import PATIENCE
from cnx.threads.starting import start_or_wait, start_thread, start_waiting, waiting
from tests.helpers.no_threads import no_threads


def test_thread_gets_its_arguments_and_its_name() -> None:
    """It is a daemon."""
    got: list[object] = []
    thread = start_thread(lambda *given: got.extend([*given, threading.current_thread().name]), "cnx test", 1, 2)
    thread.join(PATIENCE)
    assert got == [1, 2, "cnx test"]
    assert thread.daemon


def test_shortage_is_an_error_that_says_what_to_do() -> None:
    """It is a ``ConnectError``, from the one of the system."""
    with no_threads(), pytest.raises(ConnectError, match="can't start new thread; end other threads") as caught:
        start_thread(lambda: None, "cnx test")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_work_waits_for_a_thread() -> None:
    """It is started as soon as there is one."""
    done = threading.Event()
    with no_threads():
        assert isinstance(start_or_wait(done.set, "cnx late"), ConnectError)
        assert start_waiting()
    assert not done.is_set()
    assert not start_waiting()
    assert done.wait(PATIENCE)
    assert not waiting


def test_thread_that_ends_takes_over_what_waits() -> None:
    """No other thread is needed; what fails there is logged, and the next one is run."""
    names: list[str] = []
    go_on = threading.Event()
    thread = start_thread(go_on.wait, "cnx first", PATIENCE)
    with no_threads():
        start_or_wait(lambda: 1 // 0, "cnx failing")
        start_or_wait(lambda: names.append(threading.current_thread().name), "cnx late")
        go_on.set()
        thread.join(PATIENCE)
    assert names == ["cnx late"]
    assert not waiting
