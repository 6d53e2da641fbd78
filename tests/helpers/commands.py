"""Commands that run in a process of their own until they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


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

    def stop(self) -> tuple[int, str, str]:
        """End it as ``Ctrl+C`` does, and return its exit code, the rest of what it printed, and its messages."""
        self.send(signal.SIGINT)
        return self.end()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end, and return its exit code, the rest of what it printed, and its messages."""
        printed, messages = self._process.communicate(timeout=60)
        return self._process.returncode, printed, messages

    def wait(self) -> tuple[int, str]:
        """Wait for its end where nobody reads what it prints, and return its exit code and its messages."""
        code = self._process.wait(timeout=60)
        return code, self.messages.read()


@contextmanager
def running(*arguments: object) -> Iterator[Running]:
    """Give ``cnx`` with these arguments, which is killed if the test does not end it."""
    command = [sys.executable, "-m", "cnx", *map(str, arguments)]
    settings = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=settings
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()
