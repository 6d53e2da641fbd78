"""``cnx monitor URL``"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TextIO

import click

from cnx.cli.console import clean_exit, open_url, stamp, stop_signal
from cnx.connection import Connection
from cnx.manager import ConnectionManager
from cnx.signals import subscribe

__all__ = ["monitor"]


@click.command()
@click.argument("url")
@click.option("--hex", "as_hex", is_flag=True, help="Show bytes in hexadecimal; otherwise text, with escapes.")
@click.option("--log", type=click.File("a", lazy=False), help="Append the same lines to this file.")
@click.option("--once", is_flag=True, help="End when the link ends, in place of connecting again.")
def monitor(url: str, as_hex: bool, log: TextIO | None, once: bool) -> None:
    """Show what comes from URL, with time stamps, and stay connected until interrupted.

    \b
    cnx monitor tcp://127.0.0.1:4001
    cnx monitor 'serial:///dev/ttyUSB0?baudrate=115200' --hex --log bytes.txt
    """
    watched = open_url(url)
    show = _Printer(log)
    form: Callable[[bytes], str] = (lambda data: data.hex(" ")) if as_hex else _text
    with clean_exit(), stop_signal() as stop:
        signals = Connection.Signals
        subscribe(watched, signals.CONNECTED, lambda: show(f"* connected to {watched.address}"))
        subscribe(watched, signals.DATA_RECEIVED, lambda data: show(f"  {form(data)}"))
        subscribe(watched, signals.DISCONNECTED, lambda reason: show(f"* disconnected: {reason}"))
        if once:
            subscribe(watched, signals.DISCONNECTED, lambda: stop.set())
            watched.connect()
            stop.wait()
            watched.teardown()
            return
        manager = ConnectionManager(watched)
        subscribe(manager, manager.Signals.STATE_CHANGED, lambda new, reason: _tell_state(show, new.value, reason))
        manager.connect(wait=False)
        stop.wait()
        manager.teardown()


class _Printer:
    """Prints lines with time stamps, whole ones from any thread."""

    def __init__(self, log: TextIO | None) -> None:
        self._log = log
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        line = f"{stamp()} {text}"
        with self._lock:
            click.echo(line)
            if self._log is not None:
                print(line, file=self._log, flush=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii").replace("\\\\x", "\\x")


def _tell_state(show: _Printer, state: str, reason: BaseException | None) -> None:
    if state == "recovering":
        show(f"* recovering: {reason}")
