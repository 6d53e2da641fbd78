"""CancellableConnection: attempts that have a deadline and can be cancelled, and a stop that returns in bounded time.

The clients of cnx and its streams stand on this layer; derive from it for a connection that is made of others.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from threading import get_ident
from time import monotonic
from typing import Any, TypedDict

from typing_extensions import Never, Self, final

from cnx.connections.connection import (
    STOP_TIMEOUT,
    Connection,
    Driver,
    Parts,
    emit_connected,
    emit_end,
    interruption,
)
from cnx.connections.names import extension_point, refuse_unknown, setting
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, CnxError, ConnectError, TimedOut, TornDown, as_failure
from cnx.logs import logger
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.condition import Condition
from cnx.threads.green import refuse_green_threads
from cnx.threads.locks import Lock

__all__ = ["Attempts", "CancellableConnection", "CancellableParts", "ConnectionSettings"]

log = logger(__name__)


class ConnectionSettings(TypedDict, total=False):
    """The settings of every cancellable connection; see :class:`CancellableConnection`."""

    name: str | None
    connect_timeout: float | None


class CancellableConnection(Connection):
    """A connection whose attempts can be cancelled, and whose stop is bounded in time. Thread-safe.

    A subclass says in :meth:`establish` how to connect and in :meth:`release` how to let go, and defines ``address``
    and ``connected``. Attempts of several threads take turns, and a stop cancels all of them.

    Args:
        name: what it is called in log lines and thread names; its address if omitted.
        connect_timeout: seconds for one attempt, with everything that belongs to it; ``None`` for no limit.
    """

    _cnx: CancellableParts

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().__new__(cls)
        connection._cnx = CancellableParts(Attempts(connection))
        return connection

    def __init__(self, *, name: str | None = None, connect_timeout: float | None = 10.0, **unknown: Never) -> None:
        refuse_unknown(type(self), unknown)
        super().__init__(name=name)
        self.connect_timeout = connect_timeout
        _connections.add(self)

    # -- extension points ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    @extension_point
    def address(self) -> str:
        """Where it leads to, for people."""

    @property
    @abstractmethod
    @extension_point
    def connected(self) -> bool:
        """Whether it is ready for use."""

    @abstractmethod
    @extension_point
    def establish(self, deadline: Deadline) -> None:
        """Connect, and make everything ready for use. A deadline that is cancelled has to end it at once.

        Raises:
            CnxError: it failed; nothing is left open.
        """

    @extension_point
    def announce(self) -> None:
        """Call :meth:`emit_connected`, and let data be emitted after that.

        Raises:
            CnxError: the link ended before; ``CONNECTED`` was not emitted, and ``DISCONNECTED`` will not be.
        """
        self.emit_connected()

    @abstractmethod
    @extension_point
    def release(self, reason: BaseException, timeout: float) -> None:
        """Let go of what :meth:`establish` made, if there is anything, and call :meth:`emit_end`.

        Wait for the end of that at most ``timeout`` seconds. It may be called several times, and by several threads.
        """

    @extension_point
    def wait_ended(self, deadline: Deadline) -> bool:
        """Wait until the end of a link that has ended was emitted to everybody; return whether it was.

        Override it for a kind that emits its end on a thread of its own. A deadline that is cancelled ends the wait.
        """
        return True

    @extension_point
    def is_current_thread(self) -> bool:
        """Return whether the calling thread makes an attempt to connect or emits a signal of this connection.

        Such a thread must not wait for the connection, which waits for it.
        """
        return self._cnx.driver.turn == get_ident()

    @extension_point
    def on_connect_failed(self, reason: BaseException) -> None:
        """Hear that an attempt to connect failed; called by the thread that made it."""

    @extension_point
    def on_disconnected(self, reason: BaseException) -> None:
        """Hear of the end of a link, just before it is emitted; called by the thread that emits it."""

    @extension_point
    def after_fork(self) -> None:
        """Forget, in a forked child process, what belongs to threads of the parent, which do not exist here."""

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    @setting
    def connect_timeout(self) -> float | None:
        """Seconds for one attempt; ``None`` for no limit. A change applies to the next attempt."""
        return self._cnx.driver.connect_timeout

    @connect_timeout.setter
    def connect_timeout(self, seconds: float | None) -> None:
        self._cnx.driver.connect_timeout = checked_timeout(seconds, "connect_timeout")

    @property
    @final
    def is_attempting(self) -> bool:
        """Whether an attempt to connect is under way, or waits for its turn; of any thread."""
        return self._cnx.driver.is_attempting()

    @final
    def try_connect(self, deadline: Deadline | None = None) -> bool:
        """Make one attempt to connect; return whether it is connected now. :attr:`last_error` says why not.

        Args:
            deadline: when to give up, and a means to cancel; ``connect_timeout`` seconds if omitted.

        Raises:
            TornDown: after :meth:`teardown`.
        """
        return self._cnx.driver.attempt(deadline or Deadline(self.connect_timeout)) is None

    @final
    def disconnect(self) -> None:
        """Close the link, or end an attempt to connect. Returns within 2 seconds, from any thread."""
        self._cnx.driver.stop(Cancelled("disconnect() was called"), STOP_TIMEOUT)

    @final
    def teardown(self) -> None:
        """Disconnect for good: no later attempt is possible. Returns within 2 seconds, from any thread."""
        self._cnx.driver.torn_down = True
        self._cnx.driver.stop(Cancelled("teardown() was called"), STOP_TIMEOUT)

    @final
    def emit_connected(self) -> None:
        """Emit ``CONNECTED``, and let a manager note the new link."""
        emit_connected(self)

    @final
    def emit_end(self, reason: BaseException) -> None:
        """Emit the end of a link, once for each ``CONNECTED``: ``RAISE_ALARM`` if it was lost, and ``DISCONNECTED``."""
        emit_end(self, reason)


class Attempts(Driver):
    """The attempts of one connection, of which one thread at a time makes one; and the stop that ends them all.

    Attributes:
        connect_timeout: seconds for one attempt.
        turn: ident of the thread that makes an attempt; 0 if none does.
    """

    def __init__(self, connection: CancellableConnection) -> None:
        super().__init__(connection)
        self.connect_timeout: float | None = 10.0
        self._begin()

    def _begin(self) -> None:
        self.turn = 0
        self._changed = Condition()
        self._deadlines: dict[Deadline, int] = {}  # of the threads that make an attempt or wait for their turn
        self._begun = 0  # attempts that have begun
        self._standing = 0  # the number of the last attempt, unless it failed
        self._stops = 0  # calls of stop()

    @property
    def connection(self) -> CancellableConnection:
        """The connection, which exists as long as somebody uses its driver."""
        connection = super().connection
        assert isinstance(connection, CancellableConnection)
        return connection

    def is_connected(self) -> bool:
        connection = self._connection()  # None if a manager is forgotten together with it
        return connection is not None and connection.connected

    def is_attempting(self) -> bool:
        """Return whether a thread makes an attempt or waits for its turn."""
        return bool(self._deadlines)

    def new_deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.connect_timeout if timeout is None else checked_timeout(timeout))

    def attempt(self, deadline: Deadline) -> BaseException | None:
        connection = self.connection
        if self.torn_down:
            raise TornDown(f"{connection.name} was torn down; make a new connection")
        if connection.connected:
            return None
        me, nested, stops = get_ident(), self.turn == get_ident(), self._stops
        error: BaseException | None = None
        try:
            self._deadlines[deadline] = me
            if nested:
                raise ConnectError(f"{connection.name}: code that runs inside an attempt cannot begin another one")
            self._take_turn(deadline)
            if not connection.connected:
                self._connect(deadline)
        except TornDown:
            raise
        except (CnxError, OSError) as failure:
            error = failure if isinstance(failure, CnxError) else as_failure(failure, connection.address)
            self.last_error = error
            if isinstance(error, Cancelled):
                log.info("%s: not connected: %s", connection.name, error)
            else:
                self.log_failure(f"not connected: {error}")
        finally:
            if self.turn == me and not nested:
                self.turn = 0
            self._deadlines.pop(deadline, None)
            self._changed.notify()
        if error is not None:
            try:
                connection.on_connect_failed(error)
            except Exception:
                log.exception("%s: on_connect_failed() failed", connection.name)
            return error
        if connection.connected:
            return None
        if self._stops != stops:
            return Cancelled(f"{connection.name}: disconnect() was called as soon as it was connected")
        if self.last_error is not None:
            return as_failure(self.last_error)
        return ConnectError(f"{connection.name}: the link ended as soon as it was there")

    def _take_turn(self, deadline: Deadline) -> None:
        """Wait until no other thread makes an attempt."""
        me = get_ident()
        address = self.connection.address

        def claim() -> bool:
            if not self.turn:
                self.turn = me
            return self.turn == me or deadline.cancelled

        with deadline.waking(self._changed.notify):
            self._changed.wait_for(claim, deadline.remaining())
        if self.turn != me:
            deadline.check(f"waiting for another attempt to connect to {address}")
            raise TimedOut(f"another attempt to connect to {address} took too long")

    def _connect(self, deadline: Deadline) -> None:
        refuse_green_threads()
        connection = self.connection
        # Count the attempt first: a stop that comes after this sees it and cancels it; see stop().
        self._begun += 1
        self._standing = self._begun
        try:
            deadline.check(f"connecting to {connection.address}")
            if self.torn_down:
                raise TornDown(f"{connection.name} was torn down; make a new connection")
            connection.establish(deadline)
        except BaseException:
            self._standing = 0
            raise
        self.last_error = None
        try:
            connection.announce()
        except CnxError:
            self._standing = 0
            raise
        except BaseException as error:  # such as KeyboardInterrupt: the caller does not know that it is connected
            connection.release(interruption(connection, error), STOP_TIMEOUT)
            raise
        if connection.connected:
            self.log_success()

    def disconnect(self) -> None:
        self.connection.disconnect()

    def teardown(self) -> None:
        self.connection.teardown()

    def lose(self, reason: BaseException) -> None:
        self.connection.release(reason, 0.0)

    def stop(self, reason: Cancelled, timeout: float) -> None:
        """End the link and all attempts; wait for that at most ``timeout`` seconds.

        A thread that the stop would have to wait for, such as one that emits a signal, does not wait for itself.
        """
        end = monotonic() + timeout
        self._stops += 1
        self.in_outage = False
        deadlines = dict(self._deadlines)
        for deadline in deadlines:
            deadline.cancel(reason)
        begun = self._begun
        self.connection.release(reason, 0.0)
        me = get_ident()
        others = [deadline for deadline, thread in deadlines.items() if thread != me]
        if others and not self.connection.is_current_thread():
            self._changed.wait_for(lambda: not any(deadline in self._deadlines for deadline in others), timeout)
        # A link that was made by an attempt which began after the cancellation belongs to the caller of that attempt.
        if self._standing <= begun or self.torn_down:
            self.connection.release(reason, max(0.0, end - monotonic()))

    def is_current_thread(self) -> bool:
        return self.connection.is_current_thread()

    def wait_ended(self, deadline: Deadline) -> bool:
        return self.connection.wait_ended(deadline)

    def abandon(self) -> None:
        """Forget all attempts in a forked child process, where the threads that make them do not exist."""
        self._keeping = Lock()
        self._begin()
        self.connection._cnx.on_fork()
        self.connection.after_fork()


class CancellableParts(Parts):
    """The parts of a cancellable connection."""

    driver: Attempts

    def __init__(self, driver: Attempts) -> None:
        super().__init__(driver)


def _stop_all(connections: list[CancellableConnection]) -> None:
    """End everything as the program ends; all connections together get the time of one."""
    end = monotonic() + STOP_TIMEOUT
    for patience in (0.0, STOP_TIMEOUT):
        for connection in connections:
            driver = connection._cnx.driver
            driver.torn_down = True
            with contextlib.suppress(Exception):  # the others still have to end
                driver.stop(Cancelled("the program ends"), min(patience, max(0.0, end - monotonic())))


_connections: CleanupRegistry[CancellableConnection] = CleanupRegistry(
    lambda connection: connection._cnx.driver.abandon(), _stop_all
)
