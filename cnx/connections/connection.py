"""Connection: what a user holds, subscribes to and subclasses."""

from __future__ import annotations

import contextlib
import logging
import operator
import warnings
from abc import ABC, abstractmethod
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import NamedTuple, TypeVar

from cnx.deadline import Deadline, Seconds, checked_timeout
from cnx.errors import Cancelled, CnxError, ConnectError, ConnectionLost, TimedOut, TornDown
from cnx.signals.subscriptions import Signal, emit
from cnx.threads.cleanup import Registry
from cnx.threads.condition import Monitor

__all__ = ["STOP_TIMEOUT", "Connection", "Traffic"]

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds within which ``disconnect()`` and ``teardown()`` return, whatever other threads do."""

Self = TypeVar("Self", bound="Connection")


class Traffic(NamedTuple):
    """What went over a connection: bytes and messages, in and out."""

    bytes_received: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    messages_sent: int = 0

    def plus(self, other: Traffic) -> Traffic:
        """Return the sum of both."""
        return Traffic(*map(operator.add, self, other))


class Connection(ABC):
    """A connection to one thing. Thread-safe.

    Derive from it for something that is no stream of bytes: say in :meth:`establish` how to connect, in
    :meth:`release` how to let go, and call :meth:`raise_alarm` when there is trouble. For streams of bytes derive
    from :class:`~cnx.connections.stream.StreamConnection`.

    Args:
        name: what it is called in log lines and thread names; its address if omitted.
        connect_timeout: seconds for one attempt, with everything that belongs to it.
    """

    class Signals(Signal):
        """What happens to a connection.

        For each link: ``CONNECTED``, then data and messages, then one ``DISCONNECTED``, and nothing after that. If
        the link was lost rather than closed on request, ``RAISE_ALARM`` comes just before.
        """

        CONNECTED = "connected"
        """It is ready for use. No argument."""
        DISCONNECTED = "disconnected"
        """The link ended. ``reason``: the exception that says why; ``Cancelled`` when it was asked for."""
        RAISE_ALARM = "raise-alarm"
        """There is trouble with the link, which therefore ends. ``reason``: the exception that says why."""
        DATA_RECEIVED = "data-received"
        """Bytes came. ``data``: bytes, as they came together."""
        MESSAGE_RECEIVED = "message-received"
        """A message came. ``message``: what the framing makes of it."""

    connect_timeout: float | None = Seconds()  # type: ignore[assignment]  # what it gives

    def __init__(self, *, name: str | None = None, connect_timeout: float | None = 10.0) -> None:
        self.connect_timeout = connect_timeout
        self.last_error: BaseException | None = None
        self._name = name
        self._torndown = False
        self._let_go()
        _connections.add(self)

    def _let_go(self) -> None:
        """Begin without attempts, also in a forked child process, where the threads that make them do not exist."""
        self._changed = Monitor()
        self._turn = 0  # ident of the thread that attempts to connect
        self._begun = self._standing = 0  # how many attempts began, and the number of the last unless it failed
        self._attempts: dict[Deadline, int] = {}  # and of those that want to

    # -- for subclasses --------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it leads to, for people."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether it is ready for use."""

    @abstractmethod
    def establish(self, deadline: Deadline) -> None:
        """Connect, and make everything ready for use; a cancelled deadline has to end it at once.

        Raises:
            CnxError: it failed; nothing is left open.
        """

    @abstractmethod
    def announce(self) -> None:
        """Tell ``CONNECTED``, then let data be told."""

    @abstractmethod
    def release(self, reason: BaseException, timeout: float) -> None:
        """Let go of what :meth:`establish` made, if there is anything, and tell ``DISCONNECTED``.

        Wait for the end of that at most ``timeout`` seconds.
        """

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    def traffic(self) -> Traffic:
        """What went over all links so far; a subclass that counts overrides it."""
        return Traffic()

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name or self.address

    def try_connect(self, deadline: Deadline | None = None) -> bool:
        """Make one attempt to connect; return whether it is connected now. :attr:`last_error` tells why not.

        Args:
            deadline: when to give up, and a means to cancel; ``connect_timeout`` seconds if omitted.

        Raises:
            TornDown: after :meth:`teardown`.
        """
        deadline = deadline or Deadline(self.connect_timeout)
        if self._torndown:
            raise TornDown(f"{self.name} was torn down; make a new connection")
        if self.connected:
            return True
        me, nested = get_ident(), self._turn == get_ident()
        try:
            self._attempts[deadline] = me
            if nested:
                raise ConnectError(f"{self.name}: what runs inside an attempt to connect cannot begin another one")
            self._take_turn(deadline)
            if not self.connected:
                self._attempt(deadline)
        except TornDown:
            raise
        except (CnxError, OSError) as error:
            self.last_error = error
            log.info("%s: not connected: %s", self.name, error)
        finally:
            if self._turn == me and not nested:
                self._turn = 0
            self._attempts.pop(deadline, None)
            self._changed.notify()
        return self.connected

    def _take_turn(self, deadline: Deadline) -> None:
        """Wait until no other thread attempts to connect."""
        me = get_ident()

        def claim() -> bool:
            if not self._turn:
                self._turn = me
            return self._turn == me or deadline.cancelled

        with deadline.waking(self._changed.notify):
            self._changed.wait_for(claim, deadline.remaining())
        if self._turn != me:
            deadline.check(f"waiting for another attempt to connect to {self.address}")
            raise TimedOut(f"another attempt to connect to {self.address} took too long")

    def _attempt(self, deadline: Deadline) -> None:
        """Connect and tell it."""
        self._begun += 1  # before looking: what is not counted when a stop looks finds that it was cancelled
        self._standing = self._begun
        try:
            deadline.check(f"connecting to {self.address}")
            if self._torndown:
                raise TornDown(f"{self.name} was torn down; make a new connection")
            self.establish(deadline)
        except BaseException:
            self._standing = 0
            raise
        self.last_error = None
        try:
            self.announce()
        except BaseException as error:  # such as KeyboardInterrupt: the caller does not know that it is connected
            self.release(Cancelled(f"the call that connected was interrupted: {error!r}"), STOP_TIMEOUT)
            raise
        if self.connected:
            log.info("%s: connected", self.name)

    def connect(self: Self, timeout: float | None = None) -> Self:
        """Connect, or raise the reason why not; return the connection itself.

        Args:
            timeout: seconds; ``connect_timeout`` if omitted.

        Raises:
            ConnectError: the attempt failed.
            TimedOut, Cancelled: it took too long, or ended by :meth:`disconnect`.
            TornDown: after :meth:`teardown`.
        """
        if not self.try_connect(None if timeout is None else Deadline(checked_timeout(timeout))):
            raise self.last_error or Cancelled(f"{self.name}: disconnect() was called as soon as it was connected")
        return self

    def disconnect(self) -> None:
        """Close the link, or end an attempt to connect. Returns in bounded time, from any thread."""
        self._stop(Cancelled("disconnect() was called"))

    def teardown(self) -> None:
        """Disconnect for good: no later attempt is possible."""
        self._torndown = True
        self._stop(Cancelled("teardown() was called"))

    def raise_alarm(self, reason: str | BaseException) -> None:
        """Say that there is trouble: the link ends with this reason, and a manager recovers it."""
        self.release(reason if isinstance(reason, BaseException) else ConnectionLost(reason), 0.0)

    def is_inside(self) -> bool:
        """Whether the calling thread is attempting to connect or telling a signal, so that others wait for it."""
        return self._turn == get_ident()

    def _stop(self, reason: Cancelled, timeout: float = STOP_TIMEOUT) -> None:
        """End the link and all attempts, and wait for that; what runs inside of them does not wait for itself."""
        end = monotonic() + timeout
        attempts = dict(self._attempts)
        for attempt in attempts:
            attempt.cancel(reason)
        begun = self._begun
        self.release(reason, 0.0)
        me = get_ident()
        others = [attempt for attempt, thread in attempts.items() if thread != me]
        if others and not self.is_inside():
            self._changed.wait_for(lambda: not any(attempt in self._attempts for attempt in others), timeout)
        if self._standing <= begun or self._torndown:  # else what is there now was made since, for who wanted it
            self.release(reason, max(0.0, end - monotonic()))

    def wait_ended(self, timeout: float) -> None:  # noqa: B027  # not every kind tells the end on a thread of its own
        """Wait at most ``timeout`` seconds until the end of a link that has ended was told to everybody."""

    def tell_end(self, reason: BaseException) -> None:
        """Tell the end of a link: the alarm if it was lost, and ``DISCONNECTED``."""
        asked = isinstance(reason, Cancelled)
        if not asked:
            self.last_error = reason
        log.log(logging.INFO if asked else logging.WARNING, "%s: disconnected: %s", self.name, reason)
        ended = getattr(self, "on_disconnected", None)
        if ended is not None:
            try:
                ended(reason)
            except Exception:
                log.exception("%s: on_disconnected failed", self.name)
        if not asked:
            emit(self, Connection.Signals.RAISE_ALARM, reason=reason)
        emit(self, Connection.Signals.DISCONNECTED, reason=reason)

    def __enter__(self: Self) -> Self:
        return self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        return f"<{type(self).__name__}{name} {self.address} {self._state()}>"

    def _state(self) -> str:
        if self._torndown:
            return "torn down"
        return "connected" if self.connected else "not connected"

    def _warn_abandoned(self) -> None:
        warnings.warn(
            f"{self!r} was not disconnected; call disconnect() or use a with block",
            ResourceWarning,
            stacklevel=3,
            source=self,
        )

    def _on_subscribers_changed(self) -> None:  # noqa: B027  # not every kind has to do something
        """Hear from :func:`cnx.subscribe` that the subscribers changed."""


def _let_go(connections: list[Connection]) -> None:
    for connection in connections:
        connection._let_go()


def _stop(connections: list[Connection]) -> None:
    """End everything; all of it together gets the time of one."""
    end = monotonic() + STOP_TIMEOUT
    for patience in (0.0, STOP_TIMEOUT):
        for connection in connections:
            connection._torndown = True
            with contextlib.suppress(Exception):  # the others still have to end
                connection._stop(Cancelled("the program ends"), min(patience, max(0.0, end - monotonic())))


_connections: Registry[Connection] = Registry(_let_go, _stop)
