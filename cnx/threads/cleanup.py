"""Clean up open links, connections and managers when the process forks or ends.

A forked child inherits the descriptors of its parent, but none of its threads. At the end of the interpreter a daemon
thread that still runs can block it. So everything that owns a thread or a descriptor is in a :class:`CleanupRegistry`.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from cnx.threads.steps import run_each

__all__ = ["CleanupRegistry"]

T = TypeVar("T")


class CleanupRegistry(Generic[T]):
    """The objects to clean up when the process forks or ends. It does not keep them alive. Thread-safe.

    Args:
        on_fork: called with each live object in a forked child process, whatever it raises for another one.
        on_exit: called with the list of all live objects before the interpreter ends.
    """

    def __init__(self, on_fork: Callable[[T], None], on_exit: Callable[[list[T]], None] | None = None) -> None:
        self._objects: weakref.WeakValueDictionary[int, T] = weakref.WeakValueDictionary()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: self._after_fork(on_fork))
        if on_exit is not None:
            atexit.register(lambda: on_exit(self._alive()))

    def add(self, thing: T) -> None:
        """Add an object to those that are cleaned up."""
        self._objects[id(thing)] = thing

    def _after_fork(self, on_fork: Callable[[T], None]) -> None:
        alive = self._alive()
        run_each(
            lambda: "in a forked child process",
            [(f"letting go of a {type(thing).__name__}", partial(on_fork, thing)) for thing in alive],
        )

    def _alive(self) -> list[T]:
        references = self._objects.valuerefs()  # copied in one step, whatever other threads do
        return [thing for thing in (reference() for reference in references) if thing is not None]
