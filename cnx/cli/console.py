"""Shared by all commands: errors in one line, an orderly end by signals, URLs, and time stamps."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import click

from cnx.connections.transport import TransportConnection
from cnx.connections.urls import connection
from cnx.errors import CnxError
from cnx.printable import printable
from cnx.threads.condition import Flag
from cnx.threads.starting import start_thread

__all__ = ["clean_exit", "echo", "echo_json", "insecure_option", "open_url", "shown", "stamp", "stop_signal"]


@contextmanager
def clean_exit() -> Iterator[None]:
    """Turn errors into one line and exit code 1, an interrupt into 130, and a closed pipe into a quiet end."""
    try:
        yield
    except (CnxError, OSError) as error:
        if isinstance(error, BrokenPipeError) and not isinstance(error, CnxError):
            sys.stderr.close()  # the reader of the output is gone, of which the interpreter would complain at exit
            sys.exit(0)
        raise click.ClickException(printable(_reason(error))) from error
    except KeyboardInterrupt:
        echo(err=True)
        sys.exit(130)


@contextmanager
def stop_signal() -> Iterator[Flag]:
    """Give a flag that SIGINT, SIGTERM and SIGHUP set, for commands that run until interrupted.

    A separate thread sets it, because CPython may start to wait for a lock just after a signal has arrived, and then
    runs the handler of the signal only after the wait.
    """
    stop = Flag()
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup stays in force
        numbers.append(signal.SIGHUP)
    arriving, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    waiter = start_thread(_await_signal, "cnx signals", arriving, numbers, stop)
    previous = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _leave_to_waiter) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous)
        wakeup.close()
        waiter.join()
        arriving.close()


def _leave_to_waiter(number: int, frame: FrameType | None) -> None:
    """Do nothing: CPython has sent the number of the signal to the thread that waits for it."""


def _await_signal(arriving: socket.socket, numbers: list[int], stop: Flag) -> None:
    while arrived := arriving.recv(64):
        if not set(numbers).isdisjoint(arrived):
            stop.set()


@contextmanager
def shown(stop: Flag) -> Iterator[None]:
    """Set ``stop`` when the reader of the output has gone, as with ``| head -1``.

    Handlers print on other threads, where a closed pipe does not end the command; and while nothing is printed, it
    would not be noticed at all.
    """
    output = _output_pipe()
    if output is None:
        yield
        return
    until, over = os.pipe()
    thread = start_thread(_await_end, "cnx output", output, until, stop)
    try:
        yield
    finally:
        os.close(over)
        thread.join()
        os.close(until)


def _output_pipe() -> int | None:
    """Return the descriptor of the output if it is a pipe whose end can be noticed."""
    try:
        descriptor = sys.stdout.fileno()
        kind = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # closed, or made up
        return None
    return descriptor if hasattr(select, "poll") and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)) else None


def _await_end(output: int, until: int, stop: Flag) -> None:
    poll = select.poll()
    for descriptor in (output, until):
        poll.register(descriptor, 0)  # errors and hang-ups are always reported
    if output in dict(poll.poll()):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)  # printing until the end, and flushing, must not fail
        os.close(nowhere)
        stop.set()


def echo(text: object = "", *, err: bool = False, **style: Any) -> None:
    """Print one line. What is not printable becomes an escape, as it may come from a peer or a device.

    Args:
        text: the line.
        err: print to standard error.
        **style: as for ``click.secho``; ``nl=False`` to go on in the same line.
    """
    shown = printable(str(text))
    if style:
        click.secho(shown, err=err, **style)
    else:
        click.echo(shown, err=err)


def echo_json(value: Any) -> None:
    """Print a value as JSON in one line."""
    echo(json.dumps(value, ensure_ascii=False))


insecure_option = click.option(
    "--insecure",
    is_flag=True,
    help="Do not verify the certificate of a tls URL; anyone on the path can read the data.",
)


def open_url(url: str, insecure: bool = False) -> TransportConnection:
    """Return a connection to ``url``, or fail with a usage error; warn if TLS is not verified."""
    try:
        made = connection(_unverified(url) if insecure else url, TransportConnection)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    context = getattr(made, "tls", None)
    if context is not None and context.verify_mode is ssl.CERT_NONE:
        warning = f"WARNING: the certificate of {made.address} is NOT verified: anyone on the path can read the data"
        echo(warning, fg="red", err=True)
    return made


def _unverified(url: str) -> str:
    """Return the URL with the option not to verify the certificate."""
    parts = urlsplit(url)
    if parts.scheme != "tls":
        raise click.BadParameter("only a tls URL has a certificate", param_hint="--insecure")
    return parts._replace(query=f"{parts.query}&verify=no".lstrip("&")).geturl()


def _reason(error: CnxError | OSError) -> str:
    """Return the message of an error, without the error number of the system."""
    reason = getattr(error, "strerror", None)
    if not reason:
        return str(error)
    file = getattr(error, "filename", None)
    return f"{file}: {reason}" if file else str(reason)


def stamp() -> str:
    """Return the time of day with milliseconds."""
    return datetime.now().strftime("%H:%M:%S.%f")[:-3]
