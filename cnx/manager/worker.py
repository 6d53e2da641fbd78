"""Worker: the thread that makes the attempts of a manager, and the policy by which it repeats them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from time import monotonic

from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, TornDown
from cnx.logs import logger
from cnx.manager.backoff import Backoff
from cnx.threads.condition import Flag
from cnx.threads.hook import PROGRAMMING, report_error
from cnx.threads.locks import Lock
from cnx.threads.starting import start_or_wait

__all__ = ["RetryPolicy", "Worker"]

log = logger(__name__)


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

    def is_fatal(self, error: BaseException) -> bool:
        """Return whether no attempt may follow ``error``, which ended an attempt or a link."""
        return _asks_for_a_person(error) and not self._persist

    def gives_up(self, error: BaseException, failed: int, elapsed: float) -> bool:
        """Return whether to give up after ``failed`` attempts in ``elapsed`` seconds, the last one with ``error``."""
        attempts, total = self.backoff.attempts, self.backoff.total
        return (
            isinstance(error, (Cancelled, TornDown, *PROGRAMMING))
            or self.is_fatal(error)
            or (attempts is not None and failed >= attempts)
            or (total is not None and elapsed >= total)
        )

    def next_delay(self, error: BaseException | None = None) -> float:
        """Return the seconds to wait after ``error``, whose ``retry_after`` may ask for a longer wait."""
        asked = max(0.0, getattr(error, "retry_after", None) or 0.0)
        if error is not None and _asks_for_a_person(error):
            return asked or self.backoff.cap
        return max(next(self._delays), asked)


def _asks_for_a_person(error: BaseException) -> bool:
    return bool(getattr(error, "fatal", False))


class Worker:
    """Makes attempts on a thread of its own until one succeeds, the policy gives up, or the worker is stopped.

    Without a thread to spare it waits for one, see :mod:`cnx.threads.starting`.

    Args:
        name: of the thread.
        attempt: makes one attempt; returns why it failed, ``None`` after a success.
        report: called with this worker, an input of the state machine (``attempt_succeeded``, ``attempt_failed`` or
            ``gave_up``) and the reason.
        policy: when to make attempts.
        lost: why a link was lost, so that there is a wait before the first attempt, too; ``None`` for no wait.

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
        lost: BaseException | None,
    ) -> None:
        self._name = name
        self._attempt = attempt
        self._report = report
        self._policy = policy
        self._lost = lost
        self._stop = Deadline()
        self._starting = Lock()
        self._started = False
        self._waits = False  # no thread could be started, so it waits for one
        self._thread: threading.Thread | None = None  # that makes the attempts; it may have done other work before
        self._over = Flag()
        self.finished = False

    def start(self) -> None:
        """Start the thread, unless it was started before, or the worker was stopped."""
        with self._starting:
            if self._started or self.stopped:
                return
            self._started = True
        shortage = start_or_wait(self._run, self._name)
        if shortage is not None:
            self._waits = True
            log.warning("%s waits: %s", self._name, shortage)
            self._report(self, "attempt_failed", shortage)

    @property
    def stopped(self) -> bool:
        """Return whether it was asked to stop."""
        return self._stop.cancelled

    def stop(self) -> None:
        """Ask the thread to end, which also cancels an attempt; returns at once."""
        self.finished = True
        self._stop.cancel(Cancelled("the manager was asked to stop"))

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, if there is one."""
        if not self._started or (self._waits and self._thread is None) or self.is_current():
            return
        end = monotonic() + timeout
        if self._over.wait(timeout) and self._thread is not None and not self._waits:
            self._thread.join(max(0.0, end - monotonic()))

    def is_current(self) -> bool:
        """Return whether the calling thread is this one."""
        return self._thread is threading.current_thread()

    def _run(self) -> None:
        self._thread = threading.current_thread()
        try:
            self._make_attempts()
        except BaseException as error:  # the manager would wait for ever for what this thread did not report
            report_error(error, f"{self._name} failed unexpectedly")
            self._finish("gave_up", ConnectError(f"{self._name} failed unexpectedly: {error!r}"))
        finally:
            self._over.set()

    def _make_attempts(self) -> None:
        started = monotonic()
        failed = 0
        if self._lost is not None and not self._stop.pause(self._policy.next_delay(self._lost)):
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
