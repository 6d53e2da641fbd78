"""``cnx`` commands that run in a process of their own until they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.helpers.processes import PROCESS_PATIENCE, started


class Running:
    """A command that runs.

    Attributes:
        output: what it prints.
        messages: its errors and log lines.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.output: IO[str] = process.stdout
        self.messages: IO[str] = process.stderr

    def line(self) -> str:
        """Return the next line that it prints."""
        return self.output.readline().rstrip("\n")

    def read_messages_until(self, text: str) -> None:
        """Read its messages up to one with ``text``."""
        for line in self.messages:
            if text in line:
                return
        raise AssertionError(f"the command ended without {text!r}")

    def stop(self) -> tuple[int, str, str]:
        """End it as ``Ctrl+C`` does, and return its exit code, the rest of what it printed, and its messages."""
        self.send(signal.SIGINT)
        return self.end()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end, and return its exit code, the rest of what it printed, and its messages."""
        printed, messages = self._process.communicate(timeout=PROCESS_PATIENCE)
        return self._process.returncode, printed, messages

    def wait(self) -> tuple[int, str]:
        """Wait for its end where nobody reads what it prints, and return its exit code and its messages."""
        code = self._process.wait(timeout=PROCESS_PATIENCE)
        return code, self.messages.read()


@contextmanager
def running(*arguments: object, **environment: str) -> Iterator[Running]:
    """Give ``cnx`` with these arguments and environment variables, which is ended if the test does not end it."""
    settings = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started([sys.executable, "-m", "cnx", *arguments], text=True, env=settings, **pipes) as process:
        yield Running(process)
