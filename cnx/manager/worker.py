"""Worker: the thread that makes the attempts of a manager, and the policy by which it repeats them."""

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

__all__ = ["RetryPolicy", "Worker"]

log = logging.getLogger(__name__)


class RetryPolicy:
    """Decides when to make the next attempt, and when to give up.

    Args:
        backoff: how long to wait, and when to give up.
        persist: retry after fatal errors, too.
    """

    def __init__(self, backoff: Backoff, persist: bool) -> None:
        self.backoff = backoff
        self._persist = persist
        self._delays: Iterator[float] = iter(())

    def reset(self) -> None:
        """Start over with the shortest wait."""
        self._delays = self.backoff.delays(random.uniform)

    def gives_up(self, error: BaseException, failed: int, elapsed: float) -> bool:
        """Return whether to give up after ``failed`` attempts in ``elapsed`` seconds, the last one with ``error``."""
        attempts, total = self.backoff.attempts, self.backoff.total
        fatal = isinstance(error, (Cancelled, TornDown)) or (getattr(error, "fatal", False) and not self._persist)
        return fatal or (attempts is not None and failed >= attempts) or (total is not None and elapsed >= total)

    def next_delay(self, error: BaseException | None = None) -> float:
        """Return the seconds to wait after ``error``, whose ``retry_after`` may ask for a longer wait."""
        asked = max(0.0, getattr(error, "retry_after", None) or 0.0)
        if getattr(error, "fatal", False):
            return asked or self.backoff.cap
        return max(next(self._delays), asked)


class Worker:
    """Makes attempts on a thread of its own until one succeeds, the policy gives up, or the worker is stopped.

    Args:
        name: of the thread.
        attempt: makes one attempt; returns why it failed, ``None`` after a success.
        report: called with this worker, an input of the state machine (``attempt_succeeded``, ``attempt_failed`` or
            ``gave_up``) and the reason.
        policy: when to make attempts.
        pause: wait before the first attempt, too.

    Attributes:
        finished: it makes no further attempts.
    """

    def __init__(
        self,
        name: str,
        attempt: Callable[[Deadline], BaseException | None],
        report: Callable[[Worker, str, BaseException | None], None],
        policy: RetryPolicy,
        *,
        pause: bool,
    ) -> None:
        self._attempt = attempt
        self._report = report
        self._policy = policy
        self._pause = pause
        self._stop = Deadline()
        self._starting = Lock()
        self.finished = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, unless it was started before."""
        try:
            with self._starting:
                if self._thread.ident is None:
                    self._thread.start()
        except RuntimeError as error:
            self._finish("gave_up", ConnectError(f"cannot start the thread that connects: {error}"))

    @property
    def stopped(self) -> bool:
        """Return whether it was asked to stop."""
        return self._stop.cancelled

    def stop(self) -> None:
        """Ask the thread to end, which also cancels an attempt; returns at once."""
        self.finished = True
        self._stop.cancel(Cancelled("the manager was asked to stop"))

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended."""
        if self._thread.is_alive() and not self.is_current():  # a thread that was not started cannot be joined
            self._thread.join(timeout)

    def is_current(self) -> bool:
        """Return whether the calling thread is this one."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        try:
            self._make_attempts()
        except (
            BaseException
        ) as error:  # such as SystemExit from a handler: without this, the manager would wait for ever
            log.exception("%s failed unexpectedly", self._thread.name)
            self._finish("gave_up", ConnectError(f"{self._thread.name} failed unexpectedly: {error!r}"))

    def _make_attempts(self) -> None:
        started = monotonic()
        failed = 0
        if self._pause and not self._stop.pause(self._policy.next_delay()):
            return
        while not self._stop.cancelled:
            error = self._attempt(self._stop)
            if error is None:
                self._finish("attempt_succeeded", None)
                return
            if self._stop.cancelled:
                return
            failed += 1
            if self._policy.gives_up(error, failed, monotonic() - started):
                self._finish("gave_up", error)
                return
            self._report(self, "attempt_failed", error)
            self._stop.pause(self._policy.next_delay(error))

    def _finish(self, outcome: str, reason: BaseException | None) -> None:
        self.finished = True  # before the report, which may start a new worker
        self._report(self, outcome, reason)
