"""Start the threads of cnx, all in this one place.

A system may have no thread to spare: a limit of processes or of memory was reached. To start a thread for a call that
somebody makes is then an error of that call. Work that nobody waits for, such as the recovery after a loss, waits
instead: it is run by the next thread of cnx that ends, or gets a thread of its own as soon as there is one.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from cnx.errors import ConnectError
from cnx.logs import logger

__all__ = ["RETRY", "new_thread", "start", "start_or_wait", "start_thread", "start_waiting", "waiting"]

log = logger(__name__)

RETRY = 1.0
"""Seconds after which a thread that waits for something anyway tries again to start what waits."""

waiting: deque[tuple[Callable[[], object], str]] = deque()
"""Work that waits for a thread, with the name of that thread. Threads that wait look at it and call start_waiting()."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=waiting.clear)  # that work belongs to the parent process


def new_thread(target: Callable[..., object], name: str, *arguments: Any) -> threading.Thread:
    """Return a daemon thread that will call ``target`` with the arguments, to be started with :func:`start`."""
    return threading.Thread(target=_run, args=(target, arguments), name=name, daemon=True)


def start(thread: threading.Thread) -> None:
    """Start a thread that :func:`new_thread` has made.

    Raises:
        ConnectError: the system has no thread to spare; nothing was started.
    """
    try:
        thread.start()
    except (RuntimeError, MemoryError, OSError) as error:
        raise ConnectError(
            f"cannot start the thread {thread.name!r}: {error}; end other threads, or raise the limits of the process"
        ) from error


def start_thread(target: Callable[..., object], name: str, *arguments: Any) -> threading.Thread:
    """Start a daemon thread that calls ``target`` with the arguments, and return it; raises as :func:`start`."""
    thread = new_thread(target, name, *arguments)
    start(thread)
    return thread


def start_or_wait(target: Callable[[], object], name: str) -> ConnectError | None:
    """Start a daemon thread, or let ``target`` wait for one; return why it waits, ``None`` if it was started."""
    try:
        start_thread(target, name)
    except ConnectError as error:
        waiting.append((target, name))
        return error
    return None


def start_waiting() -> bool:
    """Start what waits for a thread, as far as there are threads; return whether something still waits."""
    while waiting:
        try:
            target, name = waiting.popleft()
        except IndexError:
            break  # another thread has taken it
        try:
            start_thread(target, name)
        except ConnectError:
            waiting.appendleft((target, name))
            return True
    return False


def _run(target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Run the work of a thread, and after it what waits for one."""
    try:
        target(*arguments)
    finally:
        while waiting:
            try:
                work, name = waiting.popleft()
            except IndexError:
                break
            threading.current_thread().name = name
            try:
                work()
            except Exception:
                log.exception("%s failed", name)
