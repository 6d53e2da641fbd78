"""Processes that a test starts, and that end with it whatever happens."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

PROCESS_PATIENCE = 120.0
"""Seconds that a test waits for what another process does: a loaded machine may need ten to start an interpreter."""

GRACE = 5.0
"""Seconds that a process has to end by itself before it is killed."""


@contextmanager
def started(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Give a process that has ended, with its pipes closed, when the block is left.

    It is asked to end by SIGTERM, and killed if it does not within ``GRACE`` seconds.

    Args:
        command: the program and its arguments.
        **options: of ``subprocess.Popen``.
    """
    with _signals_not_ignored():
        process = subprocess.Popen([str(part) for part in command], **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what was not sent yet
                    pipe.close()


@contextmanager
def _signals_not_ignored() -> Iterator[None]:
    """Have processes that are started in the block handle signals by default.

    A process inherits the signals that its parent ignores: SIGHUP under ``nohup``, SIGINT in the background of a
    script. Handlers are not inherited, as ``exec`` puts the default back; so a handler that does nothing takes the
    place of the ignoring while a process is started. Main thread only.
    """
    numbers = (getattr(signal, name, None) for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"))
    ignored = [number for number in numbers if number is not None and signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, _do_nothing)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def _do_nothing(*_: object) -> None:
    """Handle a signal."""
