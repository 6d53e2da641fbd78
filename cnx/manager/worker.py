"""The thread that makes the attempts of a manager."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from time import monotonic

from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, TornDown
from cnx.manager.backoff import Backoff
from cnx.threads.locks import Lock

__all__ = ["Retries", "Worker"]

log = logging.getLogger(__name__)


class Retries:
    """When to make the next attempt, and when to give up.

    Args:
        backoff: how long to wait, and when to give up.
        persist: go on after an error that is fatal.
    """

    def __init__(self, backoff: Backoff, persist: bool) -> None:
        self.backoff = backoff
        self._persist = persist
        self._delays: Iterator[float] = iter(())

    def start_over(self) -> None:
        """Begin with the shortest wait again."""
        self._delays = self.backoff.delays(random.uniform)

    def are_over(self, error: BaseException, failed: int, elapsed: float) -> bool:
        """Whether to give up after ``failed`` attempts, the last one because of ``error``, in ``elapsed`` seconds."""
        attempts, total = self.backoff.attempts, self.backoff.total
        fatal = isinstance(error, (Cancelled, TornDown)) or (getattr(error, "fatal", False) and not self._persist)
        return fatal or (attempts is not None and failed >= attempts) or (total is not None and elapsed >= total)

    def next_delay(self, error: BaseException | None = None) -> float:
        """Return the seconds to wait after ``error``, which may ask for more."""
        asked = max(0.0, getattr(error, "retry_after", None) or 0.0)
        if getattr(error, "fatal", False):
            return asked or self.backoff.cap
        return max(next(self._delays), asked)


class Worker:
    """Makes attempts, on a thread of its own, until one succeeds, the retries are over, or it is stopped.

    Args:
        name: of the thread.
        attempt: makes one; returns why it failed, or ``None``.
        tell: is told by this worker ``attempt_succeeded``, ``attempt_failed`` or ``gave_up``, and why.
        retries: when to make them.
        pause: wait before the first one, too.

    Attributes:
        over: it makes no more attempts.
    """

    def __init__(
        self,
        name: str,
        attempt: Callable[[Deadline], BaseException | None],
        tell: Callable[[Worker, str, BaseException | None], None],
        retries: Retries,
        *,
        pause: bool,
    ) -> None:
        self._attempt = attempt
        self._tell = tell
        self._retries = retries
        self._pause = pause
        self._stop = Deadline()
        self._starting = Lock()
        self.over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once is enough."""
        try:
            with self._starting:
                if self._thread.ident is None:
                    self._thread.start()
        except RuntimeError as error:
            self._finish("gave_up", ConnectError(f"cannot start the thread that connects: {error}"))

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.cancelled

    def stop(self) -> None:
        """End as soon as possible; returns at once."""
        self.over = True
        self._stop.cancel(Cancelled("the manager was asked to stop"))

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread."""
        if self._thread.is_alive() and not self.is_current():  # it has an ident before it can be joined
            self._thread.join(timeout)

    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        try:
            self._make_attempts()
        except BaseException as error:  # SystemExit from a handler, for one: nobody else would go on
            log.exception("%s ended in an unexpected way", self._thread.name)
            self._finish("gave_up", ConnectError(f"{self._thread.name} ended in an unexpected way: {error!r}"))

    def _make_attempts(self) -> None:
        started = monotonic()
        failed = 0
        if self._pause and not self._stop.pause(self._retries.next_delay()):
            return
        while not self._stop.cancelled:
            error = self._attempt(self._stop)
            if error is None:
                self._finish("attempt_succeeded", None)
                return
            if self._stop.cancelled:
                return
            failed += 1
            if self._retries.are_over(error, failed, monotonic() - started):
                self._finish("gave_up", error)
                return
            self._tell(self, "attempt_failed", error)
            self._stop.pause(self._retries.next_delay(error))

    def _finish(self, news: str, reason: BaseException | None) -> None:
        self.over = True  # before it is told: what hears it may want a new worker
        self._tell(self, news, reason)
