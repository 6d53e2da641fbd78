"""Connection: what a user holds, subscribes to and subclasses.

:class:`Connection` is the plain layer: a subclass says how to connect, how to disconnect and how to release everything,
and a manager keeps it up. Cancellation, deadlines and streams of bytes are further layers on top of it, see
:mod:`cnx.connections.cancellable` and :mod:`cnx.connections.stream`.
"""

from __future__ import annotations

import logging
import operator
import warnings
import weakref
from abc import ABC, abstractmethod
from threading import get_ident
from types import TracebackType
from typing import Any, NamedTuple

from typing_extensions import Self, final

from cnx.connections.names import check_names, extension_point
from cnx.deadline import Deadline
from cnx.errors import Cancelled, CnxError, ConnectError, ConnectionLost, TornDown
from cnx.signals.subscriptions import Signal, emit, subscribe_weakly
from cnx.threads.locks import Lock

__all__ = ["STOP_TIMEOUT", "Connection", "Driver", "Parts", "Traffic"]

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds within which ``disconnect()`` and ``teardown()`` return, whatever other threads do."""


class Traffic(NamedTuple):
    """What went over a connection: bytes and messages, in and out."""

    bytes_received: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    messages_sent: int = 0

    def plus(self, other: Traffic) -> Traffic:
        """Return the sum of both."""
        return Traffic(*map(operator.add, self, other))


class Driver(ABC):
    """How ``connect()``, a ``with`` block and a manager drive a connection. Thread-safe.

    Attributes:
        name: what the connection is called; ``None`` to call it by its address.
        last_error: why the last attempt failed, or why the last link ended.
        torn_down: no further attempt is possible.
    """

    def __init__(self, connection: Connection) -> None:
        # Weakly, as the connection holds its driver: a connection that is forgotten then ends at once.
        self._connection = weakref.ref(connection)
        self.name: str | None = None
        self.last_error: BaseException | None = None
        self.torn_down = False

    @property
    def connection(self) -> Connection:
        """The connection, which exists as long as somebody uses its driver."""
        connection = self._connection()
        assert connection is not None
        return connection

    @abstractmethod
    def is_connected(self) -> bool:
        """Return whether the connection is ready for use."""

    @abstractmethod
    def new_deadline(self, timeout: float | None) -> Deadline:
        """Return the deadline of an attempt that begins now; without a timeout, that of the connection."""

    @abstractmethod
    def attempt(self, deadline: Deadline) -> BaseException | None:
        """Make one attempt to connect and emit ``CONNECTED``; return why it failed, ``None`` after a success.

        Raises:
            TornDown: the connection was torn down.
            Exception: what a subclass raises that is neither a ``CnxError`` nor an ``OSError``.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """End the link and any attempt."""

    @abstractmethod
    def teardown(self) -> None:
        """Disconnect for good."""

    @abstractmethod
    def lose(self, reason: BaseException) -> None:
        """End the link because there is trouble with it."""

    @abstractmethod
    def is_current_thread(self) -> bool:
        """Return whether the calling thread works for the connection, so that it must not wait for it."""

    @abstractmethod
    def wait_ended(self, deadline: Deadline) -> bool:
        """Wait until the end of a link that has ended was emitted; return whether it was."""


class Parts:
    """What cnx keeps with a connection, behind the one attribute ``_cnx``: all other names belong to the subclass."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def on_subscribers_changed(self) -> None:
        """Hear from :func:`cnx.subscribe` that a handler was subscribed or cancelled."""

    def on_end(self, connection: Connection, reason: BaseException) -> None:
        """Hear of the end of a link before it is emitted."""


class Connection(ABC):
    """A connection to one thing.

    Derive from it for something that is no stream of bytes, and override three methods: :meth:`try_connect`,
    :meth:`disconnect` and :meth:`teardown`. Call :meth:`raise_alarm` when there is trouble. A subclass may have an
    ``__init__`` of its own, which need not call this one. Use it through :meth:`connect`, in a ``with`` block or with a
    :class:`~cnx.ConnectionManager`: these call the three methods, keep :attr:`connected`, and emit the signals.

    "Alarm" means that the link is in trouble. It has nothing to do with the process alarms of a control room.

    For streams of bytes derive from :class:`~cnx.StreamConnection`; for anything else whose attempts are to be bounded
    in time and cancellable, from :class:`~cnx.CancellableConnection`.
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
        """Bytes arrived. ``data``: bytes, in the pieces in which they arrived."""
        MESSAGE_RECEIVED = "message-received"
        """A message arrived. ``message``: what the framing makes of it."""

    _cnx: Parts

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the parts here, so that a subclass whose ``__init__`` does not call ours has them too."""
        connection = super().__new__(cls)
        connection._cnx = Parts(_PlainDriver(connection))
        return connection

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_names(cls)

    def __init__(self, *, name: str | None = None) -> None:
        self._cnx.driver.name = name

    # -- extension points ------------------------------------------------------------------------------------------

    @abstractmethod
    @extension_point
    def try_connect(self) -> bool:
        """Make one attempt to connect; return whether it succeeded.

        It is called again after an alarm, and first lets go of what the last link has left behind. An exception counts
        as a failure, with that exception as the reason. Return within a bounded time.
        """

    @abstractmethod
    @extension_point
    def disconnect(self) -> None:
        """Close the link if there is one. Return within a bounded time."""

    @abstractmethod
    @extension_point
    def teardown(self) -> None:
        """Release everything; there will be no further attempt. Return within a bounded time."""

    @property
    @extension_point
    def address(self) -> str:
        """Where it leads to, for people."""
        return type(self).__name__

    @property
    @extension_point
    def connected(self) -> bool:
        """Whether it is ready for use."""
        return self._cnx.driver.is_connected()

    @property
    @extension_point
    def traffic(self) -> Traffic:
        """What went over all links so far; all zero for a kind that does not count."""
        return Traffic()

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    @final
    def name(self) -> str:
        """What it is called in log lines and thread names: the name that was given, or its address."""
        return self._cnx.driver.name or self.address

    @property
    @final
    def last_error(self) -> BaseException | None:
        """Why the last attempt failed, or why the last link ended; ``None`` after a success."""
        return self._cnx.driver.last_error

    @final
    def connect(self, timeout: float | None = None) -> Self:
        """Make one attempt to connect, and emit ``CONNECTED``; return the connection itself.

        Args:
            timeout: seconds; ``connect_timeout`` if omitted. A kind without ``connect_timeout`` takes none.

        Raises:
            ConnectError: the attempt failed.
            TimedOut, Cancelled: it took too long, or :meth:`disconnect` ended it.
            TornDown: after :meth:`teardown`.
        """
        driver = self._cnx.driver
        error = driver.attempt(driver.new_deadline(timeout))
        if error is not None:
            raise error
        return self

    @final
    def raise_alarm(self, reason: str | BaseException | None = None) -> None:
        """Report trouble: the link ends with this reason, and a manager recovers it.

        Does nothing without a link. Any thread may call it, and a handler may, too.
        """
        if not isinstance(reason, BaseException):
            reason = ConnectionLost(reason or f"{self.name} raised an alarm without a reason")
        self._cnx.driver.lose(reason)

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cnx.driver.disconnect()

    def __repr__(self) -> str:
        driver = self._cnx.driver
        name = f" {driver.name!r}" if driver.name else ""
        state = "torn down" if driver.torn_down else "connected" if self.connected else "not connected"
        return f"<{type(self).__name__}{name} {self.address} {state}>"


def emit_end(connection: Connection, reason: BaseException) -> None:
    """Log the end of a link; emit ``RAISE_ALARM`` if it was lost, then ``DISCONNECTED``."""
    asked = isinstance(reason, Cancelled)
    if not asked:
        connection._cnx.driver.last_error = reason
    log.log(logging.INFO if asked else logging.WARNING, "%s: disconnected: %s", connection.name, reason)
    connection._cnx.on_end(connection, reason)
    on_disconnected = getattr(connection, "on_disconnected", None)
    if on_disconnected is not None:
        try:
            on_disconnected(reason)
        except Exception:
            log.exception("%s: on_disconnected failed", connection.name)
    if not asked:
        emit(connection, Connection.Signals.RAISE_ALARM, reason=reason)
    emit(connection, Connection.Signals.DISCONNECTED, reason=reason)


def warn_abandoned(connection: Connection) -> None:
    """Warn that a connection which is about to be collected was not disconnected."""
    warnings.warn(
        f"{connection!r} was not disconnected; call disconnect() or use a with block",
        ResourceWarning,
        stacklevel=3,
        source=connection,
    )


class _PlainDriver(Driver):
    """Drives a subclass that overrides nothing but ``try_connect``, ``disconnect`` and ``teardown``.

    These run on the thread that asks for them. The driver only notes whether there is a link.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._lock = Lock()
        self._up = False
        self._attempting = 0  # ident of the thread that makes an attempt
        subscribe_weakly(connection, Connection.Signals.RAISE_ALARM, self._on_alarm)

    def is_connected(self) -> bool:
        return self._up

    def new_deadline(self, timeout: float | None) -> Deadline:
        if timeout is not None:
            kind = type(self.connection).__name__
            raise TypeError(f"{kind}.connect() takes no timeout, as {kind}.try_connect() has no deadline")
        return Deadline(None)

    def attempt(self, deadline: Deadline) -> BaseException | None:
        connection = self.connection
        if self.torn_down:
            raise TornDown(f"{connection.name} was torn down; make a new connection")
        if self._up:
            return None
        self._attempting = get_ident()
        try:
            self.last_error = None
            if not connection.try_connect():
                self.last_error = self.last_error or ConnectError(f"{connection.name}: try_connect() returned False")
                return self.last_error
            if deadline.cancelled:
                connection.disconnect()
                self.last_error = Cancelled(f"connecting to {connection.name} was cancelled")
                return self.last_error
            with self._lock:
                self._up = True
            emit(connection, Connection.Signals.CONNECTED)
        except Exception as error:
            self.last_error = error
            if isinstance(error, (CnxError, OSError)):
                return error
            raise
        finally:
            self._attempting = 0
        if self._up:
            return None
        return self.last_error or Cancelled(f"{connection.name}: disconnected as soon as it was connected")

    def disconnect(self) -> None:
        self._stop(self.connection.disconnect, Cancelled("disconnect() was called"))

    def teardown(self) -> None:
        self.torn_down = True
        if self._up:
            self.disconnect()
        self._stop(self.connection.teardown, Cancelled("teardown() was called"))

    def lose(self, reason: BaseException) -> None:
        if self._take_down():
            emit_end(self.connection, reason)

    def is_current_thread(self) -> bool:
        return self._attempting == get_ident()

    def wait_ended(self, deadline: Deadline) -> bool:
        return True  # the end is emitted by the thread that brings it about

    def _stop(self, let_go: Any, reason: Cancelled) -> None:
        was_up = self._take_down()
        try:
            let_go()
        except Exception:  # the subclass may raise anything; the link counts as closed all the same
            log.exception("%s: %s() failed", self.connection.name, let_go.__name__)
        if was_up:
            emit_end(self.connection, reason)

    def _take_down(self) -> bool:
        """Note that there is no link; return whether there was one."""
        with self._lock:
            was_up, self._up = self._up, False
        return was_up

    def _on_alarm(self, reason: BaseException | None = None) -> None:
        """Hear of an alarm that was not raised with ``raise_alarm()`` but sent with PyDispatcher itself."""
        if self._take_down():
            self.last_error = reason or ConnectionLost(f"{self.connection.name} raised an alarm without a reason")
            emit(self.connection, Connection.Signals.DISCONNECTED, reason=self.last_error)
