"""Link: one life of a transport, and who may touch it when.

Three roles, each held by at most one thread:

* the *reader* reads the transport. It is the listener when somebody is subscribed, or a caller of a reading method,
  who then needs no other thread to hand it the bytes. Other callers wait until the reader has something.
* the *writer* writes, one whole message after the other.
* the *announcer* tells that the link is there.

When the link has ended and all roles are free, the thread that attends to it closes the transport and tells the end;
so the end comes after everything that the link brought. The two roles of every message are taken and given back
without a lock, see :attr:`cnx.life.Life.vacant`; the lock only guards the bytes that wait, and how a link begins and
ends. Nobody reads, writes, waits for the network or calls a handler under it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import TypeVar

from cnx.deadline import left_of
from cnx.errors import TimedOut
from cnx.life import READER
from cnx.monitor import Gate
from cnx.reception import PAUSE, Reception
from cnx.transmission import Transmission
from cnx.transports.transport import CHUNK
from cnx.watch import AWAY, INPUT, NOTHING

__all__ = ["Link"]

T = TypeVar("T")

_LAST_WORDS = 0.1
"""Seconds that a write which failed waits for another thread to read what the peer sent before it went."""


class Link(Reception, Transmission):
    """One life of a transport, for callers of reading methods, on top of its reception by an attendant. Thread-safe."""

    __slots__ = ()

    def take_whole(
        self,
        least: int,
        most: int,
        timeout: float | None,
        size: int,
        whole: Callable[[bytes], object] | None,
    ) -> bytes | None:
        """Read once, where nothing waits and nobody else reads, and return what comes if it is all that is wanted.

        Otherwise what came is kept for :meth:`take`, and ``None`` is returned. This is the short way for a reply that
        comes in one piece.

        Args:
            least, most: bytes that it has to have.
            timeout: seconds.
            size: bytes to ask for.
            whole: says of what has so many whether it is what is wanted; ``None`` where the number says it.

        Raises:
            TimedOut: nothing came in time.
        """
        if self.patience is not None:
            timeout = self._within(timeout)
        me, leads = get_ident(), False
        try:
            del self.vacant[READER]
            leads, self._reader = True, me
            if self.reason is not None or (self._kept and self._still_kept()):
                return None
            if self._interest == INPUT:
                self._ask(NOTHING)
            data = self.transport.read(size, timeout)
            came = self._note("<", data)
            self.received += came
            found = least <= came <= most and (whole is None or whole(data))
            tell = self._sink.wanted() and self.live
            if not found:
                with self._lock:
                    self._put(data, tell)
            if tell:
                self._sink.deliver(data)
            return data if found else None
        except TimedOut:
            raise
        except Exception as error:
            if leads:
                self._fail(error)
            return None  # or somebody else reads
        finally:
            if leads:
                self._reader = 0
                self.vacant[READER] = True
                self._turns += 1
                if self._interest != AWAY or not self._resting or self._changed.gates or self.reason is not None:
                    self._leave()

    def fill(self, view: memoryview, timeout: float | None) -> bool:
        """Fill memory of the caller straight from the socket; return whether that was possible.

        It is not while other bytes wait, somebody else reads or is subscribed, or the transport cannot. What came in
        vain is kept.

        Raises:
            TimedOut: not enough came in time.
        """
        read_into = getattr(self.transport, "read_into", None)
        if read_into is None or self._sink.wanted():
            return False
        if self.patience is not None:
            timeout = self._within(timeout)
        began = monotonic()
        me, leads, filled = get_ident(), False, 0
        try:
            del self.vacant[READER]
            leads, self._reader = True, me
            if self.reason is not None or (self._kept and self._still_kept()):
                return False
            filled = read_into(view, timeout)
            while filled < len(view):
                filled += read_into(view[filled:], left_of(timeout, began))
            return True
        except TimedOut:
            raise
        except Exception as error:
            if leads:
                self._fail(error)
            return False
        finally:
            try:
                if leads and filled:
                    self._keep_part(view if filled == len(view) else view[:filled], filled == len(view))
            finally:
                if leads:
                    self._reader = 0
                    self.vacant[READER] = True
                    self._turns += 1
                    self._leave()

    def _still_kept(self) -> bool:
        """Whether something is in the inbox, where the calling thread is the reader: nobody else puts it there."""
        with self._lock:
            self._kept = len(self.inbox) > 0
        return self._kept

    def _keep_part(self, filled: memoryview, whole: bool) -> None:
        """Count what filled memory of the caller, and keep it if it was in vain."""
        self.received += self._note("<", filled)
        if not whole:
            with self._lock:
                self._put(bytes(filled), False)

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
        try:
            while True:
                with self._lock:
                    found = extract()
                    if found is not None:
                        if self._blocked:
                            self._make_room()
                        return found
                    if not leads:
                        try:
                            del self.vacant[READER]
                            leads, self._reader = True, me
                        except KeyError:
                            if gate is None:
                                gate = self._gate_of_follower(me)
                                self._changed.gates.append(gate)
                                continue  # and look again: a reader steps down without the lock
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
                self._turns += 1
                self._leave()
            if gate is not None:
                try:
                    self._changed.gates.remove(gate)
                except ValueError:
                    pass  # an interrupt came before it was there

    def read_waiting(self) -> None:
        """Move what waits into the inbox, without waiting for more; other threads that read keep their turn."""
        me, leads = get_ident(), False
        try:
            del self.vacant[READER]
            leads, self._reader = True, me
            data = self._read_now() if self.reason is None else None
            if data is not None:
                self._accept(data, keep=True, tell=self.live and self._sink.wanted())
        except Exception as error:
            if leads:
                self._fail(error)
        finally:
            if leads:
                self._reader = 0
                self.vacant[READER] = True
                self._turns += 1
                self._leave()

    def _hear_out(self) -> None:
        if self._reader == get_ident():
            return
        self._changed.wait_for(lambda: self.reason is not None or not self._reader, _LAST_WORDS)
        received = -1
        while self.received != received and self.reason is None and len(self.inbox) < self._sink.limit:
            received = self.received
            self.read_waiting()

    def _gate_of_follower(self, me: int) -> Gate:
        """Return what is to be opened when the reader has something."""
        if self._reader == me:
            raise RuntimeError(
                "a handler must not read from the connection whose data it is being told; read on another thread"
            )
        return Gate()

    def _read(self, timeout: float | None, keep: bool) -> None:
        """Read once as the reader."""
        if self._interest == INPUT:
            self._ask(NOTHING)
        try:
            data = self.transport.read(CHUNK, timeout)
            self._accept(data, keep=keep, tell=self.live and self._sink.wanted())
        except TimedOut:
            raise
        except Exception as error:
            self._fail(error)

    def _leave(self) -> None:
        """Give the role back, but leave the reading to the callers until they pause, also if there is somebody to tell.

        Meanwhile the socket is not watched at all: that would cost microseconds for each message. Nothing is to be done
        where the last caller has left it so. Who wants to know of the end of a turn looks after this has been noted.
        """
        if self._interest == AWAY and self._resting and not self._changed.gates and self.reason is None:
            return
        self._after_turn(AWAY)
        if not self._resting:
            self._rest(PAUSE[self._sink.wanted()])

    def _make_room(self) -> None:
        """Let the attendant go on if it stopped because the inbox was full; the lock is held."""
        if len(self.inbox) < self._sink.limit:
            self._blocked = False
            self._changed.notify()
            if READER in self.vacant and self.reason is None:
                self._ask(INPUT)
