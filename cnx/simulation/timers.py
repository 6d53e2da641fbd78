"""Timers: delayed calls that can be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Timers"]


class Timers:
    """Delayed calls, each on a thread of its own.

    Args:
        name: for the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._stopped = False

    def start(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        """Call ``function`` after so many seconds, unless the timers are stopped.

        The caller of ``stop()`` must not hold a lock that ``function`` takes.
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
        """Cancel all calls that have not begun, and return the threads."""
        with self._lock:
            timers = list(self._timers)
        for timer in timers:
            timer.cancel()
        return timers

    def stop(self, timeout: float) -> None:
        """Cancel all calls for good, and wait for the threads, at most ``timeout`` seconds each."""
        with self._lock:
            self._stopped = True
        for timer in self.cancel():
            if timer is not threading.current_thread():
                timer.join(timeout)
