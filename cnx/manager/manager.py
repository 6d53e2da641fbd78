"""ConnectionManager: what a user makes to keep a connection up. The work is done in :mod:`cnx.manager.recovery`."""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic

from typing_extensions import Self, TypeVar

from cnx.connections.connection import Connection, Traffic
from cnx.deadline import checked_timeout
from cnx.errors import Cancelled, ConnectError, TimedOut, TornDown, about, fresh
from cnx.logs import logger
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.recovery import Recovery, StateChange
from cnx.manager.worker import RetryPolicy
from cnx.signals.subscriptions import Signal, SignalName, emit
from cnx.threads.green import refuse_green_threads

__all__ = ["ConnectionManager", "Counters"]

log = logger(__name__)

Managed = TypeVar("Managed", bound=Connection, covariant=True, default=Connection)


@dataclass(frozen=True)
class Counters:
    """Counts of what has happened so far.

    Attributes:
        attempts: attempts to connect.
        connects: links that came up, one for each ``CONNECTED``.
        losses: links among them that were lost.
        connected_since: when the present link was made, in seconds since the epoch; ``None`` without a link.
        traffic: bytes and messages, in and out.
    """

    attempts: int
    connects: int
    losses: int
    connected_since: float | None
    traffic: Traffic


class ConnectionManager(Generic[Managed]):
    """Keeps a connection up: connects, recovers after a loss, disconnects, tears down. Thread-safe.

    A state machine decides what to do (see :mod:`cnx.manager.lifecycle`). A worker thread makes the attempts; it exists
    only while there are attempts to make. Do not call the connection's own ``connect()`` while a manager keeps it up.

    A manager that is dropped without :meth:`teardown` makes no more attempts, with a ``ResourceWarning``.

    Args:
        connection: the connection to keep up.
        backoff: how long to wait between attempts, and when to give up.
        persist: retry after errors that need a person, such as a wrong password, too. The wait is then the time that
            the error asks for, or the longest wait of ``backoff``.

    Raises:
        RuntimeError: another manager, which was not torn down, keeps the connection up.
    """

    class Signals(Signal):
        """The signals of a manager."""

        STATE_CHANGED = SignalName("state-changed", "old", "new", "reason")
        """The state changed. ``old``, ``new``: a :class:`~cnx.manager.lifecycle.State`; ``reason``: an exception or
        ``None``."""

    def __init__(self, connection: Managed, *, backoff: Backoff | None = None, persist: bool = False) -> None:
        if not isinstance(connection, Connection):
            raise TypeError(f"connection must be a Connection, not {connection!r}")
        if backoff is not None and not isinstance(backoff, Backoff):
            raise TypeError(f"backoff must be a Backoff or None, not {backoff!r}")
        self._connection = connection
        me = weakref.ref(self)  # a manager that nobody else uses must not be kept alive by its worker
        policy = RetryPolicy(backoff or Backoff(), persist)
        self._recovery = Recovery(connection, policy, lambda change: _emit_change(me(), change))

    @property
    def connection(self) -> Managed:
        """The connection that is kept up."""
        return self._connection

    @property
    def state(self) -> State:
        """The present state; never ``connected`` while the connection is not."""
        return self._recovery.state

    @property
    def reason(self) -> BaseException | None:
        """Why the last attempt failed, or why the last link ended; ``None`` while connected."""
        return self._recovery.reason

    @property
    def counters(self) -> Counters:
        """Counts of what has happened so far."""
        recovery = self._recovery
        traffic = self._connection.traffic
        return Counters(recovery.attempts, recovery.connects, recovery.losses, recovery.since, traffic)

    def connect(self, timeout: float | None = None, *, wait: bool = True) -> None:
        """Connect, and keep the connection up from now on.

        It returns when the connection is up and the handlers of that change have run, see :meth:`wait_until`. With
        ``wait=False`` it returns at once, and so it does in a handler that the change would have to wait for.

        Raises:
            TornDown: after :meth:`teardown`.
            TimedOut: not connected within ``timeout`` seconds (``None``: no limit). The attempts go on; the message has
                the reason of the last failure.
            ConnectError: the backoff policy gave up, or the error is fatal.
            Cancelled: another thread called :meth:`disconnect` meanwhile.
        """
        checked_timeout(timeout)
        refuse_green_threads()
        self._recovery.put("connect")
        if self.state is State.TORNDOWN:
            self._refuse()
        if wait and not self._recovery.is_current_thread():
            self._wait(State.CONNECTED, timeout, (State.DISCONNECTED, State.TORNDOWN))

    def disconnect(self) -> None:
        """Close the link and stop making attempts. Returns within 2 seconds, from any thread."""
        self._recovery.stop("disconnect", Cancelled("disconnect() was called"))

    def teardown(self) -> None:
        """Disconnect for good, and tear the connection down. Returns within 2 seconds, from any thread."""
        self._recovery.stop("teardown", Cancelled("teardown() was called"))

    def wait_until(self, state: State | str, timeout: float | None = None) -> None:
        """Wait until the state is ``state`` and, for up to two seconds, until the handlers of that change have run.

        Raises:
            ValueError: there is no such state.
            TimedOut: the state was not reached within ``timeout`` seconds; the message has the last reason.
            TornDown: the state can no longer be reached.
            RuntimeError: called in a handler that the change would have to wait for.
        """
        wanted = State(state)
        checked_timeout(timeout)
        if self.state is not wanted and self._recovery.is_current_thread():
            raise RuntimeError(
                f"a handler of {self._connection.name} must not wait for a state, as the change waits for the handler"
            )
        self._wait(wanted, timeout, (State.TORNDOWN,))

    def __enter__(self) -> Self:
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
        return f"<ConnectionManager {self.state.value} of {self._connection!r}>"

    def __del__(self, over: Callable[[], bool] = sys.is_finalizing) -> None:
        if over():
            return  # modules that are used below may be gone already
        recovery = getattr(self, "_recovery", None)  # there is none if the constructor raised
        if recovery is None:
            return
        recovery.forget()
        if recovery.state in (State.CONNECTING, State.CONNECTED, State.RECOVERING):
            warnings.warn(
                f"{self!r} was not torn down; call teardown() or use a with block",
                ResourceWarning,
                stacklevel=2,  # without source=, as whoever keeps the warning would keep the link up
            )

    def _wait(self, wanted: State, timeout: float | None, hopeless: tuple[State, ...]) -> None:
        remind = self._remind if wanted is State.CONNECTED else None
        state = self._recovery.wait_for((wanted, *hopeless), checked_timeout(timeout), remind)
        if state is wanted:
            return
        if state is State.TORNDOWN:
            self._refuse()
        name, reason = self._connection.name, self.reason
        if state is not None:
            raise ConnectError(f"{name} is disconnected") if reason is None else fresh(reason)
        late = f"not {wanted.value} within {timeout:g} s but {self.state.value}: {reason or 'no reason yet'}"
        raise TimedOut(about(name, late)) from reason

    def _remind(self, seconds: float) -> None:
        """Log what a call has been waiting for, for so many seconds, and why."""
        reason = self.reason or "the attempt has not ended yet"
        log.warning("%s", about(self._connection.name, f"waiting for a connection since {seconds:.0f} s: {reason}"))

    def _refuse(self) -> None:
        raise TornDown(f"{self._connection.name} was torn down; make a new connection and a new manager")


def _emit_change(manager: ConnectionManager | None, change: StateChange) -> None:
    if manager is None:
        return
    old, new, reason = change
    name = manager.connection.name
    if new is State.DISCONNECTED and reason is not None and not isinstance(reason, Cancelled):
        log.warning("%s", about(name, f"gave up: {reason}"))
    else:
        asked = new in (State.CONNECTING, State.DISCONNECTED, State.TORNDOWN)  # the connection logs what happens to it
        why = f" ({reason})" if reason else ""
        log.log(logging.INFO if asked else logging.DEBUG, "%s: %s -> %s%s", name, old.value, new.value, why)
    emit(manager, manager.Signals.STATE_CHANGED, old=old, new=new, reason=reason)
