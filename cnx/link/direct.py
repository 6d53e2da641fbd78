"""Reading a link straight from its transport, where nobody else reads and nothing waits: the short ways.

What does not work out that way is kept, and found by :meth:`cnx.link.link.Link.take`.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic, time

from cnx.deadline import left_of
from cnx.errors import TimedOut
from cnx.link.life import READER
from cnx.link.parties import Awaited
from cnx.link.reception import PAUSE, Reception
from cnx.link.selector import AWAY, INPUT, NOTHING
from cnx.recording.recorder import PIECE
from cnx.transports.transport import CHUNK

__all__ = ["Direct"]


class Direct(Reception):
    """The reading of a link by callers who find the way clear. Thread-safe."""

    __slots__ = ()

    def take_whole(
        self,
        least: int,
        most: int,
        timeout: float | None,
        size: int,
        end: bytes | None = None,
        good: Callable[[bytes], object] | None = None,
    ) -> bytes | None:
        """Read once, where nothing waits and nobody else reads, and return what comes if it is all that is wanted.

        Otherwise what came is kept for :meth:`take`, and ``None`` is returned. This is the short way for a reply that
        comes in one piece.

        Args:
            least, most: bytes that it has to have.
            timeout: seconds.
            size: bytes to ask for.
            end: ``least`` bytes that it has to have at its end, and nowhere before.
            good: says of what is all that whether it is what is wanted.

        Raises:
            TimedOut: nothing came in time.
        """
        me = get_ident()  # before it takes the role, as a signal handler may run where a function has returned
        if self.patience is not None:
            timeout = self._within(timeout)
        try:
            del self.vacant[READER]
        except KeyError:
            return None  # somebody else reads
        try:
            self._reader = me
            if self.reason is not None or (self._kept and self._still_kept()):
                return None
            if self._interest == INPUT:
                self._ask(NOTHING)
            data = self.transport.read(size, timeout)
            came = len(data)
            note = self._note
            note((time(), "<", data if came <= PIECE else data[:PIECE], came))
            self.received += came
            found = least <= came <= most and (end is None or data.find(end) == came - least)
            if found and good is not None:
                found = bool(good(data))
            if self.live and self._sink.wanted():
                if not found:
                    self._keep(data, True)
                self._sink.deliver(data)
            elif not found:
                self._keep(data, False)
            return data if found else None
        except TimedOut:
            raise
        except Exception as error:
            self._fail(error)
            return None
        finally:
            self._reader = 0
            self.vacant[READER] = True
            if self._interest != AWAY or not self._resting or self.gates or self.reason is not None:
                self._leave()

    def hear(self, awaited: Awaited, timeout: float | None) -> None:
        """Read once and tell it, where nobody else reads, unless ``awaited`` is there.

        This is the short way for a connection that itself wants whatever comes.

        Raises:
            TimedOut: nothing came in time.
        """
        me = get_ident()
        try:
            del self.vacant[READER]
        except KeyError:
            return  # somebody else reads
        try:
            self._reader = me
            if self.reason is None and self.live and awaited.result is None:
                if self._interest == INPUT:
                    self._ask(NOTHING)
                data = self.transport.read(CHUNK, timeout)
                came = len(data)
                note = self._note
                note((time(), "<", data if came <= PIECE else data[:PIECE], came))
                self.received += came
                sink = self._sink
                if self._untold:
                    self._deliver_kept()
                if sink.keeping:
                    self._put(data)
                sink.deliver(data)
        except TimedOut:
            raise
        except Exception as error:
            self._fail(error)
        finally:
            self._reader = 0
            self.vacant[READER] = True
            if self._interest != AWAY or not self._resting or self.gates or self.reason is not None:
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
        me, began, filled, size = get_ident(), monotonic() if timeout else 0.0, 0, len(view)
        try:
            del self.vacant[READER]
        except KeyError:
            return False
        try:
            self._reader = me
            if self.reason is not None or (self._kept and self._still_kept()):
                return False
            filled = read_into(view, timeout)
            while filled < size:
                filled += read_into(view[filled:], left_of(timeout, began))
            self._note((time(), "<", bytes(view[:PIECE]), size))
            self.received += size
            return True
        except TimedOut:
            raise
        except Exception as error:
            self._fail(error)
            return False
        finally:
            try:
                if 0 < filled < size:
                    self._keep_part(bytes(view[:filled]))
            finally:
                self._reader = 0
                self.vacant[READER] = True
                if self._interest != AWAY or not self._resting or self.gates or self.reason is not None:
                    self._leave()

    def _still_kept(self) -> bool:
        """Whether something is in the inbox, where the calling thread is the reader: nobody else puts it there."""
        self._kept = self.unread() > 0
        return self._kept

    def _keep_part(self, filled: bytes) -> None:
        """Keep what filled memory of the caller in vain."""
        self._note((time(), "<", filled[:PIECE], len(filled)))
        self.received += len(filled)
        self._keep(filled, False)

    def _leave(self) -> None:
        """Leave the reading to the callers until they pause, also if there is somebody to tell; the role is given back.

        Meanwhile the socket is not watched at all: that would cost microseconds for each message. Nothing is to be done
        where the last caller has left it so, which the short ways find out first.
        """
        self._after_turn(AWAY)
        if not self._resting:
            self._rest(PAUSE[self._sink.wanted()])
