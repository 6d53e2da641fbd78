"""Calls that nothing can interrupt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from cnx.deadline import Deadline
from cnx.errors import TimedOut
from cnx.threads.condition import Gate

__all__ = ["call_detached"]

T = TypeVar("T")


def call_detached(
    action: Callable[[], T], doing: str, deadline: Deadline, discard: Callable[[T], object] = lambda result: None
) -> T:
    """Return what ``action`` returns, or raise what it raises, made on a thread of its own.

    If the deadline ends first, that thread is left to end by itself, and what it returns after all is given to
    ``discard``.

    Args:
        action: what may block for long.
        doing: what it does, for messages and the name of the thread.
        deadline: when not to wait any longer.
        discard: lets go of a result that comes too late.

    Raises:
        Cancelled, TimedOut: the deadline ended.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    over = Gate()
    claim = threading.Lock()  # taken by the one who is first: the call that is over, or the caller who has left

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
    threading.Thread(target=run, name=f"cnx {doing}", daemon=True).start()
    with deadline.waking(over.open):
        over.wait(deadline.remaining())
    if claim.acquire(blocking=False):
        deadline.check(doing)
        raise TimedOut(f"{doing} took too long")
    if errors:
        raise errors[0]
    return results[0]
