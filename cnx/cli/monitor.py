"""``cnx monitor URL``"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from cnx.cli.console import clean_exit, echo, insecure_option, open_url, shown, stamp, stop_signal
from cnx.connections.connection import Connection
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.printable import printable
from cnx.recording.files import for_owner
from cnx.signals.subscriptions import subscribe
from cnx.threads.condition import Flag

__all__ = ["monitor"]

ONCE = Backoff(first=3600.0, cap=3600.0, jitter=0.0, attempts=1)
"""One attempt; after a loss, no other attempt before the command has ended."""


@click.command()
@click.argument("url")
@click.option("--hex", "as_hex", is_flag=True, help="Print bytes in hexadecimal instead of text with escapes.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Append the same lines to this file.")
@click.option("--once", is_flag=True, help="End when the connection fails or is lost, instead of trying again.")
@insecure_option
def monitor(url: str, as_hex: bool, log: Path | None, once: bool, insecure: bool) -> None:
    """Print what arrives from URL, with time stamps, and stay connected until interrupted.

    \b
    cnx monitor tcp://127.0.0.1:4001
    cnx monitor 'serial:///dev/ttyUSB0?baudrate=115200' --hex --log bytes.txt
    """
    watched = open_url(url, insecure)
    form: Callable[[bytes], str] = (lambda data: data.hex(" ")) if as_hex else text_of
    with clean_exit(), _appended(log) as lines, stop_signal() as stop, shown(stop):
        show = _Printer(lines, stop)
        signals = Connection.Signals
        subscribe(watched, signals.CONNECTED, lambda: show(f"* connected to {watched.address}"))
        subscribe(watched, signals.DATA_RECEIVED, lambda data: show(f"  {form(data)}"))
        subscribe(watched, signals.DISCONNECTED, lambda reason: show(f"* disconnected: {reason}"))
        linked = Flag()  # there was a link, even if it ended at once, in which case the attempt has failed
        subscribe(watched, signals.CONNECTED, linked.set)
        lost: deque[BaseException] = deque(maxlen=1)
        subscribe(watched, signals.RAISE_ALARM, lost.append)
        manager = ConnectionManager(watched, backoff=ONCE if once else None)

        def on_change(old: State, new: State, reason: BaseException | None) -> None:
            if new is State.DISCONNECTED or (once and new is State.RECOVERING):
                stop.set()
            elif new is State.RECOVERING and old is not State.CONNECTED:
                causes = (reason, reason and reason.__cause__)
                if not any(cause in lost for cause in causes):  # otherwise the line "disconnected" has printed it
                    show(f"* recovering: {reason}")

        subscribe(manager, manager.Signals.STATE_CHANGED, on_change)
        manager.connect(wait=False)
        stop.wait()
        hopeless = manager.state is State.DISCONNECTED and not (once and linked.is_set())
        failure = show.failure or (manager.reason if hopeless else None)
        manager.teardown()
        if failure is not None:
            raise failure


@contextmanager
def _appended(path: Path | None) -> Iterator[TextIO | None]:
    """Give a file to append to, which its owner only can read if it is new."""
    if path is None:
        yield None
        return
    try:
        file = open(path, "a", encoding="utf-8", opener=for_owner)  # noqa: SIM115
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--log") from error
    with file:
        yield file


class _Printer:
    """Prints whole lines with time stamps, from any thread.

    Attributes:
        failure: why it cannot print any more; it sets ``stop`` then.
    """

    def __init__(self, log: TextIO | None, stop: Flag) -> None:
        self._log = log
        self._stop = stop
        self._lock = threading.Lock()
        self.failure: OSError | None = None

    def __call__(self, text: str) -> None:
        line = printable(f"{stamp()} {text}")
        with self._lock:
            try:
                echo(line)
                if self._log is not None:
                    print(line, file=self._log, flush=True)
            except OSError as error:  # the reader of the pipe is gone, or the disk is full
                self.failure = self.failure or error
                self._stop.set()


def text_of(data: bytes) -> str:
    """Return bytes as text in UTF-8; what is not text or not printable becomes escapes."""
    return "".join(map(_shown, data.decode("utf-8", "surrogateescape")))


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is not text
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() and character != "\\" else repr(character)[1:-1]
