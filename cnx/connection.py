"""Connection: what a user holds, subscribes to and subclasses."""

from __future__ import annotations

import logging
import operator
import threading
import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import NamedTuple, TypeVar

from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, CnxError, ConnectError, ConnectionLost, TornDown
from cnx.signals import Signal, emit

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
    from :class:`~cnx.stream.StreamConnection`.

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

    def __init__(self, *, name: str | None = None, connect_timeout: float | None = 10.0) -> None:
        self.connect_timeout = checked_timeout(connect_timeout, "connect_timeout")
        self.last_error: BaseException | None = None
        self._name = name
        self._turn = threading.RLock()  # its holder attempts to connect
        self._attempts: list[Deadline] = []
        self._torndown = False

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
        """Let go of what :meth:`establish` made, if there is anything, and tell ``DISCONNECTED``; wait at most ``timeout``."""

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
        self._attempts.append(deadline)
        try:
            with self._turn:
                if not self._attempt(deadline):
                    return self.connected
        finally:
            self._attempts.remove(deadline)
        try:
            self.announce()
        except BaseException as error:  # such as KeyboardInterrupt: the caller does not know that it is connected
            self.release(error, STOP_TIMEOUT)
            raise
        return self.connected

    def _attempt(self, deadline: Deadline) -> bool:
        """Make an attempt; return whether there is something new to announce."""
        if self._torndown:
            raise TornDown(f"{self.name} was torn down; make a new connection")
        if self.connected:
            return False
        try:
            deadline.check(f"connecting to {self.address}")
            self.establish(deadline)
        except (CnxError, OSError) as error:
            self.last_error = error
            log.info("%s: not connected: %s", self.name, error)
            return False
        log.info("%s: connected", self.name)
        return True

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
            raise self.last_error or ConnectError(f"{self.name}: the link ended as soon as it was there")
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

    def _stop(self, reason: Cancelled) -> None:
        attempts = list(self._attempts)
        for attempt in attempts:
            attempt.cancel(reason)
        # a handler, or a signal handler, on the attempt's own thread gets the turn at once; others wait for its end
        if attempts and self._turn.acquire(timeout=STOP_TIMEOUT):
            self._turn.release()
        self.release(reason, STOP_TIMEOUT)

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
            emit(self, self.Signals.RAISE_ALARM, reason=reason)
        emit(self, self.Signals.DISCONNECTED, reason=reason)

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

    def _on_subscribers_changed(self) -> None:
        """Hear from :func:`cnx.subscribe` that the subscribers changed."""
