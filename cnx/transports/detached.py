"""Make calls that cannot be interrupted, such as those of the system's resolver, within a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from cnx.deadline import Deadline
from cnx.errors import TimedOut
from cnx.threads.condition import Gate
from cnx.threads.starting import start_thread

__all__ = ["call_detached"]

T = TypeVar("T")


def call_detached(
    action: Callable[[], T], doing: str, deadline: Deadline, discard: Callable[[T], object] = lambda result: None
) -> T:
    """Call ``action`` on a thread of its own; return what it returns, or raise what it raises.

    If the deadline ends first, that thread is left to end by itself, and ``discard`` is called with its late result.

    Args:
        action: the call, which may block for a long time.
        doing: what it does, for messages and the name of the thread.
        deadline: when to stop waiting.
        discard: releases a late result.

    Raises:
        Cancelled, TimedOut: the deadline ended.
        ConnectError: the system has no thread to spare.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    over = Gate()
    claim = threading.Lock()  # whichever comes first takes it: the end of the call, or the caller that gives up

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)
        if claim.acquire(blocking=False):
            over.open()
        elif results:
            discard(results[0])

    deadline.check(doing)
    start_thread(run, f"cnx {doing}")
    try:
        with deadline.waking(over.open):
            over.wait(deadline.remaining())
    except BaseException:  # such as KeyboardInterrupt: nobody takes the result
        if not claim.acquire(blocking=False) and results:
            discard(results[0])
        raise
    if claim.acquire(blocking=False):
        deadline.check(doing)
        raise TimedOut(f"{doing} took too long")
    if errors:
        raise errors[0]
    return results[0]
