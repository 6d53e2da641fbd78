"""Signal handlers that strike at a chosen point of a call, so that every point can be tried.

CPython runs the handler of a signal where a Python function is entered and where a C function has returned. A profile
function is called at just these points and on the same thread; what it does, or raises, is what a handler would do.
"""

from __future__ import annotations

import logging
import sys
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cnx

HOME = str(Path(cnx.__file__).parent)
FRAGILE = (threading.__file__, logging.__file__, warnings.__file__, tracemalloc.__file__, "<frozen importlib")
"""What a handler can break in CPython itself, and so is left alone here: threads start with an Event and end with a
lock that whoever waits for them takes, logging can be left locked, and a module half imported."""
FINALIZERS = {"__del__", "remove", "_remove", "__repr__", "unraisable_hook", "gc_callback"}
"""What runs when objects are finalized or collected: what is raised there, the interpreter only prints."""


def strike(call: Callable[[], object], action: Callable[[], object], at: int) -> tuple[bool, BaseException | None]:
    """Run ``call``, and ``action`` at its point number ``at``; return whether there was one, and what was raised."""
    points = -1

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal points
        if event in ("call", "c_return") and _counts(frame):
            points += 1
            if points == at:
                sys.setprofile(None)
                action()

    raised: BaseException | None = None
    sys.setprofile(count)
    try:
        call()
    except BaseException as error:
        raised = error
    finally:
        sys.setprofile(None)
    return points >= at, raised


def _counts(frame: FrameType | None) -> bool:
    """Whether the library's own code runs, or what it called."""
    ours = False
    while frame is not None and frame.f_code.co_filename != __file__:
        code = frame.f_code
        if code.co_name in FINALIZERS or code.co_filename.startswith(FRAGILE):
            return False
        ours = ours or code.co_filename.startswith(HOME)
        frame = frame.f_back
    return ours


def interrupt() -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt
