"""Connections over a transport: what streams and datagrams have in common."""

from __future__ import annotations

import logging
import os
import sys
from abc import abstractmethod
from collections.abc import Callable
from threading import get_ident
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.connections.connection import STOP_TIMEOUT, Connection, Traffic
from cnx.connections.delivery import Delivery
from cnx.connections.heartbeat import Beat, Heartbeat
from cnx.deadline import LONGEST, Deadline, Seconds, checked_interval
from cnx.errors import Cancelled, ConnectError, NotConnected, as_failure, because
from cnx.framing import LIMIT, Framing, checked_limit
from cnx.link.link import Link
from cnx.link.listener import Listener, Pump
from cnx.link.parties import Inbox
from cnx.link.timers import Timer
from cnx.recording.history import Archive, History
from cnx.recording.recorder import OPENED, RECORDS, Recorder
from cnx.signals.subscriptions import emit
from cnx.transports.tapped import TappedTransport, log_tap
from cnx.transports.transport import Transport

__all__ = ["TransportConnection"]

log = logging.getLogger(__name__)


class TransportConnection(Connection):
    """A connection over a transport; :class:`StreamConnection` and :class:`UdpConnection` are the two kinds.

    A subclass says in :meth:`open_transport` how to open it. It may also define ``on_message(self, message)``, which
    is called for every message before it is told, and ``on_disconnected(self, reason)``, which is called before the
    end of a link is told. Both run on the thread that tells; a :class:`~cnx.errors.ProtocolError` from ``on_message``
    ends the link with that reason.

    Args:
        name: what it is called in log lines and thread names; its address if omitted.
        connect_timeout: seconds for one attempt, login included; ``None`` for no limit.
        timeout: seconds for each reading and writing call that is given none; ``None`` for no limit.
        framing: what cuts the stream into messages; without one, a message is whatever came together.
        limit: bytes that may wait for the reading methods, and size of the largest piece that is found by its end.
        listener: a :class:`~cnx.link.listener.Listener` to share with other connections; one thread each if omitted.
        heartbeat: bytes to write, or a function to call with the connection, every ``heartbeat_interval`` seconds while
            a link is up, on the thread that listens. The link ends when that fails, or a write is stuck for as long.
        silence_limit: seconds without a byte from the peer after which the link ends; ``None`` for no limit.
        record: how many records :meth:`history` keeps, up to 100,000, of at most 256 bytes each; 0 for none.
        record_to: a directory where the history is saved at every alarm, as text and for Wireshark; the last 20 stay.
    """

    reading: bool = False
    """Keep all bytes for the reading methods, even while somebody is subscribed. The first call of a reading method
    sets it; a subclass that reads its replies sets it from the start."""

    secrets: tuple[bytes, ...] = ()
    """What must not be shown, such as the bytes of a password as they are sent; a subclass sets it."""

    timeout: float | None = Seconds()  # type: ignore[assignment]  # what it gives

    def __init__(
        self,
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
    ) -> None:
        self._link: Link | None = None  # set for everybody once it is announced
        self._fresh: tuple[Link, int] | None = None  # being prepared, and by which thread
        self._delivery: Delivery | None = None
        self._before = Traffic()
        super().__init__(name=name, connect_timeout=connect_timeout)
        if framing is not None and not isinstance(framing, Framing):
            raise TypeError(f"framing is a Framing, not {framing!r}")
        if listener is not None and not isinstance(listener, Listener):
            raise TypeError(f"listener is a Listener, not {listener!r}")
        self._heartbeat = Heartbeat(heartbeat, heartbeat_interval, silence_limit)
        self._recorder = Recorder(record)
        self._archive = None if record_to is None else Archive(record_to)
        self._framing = framing
        self._listener = listener
        self.timeout = timeout
        self.limit = limit

    # -- for subclasses --------------------------------------------------------------------------------------------

    @abstractmethod
    def open_transport(self, deadline: Deadline) -> Transport:
        """Return a newly opened transport.

        Raises:
            ConnectError: it cannot be opened.
            TimedOut, Cancelled: the deadline ended.
        """

    def prepare(self, deadline: Deadline) -> None:
        """Log in, register, set up: whatever has to be done on a new link before it is ready for use.

        It may use the reading and writing methods; nobody else can, as yet. What it raises fails the attempt.
        """

    def schedule(self, interval: float, callback: Callable[[], Any]) -> Timer:
        """Call ``callback`` every ``interval`` seconds while the present link is up, on the thread that listens.

        Call it in :meth:`prepare`, or later while connected. The callback must be quick.

        Raises:
            NotConnected: there is no link.
        """
        if checked_interval(interval) is None:
            raise ValueError(f"interval must be a number of seconds above 0, up to {LONGEST:g}, not {interval!r}")
        if not callable(callback):
            raise TypeError(f"callback is something to call, not {callback!r}")
        link = self._current()
        if link.reason is not None:
            raise NotConnected(f"{self.name} is not connected: {link.reason}") from link.reason
        timer = Timer(link, interval, callback)
        link.schedule(timer)
        return timer

    @property
    def limit(self) -> int:
        """Bytes that may wait for the reading methods, and size of the largest piece that is found by its end."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = checked_limit(limit)
        if self._delivery is not None:
            self._delivery.limit = limit

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        link = self._link
        return link is not None and link.reason is None

    @property
    def traffic(self) -> Traffic:
        """What went over all links so far."""
        link, delivery = self._link, self._delivery
        if link is None or delivery is None:
            return self._before
        return self._before.plus(Traffic(link.received, link.sent, delivery.messages, link.writes))

    def history(self) -> History:
        """Return the last of what went over all links: bytes, shortened, without :attr:`secrets`, and what happened."""
        return History(self._recorder.records(self.secrets))

    # -- how Connection drives it ----------------------------------------------------------------------------------

    def establish(self, deadline: Deadline) -> None:
        self._let_go_of_old(deadline)
        transport = self.open_transport(deadline)
        if not isinstance(transport, Transport):
            raise TypeError(f"{type(self).__name__}.open_transport() has to return a Transport, not {transport!r}")
        try:
            self._delivery = self._new_delivery()
            tap = log_tap(self.name, self.secrets)
            seen = transport if tap is None else TappedTransport(transport, tap)
            link = Link(seen, self._new_inbox(), self._delivery, self._recorder)
            link.attendant = self._attendant(transport)
        except BaseException:
            transport.shutdown()
            transport.close()
            raise
        self._recorder.say(OPENED)
        try:
            link.patience = deadline
            self._fresh = link, get_ident()
            with deadline.waking(lambda: link.end(NotConnected("the attempt was cancelled"))):
                self.prepare(deadline)
                deadline.check(f"preparing {self.name}")
                link.start()
            if link.reason is not None:
                raise as_failure(link.reason)
            link.patience = None
        except BaseException as error:
            self._fresh = None
            self._recorder.say(f"failed: {error}")
            link.end(error)
            link.wait_settled(STOP_TIMEOUT)
            if deadline.cancelled:
                deadline.check(f"preparing {self.name}")
            raise

    def _let_go_of_old(self, deadline: Deadline) -> None:
        """Make sure that everything about the last link has been told before there is a new one."""
        old = self._link
        if old is not None:
            left = deadline.remaining()
            with deadline.waking(old.notify):
                settled = old.wait_settled(STOP_TIMEOUT if left is None else left, lambda: deadline.cancelled)
            deadline.check(f"waiting for the end of the last link of {self.name}")
            if not settled:
                raise ConnectError(
                    f"a handler of {self.name} is still busy with its last link; connect after that, on another "
                    "thread, or leave it to a ConnectionManager"
                )
            if unread := old.unread():
                log.warning("%s: %d bytes that the last link brought were not read and are dropped", self.name, unread)
        self._link, self._before = None, self.traffic

    def announce(self) -> None:
        fresh = self._fresh
        if fresh is None:
            return
        link = fresh[0]
        self._link, self._fresh = link, None
        self._recorder.say("connected")
        self._heartbeat.start(self, link)
        link.announce(lambda: emit(self, Connection.Signals.CONNECTED))
        if link.reason is not None:
            self.last_error = link.reason
            link.wait_settled(STOP_TIMEOUT)

    def release(self, reason: BaseException, timeout: float) -> None:
        fresh = self._fresh
        link = fresh[0] if fresh else self._link
        if link is not None:
            link.end(reason)
            if timeout:
                link.wait_settled(timeout)

    def wait_ended(self, timeout: float) -> None:
        link = self._link
        if link is not None and link.reason is not None:
            link.wait_settled(timeout)

    def tell_end(self, reason: BaseException) -> None:
        asked = isinstance(reason, Cancelled)
        if not asked:
            self._recorder.say(f"alarm: {reason}")
        self._recorder.say(f"disconnected: {reason}")
        if self._archive is not None and not asked:
            self._archive.add(self.name, self.history())
        super().tell_end(reason)

    def is_inside(self) -> bool:
        link = self._link
        return super().is_inside() or (link is not None and link.is_inside())

    def _let_go(self) -> None:
        super()._let_go()
        self._fresh = None

    def _attendant(self, transport: Transport) -> Listener | Pump:
        return Pump(self.name) if transport.fileno() < 0 else self._listener or Listener(self.name)

    def _new_inbox(self) -> Inbox:
        return ReceiveBuffer()

    def _new_delivery(self) -> Delivery:
        return Delivery(self, self._framing, self._limit)

    def _current(self) -> Link:
        """Return the link that the calling thread may use."""
        link = self._link
        if link is not None:
            return link
        fresh = self._fresh
        if fresh is not None and fresh[1] == get_ident():
            return fresh[0]
        raise NotConnected(f"{self.name} is not connected{because(self.last_error)}")

    def _reading_link(self) -> Link:
        """Return the link for a reading method, which from now on keeps bytes for it."""
        link = self._current()
        if link is self._link and not self.reading:
            self.reading = True
            if self._delivery is not None:
                self._delivery.provisional = False
                self._delivery.keeping = True
        return link

    def _on_subscribers_changed(self) -> None:
        link = self._link
        if link is not None:
            link.look_again()  # its thread may be leaving bytes unread because nobody wanted them

    def __del__(self, over: Callable[[], bool] = sys.is_finalizing) -> None:
        link = getattr(self, "_link", None)  # the constructor may have refused its arguments
        if link is not None and link.reason is None and not over():  # when over, modules may be gone already
            try:
                self._warn_abandoned()
            finally:
                link.end(NotConnected("the connection was garbage collected"))
