"""The two ports of a controller as one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from cnx.clients.m2.client import M2Client
from cnx.clients.m2.client_delivery import M2Delivery
from cnx.clients.m2.client_events import MessageNotSent
from cnx.connection import STOP_TIMEOUT, Connection, Traffic
from cnx.deadline import Deadline
from cnx.errors import ConnectionLost
from cnx.signals import emit

__all__ = ["Port", "TwoPorts"]

T = TypeVar("T")


class Port(M2Client):
    """One of the two.

    Args:
        host, port: where it leads to.
        owner: the connection that it is a part of.
        consumer: gets every message.
        **settings: see :class:`M2Client`.
    """

    def __init__(self, host: str, port: int, owner: TwoPorts, consumer: Callable[[Any], None], **settings: Any) -> None:
        super().__init__(host, port, callback=None, **settings)
        self._owner = owner
        self._consumer = consumer

    @property
    def announced(self) -> bool:
        """Whether its end will be told, or was."""
        return self._link is not None and self._link.live

    def on_message(self, message: Any) -> None:
        """Pass a message on."""
        self._consumer(message)

    def on_disconnected(self, reason: BaseException) -> None:
        """Tell the owner."""
        self._owner.on_port_down(self, reason)

    def wait_for(self, find: Callable[[], T | None], timeout: float | None) -> T:
        """Return what ``find`` returns as soon as that is something; it comes by ``on_message``.

        Where nobody else reads, the calling thread does, so that no other thread has to hand it over.

        Raises:
            TimedOut: nothing was found in time.
            ConnectionLost, NotConnected: the link ended.
            RuntimeError: the calling thread is telling what came.
        """
        return self._current().take(find, timeout, keep=False)

    def expect(self, data: bytes, message: Any) -> None:
        """Take ``data`` for ``message`` without parsing it, if it comes by itself and nobody is subscribed here.

        For the result of a command, that saves a third of the time.
        """
        if isinstance(self._delivery, M2Delivery):
            self._delivery.expected = data, message

    def notify(self) -> None:
        """Let everybody in :meth:`wait_for` look again."""
        link = self._link
        if link is not None:
            link.notify()

    def _check_usable(self, what: str) -> None:
        if not self._owner.connected:
            raise MessageNotSent(f"{self._owner.name} is not connected; {what} was not sent")


class TwoPorts(Connection):
    """Is up when both ports are; when one is lost, both are closed. Thread-safe.

    A subclass makes the ports. Its handlers are told in the order of every connection: ``CONNECTED``, then what either
    port brings, then the end.

    Attributes:
        commands, telemetries: the ports, to subscribe to all that they tell.
    """

    commands: Port
    telemetries: Port

    def __init__(self, *, name: str | None = None, connect_timeout: float | None = 10.0) -> None:
        super().__init__(name=name, connect_timeout=connect_timeout)
        self._lock = threading.RLock()
        self._up = False
        self._reason: BaseException | None = None  # why the last connection ended
        self._open: set[Port] = set()  # those whose end was not told yet

    @property
    def address(self) -> str:
        return f"{self.commands.address}+{self.telemetries.address.rpartition(':')[2]}"

    @property
    def connected(self) -> bool:
        return self._up

    @property
    def traffic(self) -> Traffic:
        return self.commands.traffic.plus(self.telemetries.traffic)

    def is_connecting(self) -> bool:
        """Whether the calling thread is in an attempt to connect, maybe as a handler of ``CONNECTED``."""
        return super().is_inside()

    def is_inside(self) -> bool:
        return super().is_inside() or self.commands.is_inside() or self.telemetries.is_inside()

    def establish(self, deadline: Deadline) -> None:
        with self._lock:
            self._reason = None
        self.commands.establish(deadline)
        try:
            self.telemetries.establish(deadline)
        except BaseException as error:
            self.commands.release(error, 0.0)
            raise

    def announce(self) -> None:
        with self._lock:
            closed = self._reason
            if closed is None:
                self._up = True
                self._open = {self.commands, self.telemetries}
        if closed is not None:  # maybe before the ports were there, so they are open
            self.last_error = closed
            self.release(closed, STOP_TIMEOUT)
            return
        try:
            self.tell_connected()
        finally:
            for port in (self.commands, self.telemetries):
                port.announce()
                if not port.announced:
                    self.on_port_down(port, self._reason or port.last_error or ConnectionLost("a port was closed"))

    def tell_connected(self) -> None:
        """Tell that both ports are up."""
        emit(self, self.Signals.CONNECTED)

    def release(self, reason: BaseException, timeout: float) -> None:
        end = monotonic() + timeout
        self._lose(reason)
        for port in (self.commands, self.telemetries):
            port.release(reason, 0.0)
        for port in (self.commands, self.telemetries):
            port.release(reason, max(0.0, end - monotonic()))

    def on_port_down(self, port: Port, reason: BaseException) -> None:
        """Hear that a port ended: then the other one ends too, and the last one tells it."""
        first = self._lose(reason)
        with self._lock:
            self._open.discard(port)
            last = not self._open
        if last:
            self.tell_end(first)
        else:
            (self.telemetries if port is self.commands else self.commands).release(first, 0.0)

    def on_lost(self, reason: BaseException) -> None:
        """Called as soon as the connection is known to end, maybe more than once: end what waits for it."""

    def _lose(self, reason: BaseException) -> BaseException:
        """Note why the connection ends and return it; the first reason counts."""
        with self._lock:
            first = self._reason = self._reason or reason
            self._up = False
        self.on_lost(first)
        return first
