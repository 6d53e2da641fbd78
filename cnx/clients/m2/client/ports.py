"""The two ports of a controller as one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, TypeVar

from cnx.clients.m2.client.client import M2Client
from cnx.clients.m2.client.events import MessageNotSent
from cnx.connections.connection import STOP_TIMEOUT, Connection, Traffic
from cnx.deadline import Deadline
from cnx.errors import ConnectionLost
from cnx.link.link import Link
from cnx.signals.subscriptions import emit
from cnx.threads.locks import Lock

__all__ = ["Port", "TwoPorts"]

T = TypeVar("T")

FOREVER = threading.TIMEOUT_MAX / 2


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

    def check_may_wait(self, doing: str) -> None:
        """Raise RuntimeError on a thread that is telling what came, or that the controller is connected."""
        link = self._link
        if self._owner._turn == get_ident() or (link is not None and link.is_inside()):
            raise RuntimeError(f"a handler cannot {doing} on the thread that would bring it; wait on another thread")

    def wait_for(self, find: Callable[[], T | None], timeout: float | None) -> T:
        """Return what ``find`` returns as soon as that is something; it comes by ``on_message``.

        Where nobody else reads, the calling thread does, so that no other thread has to hand it over.

        Raises:
            TimedOut: nothing was found in time.
            ConnectionLost, NotConnected: the link ended.
        """
        link = self._link or self._current()
        if not link.live:
            timeout = self._wait_for_listener(link, find, timeout)
        return link.take(find, timeout, keep=False)

    def _wait_for_listener(self, link: Link, find: Callable[[], object], timeout: float | None) -> float | None:
        """Wait for what comes while handlers of CONNECTED are at it, which is told later; return what is left."""
        began = monotonic()
        link.wait_settled(FOREVER if timeout is None else timeout, lambda: find() is not None)
        return None if timeout is None else max(0.0, began + timeout - monotonic())

    def notify(self) -> None:
        """Let everybody in :meth:`wait_for` look again."""
        link, fresh = self._link, self._fresh
        if link is not None:
            link.notify()
        elif fresh is not None:
            fresh[0].notify()

    def wait_until_over(self, deadline: Deadline) -> None:
        """Wait until everything about the last link was told, so that nothing about it comes late."""
        self._let_go_of_old(deadline)

    def _current(self) -> Link:
        link, fresh = self._link, self._fresh
        if link is None and fresh is not None and self._owner.connected:
            return fresh[0]  # both are up, and any thread may use them; handlers of CONNECTED may still be at it
        return super()._current()

    def check_usable(self, what: str) -> None:
        if not self._owner._up:
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

    def _let_go(self) -> None:
        super()._let_go()
        self._lock = Lock()
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

    def is_inside(self) -> bool:
        return super().is_inside() or self.commands.is_inside() or self.telemetries.is_inside()

    def establish(self, deadline: Deadline) -> None:
        for port in (self.commands, self.telemetries):
            port.wait_until_over(deadline)
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

    def wait_ended(self, timeout: float) -> None:
        end = monotonic() + timeout
        for port in (self.commands, self.telemetries):
            port.wait_ended(max(0.0, end - monotonic()))

    def on_port_down(self, port: Port, reason: BaseException) -> None:
        """Hear that a port ended: then the other one ends too, and the last one tells it."""
        first = self._lose(reason)
        other = self.telemetries if port is self.commands else self.commands
        other.release(first, 0.0)  # while the end of this one is not over, so that it cannot hit the next connection
        with self._lock:
            self._open.discard(port)
            last = not self._open
        if last:
            self.tell_end(first)

    def on_lost(self, reason: BaseException) -> None:
        """Called as soon as the connection is known to end, maybe more than once: end what waits for it."""

    def _lose(self, reason: BaseException) -> BaseException:
        """Note why the connection ends and return it; the first reason counts."""
        with self._lock:
            first = self._reason = self._reason or reason
            self._up = False
        self.on_lost(first)
        return first
