"""Connection: what a user holds, subscribes to and subclasses.

:class:`Connection` is the plain layer: a subclass says how to connect, how to disconnect and how to release everything,
and a manager keeps it up. Cancellation, deadlines and streams of bytes are further layers on top of it, see
:mod:`cnx.connections.cancellable` and :mod:`cnx.connections.stream`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import operator
import threading
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

from typing_extensions import Self, final

from cnx.connections.names import check_names, extension_point, is_final
from cnx.deadline import Deadline
from cnx.errors import (
    Cancelled,
    CnxError,
    ConnectError,
    ConnectionLost,
    TimedOut,
    TornDown,
    about,
    as_failure,
    with_text,
)
from cnx.logs import logger
from cnx.signals.subscriptions import Signal, SignalName, emit, subscribe_weakly
from cnx.threads.cleanup import CleanupRegistry
from cnx.threads.condition import Condition
from cnx.threads.locks import Lock
from cnx.threads.steps import run_each

__all__ = ["STOP_TIMEOUT", "Connection", "Driver", "Keeper", "Parts", "Traffic"]

T = TypeVar("T")

log = logger(__name__)

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


class Keeper(Protocol):
    """What keeps a connection up. It hears of each link directly and not as a subscriber among others."""

    def on_connected(self) -> None:
        """Hear that a link is up, before ``CONNECTED`` is emitted."""

    def on_end(self, reason: BaseException) -> None:
        """Hear of the end of that link, before the end is emitted."""

    def keeps(self) -> bool:
        """Return whether it may connect again."""


class Driver(ABC):
    """How ``connect()``, a ``with`` block and a manager drive a connection. Thread-safe.

    Attributes:
        name: what the connection is called; ``None`` to call it by its address.
        last_error: why the last attempt failed, or why the last link ended.
        torn_down: no further attempt is possible.
        in_outage: an attempt has failed or a link was lost, and there was no success since.
    """

    def __init__(self, connection: Connection) -> None:
        # Weakly, as the connection holds its driver: a connection that is forgotten then ends at once.
        self._connection = weakref.ref(connection)
        self._keeper: Callable[[], Keeper | None] = lambda: None
        self._keeping = Lock()
        self.name: str | None = None
        self.last_error: BaseException | None = None
        self.torn_down = False
        self.in_outage = False

    def log_failure(self, text: str, level: int = logging.INFO) -> None:
        """Log a failure: the first one of an outage at ``level``, later ones at ``DEBUG``."""
        log.log(logging.DEBUG if self.in_outage else level, "%s", about(self.connection.name, text))
        self.in_outage = True

    def log_success(self) -> None:
        """Log that there is a link, which ends an outage."""
        self.in_outage = False
        log.info("%s: connected", self.connection.name)

    @property
    def keeper(self) -> Keeper | None:
        """What keeps the connection up; only a weak reference is held."""
        return self._keeper()

    def set_keeper(self, keeper: Keeper) -> None:
        """Have ``keeper`` hear of links from now on.

        Raises:
            RuntimeError: another one keeps the connection up.
        """
        with self._keeping:
            other = self._keeper()
            if other is not None and other.keeps():
                raise RuntimeError(
                    f"{self.connection.name} has a ConnectionManager already; use that one, as two would connect and "
                    "disconnect against each other"
                )
            self._keeper = weakref.ref(keeper)

    def note_loss(self, reason: BaseException) -> None:
        """Record why the link ends before any reader can notice the end; a requested end is not an error."""
        if not isinstance(reason, Cancelled):
            self.last_error = reason

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

    def on_fork(self) -> None:
        """Forget, in a forked child process, what belongs to threads of the parent."""

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

        CONNECTED = SignalName("connected")
        """It is ready for use. No argument."""
        DISCONNECTED = SignalName("disconnected", "reason")
        """The link ended. ``reason``: the exception that says why; ``Cancelled`` when it was asked for."""
        RAISE_ALARM = SignalName("raise-alarm", "reason")
        """There is trouble with the link, which therefore ends. ``reason``: the exception that says why."""
        DATA_RECEIVED = SignalName("data-received", "data")
        """Bytes arrived. ``data``: bytes, in the pieces in which they arrived."""
        MESSAGE_RECEIVED = SignalName("message-received", "message")
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
        for name in ("disconnect", "teardown"):
            _have_driver_stop(cls, name)

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
        self._cnx.driver.lose(with_text(reason))

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


def emit_connected(connection: Connection) -> None:
    """Let the manager note a new link, and emit ``CONNECTED``."""
    keeper = connection._cnx.driver.keeper
    steps: list[tuple[str, Callable[[], object]]] = []
    if keeper is not None:
        steps.append(("noting the link", keeper.on_connected))
    steps.append(("emitting CONNECTED", lambda: emit(connection, Connection.Signals.CONNECTED)))
    run_each(lambda: connection.name, steps)


def emit_end(connection: Connection, reason: BaseException, *, alarm: bool = True) -> None:
    """Log the end of a link, have it noted, and emit it; whatever one of these steps raises, the others are made.

    Args:
        connection: whose link has ended.
        reason: why.
        alarm: emit ``RAISE_ALARM``, too, if the link was lost.
    """
    driver = connection._cnx.driver
    reason = with_text(reason)
    driver.note_loss(reason)
    asked = isinstance(reason, Cancelled)
    if asked:
        driver.in_outage = False
    steps: list[tuple[str, Callable[[], object]]] = [
        (
            "logging the end",
            lambda: (
                log.info("%s: disconnected: %s", connection.name, reason)
                if asked
                else driver.log_failure(f"disconnected: {reason}", logging.WARNING)
            ),
        ),
        ("keeping the history", lambda: connection._cnx.on_end(connection, reason)),
    ]
    on_disconnected = getattr(connection, "on_disconnected", None)
    if on_disconnected is not None:
        steps.append(("on_disconnected()", lambda: on_disconnected(reason)))
    keeper = driver.keeper
    if keeper is not None:
        steps.append(("recovering", lambda: keeper.on_end(reason)))
    signals = Connection.Signals
    for signal in (signals.RAISE_ALARM, signals.DISCONNECTED) if alarm and not asked else (signals.DISCONNECTED,):
        steps.append((f"emitting {signal.name}", functools.partial(emit, connection, signal, reason=reason)))
    run_each(lambda: connection.name, steps)


def warn_abandoned(connection: Connection) -> None:
    """Warn that a connection which is about to be collected was not disconnected."""
    warnings.warn(
        f"{connection!r} was not disconnected; call disconnect() or use a with block",
        ResourceWarning,
        stacklevel=3,
        source=connection,
    )


def interruption(connection: Connection, error: BaseException) -> BaseException:
    """Return the reason for ending a link because ``error``, such as ``SystemExit``, interrupted ``CONNECTED``."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        return Cancelled(f"the call that connected was interrupted: {error!r}")
    lost = ConnectionLost(f"a handler of {connection.name} raised {error!r}")
    lost.__cause__ = error
    return lost


def _have_driver_stop(cls: type[Connection], name: str) -> None:
    """Let a subclass's own ``disconnect`` or ``teardown``, if called by a user, do what a manager does.

    Without that, such a call would let go of the link, and nobody would hear of the end.
    """
    member = inspect.getattr_static(cls, name)
    if not inspect.isfunction(member) or is_final(member) or getattr(member, "__isabstractmethod__", False):
        return
    owner = next(base for base in cls.__mro__ if name in vars(base))
    if owner is not cls and issubclass(owner, Connection):
        return  # it was done for that class

    @functools.wraps(member)
    def stop(self: Connection, *arguments: Any, **named: Any) -> Any:
        driver = self._cnx.driver
        if not isinstance(driver, _PlainDriver):
            return member(self, *arguments, **named)
        return driver.stop_for_user(name, lambda: member(self, *arguments, **named))

    setattr(cls, name, stop)


class _End(NamedTuple):
    """The end of a plain link: why, and whether the driver has to emit ``RAISE_ALARM``."""

    reason: BaseException
    alarm: bool


class _PlainDriver(Driver):
    """Drives a subclass that overrides nothing but ``try_connect``, ``disconnect`` and ``teardown``.

    These run on the thread that asks for them, without a lock. The driver notes whether there is a link, and who has to
    emit its end: the thread that has ended the link, or the one that still emits ``CONNECTED``, after that. Attempts
    take turns. An attempt begins when no other one is under way, the end of the last link was emitted, and no thread is
    in ``disconnect`` or ``teardown`` of the subclass, which might close the new link.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._begin()
        subscribe_weakly(connection, Connection.Signals.RAISE_ALARM, self._on_alarm)
        _drivers.add(self)

    def _begin(self) -> None:
        self._changed = Condition()
        self._lock = self._changed.lock  # guards what follows
        self._up = False
        self._turn = 0  # ident of the thread that makes an attempt; 0 if none does
        self._trying = False  # that thread is in try_connect()
        self._announcing = False  # that thread emits CONNECTED
        self._alarm: BaseException | None = None  # raised while it was in try_connect()
        self._end: _End | None = None  # of a link that has ended, until a thread begins to emit it
        self._ender = 0  # ident of the thread that emits it, or is about to; 0 if none does
        self._deadlines: dict[Deadline, int] = {}  # of the threads that make an attempt or wait for their turn
        self._stops: dict[object, int] = {}  # the threads in disconnect() or teardown() of the subclass
        self._inside: set[int] = set()  # the threads in a method of the subclass that the driver has called

    def is_connected(self) -> bool:
        return self._up

    def new_deadline(self, timeout: float | None) -> Deadline:
        if timeout is not None:
            kind = type(self.connection).__name__
            raise TypeError(f"{kind}.connect() takes no timeout, as {kind}.try_connect() has no deadline")
        return Deadline(None)

    # -- connect ---------------------------------------------------------------------------------------------------

    def attempt(self, deadline: Deadline) -> BaseException | None:
        connection = self.connection
        self._refuse_torn_down()
        if self._up:
            return None
        me = get_ident()
        if me in (self._turn, self._ender) or me in self._inside:
            return ConnectError(
                f"a handler or a method of {connection.name} is still busy with its last link or attempt; connect "
                "after that, on another thread, or leave it to a ConnectionManager"
            )
        try:
            self._deadlines[deadline] = me
            self._take_turn(deadline)
            return None if self._up else self._connect(deadline)
        except TornDown:
            raise
        except Cancelled as error:
            self.last_error = error
            return error
        except CnxError as error:
            self.last_error = error
            self.log_failure(f"not connected: {error}")
            return error
        except OSError as error:
            failure = self.last_error = as_failure(error, connection.address)
            self.log_failure(f"not connected: {failure}")
            return failure
        except Exception as error:
            self.last_error = error
            self.log_failure(f"not connected: {error!r}")
            raise
        finally:
            self._deadlines.pop(deadline, None)
            if self._turn == me:
                self._trying, self._turn = False, 0
            self._changed.notify()

    def _take_turn(self, deadline: Deadline) -> None:
        me = get_ident()

        def claim() -> bool:
            if not (self._turn or self._ender or self._end or self._stops):
                self._turn = me
            return self._turn == me or deadline.cancelled

        with deadline.waking(self._changed.notify):
            self._changed.wait_for(claim, deadline.remaining())
        if self._turn != me:
            deadline.check(f"waiting for another attempt to connect to {self.connection.name}")
            raise TimedOut(f"another attempt to connect to {self.connection.name} took too long")

    def _connect(self, deadline: Deadline) -> BaseException | None:
        """Make an attempt, whose turn it is."""
        connection = self.connection
        self._refuse_torn_down()  # it may have been while this thread waited
        deadline.check(f"connecting to {connection.name}")
        with self._lock:
            self.last_error = self._alarm = None
            self._trying = True
        made = self._call(connection.try_connect)
        connected, ended = False, None
        try:
            with self._lock:
                self._trying = False
                alarm = self._alarm
                connected = bool(made) and alarm is None and not deadline.cancelled
                self._up = self._announcing = connected
            if connected:
                self.log_success()
                emit_connected(connection)
        except BaseException as error:
            if self._take_down(interruption(connection, error)):
                self._let_go(connection.disconnect)
            raise
        finally:
            with self._lock:
                self._announcing = False
                ended = self._end
                if ended is not None:
                    self._ender = get_ident()
            self._emit_end()
        if not connected:
            if made:
                self._let_go(connection.disconnect)
            deadline.check(f"connecting to {connection.name}")
            if alarm is not None:
                raise as_failure(alarm)
            raise ConnectError(f"{connection.name}: try_connect() returned False")
        if ended is None:
            return None
        if isinstance(ended.reason, Cancelled):
            return Cancelled(f"{connection.name}: disconnected as soon as it was connected")
        return as_failure(ended.reason)

    def _refuse_torn_down(self) -> None:
        if self.torn_down:
            raise TornDown(f"{self.connection.name} was torn down; make a new connection")

    # -- end -------------------------------------------------------------------------------------------------------

    def disconnect(self) -> None:
        connection = self.connection
        self._stop(lambda: self._let_go(connection.disconnect), Cancelled("disconnect() was called"))

    def teardown(self) -> None:
        connection = self.connection
        self._stop_for_good(lambda: self._let_go(connection.disconnect), lambda: self._let_go(connection.teardown))

    def stop_for_user(self, name: str, method: Callable[[], T]) -> T:
        """Disconnect or tear down as :meth:`disconnect` and :meth:`teardown` do, but raise what the subclass raises.

        Args:
            name: of the method of the subclass that a user has called.
            method: calls that method.
        """
        if get_ident() in self._inside:  # the driver has called it, or another method that calls this one
            return method()
        if name == "disconnect":
            return self._stop(lambda: self._call(method), Cancelled("disconnect() was called"))
        connection = self.connection
        return self._stop_for_good(lambda: self._call(connection.disconnect), lambda: self._call(method))

    def lose(self, reason: BaseException) -> None:
        self._take_down(reason)
        self._emit_end()

    def is_current_thread(self) -> bool:
        me = get_ident()
        return me in (self._turn, self._ender) or me in self._inside

    def wait_ended(self, deadline: Deadline) -> bool:
        def is_over() -> bool:
            return not (self._end or self._ender)

        if not self.is_current_thread():
            with deadline.waking(self._changed.notify):
                self._changed.wait_for(lambda: is_over() or deadline.cancelled, deadline.remaining())
        return is_over()

    def _stop_for_good(self, disconnect: Callable[[], object], teardown: Callable[[], T]) -> T:
        self.torn_down = True
        reason = Cancelled("teardown() was called")
        try:
            if self._up or self._deadlines:
                self._stop(disconnect, reason)
        finally:
            result = self._stop(teardown, reason)
        return result

    def _stop(self, let_go: Callable[[], T], reason: Cancelled) -> T:
        """End the link and all attempts, and wait for that at most ``STOP_TIMEOUT`` seconds."""
        me, stop = get_ident(), object()
        deadlines = dict(self._deadlines)
        for deadline in deadlines:
            deadline.cancel(reason)
        try:
            self._stops[stop] = me
            self._take_down(reason)
            return let_go()
        finally:
            self._stops.pop(stop, None)
            self._changed.notify()
            self._emit_end()
            if not self.is_current_thread():
                others = [deadline for deadline, thread in deadlines.items() if thread != me]
                self._changed.wait_for(
                    lambda: not (self._end or self._ender or any(each in self._deadlines for each in others)),
                    STOP_TIMEOUT,
                )

    def _take_down(self, reason: BaseException, *, alarm: bool = True) -> bool:
        """Record that the link is gone; return whether there was one.

        The end is then emitted by the calling thread, with :meth:`_emit_end`, or by the one that emits ``CONNECTED``.
        """
        with self._lock:
            if self._trying and not isinstance(reason, Cancelled):  # a stop cancels the deadline instead
                self._alarm = self._alarm or reason
            if not self._up:
                return False
            self.note_loss(reason)
            self._up, self._end = False, _End(reason, alarm)
            if not self._announcing:
                self._ender = get_ident()
            return True

    def _emit_end(self) -> None:
        """Emit the end of the link if the calling thread has to."""
        me = get_ident()
        end: _End | None = None
        try:
            with self._lock:
                if self._ender == me:
                    end, self._end = self._end, None  # none while a handler of the end calls something that ends here
            if end is not None:
                emit_end(self.connection, end.reason, alarm=end.alarm)
        finally:
            if end is not None:
                self._ender = 0
                self._changed.notify()

    def _let_go(self, method: Callable[[], object]) -> None:
        """Call ``disconnect`` or ``teardown``; if it raises, the link counts as closed all the same."""
        try:
            self._call(method)
        except Exception:
            log.exception("%s: %s() failed", self.connection.name, method.__name__)

    def _call(self, method: Callable[[], T]) -> T:
        """Call a method of the subclass, which may call its other methods."""
        me = get_ident()
        if me in self._inside:
            return method()
        try:
            self._inside.add(me)
            return method()
        finally:
            self._inside.discard(me)

    def _on_alarm(self, reason: object = None) -> None:
        """Hear of an alarm that was not raised with ``raise_alarm()`` but sent with PyDispatcher itself."""
        if not isinstance(reason, BaseException):
            reason = ConnectionLost(str(reason or f"{self.connection.name} raised an alarm without a reason"))
        self._take_down(with_text(reason), alarm=False)
        self._emit_end()

    def abandon(self) -> None:
        """Forget link, attempts and stops in a forked child process, where the threads that make them do not exist."""
        self._keeping = Lock()
        self._begin()


_drivers: CleanupRegistry[_PlainDriver] = CleanupRegistry(_PlainDriver.abandon)
