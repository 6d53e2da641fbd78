"""What goes out on a link: whole messages, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic, time
from typing import Any, NoReturn

from cnx.deadline import left_of
from cnx.errors import ConnectionLost, TimedOut
from cnx.link.life import WRITER, Life
from cnx.recording.recorder import PIECE

__all__ = ["Transmission"]


class Transmission(Life):
    """The writing of a link, on top of its :class:`~cnx.link.life.Life`. Thread-safe."""

    __slots__ = ()

    @property
    def writing(self) -> tuple[int, int]:
        """The thread that is writing (0: none), and how many writes were over before."""
        return self._writer, self.writes

    def write(self, data: Any, timeout: float | None, make: Callable[[Any], bytes] | None = None) -> None:
        """Send the whole of ``data``, not mixed with what other threads send.

        Args:
            data: bytes; if more than ``PIECE``, also bytearray or memoryview; for ``make``, anything.
            timeout: seconds, for other writes and for this one together; ``None`` for ever.
            make: returns the bytes to send. It is called as soon as nobody else writes, and nothing is sent if it
                raises; so what counts messages does so in the order in which they go out.

        Raises:
            TimedOut: time was up. Where nothing was sent yet the link goes on; a message that was cut ends it.
            ConnectionLost: it ended.
        """
        me = get_ident()  # before it takes the role, as a signal handler may run where a function has returned
        if self.patience is not None:
            timeout = self._within(timeout)
        while True:
            try:
                del self.vacant[WRITER]
                break
            except KeyError:
                timeout = self._wait_to_write(me, timeout)
        try:
            self._writer = me
            if self.reason is not None:
                self._check_up()
            if self._sink.provisional:
                self._forget_told()
            if make is not None:
                data = make(data)
            size = len(data)
            note = self._note  # apart, as CPython 3.11 is slow at calling what a slot holds
            note((time(), ">", data if size <= PIECE else bytes(data[:PIECE]), size))  # before there is an answer
            try:
                sent = self.transport.write(data, timeout)
            except BaseException as error:
                self._break_off(error)
            self.writes += 1
            if sent == size:
                self.sent += sent
            else:
                self._cut(sent, size, timeout)
        finally:
            self._writer = 0
            self.vacant[WRITER] = True
            if self.gates:
                self._changed.notify()
            if self.reason is not None:
                self._ask_to_settle()

    def _wait_to_write(self, me: int, timeout: float | None) -> float | None:
        """Wait until nobody writes; return what is left of ``timeout``."""
        address = self.transport.address
        if self._writer == me:
            if self._broken is not None:  # and now somebody answers the last words of the peer
                raise ConnectionLost(f"{address} is gone: {self._broken}") from self._broken
            raise RuntimeError(
                "a signal handler must not write to the connection that the interrupted code is writing to"
            ) from None  # that the role was taken says nothing more
        began = monotonic()
        if not self._changed.wait_for(lambda: WRITER in self.vacant or self.reason is not None, timeout):
            raise TimedOut(f"another write to {address} did not end within {timeout:g} s; nothing was sent") from None
        if self.reason is not None:
            self._check_up()
        return left_of(timeout, began)

    def _break_off(self, error: BaseException) -> NoReturn:
        """Raise what a write that raised ``error`` means; what broke off in the middle ends the link."""
        address = self.transport.address
        if isinstance(error, ConnectionLost):
            self._broken = error
            self._hear_out()
            if not self.end(error):
                self._check_up()
        elif isinstance(error, OSError):
            lost = ConnectionLost(f"the connection with {address} broke while writing: {error}")
            self.end(lost)
            raise lost from error
        elif isinstance(error, Exception):  # it cannot be sent, and was not
            self.recorder.say(f"that was not sent: {error!r}")
        else:  # such as KeyboardInterrupt
            self.end(ConnectionLost(f"a write to {address} was interrupted by {error!r}, maybe half-way"))
        raise error

    def _hear_out(self) -> None:
        """Take in what the peer sent before it went, which a write was the first to find out."""

    def _forget_told(self) -> None:
        """Keep what comes from now on, in place of what nobody has read and everybody was told."""
        if self._sink.keeping and not self._arrived and not len(self.inbox):
            return
        with self._lock:
            self._sink.keeping = True
            if not self._untold:
                self._arrived.clear()
                self.inbox.clear()

    def _cut(self, sent: int, size: int, timeout: float | None) -> None:
        """Report a write that took too long."""
        self.recorder.say(
            f"only {sent} of these {size} bytes were sent" if sent >= 0 else "a part of that was not sent"
        )
        address = self.transport.address
        self.sent += max(sent, 0)
        self._check_up()
        if sent == 0:
            raise TimedOut(f"{address} took nothing of {size} bytes within {timeout:g} s; nothing was sent")
        error = TimedOut(
            f"{address} took only a part of {size} bytes within {timeout:g} s; the connection is closed, "
            "as the rest cannot follow"
        )
        self.end(error)
        raise error
