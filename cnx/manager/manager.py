"""ConnectionManager: keeps a connection up."""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from cnx.connections.connection import Connection, Traffic
from cnx.deadline import checked_timeout
from cnx.errors import Cancelled, ConnectError, TimedOut, TornDown
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.recovery import News, Recovery
from cnx.manager.worker import Retries
from cnx.signals.subscriptions import Signal, emit

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

    A state machine decides (see :mod:`cnx.manager.lifecycle`); a worker thread, there only while there is work, makes
    the attempts. While it is in charge, leave connecting to it.

    Args:
        connection: what to keep up.
        backoff: how long to wait between attempts, and when to give up.
        persist: go on after an error that cannot go away by itself, such as a wrong password; it is then tried again
            after the time that the error names, or the longest wait of ``backoff``.
    """

    class Signals(Signal):
        """What a manager tells."""

        STATE_CHANGED = "state-changed"
        """``old``, ``new``: a :class:`~cnx.manager.lifecycle.State` each; ``reason``: an exception, or ``None``."""

    def __init__(self, connection: Connection, *, backoff: Backoff | None = None, persist: bool = False) -> None:
        if not isinstance(connection, Connection):
            raise TypeError(f"a ConnectionManager manages a Connection, not {connection!r}")
        if backoff is not None and not isinstance(backoff, Backoff):
            raise TypeError(f"backoff is a Backoff, not {backoff!r}")
        self._connection = connection
        me = weakref.ref(self)  # the worker must not keep a manager alive that nobody else uses
        self._recovery = Recovery(connection, Retries(backoff or Backoff(), persist), lambda news: _tell(me(), news))

    @property
    def connection(self) -> Connection:
        """What is kept up."""
        return self._connection

    @property
    def state(self) -> State:
        """Where it is now."""
        return self._recovery.state

    @property
    def reason(self) -> BaseException | None:
        """Why the last attempt failed, or the last link ended."""
        return self._recovery.reason

    @property
    def counters(self) -> Counters:
        """What happened so far."""
        recovery = self._recovery
        traffic = self._connection.traffic
        return Counters(recovery.attempts, recovery.connects, recovery.losses, recovery.since, traffic)

    def connect(self, timeout: float | None = None, *, wait: bool = True) -> None:
        """Connect, and keep the connection up from now on.

        Blocks until connected, and until the handlers of that have run, as :meth:`wait_until` does. With
        ``wait=False``, or in a handler that this has to wait for, it returns at once. The attempts go on after a
        timeout.

        Raises:
            TornDown: after :meth:`teardown`.
            TimedOut: not connected within ``timeout`` seconds (``None``: no limit); tells the last reason.
            ConnectError: the backoff policy gave up, or the error is fatal.
            Cancelled: another thread called :meth:`disconnect` meanwhile.
        """
        checked_timeout(timeout)
        self._recovery.put("connect")
        if self.state is State.TORNDOWN:
            self._refuse()
        if wait and not self._recovery.is_inside():
            self._wait(State.CONNECTED, timeout, (State.DISCONNECTED, State.TORNDOWN))

    def disconnect(self) -> None:
        """Close the link and make no more attempts. Returns in bounded time, from any thread."""
        self._recovery.stop("disconnect", Cancelled("disconnect() was called"))

    def teardown(self) -> None:
        """Disconnect for good, the connection too."""
        self._recovery.stop("teardown", Cancelled("teardown() was called"))

    def wait_until(self, state: State | str, timeout: float | None = None) -> None:
        """Wait until the state is ``state``, and for up to two seconds until the handlers of that have run.

        Raises:
            ValueError: there is no such state.
            TimedOut: it was not within ``timeout`` seconds; tells the last reason.
            TornDown: it never will be.
            RuntimeError: called in a handler that the change has to wait for.
        """
        wanted = State(state)
        checked_timeout(timeout)
        if self.state is not wanted and self._recovery.is_inside():
            raise RuntimeError(f"a handler of {self._connection.name} cannot wait for what waits for its own end")
        self._wait(wanted, timeout, (State.TORNDOWN,))

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
        return f"<ConnectionManager {self.state.value} of {self._connection!r}>"

    def __del__(self, over: Callable[[], bool] = sys.is_finalizing) -> None:
        if over():
            return  # what is used here may be gone already
        recovery = getattr(self, "_recovery", None)  # the constructor may have refused its arguments
        if recovery is not None and recovery.state in (State.CONNECTING, State.RECOVERING):
            recovery.stop_working()
            warnings.warn(
                f"{self!r} was not torn down; call teardown() or use a with block",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def _wait(self, wanted: State, timeout: float | None, hopeless: tuple[State, ...]) -> None:
        state = self._recovery.wait_for((wanted, *hopeless), checked_timeout(timeout))
        if state is wanted:
            return
        if state is State.TORNDOWN:
            self._refuse()
        name, reason = self._connection.name, self.reason
        if state is not None:
            raise reason or ConnectError(f"{name} is disconnected")
        raise TimedOut(
            f"{name} was not {wanted.value} within {timeout:g} s but {self.state.value}: {reason or 'no reason yet'}"
        )

    def _refuse(self) -> None:
        raise TornDown(f"{self._connection.name} was torn down; make a new connection and a new manager")


def _tell(manager: ConnectionManager | None, news: News) -> None:
    if manager is None:
        return
    old, new, reason = news
    why = f" ({reason})" if reason else ""
    log.info("%s: %s -> %s%s", manager.connection.name, old.value, new.value, why)
    emit(manager, manager.Signals.STATE_CHANGED, old=old, new=new, reason=reason)
