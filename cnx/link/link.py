"""Link: one life of a transport, and who may touch it when.

Three roles, each held by at most one thread:

* the *reader* reads the transport. It is the listener when somebody is subscribed, or a caller of a reading method,
  who then needs no other thread to hand it the bytes. Other callers wait until the reader has something.
* the *writer* writes, one whole message after the other.
* the *announcer* tells that the link is there.

When the link has ended and all roles are free, the thread that attends to it closes the transport and tells the end;
so the end comes after everything that the link brought. The two roles of every message are taken and given back
without a lock, see :attr:`cnx.link.life.Life.vacant`; the lock only guards the bytes that wait, and how a link begins
and ends. Nobody reads, writes, waits for the network or calls a handler under it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import TypeVar

from cnx.errors import TimedOut
from cnx.link.direct import Direct
from cnx.link.life import READER
from cnx.link.selector import INPUT, NOTHING
from cnx.link.transmission import Transmission
from cnx.threads.condition import Gate
from cnx.transports.transport import CHUNK

__all__ = ["Link"]

T = TypeVar("T")

_LAST_WORDS = 0.1
"""Seconds that a write which failed waits for another thread to read what the peer sent before it went."""


class Link(Direct, Transmission):
    """One life of a transport, for callers of reading methods, on top of its reception by an attendant. Thread-safe."""

    __slots__ = ()

    def take(self, extract: Callable[[], T | None], timeout: float | None, *, keep: bool = True) -> T:
        """Return what ``extract`` finds in the inbox, reading until it finds something.

        Args:
            extract: called under the lock after every change.
            timeout: seconds.
            keep: put what is read into the inbox also when it is told; without it, ``extract`` looks for what
                ``on_message`` made of it.

        Raises:
            TimedOut: it found nothing in time; what came is kept.
            ConnectionLost: the link ended, and what came before is not enough.
        """
        if self.patience is not None:
            timeout = self._within(timeout)
        end = None if timeout is None else monotonic() + timeout
        me, leads = get_ident(), False
        gate: Gate | None = None
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise RuntimeError("a signal handler must not read from the connection that the interrupted code is using")
        try:
            while True:
                with self._lock:
                    self.gather()
                    found = extract()
                    if found is not None:
                        if self._blocked:
                            self._make_room()
                        return found
                    if not leads:
                        try:
                            del self.vacant[READER]
                            leads, self._reader = True, me
                            continue  # and look again: the last reader put things aside without the lock
                        except KeyError:
                            if gate is None:
                                gate = self._gate_of_follower(me)
                                self.gates.append(gate)
                                continue  # likewise
                    if self.reason is not None:
                        self._check_up()
                if leads:
                    self._read(timeout, keep)
                elif gate is not None and not gate.wait(timeout):
                    raise TimedOut(f"nothing came from {self.transport.address} in time")
                if end is not None:
                    timeout = max(0.0, end - monotonic())
        finally:
            if leads:
                self._reader = 0
                self.vacant[READER] = True
            if gate is not None:
                try:
                    self.gates.remove(gate)
                except ValueError:
                    pass  # an interrupt came before it was there
            if leads or (gate is not None and self._interest == INPUT):
                self._leave()  # or the attendant would be first again with the next message

    def read_waiting(self) -> None:
        """Move what waits into the inbox, without waiting for more; other threads that read keep their turn."""
        me, leads = get_ident(), False
        try:
            del self.vacant[READER]
            leads, self._reader = True, me
            data = self._read_now() if self.reason is None else None
            if data is not None:
                self._accept(data, True, self.live and self._sink.wanted())
        except Exception as error:
            if leads:
                self._fail(error)
        finally:
            if leads:
                self._reader = 0
                self.vacant[READER] = True
                self._leave()

    def _hear_out(self) -> None:
        if self._reader == get_ident():
            return
        self._changed.wait_for(lambda: self.reason is not None or not self._reader, _LAST_WORDS)
        received = -1
        while self.received != received and self.reason is None and self.unread() < self._sink.limit:
            received = self.received
            self.read_waiting()

    def _gate_of_follower(self, me: int) -> Gate:
        """Return what is to be opened when the reader has something."""
        if self._reader == me:
            raise RuntimeError(
                "a handler must not read from the connection whose data it is being told; read on another thread"
            ) from None  # that the role was taken says nothing more
        return Gate()

    def _read(self, timeout: float | None, keep: bool) -> None:
        """Read once as the reader."""
        if self._interest == INPUT:
            self._ask(NOTHING)
        try:
            data = self.transport.read(CHUNK, timeout)
            self._accept(data, keep, self.live and self._sink.wanted())
        except TimedOut:
            raise
        except Exception as error:
            self._fail(error)

    def _make_room(self) -> None:
        """Let the attendant go on if it stopped because the inbox was full; the lock is held."""
        if len(self.inbox) < self._sink.limit:
            self._blocked = False
            self._changed.notify()
            if READER in self.vacant and self.reason is None:
                self._ask(INPUT)
