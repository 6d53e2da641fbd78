"""Recovery: the core of a :class:`~cnx.manager.manager.ConnectionManager`.

Inputs come from users, from the worker that makes the attempts, and from the signals of the connection. They are fed to
the state machine one at a time, under a lock. What the machine decides is only recorded there: a new state, and an
action such as starting the worker. After the lock is released, the actions are carried out and ``STATE_CHANGED`` is
emitted, in order. So nothing waits, and no handler runs, while the lock is held.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic
from typing import NamedTuple

from cnx.connections.connection import STOP_TIMEOUT, Connection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectionLost, NotConnected, TornDown
from cnx.manager.lifecycle import State, new_machine
from cnx.manager.worker import RetryPolicy, Worker
from cnx.signals.subscriptions import subscribe_weakly
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.condition import Condition

__all__ = ["Recovery", "StateChange"]

log = logging.getLogger(__name__)


class StateChange(NamedTuple):
    """A change of the state of a manager, with its reason if there is one."""

    old: State
    new: State
    reason: BaseException | None


class Recovery:
    """Feeds the state machine and carries out what it decides. Thread-safe.

    Args:
        connection: the connection to keep up.
        policy: when to make attempts, and when to give up.
        emit_change: emits a change of the state.

    Attributes:
        state: the present state.
        reason: why the last attempt failed, or why the last link ended.
        attempts, connects, losses: how many there were.
        since: when the present link was made, in seconds since the epoch; ``None`` without a link.
    """

    def __init__(self, connection: Connection, policy: RetryPolicy, emit_change: Callable[[StateChange], None]) -> None:
        self.attempts = self.connects = self.losses = 0
        self._connection = connection
        self._driver = connection._cnx.driver
        self._policy = policy
        self._emit_change = emit_change
        self._reset()
        subscribe_weakly(connection, Connection.Signals.CONNECTED, self._on_link)
        for signal in (Connection.Signals.RAISE_ALARM, Connection.Signals.DISCONNECTED):
            subscribe_weakly(connection, signal, self._on_end)
        _recoveries.add(self)

    def _reset(self) -> None:
        self.state = State.READY
        self.reason: BaseException | None = None
        self.since: float | None = None
        self._changed = Condition()
        self._lock = self._changed.lock
        self._machine = new_machine(self)
        self._inputs: deque[tuple[str, BaseException | None, Worker | None]] = deque()
        self._deciding = False
        self._actions: deque[Callable[[], None]] = deque()
        self._worker: Worker | None = None
        self._stops_asked = self._stops_done = 0
        self._up_since = 0.0
        self._linked = False  # CONNECTED was emitted since the last start of work
        self._changes: deque[StateChange] = deque()  # not emitted yet
        self._entered = self._emitted = 0  # changes of the state, and those whose handlers have run
        self._emitter = 0  # ident of the thread that emits changes; 0 if none does

    # -- for the manager -------------------------------------------------------------------------------------------

    def put(self, name: str, reason: BaseException | None = None, worker: Worker | None = None) -> None:
        """Feed an input to the machine, then carry out what it decided and emit the changes."""
        self._inputs.append((name, reason, worker))
        with self._lock:
            while (
                self._inputs and not self._deciding
            ):  # a signal handler leaves its input to the call that it interrupts
                self._deciding = True
                try:
                    self._decide(*self._inputs.popleft())
                finally:
                    self._deciding = False
        while self._actions:
            try:
                action = self._actions.popleft()
            except IndexError:
                break  # another thread carries it out
            action()
        self._emit_changes()

    def stop(self, name: str, reason: BaseException) -> None:
        """Feed the machine a command to stop, and wait until the end of the link was emitted, if this thread can."""
        end = monotonic() + STOP_TIMEOUT
        self.put(name, reason)
        if not self.is_current_thread():  # the thread that emits the end must not wait for itself
            self._driver.wait_ended(Deadline(max(0.0, end - monotonic())))

    def wait_for(self, states: tuple[State, ...], timeout: float | None) -> State | None:
        """Wait until the state is one of ``states``, and return it; ``None`` after ``timeout`` seconds.

        The handlers of that change have run then, unless they take longer than ``timeout`` or ``STOP_TIMEOUT``.
        """
        end = None if timeout is None else monotonic() + timeout
        found = self._changed.wait_for(lambda: (self.state, self._entered) if self.state in states else None, timeout)
        if found is None:
            return None
        state, number = found
        if self._emitter != get_ident():
            left = STOP_TIMEOUT if end is None else min(STOP_TIMEOUT, max(0.0, end - monotonic()))
            self._changed.wait_for(lambda: self._emitted >= number, left)
        return state

    def is_current_thread(self) -> bool:
        """Return whether the worker or the end of a link waits for the calling thread, which must not wait for them."""
        worker = self._worker
        return (worker is not None and worker.is_current()) or self._driver.is_current_thread()

    # -- outputs of the machine, which calls them under the lock ---------------------------------------------------

    def enter(self, state: State) -> None:
        """Record the new state."""
        old, self.state = self.state, state
        if state is State.CONNECTED:
            self.connects += 1
            self.reason = None
            self.since, self._up_since = time.time(), monotonic()
        elif old is State.CONNECTED:
            self.losses += state is State.RECOVERING
            self.since = None
            if monotonic() - self._up_since >= self._policy.backoff.reset_after:
                self._policy.reset()
        self._changes.append(StateChange(old, state, self.reason))
        self._entered += 1
        self._changed.notify()

    def start_work(self) -> None:
        """Start a worker unless one runs; after a loss it waits before the first attempt."""
        if self._worker is None or self._worker.finished:
            self._linked = False
            lost = self.state is State.RECOVERING
            if not lost:
                self._policy.reset()
            name = f"cnx manager {self._connection.name}"
            self._worker = Worker(name, self._attempt, self._on_attempt, self._policy, pause=lost)
        self._actions.append(self._worker.start)

    def stop_work(self) -> None:
        """Stop the worker and close the link."""
        self._stop_with(self._driver.disconnect)

    def stop_for_good(self) -> None:
        """Stop the worker and tear the connection down."""
        self._stop_with(self._driver.teardown)

    def refuse(self) -> None:
        """Change nothing; the manager raises ``TornDown`` when it sees the state."""

    def _stop_with(self, release: Callable[[], None]) -> None:
        self._stops_asked += 1
        self._actions.append(partial(self._end, self._stops_asked, self._worker, release))

    # -- carrying out ----------------------------------------------------------------------------------------------

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
            if worker is not None and not self._driver.is_current_thread():
                worker.join(max(0.0, end - monotonic()))
        finally:
            with self._lock:
                self._stops_done = max(self._stops_done, number)
            self._changed.notify()

    def _emit_changes(self) -> None:
        """Emit the changes in order; if another thread emits, leave them to that thread."""
        me = get_ident()
        while self._changes and not self._emitter:
            with self._lock:
                if self._emitter or not self._changes:
                    continue
                self._emitter = me
                change = self._changes.popleft()
            try:
                self._emit_change(change)
            finally:
                self._emitted += 1
                self._emitter = 0
                self._changed.notify()

    def _on_link(self) -> None:
        """Handle ``CONNECTED`` of the connection."""
        self._linked = True

    def _on_end(self, reason: BaseException | None = None) -> None:
        """Handle the end of a link; an end that is about an older link is ignored.

        There is no reason if a program has sent the alarm with PyDispatcher itself.
        """
        reason = reason or self._connection.last_error or ConnectionLost("an alarm was raised without a reason")
        if self._connection.connected or not (self._linked or self.state is State.CONNECTED):
            return
        if not isinstance(reason, Cancelled):
            self.put("alarm_raised", reason)
        elif self.state not in (State.DISCONNECTED, State.TORNDOWN):  # those states have ended the link themselves
            self.put("disconnect", reason)

    # -- the worker thread -----------------------------------------------------------------------------------------

    def _attempt(self, stop: Deadline) -> BaseException | None:
        """Make one attempt; return why it failed, ``None`` after a success."""
        with stop.waking(self._changed.notify):  # wait for earlier stops, which would end this attempt
            self._changed.wait_for(lambda: self._stops_done >= self._stops_asked or stop.cancelled, STOP_TIMEOUT)
        self.attempts += 1
        deadline = self._driver.new_deadline(None)
        with stop.waking(deadline.cancel):
            try:
                return self._driver.attempt(deadline)
            except TornDown as error:
                return error
            except Exception as error:
                log.exception("%s: an attempt to connect failed unexpectedly", self._connection.name)
                return error

    def _on_attempt(self, worker: Worker, outcome: str, reason: BaseException | None) -> None:
        """Feed the machine what the worker reports."""
        self.put(outcome, reason, worker)
        if outcome == "attempt_succeeded" and not self._connection.connected:
            lost = self._connection.last_error
            if lost is not None:  # the link ended before the success was recorded; otherwise its end is still to come
                self.put("alarm_raised", lost, worker)

    # -- when the process forks or ends ----------------------------------------------------------------------------

    def abandon(self) -> None:
        """Start over in a forked child process, where neither the worker nor the link exists."""
        torndown = self.state is State.TORNDOWN
        self._reset()
        self.reason = NotConnected("the link belongs to the parent process; connect anew after a fork")
        (self._machine.teardown if torndown else self._machine.disconnect)()
        self._actions.clear()
        self._changes.clear()
        self._emitted = self._entered
        self._stops_done = self._stops_asked

    def stop_working(self) -> None:
        """Stop making attempts, without closing the link."""
        worker = self._worker
        if worker is not None:
            worker.stop()


def _abandon(recoveries: list[Recovery]) -> None:
    for recovery in recoveries:
        recovery.abandon()


def _stop_working(recoveries: list[Recovery]) -> None:
    for recovery in recoveries:
        recovery.stop_working()


_recoveries: CleanupRegistry[Recovery] = CleanupRegistry(_abandon, _stop_working)
