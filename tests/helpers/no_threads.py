"""A system that has no thread to spare."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["no_threads"]


@contextmanager
def no_threads() -> Iterator[None]:
    """Let no thread start while the block runs, as when the system refuses to make one."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield
