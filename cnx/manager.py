"""ConnectionManager: keeps a connection up."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from types import TracebackType

from cnx.backoff import Backoff
from cnx.connection import STOP_TIMEOUT, Connection, Traffic
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, ConnectError, TimedOut, TornDown
from cnx.lifecycle import State, new_machine
from cnx.signals import Signal, emit, subscribe_weakly

__all__ = ["ConnectionManager", "Counters"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counters:
    """What happened so far.

    Attributes:
        attempts: attempts to connect.
        connects: those that succeeded.
        losses: links that were lost.
        connected_since: when the present link was made, seconds since the epoch; ``None`` without one.
        traffic: bytes and messages, in and out.
    """

    attempts: int
    connects: int
    losses: int
    connected_since: float | None
    traffic: Traffic


class ConnectionManager:
    """Keeps a connection up: connects, recovers after a loss, disconnects, tears down. Thread-safe.

    A state machine decides (see :mod:`cnx.lifecycle`); a worker thread, there only while there is work, makes the
    attempts. While it is in charge, leave connecting to it.

    Args:
        connection: what to keep up.
        backoff: how long to wait between attempts, and when to give up.
        persist: go on after an error that cannot go away by itself, such as a wrong password; it is then tried again
            after the time that the error names, or the longest wait of ``backoff``.
    """

    class Signals(Signal):
        """What a manager tells."""

        STATE_CHANGED = "state-changed"
        """``old``, ``new``: a :class:`~cnx.lifecycle.State` each; ``reason``: an exception, or ``None``."""

    def __init__(self, connection: Connection, *, backoff: Backoff | None = None, persist: bool = False) -> None:
        if not isinstance(connection, Connection):
            raise TypeError(f"a ConnectionManager manages a Connection, not {connection!r}")
        self._connection = connection
        self._backoff = backoff or Backoff()
        self._persist = persist
        self._changed = threading.Condition()
        self._state = State.READY
        self._reason: BaseException | None = None
        self._refused = False
        self._news: deque[tuple[State, State, BaseException | None]] = deque()
        self._telling = False
        self._todo: list[Callable[[], None]] = []
        self._stop = Deadline()  # of the present worker
        self._worker: threading.Thread | None = None
        self._delays: Iterator[float] = iter(())
        self._attempts = self._connects = self._losses = 0
        self._since: tuple[float, float] | None = None  # monotonic, epoch
        self._machine = new_machine(self)
        for signal in (Connection.Signals.RAISE_ALARM, Connection.Signals.DISCONNECTED):
            subscribe_weakly(connection, signal, self._on_end)

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """What is kept up."""
        return self._connection

    @property
    def state(self) -> State:
        """Where it is now."""
        return self._state

    @property
    def reason(self) -> BaseException | None:
        """Why the last attempt failed, or the last link ended."""
        return self._reason

    @property
    def counters(self) -> Counters:
        """What happened so far."""
        since = self._since
        traffic = self._connection.traffic
        return Counters(self._attempts, self._connects, self._losses, since and since[1], traffic)

    def connect(self, timeout: float | None = None, *, wait: bool = True) -> None:
        """Connect, and keep the connection up from now on.

        Blocks until connected; with ``wait=False`` it returns at once. After a timeout the attempts go on.

        Raises:
            TornDown: after :meth:`teardown`.
            TimedOut: not connected within ``timeout`` seconds (``None``: no limit); tells the last reason.
            ConnectError: the backoff policy gave up, or the error is fatal.
            Cancelled: another thread called :meth:`disconnect` meanwhile.
        """
        checked_timeout(timeout)
        self._input("connect")
        if wait and not self._is_worker():
            self._wait(State.CONNECTED, timeout, (State.DISCONNECTED, State.TORNDOWN))

    def disconnect(self) -> None:
        """Close the link and make no more attempts. Returns in bounded time, from any thread."""
        self._input("disconnect", Cancelled("disconnect() was called"))

    def teardown(self) -> None:
        """Disconnect for good, the connection too."""
        self._input("teardown", Cancelled("teardown() was called"))

    def wait_until(self, state: State | str, timeout: float | None = None) -> None:
        """Wait until the state is ``state``.

        Raises:
            ValueError: there is no such state.
            TimedOut: it was not within ``timeout`` seconds; tells the last reason.
            TornDown: it never will be.
        """
        wanted = State(state)
        self._wait(wanted, checked_timeout(timeout), () if wanted is State.TORNDOWN else (State.TORNDOWN,))

    def __enter__(self) -> ConnectionManager:
        try:
            self.connect()
        except BaseException:
            self.teardown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.teardown()

    def __repr__(self) -> str:
        return f"<ConnectionManager {self._state.value} of {self._connection!r}>"

    # -- what the machine has done; it is called under the lock ----------------------------------------------------

    def enter(self, state: State) -> None:
        """Note the new state."""
        old, self._state = self._state, state
        if state is State.CONNECTED:
            self._connects += 1
            self._since = monotonic(), time.time()
        elif old is State.CONNECTED:
            self._losses += state is State.RECOVERING
            if self._since is None or monotonic() - self._since[0] >= self._backoff.reset_after:
                self._delays = iter(())
            self._since = None
        self._news.append((old, state, self._reason))
        self._changed.notify_all()

    def start_work(self) -> None:
        """Have attempts made on a new worker thread; after a loss only after a wait."""
        self._stop = stop = Deadline()
        lost = self._state is State.RECOVERING
        if not lost:
            self._delays = iter(())
        name = f"cnx manager {self._connection.name}"
        worker = threading.Thread(target=self._work, args=(stop, lost), name=name, daemon=True)
        self._worker = worker
        self._todo.append(worker.start)

    def stop_work(self) -> None:
        """Have the worker ended and the link closed."""
        self._todo.append(self._end_work)

    def stop_for_good(self) -> None:
        """Have the worker ended and the connection torn down."""
        self._todo.append(lambda: self._end_work(self._connection.teardown))

    def refuse(self) -> None:
        """Have the call refused."""
        self._refused = True

    # -- inside ----------------------------------------------------------------------------------------------------

    def _input(self, name: str, reason: BaseException | None = None) -> None:
        """Feed the machine; then, outside of the lock, do what it decided and tell the news."""
        with self._changed:
            if reason is not None:
                self._reason = reason
            getattr(self._machine, name)()
            todo, self._todo = self._todo, []
            refused, self._refused = self._refused, False
        if refused:
            raise TornDown(f"the manager of {self._connection.name} was torn down; make a new one")
        for action in todo:
            action()
        self._tell()

    def _end_work(self, release: Callable[[], None] | None = None) -> None:
        end = monotonic() + STOP_TIMEOUT
        self._stop.cancel(Cancelled("the manager was asked to stop"))
        (release or self._connection.disconnect)()
        worker = self._worker
        if worker is not None and worker.ident is not None and not self._is_worker():
            worker.join(max(0.0, end - monotonic()))

    def _tell(self) -> None:
        """Tell the news in their order; a thread that finds another one telling leaves it to that."""
        while True:
            with self._changed:
                if self._telling or not self._news:
                    return
                self._telling = True
                old, new, reason = self._news.popleft()
            try:
                log.info(
                    "%s: %s -> %s%s", self._connection.name, old.value, new.value, f" ({reason})" if reason else ""
                )
                emit(self, self.Signals.STATE_CHANGED, old=old, new=new, reason=reason)
            finally:
                self._telling = False

    def _on_end(self, reason: BaseException) -> None:
        """Hear from the connection that its link ended; what is about an older link is late news."""
        if self._connection.connected:
            return
        self._input("disconnect" if isinstance(reason, Cancelled) else "alarm_raised", reason)

    def _is_worker(self) -> bool:
        return threading.current_thread() is self._worker

    def _wait(self, wanted: State, timeout: float | None, hopeless: tuple[State, ...]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._state is wanted or self._state in hopeless, timeout)
            state, reason = self._state, self._reason
        if state is wanted:
            return
        name = self._connection.name
        if state is State.TORNDOWN and state in hopeless:
            raise TornDown(f"{name} was torn down")
        if state in hopeless:
            raise reason or ConnectError(f"{name} is disconnected")
        raise TimedOut(
            f"{name} was not {wanted.value} within {timeout:g} s but {state.value}: {reason or 'no reason yet'}"
        )

    # -- the worker thread -----------------------------------------------------------------------------------------

    def _work(self, stop: Deadline, wait_first: bool) -> None:
        """Make attempts until one succeeds, the policy gives up, or it is stopped."""
        started = monotonic()
        failed = 0
        if wait_first and not stop.pause(self._next_delay(None)):
            return
        while not stop.cancelled:
            self._attempts += 1
            if self._attempt(stop):
                self._succeed()
                return
            if stop.cancelled:
                return
            failed += 1
            error = self._connection.last_error
            if self._is_over(error, failed, monotonic() - started):
                self._input("gave_up", error)
                return
            self._input("attempt_failed", error)
            stop.pause(self._next_delay(error))

    def _attempt(self, stop: Deadline) -> bool:
        deadline = Deadline(self._connection.connect_timeout)
        with stop.waking(deadline.cancel):
            try:
                return self._connection.try_connect(deadline)
            except TornDown as error:
                self._connection.last_error = error
            except Exception as error:
                log.exception("%s: an attempt to connect failed in an unexpected way", self._connection.name)
                self._connection.last_error = error
            return False

    def _succeed(self) -> None:
        self._input("attempt_succeeded")
        if not self._connection.connected:  # lost again before it could be noted
            self._input("alarm_raised", self._connection.last_error)

    def _is_over(self, error: BaseException | None, failed: int, elapsed: float) -> bool:
        backoff = self._backoff
        fatal = isinstance(error, TornDown) or (getattr(error, "fatal", False) and not self._persist)
        out_of_attempts = backoff.attempts is not None and failed >= backoff.attempts
        return fatal or out_of_attempts or (backoff.total is not None and elapsed >= backoff.total)

    def _next_delay(self, error: BaseException | None) -> float:
        if getattr(error, "fatal", False):
            return getattr(error, "retry_after", None) or self._backoff.cap
        for delay in self._delays:
            return max(delay, getattr(error, "retry_after", None) or 0.0)
        self._delays = self._backoff.delays(random.uniform)
        return next(self._delays)
