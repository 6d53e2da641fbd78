"""TransportConnection: what connections over streams and over datagrams have in common."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, ClassVar, Protocol, TypeVar

from typing_extensions import Never, Self, final

from cnx.connections.cancellable import (
    Attempts,
    CancellableConnection,
    CancellableParts,
    ConnectionSettings,
)
from cnx.connections.connection import STOP_TIMEOUT, Connection, Traffic, warn_abandoned
from cnx.connections.delivery import Delivery
from cnx.connections.heartbeat import Beat, Heartbeat, bytes_waiting
from cnx.connections.names import extension_point, refuse_unknown, setting
from cnx.deadline import LONGEST, Deadline, checked_interval, checked_timeout
from cnx.errors import Cancelled, ConnectError, NotConnected, as_failure, fatal, not_connected, text_of
from cnx.framing import LIMIT, Framing, checked_limit
from cnx.link.link import Link
from cnx.link.listener import Listener, Pump
from cnx.link.timers import Timer
from cnx.logs import logger
from cnx.recording.history import Archive, History
from cnx.recording.recorder import OPENED, PIECE, RECORDS, Recorder
from cnx.signals.subscriptions import Signal
from cnx.transports.tapped import TappedTransport, log_tap
from cnx.transports.transport import Transport

__all__ = ["Data", "Opener", "TransportConnection", "TransportParts", "TransportSettings", "checked_data"]

log = logger(__name__)

T = TypeVar("T")

Data = bytes | bytearray | memoryview


class TransportSettings(ConnectionSettings, total=False):
    """The settings of every connection over a transport; see :class:`TransportConnection`."""

    timeout: float | None
    framing: Framing | None
    limit: int
    listener: Listener | None
    heartbeat: Beat | None
    heartbeat_interval: float | None
    silence_limit: float | None
    record: int
    record_to: str | os.PathLike[str] | None


class Opener(Protocol):
    """How to open the transport of a connection, and where it leads to."""

    @property
    def address(self) -> str: ...

    def open(self, deadline: Deadline) -> Transport:
        """Return a newly opened transport; raises as :meth:`TransportConnection.open_transport`."""

    def discard(self) -> None:
        """Let go of what was never opened; there will be no further attempt."""


class TransportConnection(CancellableConnection):
    """A connection over a transport; :class:`~cnx.StreamConnection` and :class:`~cnx.UdpConnection` are the two kinds.

    Args:
        opener: how to open the transport. A subclass that overrides :meth:`open_transport` and ``address`` needs none.
        name: what it is called in log lines and thread names; its address if omitted.
        connect_timeout: seconds for one attempt, login included; ``None`` for no limit.
        timeout: seconds for each reading and writing call that is given none; ``None`` for no limit.
        framing: cuts the stream into messages; without one, each piece of bytes that arrives is a message.
        limit: bytes that may wait for the reading methods, and the size of the largest piece that is found by its end.
        listener: a :class:`~cnx.Listener` to share with other connections; if omitted, each link has its own thread.
        heartbeat: bytes to write, or a function to call with the connection, every ``heartbeat_interval`` seconds while
            a link is up. The function may wait, for instance for a reply. The link ends if it fails, or if it or any
            write takes longer than the interval. Handlers that take long do not hold heartbeats up.
        silence_limit: seconds without a byte from the peer after which the link ends; ``None`` for no limit. Noticed
            up to a quarter later, also while a handler runs. Bytes that wait unread count as received.
        record: how many records :meth:`history` keeps, up to 100,000, of at most 256 bytes each; 0 for none.
        record_to: an existing directory where the history is saved at every loss, as text and for Wireshark; the last
            20 stay.
    """

    _cnx: TransportParts

    secrets: tuple[bytes, ...] = ()
    """What must not be shown, such as the bytes of a password as they are sent; a subclass sets it."""

    message_signals: ClassVar[tuple[Signal, ...]] = ()
    """Further signals that :meth:`emit_messages` of a subclass emits; a subclass sets it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().__new__(cls)
        connection._cnx = TransportParts(Attempts(connection))
        return connection

    def __init__(
        self,
        opener: Opener | None = None,
        *,
        name: str | None = None,
        connect_timeout: float | None = 10.0,
        timeout: float | None = None,
        framing: Framing | None = None,
        limit: int = LIMIT,
        listener: Listener | None = None,
        heartbeat: Beat | None = None,
        heartbeat_interval: float | None = None,
        silence_limit: float | None = None,
        record: int = RECORDS,
        record_to: str | os.PathLike[str] | None = None,
        **unknown: Never,
    ) -> None:
        refuse_unknown(type(self), unknown)
        if framing is not None and not isinstance(framing, Framing):
            raise TypeError(f"framing must be a Framing, not {framing!r}")
        if listener is not None and not isinstance(listener, Listener):
            raise TypeError(f"listener must be a Listener, not {listener!r}")
        if opener is None and type(self).open_transport is TransportConnection.open_transport:
            raise TypeError(f"{type(self).__name__} has no source; give one, or override open_transport() and address")
        if record_to is not None and record == 0:
            raise ValueError("record=0 keeps nothing that record_to could save; leave out one of the two")
        parts = self._cnx
        parts.opener = opener
        parts.heartbeat = Heartbeat(heartbeat, heartbeat_interval, silence_limit)
        parts.recorder = Recorder(record)
        parts.archive = None if record_to is None else Archive(record_to)
        parts.framing = framing
        parts.listener = listener
        self.timeout = timeout
        self.limit = limit
        super().__init__(name=name, connect_timeout=connect_timeout)

    # -- extension points ------------------------------------------------------------------------------------------

    @property
    @extension_point
    def address(self) -> str:
        """Where it leads to, for people."""
        opener = self._cnx.opener
        if opener is None:
            return type(self).__name__
        return opener.address

    @extension_point
    def open_transport(self, deadline: Deadline) -> Transport:
        """Return a newly opened transport.

        Raises:
            ConnectError: it cannot be opened.
            TimedOut, Cancelled: the deadline ended.
        """
        opener = self._cnx.opener
        assert opener is not None, "the constructor has checked that"
        return opener.open(deadline)

    @extension_point
    def prepare(self, deadline: Deadline) -> None:
        """Log in, register, set up: whatever has to be done on a new link before it is ready for use.

        It may use the reading and writing methods; no other thread can, as yet. An exception fails the attempt.
        """

    @extension_point
    def on_message(self, message: Any) -> None:
        """Take a message, before it is emitted; called by the thread that reads.

        A :class:`~cnx.ProtocolError` ends the link with that reason; any other exception is logged.
        """

    @extension_point
    def emit_messages(self, messages: list[Any]) -> None:
        """Emit messages that have arrived together.

        Override it to emit other signals too, by the kind of a message: name them in :attr:`message_signals`, and
        emit them with :meth:`emit_each`. It is called by the thread that reads, and only if somebody wants messages.
        """
        self.emit_each(Connection.Signals.MESSAGE_RECEIVED, messages)

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    @setting
    def timeout(self) -> float | None:
        """Seconds for each reading and writing call that is given none; ``None`` for no limit."""
        return self._cnx.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._cnx.timeout = checked_timeout(seconds)

    @property
    @setting
    def limit(self) -> int:
        """Bytes that may wait for the reading methods, and the size of the largest piece that is found by its end."""
        return self._cnx.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._cnx.limit = checked_limit(limit)
        self._cnx.on_limit_changed()
        link = self._cnx.link
        if link is not None:
            link.inbox.limit = limit

    @property
    @final
    def framing(self) -> Framing | None:
        """What cuts the stream into messages."""
        return self._cnx.framing

    @property
    def connected(self) -> bool:
        """Whether it is ready for use."""
        link = self._cnx.link
        return link is not None and link.reason is None

    @property
    def traffic(self) -> Traffic:
        """What went over all links so far."""
        link, delivery = self._cnx.link, self._cnx.delivery
        before, counted = self._cnx.counted
        if link is None or delivery is None or link is counted:
            return before
        return before.plus(Traffic(link.received, link.sent, delivery.messages, link.writes))

    @property
    @final
    def in_waiting(self) -> int:
        """Bytes that have arrived and that cnx has not read from the operating system; 0 if that is not known."""
        link = self._cnx.link
        return 0 if link is None or link.reason is not None else bytes_waiting(link.fd)

    @final
    def history(self) -> History:
        """Return the last of what went over all links: bytes, shortened, without :attr:`secrets`, and what happened."""
        return History(self._cnx.recorder.records(self.secrets))

    @final
    def schedule(self, interval: float, callback: Callable[[], Any]) -> Timer:
        """Call ``callback`` every ``interval`` seconds while the present link is up.

        Call it in :meth:`prepare`, or later while connected; it begins once ``CONNECTED`` was emitted. The callbacks of
        a connection run one after the other on a thread of their own, so they may wait, and handlers do not hold them
        up. An exception is logged, and the callback is called again.

        Raises:
            NotConnected: there is no link.
        """
        if checked_interval(interval) is None:
            raise ValueError(f"interval must be a number of seconds above 0, up to {LONGEST:g}, not {interval!r}")
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        link = self._cnx.usable_link(self)
        if link.reason is not None:
            raise NotConnected(f"{self.name} is not connected: {link.reason}") from link.reason
        timer = Timer(link, interval, callback)
        link.schedule(timer)
        return timer

    @final
    def emit_each(self, signal: Signal, messages: Iterable[Any]) -> None:
        """Emit a signal for each message, in :meth:`emit_messages`; nothing is emitted once the link was closed.

        Args:
            signal: ``MESSAGE_RECEIVED``, or one of :attr:`message_signals`. Its argument is called ``message``.
            messages: the messages.
        """
        delivery = self._cnx.delivery
        if delivery is not None:
            delivery.emitters[signal].emit_each(messages)

    @final
    def wait_for(self, found: Callable[[], T | None], *, timeout: float | None = None) -> T:
        """Let messages arrive until ``found()`` returns something, and return that.

        This is how a client waits for an answer that ``on_message`` recognises and stores. The calling thread reads
        meanwhile if no other thread does, so no time is lost with handing the answer over.

        Args:
            found: looks for the answer; called again after everything that arrives, by several threads.
            timeout: seconds; that of the connection if omitted.

        Raises:
            TimedOut: nothing was found in time.
            NotConnected, ConnectionLost: there is no link, or it ended.
            RuntimeError: a handler called it on the thread that would bring the answer; or :meth:`prepare` did.
        """
        parts = self._cnx
        seconds = parts.timeout if timeout is None else checked_timeout(timeout)
        return (parts.link or parts.usable_link(self)).wait_for_message(found, seconds)

    @final
    def notify(self) -> None:
        """Let the threads in :meth:`wait_for` look again, after a change that no message has brought."""
        parts = self._cnx
        link = parts.link or parts.fresh
        if link is not None:
            link.notify()

    # -- how it is driven ------------------------------------------------------------------------------------------

    def establish(self, deadline: Deadline) -> None:
        parts = self._cnx
        parts.let_go_of_last_link(self, deadline)
        transport = self.open_transport(deadline)
        if not isinstance(transport, Transport):
            raise TypeError(f"{type(self).__name__}.open_transport() has to return a Transport, not {transport!r}")
        try:
            parts.delivery = Delivery(
                self,
                parts.framing,
                self.on_message if _is_overridden(self, "on_message") else None,
                self.emit_messages if _is_overridden(self, "emit_messages") else None,
                self.message_signals,
                parts.driver.note_loss,  # the driver holds the connection weakly
            )
            reference = weakref.ref(self)  # the link must not keep the connection alive

            def secrets() -> tuple[bytes, ...]:
                connection = reference()
                return () if connection is None else connection.secrets  # prepare() may add to them

            tap = log_tap(self.name, secrets)
            seen = transport if tap is None else TappedTransport(transport, tap)
            link = Link(seen, parts.delivery, parts.recorder, parts.limit)
            has_descriptor = transport.fileno() >= 0
            if parts.listener is not None and not has_descriptor:
                raise fatal(
                    ConnectError(
                        f"{self.address} has no descriptor that a listener could wait for, so it cannot share one: "
                        "leave out listener="
                    )
                )
            link.attendant = (parts.listener or Listener(self.name)) if has_descriptor else Pump(self.name)
        except BaseException:
            transport.shutdown()
            transport.close()
            raise
        parts.recorder.say(OPENED)
        try:
            link.deadline = deadline
            parts.preparing = get_ident()
            parts.fresh = link
            with deadline.waking(lambda: link.end(NotConnected("the attempt was cancelled"))):
                self.prepare(deadline)
                deadline.check(f"preparing {self.name}")
                link.start()
                parts.heartbeat.start(self, link)
            if link.reason is not None:
                raise as_failure(link.reason)
            link.deadline = None
            parts.preparing = 0
        except BaseException as error:
            parts.fresh = None
            link.end(error)
            parts.recorder.say(f"failed: {text_of(error)}")
            link.wait_settled(Deadline(STOP_TIMEOUT))
            if deadline.cancelled:
                deadline.check(f"preparing {self.name}")
            raise

    def announce(self) -> None:
        parts = self._cnx
        link = parts.fresh
        if link is None:
            return  # an end that came meanwhile has taken it away
        parts.on_new_link(self.name)
        parts.link, parts.fresh = link, None
        parts.recorder.say("connected")
        announced = link.announce(self.emit_connected)
        if link.reason is not None:
            parts.driver.last_error = link.reason
            link.wait_settled(Deadline(STOP_TIMEOUT))
            if not announced:
                raise as_failure(link.reason)

    def release(self, reason: BaseException, timeout: float) -> None:
        parts = self._cnx
        link = parts.fresh or parts.link
        if link is not None:
            link.end(reason)
            if timeout:
                link.wait_settled(Deadline(timeout))
        elif parts.driver.torn_down and parts.opener is not None:
            parts.opener.discard()

    def wait_ended(self, deadline: Deadline) -> bool:
        link = self._cnx.link
        return link is None or link.reason is None or link.wait_settled(deadline)

    def is_current_thread(self) -> bool:
        parts = self._cnx
        return parts.driver.turn == get_ident() or (parts.link is not None and parts.link.is_current_thread())

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        link = self._cnx.link
        if link is not None and link.reason is None and not is_finalizing():  # when it is, modules may be gone already
            try:
                warn_abandoned(self)
            finally:
                link.end(NotConnected("the connection was garbage collected"))


class TransportParts(CancellableParts):
    """The parts of a connection over a transport.

    Attributes:
        link: the last link that was announced; ``None`` before the first one and while a new one is being made.
        fresh: the link that is being made.
        last: the link before; what it has brought can be read until there is a new one.
        preparing: ident of the thread that prepares the fresh link, and alone may use it; 0 when it is prepared.
        delivery: of the link or of the fresh link.
        counted: what went over all links up to the last one that is counted in it, and that link.
    """

    def __init__(self, driver: Attempts) -> None:
        super().__init__(driver)
        self.opener: Opener | None = None
        self.heartbeat = Heartbeat(None, None, None)
        self.recorder = Recorder()
        self.archive: Archive | None = None
        self.framing: Framing | None = None
        self.listener: Listener | None = None
        self.timeout: float | None = None
        self.limit = LIMIT
        self.link: Link | None = None
        self.fresh: Link | None = None
        self.last: Link | None = None
        self.preparing = 0
        self.delivery: Delivery | None = None
        self.counted: tuple[Traffic, Link | None] = Traffic(), None

    def on_new_link(self, name: str) -> None:
        """Let go of the last link, as the next one is there."""
        last, self.last = self.last, None
        if last is not None and (unread := last.inbox.size):
            log.warning("%s: %d bytes of the last link were not read and are dropped", name, unread)

    def on_limit_changed(self) -> None:
        """Hear that the largest size of a piece has changed."""

    def on_subscribers_changed(self) -> None:
        """Let the listener find out whether anybody wants what arrives."""
        if self.link is not None:
            self.link.look_again()

    def on_end(self, connection: Connection, reason: BaseException) -> None:
        """Note the end of a link in the history, and save that if the link was lost."""
        assert isinstance(connection, TransportConnection)
        lost = not isinstance(reason, Cancelled)
        if lost:
            self.recorder.say(f"alarm: {reason}")
        self.recorder.say(f"disconnected: {reason}")
        if lost and self.archive is not None:
            self.archive.add(connection.name, connection.history())

    def seconds(self, timeout: float | None) -> float | None:
        """Return the seconds that a call waits which was given ``timeout``; ``None`` for ever."""
        return self.timeout if timeout is None else checked_timeout(timeout)

    def usable_link(self, connection: Connection) -> Link:
        """Return the link that the calling thread may use, which may have ended; raises NotConnected."""
        link = self.link
        if link is not None:
            return link
        fresh = self.fresh
        if fresh is not None and self.preparing in (0, get_ident()):
            return fresh
        raise NotConnected(not_connected(connection.name, connection.last_error)) from connection.last_error

    def let_go_of_last_link(self, connection: TransportConnection, deadline: Deadline) -> None:
        """Make sure that the end of the last link was emitted before there is a new one."""
        last = self.link
        if last is not None:
            ended = last.wait_settled(deadline)
            deadline.check(f"waiting for the end of the last link of {connection.name}")
            if not ended:
                raise ConnectError(
                    f"a handler of {connection.name} is still busy with its last link; connect after that, on another "
                    "thread, or leave it to a ConnectionManager"
                )
            self.last = last
        self.counted = connection.traffic, last  # before the link goes, so that it is always counted once
        self.link = None


def _is_overridden(connection: TransportConnection, name: str) -> bool:
    """Return whether the class or the object has a method of its own for an extension point."""
    return name in vars(connection) or getattr(type(connection), name) is not getattr(TransportConnection, name)


def checked_data(data: Data) -> Data:
    """Return bytes-like ``data`` in a form whose length is its number of bytes; as a copy if that is cheap."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"write() takes bytes, not {type(data).__name__}; write_str() takes text")
    if isinstance(data, memoryview) and (data.itemsize != 1 or data.ndim != 1 or not data.c_contiguous):
        return data.tobytes()
    return data if len(data) > PIECE else bytes(data)
