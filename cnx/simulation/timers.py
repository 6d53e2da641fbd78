"""Things to do later that can be called off."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Timers"]


class Timers:
    """Calls after some seconds, each on a thread of its own.

    Args:
        name: for the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._stopped = False

    def start(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        """Call ``function`` in ``seconds``, unless the timers are stopped.

        A lock that it needs must not be held by the caller of ``stop()``.
        """
        timer = threading.Timer(seconds, function, arguments)
        timer.name = f"cnx {self._name}"
        timer.daemon = True
        with self._lock:
            self._timers = [known for known in self._timers if known.is_alive()]
            if not self._stopped:
                self._timers.append(timer)
                timer.start()

    def cancel(self) -> list[threading.Timer]:
        """Call everything off that is not under way, and return the threads."""
        with self._lock:
            timers = list(self._timers)
        for timer in timers:
            timer.cancel()
        return timers

    def stop(self, timeout: float) -> None:
        """Call everything off for good, and wait for the threads, at most ``timeout`` seconds each."""
        with self._lock:
            self._stopped = True
        for timer in self.cancel():
            if timer is not threading.current_thread():
                timer.join(timeout)
