"""What a :class:`~cnx.manager.manager.ConnectionManager` does: the state machine, its worker, and the news."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic

from cnx.connections.connection import STOP_TIMEOUT, Connection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, NotConnected, TornDown
from cnx.manager.lifecycle import State, new_machine
from cnx.manager.worker import Retries, Worker
from cnx.signals.subscriptions import subscribe_weakly
from cnx.threads.cleanup import Registry
from cnx.threads.condition import Monitor

__all__ = ["News", "Recovery"]

log = logging.getLogger(__name__)

News = tuple[State, State, "BaseException | None"]
"""The old state, the new one, and the reason."""


class Recovery:
    """The core of a manager. Thread-safe.

    The lock guards the machine. What it decides is done outside of the lock, in order: nothing waits, and no handler
    runs, while it is held.

    Args:
        connection: what to keep up.
        retries: when to make attempts.
        tell: tells what changed.

    Attributes:
        state, reason: where it is, and why the last attempt failed or the last link ended.
        attempts, connects, losses: how many there were.
        since: when the present link was made, in seconds since the epoch; ``None`` without one.
    """

    def __init__(self, connection: Connection, retries: Retries, tell: Callable[[News], None]) -> None:
        self.attempts = self.connects = self.losses = 0
        self._connection = connection
        self._retries = retries
        self._tell = tell
        self._reset()
        subscribe_weakly(connection, Connection.Signals.CONNECTED, self._on_link)
        for signal in (Connection.Signals.RAISE_ALARM, Connection.Signals.DISCONNECTED):
            subscribe_weakly(connection, signal, self._on_end)
        _recoveries.add(self)

    def _reset(self) -> None:
        self.state = State.READY
        self.reason: BaseException | None = None
        self.since: float | None = None
        self._changed = Monitor()
        self._lock = self._changed.lock
        self._machine = new_machine(self)
        self._inputs: deque[tuple[str, BaseException | None, Worker | None]] = deque()
        self._deciding = False
        self._todo: deque[Callable[[], None]] = deque()
        self._worker: Worker | None = None
        self._stops_asked = self._stops_done = 0
        self._up_since = 0.0
        self._linked = False  # a link was told of since the last start of work
        self._news: deque[News] = deque()
        self._entered = self._told = 0  # changes of the state, and those of them that all handlers have heard of
        self._teller = 0  # the thread that tells the news

    # -- for the manager -------------------------------------------------------------------------------------------

    def put(self, name: str, reason: BaseException | None = None, worker: Worker | None = None) -> None:
        """Feed the machine; then do what it decided, and tell the news."""
        self._inputs.append((name, reason, worker))
        with self._lock:
            while self._inputs and not self._deciding:  # a signal handler leaves it to the call that it interrupts
                self._deciding = True
                try:
                    self._decide(*self._inputs.popleft())
                finally:
                    self._deciding = False
        while self._todo:
            try:
                action = self._todo.popleft()
            except IndexError:
                break  # another thread does it
            action()
        self._tell_news()

    def stop(self, name: str, reason: BaseException) -> None:
        """Feed the machine a command to stop, and wait until the end of the link was told, if this thread can."""
        end = monotonic() + STOP_TIMEOUT
        self.put(name, reason)
        if not self.is_inside():  # the thread that tells the end may have done what was decided, and waits for nobody
            self._connection.wait_ended(max(0.0, end - monotonic()))

    def wait_for(self, states: tuple[State, ...], timeout: float | None) -> State | None:
        """Wait until the state is one of ``states``, and return it; ``None`` after ``timeout`` seconds.

        The handlers hear of it before, unless they take longer than that, or than ``STOP_TIMEOUT``.
        """
        end = None if timeout is None else monotonic() + timeout
        found = self._changed.wait_for(lambda: (self.state, self._entered) if self.state in states else None, timeout)
        if found is None:
            return None
        state, number = found
        if self._teller != get_ident():
            left = STOP_TIMEOUT if end is None else min(STOP_TIMEOUT, max(0.0, end - monotonic()))
            self._changed.wait_for(lambda: self._told >= number, left)
        return state

    def is_inside(self) -> bool:
        """Whether the worker, or the end of a link, waits for the calling thread."""
        worker = self._worker
        return (worker is not None and worker.is_current()) or self._connection.is_inside()

    # -- what the machine has done; it is called under the lock ----------------------------------------------------

    def enter(self, state: State) -> None:
        """Note the new state."""
        old, self.state = self.state, state
        if state is State.CONNECTED:
            self.connects += 1
            self.reason = None
            self.since, self._up_since = time.time(), monotonic()
        elif old is State.CONNECTED:
            self.losses += state is State.RECOVERING
            self.since = None
            if monotonic() - self._up_since >= self._retries.backoff.reset_after:
                self._retries.start_over()
        self._news.append((old, state, self.reason))
        self._entered += 1
        self._changed.notify()

    def start_work(self) -> None:
        """Have attempts made on a new worker thread, if there is none; after a loss only after a wait."""
        if self._worker is None or self._worker.over:
            self._linked = False
            lost = self.state is State.RECOVERING
            if not lost:
                self._retries.start_over()
            name = f"cnx manager {self._connection.name}"
            self._worker = Worker(name, self._attempt, self._on_attempt, self._retries, pause=lost)
        self._todo.append(self._worker.start)

    def stop_work(self) -> None:
        """Have the worker ended and the link closed."""
        self._stop_with(self._connection.disconnect)

    def stop_for_good(self) -> None:
        """Have the worker ended and the connection torn down."""
        self._stop_with(self._connection.teardown)

    def refuse(self) -> None:
        """Leave everything as it is; the manager looks at the state and tells the caller."""

    def _stop_with(self, release: Callable[[], None]) -> None:
        self._stops_asked += 1
        self._todo.append(partial(self._end, self._stops_asked, self._worker, release))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _decide(self, name: str, reason: BaseException | None, worker: Worker | None) -> None:
        late = worker is not None and (worker is not self._worker or worker.stopped)
        if late and name != "attempt_succeeded":
            return
        if reason is not None and self.state is not State.TORNDOWN:
            self.reason = reason
        getattr(self._machine, name)()

    def _end(self, number: int, worker: Worker | None, release: Callable[[], None]) -> None:
        end = monotonic() + STOP_TIMEOUT
        try:
            if worker is not None:
                worker.stop()
            release()
            if worker is not None and not self._connection.is_inside():
                worker.join(max(0.0, end - monotonic()))
        finally:
            with self._lock:
                self._stops_done = max(self._stops_done, number)
            self._changed.notify()

    def _tell_news(self) -> None:
        """Tell the news in their order; a thread that finds another one telling leaves it to that."""
        me = get_ident()
        while self._news and not self._teller:
            with self._lock:
                if self._teller or not self._news:
                    continue
                self._teller = me
                news = self._news.popleft()
            try:
                self._tell(news)
            finally:
                self._told += 1
                self._teller = 0
                self._changed.notify()

    def _on_link(self) -> None:
        """Hear from the connection that there is a link."""
        self._linked = True

    def _on_end(self, reason: BaseException) -> None:
        """Hear from the connection that its link ended; what is about an older link is late news."""
        if self._connection.connected or not (self._linked or self.state is State.CONNECTED):
            return
        if not isinstance(reason, Cancelled):
            self.put("alarm_raised", reason)
        elif self.state not in (State.DISCONNECTED, State.TORNDOWN):  # otherwise that is where it comes from
            self.put("disconnect", reason)

    # -- the worker thread -----------------------------------------------------------------------------------------

    def _attempt(self, stop: Deadline) -> BaseException | None:
        """Make one attempt; return why it failed, or ``None``."""
        with stop.waking(self._changed.notify):  # an earlier stop would end this attempt
            self._changed.wait_for(lambda: self._stops_done >= self._stops_asked or stop.cancelled, STOP_TIMEOUT)
        self.attempts += 1
        deadline = Deadline(self._connection.connect_timeout)
        with stop.waking(deadline.cancel):
            try:
                if self._connection.try_connect(deadline):
                    return None
                return self._connection.last_error or ConnectError("the link ended as soon as it was there")
            except TornDown as error:
                return error
            except Exception as error:
                log.exception("%s: an attempt to connect failed in an unexpected way", self._connection.name)
                return error

    def _on_attempt(self, worker: Worker, news: str, reason: BaseException | None) -> None:
        """Hear from the worker."""
        self.put(news, reason, worker)
        if news == "attempt_succeeded" and not self._connection.connected:
            lost = self._connection.last_error
            if lost is not None:  # before the success could be noted; or else the end, of whatever kind, is still told
                self.put("alarm_raised", lost, worker)

    # -- when the process forks or ends ----------------------------------------------------------------------------

    def abandon(self) -> None:
        """Begin anew in a forked child process, where neither worker nor link exist."""
        torndown = self.state is State.TORNDOWN
        self._reset()
        self.reason = NotConnected("the link belongs to the parent process; connect anew after a fork")
        (self._machine.teardown if torndown else self._machine.disconnect)()
        self._todo.clear()
        self._news.clear()
        self._told = self._entered
        self._stops_done = self._stops_asked

    def stop_working(self) -> None:
        """Have no more attempts made."""
        worker = self._worker
        if worker is not None:
            worker.stop()


def _abandon(recoveries: list[Recovery]) -> None:
    for recovery in recoveries:
        recovery.abandon()


def _stop_working(recoveries: list[Recovery]) -> None:
    for recovery in recoveries:
        recovery.stop_working()


_recoveries: Registry[Recovery] = Registry(_abandon, _stop_working)
