"""What no connection of this kind can be faster than: its contract in one function for each call, and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import time
from typing import Any

from pydispatch import dispatcher

from cnx import ConnectionLost, TimedOut
from tests.benchmarks.measuring import SIGNALS

__all__ = ["FLOOR", "Floor"]

FLOOR = "floor: the contract in one function"
"""What the way of a :class:`Floor` is called."""

PIECE = 256

_tables = dispatcher.connections
_registered = _tables.get  # a function, not a method of an imported name: see cnx.signals.subscriptions
_EVERYBODY = id(dispatcher.Any)


class Floor:
    """Reads and writes with what any connection has to look at that keeps the promises of cnx.

    That is: one reader and one writer at a time, of several threads; an end that another thread may give it, and
    threads that wait for that; a timeout for each call; errors of its own; a record, and counters; who is subscribed,
    where PyDispatcher tells nobody of that. It only looks: whatever is not as usual, it cannot do. All is in one
    function for each call, for one kind of transport, and nothing is kept. So nobody could use it; what it takes is
    what Python takes for a contract like that.

    Args:
        send: writes bytes, and returns how many.
        receive: returns up to so many bytes.
        handler: one that is subscribed; whoever reads calls it.
    """

    __slots__ = (
        "__weakref__",
        "_note",
        "_own",
        "_read_timeout",
        "_reader",
        "_reason",
        "_receive",
        "_send",
        "_timeout",
        "_usual",
        "_vacant",
        "_waiting",
        "_write_timeout",
        "_writer",
        "received",
        "sent",
        "writes",
    )

    def __init__(
        self,
        send: Callable[[bytes], int],
        receive: Callable[[int], bytes],
        handler: Callable[[bytes], Any] | None = None,
    ) -> None:
        self._send, self._receive = send, receive
        self._vacant = {"reader": True, "writer": True}
        self._reader = self._writer = 0
        self._reason: BaseException | None = None
        self._waiting: list[object] = []
        self._timeout: float | None = None
        self._read_timeout = self._write_timeout = self._timeout  # which the transport was told
        self._note = deque[tuple[float, str, bytes, int]](maxlen=200).append
        self.sent = self.received = self.writes = 0
        self._own = id(self)
        if handler is not None:
            dispatcher.connect(handler, SIGNALS.DATA_RECEIVED, sender=self, weak=False)
        found = _registered(self._own)
        self._usual = found and {signal: list(handlers) for signal, handlers in found.items()}

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        if type(data) is not bytes:
            raise TypeError
        if timeout is None:
            timeout = self._timeout
        me = get_ident()
        del self._vacant["writer"]
        try:
            self._writer = me
            if self._reason is not None or timeout != self._write_timeout:
                raise NotImplementedError
            size = len(data)
            note = self._note
            note((time(), ">", data if size <= PIECE else data[:PIECE], size))
            try:
                sent = self._send(data)
            except BlockingIOError as error:
                raise TimedOut from error
            except OSError as error:
                raise ConnectionLost from error
            if sent != size:
                raise NotImplementedError
            self.writes += 1
            self.sent += sent
        finally:
            self._writer = 0
            self._vacant["writer"] = True
            if self._waiting or self._reason is not None:
                raise NotImplementedError

    def read(self, size: int, timeout: float | None = None) -> bytes:
        """Receive bytes."""
        if size <= 0:
            raise ValueError
        if timeout is None:
            timeout = self._timeout
        me = get_ident()
        del self._vacant["reader"]
        try:
            self._reader = me
            if self._reason is not None or timeout != self._read_timeout:
                raise NotImplementedError
            try:
                data = self._receive(size)
            except BlockingIOError as error:
                raise TimedOut from error
            except OSError as error:
                raise ConnectionLost from error
            if not data:
                raise ConnectionLost
            came = len(data)
            note = self._note
            note((time(), "<", data if came <= PIECE else data[:PIECE], came))
            self.received += came
            if _registered(self._own) != self._usual or _EVERYBODY in _tables:
                raise NotImplementedError
            return data
        finally:
            self._reader = 0
            self._vacant["reader"] = True
            if self._waiting or self._reason is not None:
                raise NotImplementedError
