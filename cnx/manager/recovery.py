"""Recovery: the core of a :class:`~cnx.manager.manager.ConnectionManager`.

Inputs come from users, from the worker that makes the attempts, and from the driver of the connection, which reports
the beginning and the end of each link directly. They are fed to the state machine one at a time, under a lock. What the
machine decides is only recorded there: a new state, and an action such as starting the worker. After the lock is
released, the actions are carried out and ``STATE_CHANGED`` is emitted, in order. So nothing waits, and no handler runs,
while the lock is held.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic
from typing import NamedTuple

from cnx.connections.connection import STOP_TIMEOUT, Connection
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, NotConnected, TornDown, with_text
from cnx.logs import logger
from cnx.manager.lifecycle import State, new_machine
from cnx.manager.worker import RetryPolicy, Worker
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.condition import Condition
from cnx.threads.hook import PROGRAMMING, report_error
from cnx.threads.starting import RETRY, start_waiting, waiting
from cnx.threads.steps import run_each

__all__ = ["Recovery", "StateChange"]

log = logger(__name__)

REMIND_AFTER = 2.0
"""Seconds after which a call that waits for a connection says so, and why; then twice as many, and so on."""

REMIND_AT_LEAST = 600.0
"""Seconds between two of these reminders, at most."""


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
        attempts, connects, losses: how many there were.

    Raises:
        RuntimeError: another manager keeps the connection up.
    """

    def __init__(self, connection: Connection, policy: RetryPolicy, emit_change: Callable[[StateChange], None]) -> None:
        self.attempts = self.connects = self.losses = 0
        self._connection = connection
        self._driver = connection._cnx.driver
        self._policy = policy
        self._emit_change = emit_change
        self._name = f"cnx manager {connection.name}"  # of the worker; here, as it may be made of code of users
        self._forgotten = False
        self._reset()
        self._driver.set_keeper(self)
        _recoveries.add(self)

    def _reset(self) -> None:
        self._state = State.READY  # of the machine
        self._reason: BaseException | None = None
        self._since: float | None = None
        self._changed = Condition()
        self._lock = self._changed.lock
        self._machine = new_machine(self)
        self._inputs: deque[tuple[str, BaseException | None, Worker | None]] = deque()
        self._deciding = False
        self._actions: deque[Callable[[], None]] = deque()
        self._worker: Worker | None = None
        self._stops_asked = self._stops_done = 0
        self._up_since = 0.0
        self._ended: BaseException | None = None  # why the link ended that came up last; none while it is up
        self._linked = False  # a link came up since attempts have begun
        self._changes: deque[StateChange] = deque()  # not emitted yet
        self._entered = self._emitted = 0  # changes of the state, and those whose handlers have run
        self._emitter = 0  # ident of the thread that emits changes; 0 if none does

    # -- for the manager -------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The present state. It is never ``connected`` while the connection is not."""
        return State.RECOVERING if self._end_is_due() else self._state

    @property
    def reason(self) -> BaseException | None:
        """Why the last attempt failed, or why the last link ended."""
        return self._driver.last_error if self._end_is_due() else self._reason

    @property
    def since(self) -> float | None:
        """When the present link was made, in seconds since the epoch; ``None`` without a link."""
        return None if self._end_is_due() else self._since

    def _end_is_due(self) -> bool:
        """Return whether the link has ended, and the machine is about to hear of it."""
        return self._state is State.CONNECTED and not self._driver.is_connected()

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
        run_each(
            lambda: self._connection.name,
            (("carrying out a decision", self._act), ("emitting STATE_CHANGED", self._emit_changes)),
        )

    def stop(self, name: str, reason: BaseException) -> None:
        """Feed the machine a command to stop, and wait until the end of the link was emitted, if this thread can."""
        end = monotonic() + STOP_TIMEOUT
        self.put(name, reason)
        if not self.is_current_thread():  # the thread that emits the end must not wait for itself
            self._driver.wait_ended(Deadline(max(0.0, end - monotonic())))

    def wait_for(
        self, states: tuple[State, ...], timeout: float | None, remind: Callable[[float], None] | None = None
    ) -> State | None:
        """Wait until the state is one of ``states``, and return it; ``None`` after ``timeout`` seconds.

        The handlers of that change have run then, unless they take longer than ``timeout`` or ``STOP_TIMEOUT``.

        Args:
            states: what to wait for.
            timeout: seconds; ``None`` for ever.
            remind: called with the seconds waited so far, after 2 s and then at growing intervals.
        """
        began = monotonic()
        end = None if timeout is None else began + timeout
        pause = until_reminder = REMIND_AFTER
        seen = -1  # the number of the change to a link that has ended already

        def look() -> tuple[State, int] | None:
            return (self._state, self._entered) if self._state in states and self._entered != seen else None

        while True:
            waits = [] if remind is None else [until_reminder]
            if end is not None:
                waits.append(max(0.0, end - monotonic()))
            if waiting and start_waiting():  # no other thread of cnx may be there to try it again
                waits.append(RETRY)
            found = self._changed.wait_for(look, min(waits, default=None))
            if found is None:
                if end is not None and monotonic() >= end:
                    return None
                until_reminder -= min(waits)
                if remind is not None and until_reminder <= 0:
                    remind(monotonic() - began)
                    pause = until_reminder = min(2 * pause, REMIND_AT_LEAST)
                continue
            state, number = found
            if self._emitter != get_ident():
                left = STOP_TIMEOUT if end is None else min(STOP_TIMEOUT, max(0.0, end - monotonic()))
                self._changed.wait_for(lambda number=number: self._emitted >= number, left)  # type: ignore[misc]
            if state is not State.CONNECTED or self._driver.is_connected():
                return state
            seen = number  # wait for the next change, which is about to come

    def is_current_thread(self) -> bool:
        """Return whether the worker or the end of a link waits for the calling thread, which must not wait for them."""
        worker = self._worker
        return (worker is not None and worker.is_current()) or self._driver.is_current_thread()

    # -- outputs of the machine, which calls them under the lock ---------------------------------------------------

    def enter(self, state: State) -> None:
        """Record the new state."""
        old, self._state = self._state, state
        if state is State.CONNECTED:
            self._reason = None
            self._since, self._up_since = time.time(), monotonic()
        elif old is State.CONNECTED:
            self._since = None
            if monotonic() - self._up_since >= self._policy.backoff.reset_after:
                self._policy.reset()
        self._changes.append(StateChange(old, state, self._reason))
        self._entered += 1
        self._changed.notify()

    def start_work(self) -> None:
        """Start a worker unless one runs; after a loss it waits before the first attempt."""
        if self._worker is None or self._worker.finished:
            lost: BaseException | None = None
            if self._state is State.RECOVERING:
                lost = self._reason or ConnectError("the link was lost")
            else:
                self._policy.reset()
            self._linked = False
            self._worker = Worker(self._name, self._attempt, self._on_attempt, self._policy, lost=lost)
            if self._forgotten:  # looked at after the worker is there, as forget() looks at the worker after that
                self._worker.stop()
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
        attempting = self._state in (State.CONNECTING, State.RECOVERING)
        lost = None if isinstance(self._ended, Cancelled) else self._ended
        if name == "attempt_succeeded" and self._forgotten:
            name = "disconnect"  # nobody wants that link any more
        elif name == "attempt_succeeded" and not late and attempting and lost is not None:
            # The link is gone already, and its end came while there was nothing to recover yet.
            name, reason = "gave_up" if self._policy.is_fatal(lost) else "attempt_failed", lost
        elif name == "alarm_raised" and not attempting and reason is not None and self._policy.is_fatal(reason):
            name = "gave_up"
        if reason is not None and self._state is not State.TORNDOWN:
            self._reason = reason
        getattr(self._machine, name)()
        if name == "attempt_failed" and worker is not None and worker.finished:
            self.start_work()

    def _act(self) -> None:
        """Carry out what the machine has decided."""
        while self._actions:
            try:
                action = self._actions.popleft()
            except IndexError:
                return  # another thread carries it out
            try:
                action()
            except BaseException:
                self._act()
                raise

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
                try:
                    self._emit_change(change)
                finally:
                    self._emitted += 1
                    self._emitter = 0
                    self._changed.notify()
            except BaseException:
                self._emit_changes()  # the other changes are emitted all the same
                raise

    # -- for the driver of the connection --------------------------------------------------------------------------

    def on_connected(self) -> None:
        """Hear that a link is up."""
        self.connects += 1
        self._ended, self._linked = None, True

    def on_end(self, reason: BaseException) -> None:
        """Hear of the end of a link. If attempts at the next one have begun since, it only counts."""
        self._ended = reason
        asked = isinstance(reason, Cancelled)
        self.losses += not asked
        if not (self._linked or self._state is State.CONNECTED):
            return
        if not asked:
            self.put("alarm_raised", reason)
        elif self._state not in (State.DISCONNECTED, State.TORNDOWN):  # those states have ended the link themselves
            self.put("disconnect", reason)

    def keeps(self) -> bool:
        """Return whether it may connect again."""
        return not self._forgotten and self._state is not State.TORNDOWN

    # -- the worker thread -----------------------------------------------------------------------------------------

    def _attempt(self, stop: Deadline) -> BaseException | None:
        """Make one attempt; return why it failed, ``None`` after a success."""
        with stop.waking(self._changed.notify):  # wait for earlier stops, which would end this attempt
            self._changed.wait_for(lambda: self._stops_done >= self._stops_asked or stop.cancelled, STOP_TIMEOUT)
        self.attempts += 1
        self._ended = None
        deadline = self._driver.new_deadline(None)
        with stop.waking(deadline.cancel):
            try:
                error = self._driver.attempt(deadline)
                return None if error is None else with_text(error)
            except TornDown as torn_down:
                return torn_down
            except Exception as unexpected:
                then = "the manager gives up" if isinstance(unexpected, PROGRAMMING) else "the manager may try again"
                kind = type(unexpected).__name__
                report_error(unexpected, f"{self._connection.name}: an attempt to connect raised {kind}; {then}")
                return with_text(unexpected)
            except BaseException as interrupt:  # such as SystemExit of a handler of CONNECTED: the link has ended
                report_error(interrupt, f"{self._connection.name}: an attempt to connect was interrupted")
                failure = ConnectError(f"connecting to {self._connection.name} was interrupted by {interrupt!r}")
                failure.__cause__ = interrupt
                return failure

    def _on_attempt(self, worker: Worker, outcome: str, reason: BaseException | None) -> None:
        """Feed the machine what the worker reports; what handlers of the change raise does not end the attempts."""
        try:
            self.put(outcome, reason, worker)
        except BaseException:
            log.exception("%s: a handler of STATE_CHANGED interrupted the manager", self._connection.name)

    # -- when the process forks or ends ----------------------------------------------------------------------------

    def abandon(self) -> None:
        """Start over in a forked child process, where neither the worker nor the link exists."""
        torndown = self._state is State.TORNDOWN
        self._reset()
        self._reason = NotConnected("the link belongs to the parent process; connect anew after a fork")
        (self._machine.teardown if torndown else self._machine.disconnect)()
        self._actions.clear()
        self._changes.clear()
        self._emitted = self._entered
        self._stops_done = self._stops_asked

    def forget(self) -> None:
        """Stop making attempts for good, without closing the link. Takes no lock, as a finalizer calls it."""
        self._forgotten = True
        worker = self._worker
        if worker is not None:
            worker.stop()


def _forget(recoveries: list[Recovery]) -> None:
    for recovery in recoveries:
        recovery.forget()


_recoveries: CleanupRegistry[Recovery] = CleanupRegistry(Recovery.abandon, _forget)
