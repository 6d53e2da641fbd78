"""The methods that read, for streams of bytes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import operator
from abc import abstractmethod
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from cnx.deadline import checked_timeout, left_of
from cnx.errors import (
    CnxError,
    ConnectionLost,
    EncodingError,
    IncompleteRead,
    InvalidJson,
    LimitExceeded,
    NotConnected,
    PeerClosed,
)
from cnx.framing import Framing, Raw, checked_terminator, failure, shorten
from cnx.transports.transport import CHUNK

if TYPE_CHECKING:
    from cnx.buffer import ReceiveBuffer
    from cnx.link.link import Link

__all__ = ["Reading"]

T = TypeVar("T")


class Reading:
    """The methods that read. Thread-safe; each call takes its bytes as one piece.

    Each waits up to ``timeout`` seconds, or the connection's own ``timeout`` if omitted (``math.inf``: for ever).

    A timeout, an end or a limit loses nothing: what came stays and can be read. All of them raise:

    * ``TimedOut``: not enough came in time.
    * ``NotConnected``: there is no link, or it was closed on request.
    * ``ConnectionLost``: the link broke. ``IncompleteRead``, with ``partial``, when it ended in the middle.
    * ``LimitExceeded``: the end of the piece is not within ``limit`` bytes.
    """

    encoding: str
    terminator: bytes
    limit: int
    timeout: float | None
    reading: bool
    _timeout: float | None
    _limit: int
    _framing: Framing | None
    _link: Link | None

    @abstractmethod
    def _reading_link(self) -> Link: ...

    def read(self, n: int = -1, *, timeout: float | None = None) -> bytes:
        """Return up to ``n`` bytes as soon as any are there; ``b""`` when the peer has closed and all is read.

        With a negative ``n``, return everything up to the moment when the peer closes; ``limit`` does not apply.
        """
        n = operator.index(n)
        link = (self.reading and self._link) or self._reading_link()
        patience = self._timeout if timeout is None else checked_timeout(timeout)
        if n <= 0:
            return self._read_to_end(link, patience) if n else b""
        size = CHUNK if n > CHUNK or link.transport.buffers else n
        data = link.take_whole(1, n, patience, size)
        return self._take_some(link, n, patience) if data is None else data

    def readexactly(self, n: int, *, timeout: float | None = None) -> bytes:
        """Return exactly ``n`` bytes; ``limit`` does not apply."""
        if operator.index(n) <= 0:
            if n:
                raise ValueError(f"cannot read {n} bytes")
            self._reading_link()
            return b""
        link = (self.reading and self._link) or self._reading_link()
        patience = self._timeout if timeout is None else checked_timeout(timeout)
        began = monotonic() if patience else 0.0
        data = link.take_whole(n, n, patience, CHUNK)
        return self._take_exactly(link, n, left_of(patience, began)) if data is None else data

    def readuntil(self, separator: bytes = b"\n", *, timeout: float | None = None) -> bytes:
        """Return everything up to ``separator``, which is included."""
        checked_terminator(separator)
        link = (self.reading and self._link) or self._reading_link()
        patience = self._timeout if timeout is None else checked_timeout(timeout)
        began = monotonic() if patience else 0.0
        data = link.take_whole(len(separator), self._limit, patience, CHUNK, separator)
        return self._take_piece(link, separator, left_of(patience, began)) if data is None else data

    def readline(self, *, timeout: float | None = None) -> bytes:
        """Return one line with its ``b"\\n"``; like a file, the rest at the end, then ``b""``."""
        if timeout is None:
            try:  # the short way: a line that has been cut already
                return self._link.inbox.lines.pop()  # type: ignore[union-attr,no-any-return]
            except (IndexError, AttributeError):
                pass  # there is none, or no link
        return self._take_line(self._reading_link(), self._patience(timeout))

    def _line(self, inbox: ReceiveBuffer) -> bytes | None:
        """Cut all lines that are there at once, if none is too long, and return the first."""
        if not inbox.cut_lines(self.limit):
            return self._piece(inbox, b"\n")
        return inbox.lines.pop()

    def read_str(self, *, timeout: float | None = None) -> str:
        """Return the text up to the next terminator, without it.

        Raises:
            EncodingError: it is not text in ``encoding``; the piece is gone.
        """
        data = self.readuntil(self.terminator, timeout=timeout)[: -len(self.terminator)]
        try:
            return data.decode(self.encoding)
        except UnicodeError as error:
            raise EncodingError(f"not text in {self.encoding}: {shorten(data)}") from error

    def read_json(self, *, timeout: float | None = None) -> Any:
        """Return the JSON value up to the next terminator.

        Raises:
            InvalidJson: it is not JSON; the piece is gone, and the error shows it.
            EncodingError: it is not text in ``encoding``.
        """
        text = self.read_str(timeout=timeout)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidJson(f"not JSON ({error}): {shorten(text)}", text) from error

    def read_into(self, struct: ctypes.Structure | ctypes.Union, *, timeout: float | None = None) -> None:
        """Fill a ctypes structure with the next bytes; after an error its content is undefined."""
        if not isinstance(struct, (ctypes.Structure, ctypes.Union)):
            raise TypeError(f"read_into() fills ctypes structures, not {struct!r}")
        link = (self.reading and self._link) or self._reading_link()
        patience = self._timeout if timeout is None else checked_timeout(timeout)
        if not link.fill(memoryview(struct).cast("B"), patience):
            size = ctypes.sizeof(struct)
            ctypes.memmove(ctypes.addressof(struct), self.readexactly(size, timeout=timeout), size)

    def receive(self, *, timeout: float | None = None) -> Any:
        """Return the next message, as the framing cuts it.

        Raises:
            ProtocolError: it breaks the rules of the framing.
        """
        link = self._reading_link()
        framing = self._framing or Raw()
        return self._take(link, lambda: _next_message(framing, link.inbox), self._patience(timeout))

    def read_waiting(self) -> bytes:
        """Return what is there now, maybe ``b""``, without waiting.

        Raises:
            NotConnected, ConnectionLost: nothing is there, and nothing will come.
        """
        link = self._reading_link()
        link.read_waiting()
        inbox: ReceiveBuffer = link.inbox
        return self._take(link, lambda: inbox.take_all() if len(inbox) or link.reason is None else None, 0.0)

    # The lambdas stand in methods of their own: a function that makes one is slower, also where it is not used.

    def _read_to_end(self, link: Link, patience: float | None) -> bytes:
        inbox: ReceiveBuffer = link.inbox
        return self._take(link, lambda: inbox.take_all() if isinstance(link.reason, PeerClosed) else None, patience)

    def _take_some(self, link: Link, n: int, patience: float | None) -> bytes:
        inbox: ReceiveBuffer = link.inbox
        return self._take(link, lambda: inbox.take(n) if len(inbox) else None, patience, at_end=True)

    def _take_exactly(self, link: Link, n: int, patience: float | None) -> bytes:
        inbox: ReceiveBuffer = link.inbox
        return self._take(link, lambda: inbox.take(n) if len(inbox) >= n else None, patience, expected=n)

    def _take_line(self, link: Link, patience: float | None) -> bytes:
        return self._take(link, lambda: self._line(link.inbox), patience, at_end=True)

    def _take_piece(self, link: Link, separator: bytes, patience: float | None) -> bytes:
        return self._take(link, lambda: self._piece(link.inbox, separator), patience)

    def _piece(self, inbox: ReceiveBuffer, separator: bytes) -> bytes | None:
        end = inbox.find(separator)
        size = len(inbox) if end < 0 else end + len(separator)
        if size > self.limit:
            raise LimitExceeded(
                f"no {separator!r} within {self.limit} bytes; nothing was taken; raise limit= if that is right"
            )
        return None if end < 0 else inbox.take(size)

    def _patience(self, timeout: float | None) -> float | None:
        """Return the seconds to wait; ``None`` for ever."""
        return self._timeout if timeout is None else checked_timeout(timeout)

    def _take(
        self,
        link: Link,
        extract: Callable[[], T | None],
        patience: float | None,
        *,
        expected: int | None = None,
        at_end: bool = False,
    ) -> T:
        """Take a piece.

        Args:
            link: where from.
            extract: finds it in the inbox.
            patience: seconds to wait; ``None`` for ever.
            expected: its size, where that is known.
            at_end: the peer's orderly end counts as the end of a piece.
        """
        try:
            return link.take(extract, patience)
        except (ConnectionLost, NotConnected) as error:
            inbox: ReceiveBuffer = link.inbox
            if at_end and isinstance(link.reason, PeerClosed):
                return link.take(inbox.take_all, 0.0)  # type: ignore[return-value]  # T is bytes here
            partial = link.take(lambda: inbox.peek(len(inbox)), 0.0)
            if not partial:
                raise
            with contextlib.suppress(ConnectionLost, NotConnected):
                return link.take(extract, 0.0)  # it came whole, just before the end
            raise IncompleteRead(
                f"{error}; {len(partial)} bytes of an incomplete piece are left", partial, expected
            ) from error


def _next_message(framing: Framing, inbox: ReceiveBuffer) -> Any | None:
    try:
        return framing.take(inbox)
    except CnxError:
        raise
    except Exception as error:
        raise failure(framing, error) from error
