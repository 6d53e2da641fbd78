"""What is open, and has to be dealt with when the process forks or ends."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects that are dealt with when the process forks or ends; it does not keep them alive. Thread-safe.

    Args:
        on_fork: is given all of them in a forked child process, where the threads of the parent do not exist.
        on_exit: is given all of them before the interpreter ends: a daemon thread that still runs then can block it.
    """

    def __init__(self, on_fork: Callable[[list[T]], None], on_exit: Callable[[list[T]], None] | None = None) -> None:
        self._objects: weakref.WeakValueDictionary[int, T] = weakref.WeakValueDictionary()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: on_fork(self._alive()))
        if on_exit is not None:
            atexit.register(lambda: on_exit(self._alive()))

    def add(self, thing: T) -> None:
        """Deal with ``thing``, too."""
        self._objects[id(thing)] = thing

    def _alive(self) -> list[T]:
        references = self._objects.valuerefs()  # copied in one step, whatever other threads do
        return [thing for thing in (reference() for reference in references) if thing is not None]
