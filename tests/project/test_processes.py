"""The helper that starts processes for tests."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.helpers import processes
from tests.helpers.processes import PROCESS_PATIENCE, started

PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def test_process_ends_with_a_test_that_fails() -> None:
    """It has ended and its pipes are closed, also if input for it was not sent yet."""
    with pytest.raises(ZeroDivisionError), started(["sleep", 3600], text=True, **PIPES) as process:
        process.stdin.write("unsent")
        raise ZeroDivisionError
    assert process.returncode == -signal.SIGTERM
    assert all(pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))


def test_process_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(processes, "GRACE", 0.1)
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    with started([sys.executable, "-c", program], text=True, **PIPES) as process:
        assert process.stdout.readline() == "ready\n"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_process_does_not_inherit_that_a_signal_is_ignored(number: int) -> None:
    """As it would under ``nohup`` or in the background of a script; the test itself goes on ignoring it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with started(["sleep", 3600]) as process:
            process.send_signal(number)
            assert process.wait(PROCESS_PATIENCE) == -number
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
