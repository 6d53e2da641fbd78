"""Refuse to work where gevent or eventlet has replaced the threads and sockets of Python.

cnx works with threads of the system. With greenlets in their place, timeouts do not end, and a call that blocks stops
all of them.
"""

from __future__ import annotations

import sys

from cnx.errors import ConnectError, fatal

__all__ = ["refuse_green_threads"]

_NEEDED = ("socket", "select", "ssl", "thread", "threading")
"""The modules of Python that must be its own; gevent and eventlet call one of them by an old name."""


def refuse_green_threads() -> None:
    """Raise a fatal ConnectError if gevent or eventlet has patched what cnx needs."""
    for library, module, question in (
        ("gevent", "gevent.monkey", "is_module_patched"),
        ("eventlet", "eventlet.patcher", "is_monkey_patched"),
    ):
        patcher = sys.modules.get(module)
        if patcher is None:
            continue
        is_patched = getattr(patcher, question)
        patched = [name for name in _NEEDED if is_patched(name)]
        if patched:
            raise fatal(
                ConnectError(
                    f"{library} has replaced the modules {', '.join(patched)} of Python, and cnx needs real threads: "
                    f"use it in a process without {library}'s monkey patching"
                )
            )
