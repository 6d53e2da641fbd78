"""StreamConnection: a connection over a stream of bytes, with its methods to read and to write."""

from __future__ import annotations

import ctypes
import json
import operator
from collections.abc import Iterable
from threading import get_ident
from time import monotonic
from typing import Any, Protocol, TypeVar

from typing_extensions import Self, Unpack, final

from cnx.buffer import ReceiveBuffer
from cnx.connections.cancellable import Attempts
from cnx.connections.names import setting
from cnx.connections.pieces import Exactly, Message, Missing, Rest, Some, Until, late
from cnx.connections.transport import (
    Data,
    Opener,
    TransportConnection,
    TransportParts,
    TransportSettings,
    checked_data,
)
from cnx.deadline import checked_timeout, left_of
from cnx.errors import (
    Cancelled,
    ConnectionLost,
    EncodingError,
    IncompleteRead,
    InvalidJson,
    LimitExceeded,
    NotConnected,
    PeerClosed,
    TimedOut,
)
from cnx.framing import Raw, checked_terminator, shorten
from cnx.json_lines import format_json
from cnx.link.link import Link, Piece
from cnx.threads.locks import Lock, within

__all__ = ["StreamConnection", "StreamSettings"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LATE = "another request did not end in time; nothing was sent"


class StreamSettings(TransportSettings, total=False):
    """The settings of every connection over a stream; see :class:`StreamConnection`."""

    encoding: str
    terminator: bytes


class StreamConnection(TransportConnection):
    """A connection over a stream of bytes. Thread-safe.

    Reading and writing methods wait up to ``timeout`` seconds, or the connection's own ``timeout`` if it is omitted
    (``math.inf``: for ever). To connect to something new, override :meth:`open_transport` and ``address``.

    Reading methods of several threads take turns; each call takes its bytes as one piece. A timeout, the end of the
    link or a limit loses nothing: what has arrived stays and can be read. All of them raise:

    * ``TimedOut``: not enough arrived in time.
    * ``NotConnected``: there is no link, or it was closed on request.
    * ``ConnectionLost``: the link broke. ``IncompleteRead``, with ``partial``, when it ended in the middle of a piece.
    * ``LimitExceeded``: the end of the piece is not within ``limit`` bytes; or nobody read for a while and bytes that
      subscribers have got were dropped, and the message says how many. The next call goes on after them.
    * ``RuntimeError``: a handler called it on the thread that emits the data of this connection.

    What one call writes is never mixed with what another one writes. Writing methods raise:

    * ``NotConnected``, ``ConnectionLost``: there is no link, or it ended.
    * ``TimedOut``: the peer did not take it in time. If a part was sent, the link is closed, as the rest is missing.
    * ``TypeError``, ``ValueError``: it cannot be sent; nothing was.

    Args:
        opener: how to open the transport. A subclass that overrides :meth:`open_transport` and ``address`` needs none.
        encoding: of text, for ``read_str``, ``write_str`` and JSON.
        terminator: the bytes that end a piece of text.
        **settings: see :class:`~cnx.connections.transport.TransportConnection`.
    """

    _cnx: StreamParts

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().__new__(cls)
        connection._cnx = StreamParts(Attempts(connection))
        return connection

    def __init__(
        self,
        opener: Opener | None = None,
        *,
        encoding: str = "utf-8",
        terminator: bytes = b"\r\n",
        **settings: Unpack[TransportSettings],
    ) -> None:
        self.encoding = encoding
        self.terminator = terminator
        super().__init__(opener, **settings)

    @property
    @setting
    def encoding(self) -> str:
        """The encoding of text."""
        return self._cnx.encoding

    @encoding.setter
    def encoding(self, encoding: str) -> None:
        try:
            "".encode(encoding)
        except (LookupError, TypeError, ValueError) as error:  # also for a codec that is not about text, such as "hex"
            raise ValueError(f"unknown encoding {encoding!r}") from error
        self._cnx.encoding = encoding

    @property
    @setting
    def terminator(self) -> bytes:
        """The bytes that end a piece of text."""
        return self._cnx.terminator

    @terminator.setter
    def terminator(self, terminator: bytes) -> None:
        self._cnx.terminator = checked_terminator(terminator)
        self._cnx.on_limit_changed()

    # -- reading ---------------------------------------------------------------------------------------------------

    @final
    def read(self, n: int = -1, *, timeout: float | None = None) -> bytes:
        """Return up to ``n`` bytes as soon as any are there; ``b""`` when the peer has closed and all is read.

        With a negative ``n``, return everything up to the moment when the peer closes; ``limit`` does not apply.
        """
        n = operator.index(n)
        seconds = self._cnx.seconds(timeout)
        link = self._cnx.link_to_read(self)
        if n == 0:
            return b""
        if n < 0:
            return _take_or_rest(self, link, Rest(), seconds)
        return _take_or_rest(self, link, Some(n), seconds)

    @final
    def readexactly(self, n: int, *, timeout: float | None = None) -> bytes:
        """Return exactly ``n`` bytes; ``limit`` does not apply."""
        if operator.index(n) < 0:
            raise ValueError(f"cannot read {n} bytes")
        parts = self._cnx
        seconds = parts.timeout if timeout is None else checked_timeout(timeout)
        link = parts.link_to_read(self)
        if n == 0:
            return b""
        return _take(self, link, Exactly(n), seconds, expected=n)

    @final
    def readuntil(self, separator: bytes = b"\n", *, timeout: float | None = None) -> bytes:
        """Return everything up to ``separator``, which is included."""
        checked_terminator(separator)
        seconds = self._cnx.seconds(timeout)
        link = self._cnx.link_to_read(self)
        return _take(self, link, Until(separator, link.inbox.limit), seconds)

    @final
    def readline(self, *, timeout: float | None = None) -> bytes:
        """Return one line with its ``b"\\n"``; like a file, the rest at the end, then ``b""``."""
        parts = self._cnx
        if timeout is not None:
            checked_timeout(timeout)
        link = parts.link
        if link is not None:
            try:  # the short way: a line that was cut already, unless this may be a handler, which must not read
                if not link.reader.holder:
                    return link.inbox.lines.popleft()
            except IndexError:
                pass  # there is none
        link = parts.link_to_read(self)
        link.refuse_to_read()
        line = link.inbox.take_line() if link.inbox.size else None
        if line is not None:
            return line
        return _take_or_rest(self, link, Until(b"\n", link.inbox.limit), parts.seconds(timeout))

    @final
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

    @final
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

    @final
    def read_into(self, struct: ctypes.Structure | ctypes.Union, *, timeout: float | None = None) -> None:
        """Fill a ctypes structure with the next bytes; after an error it is unchanged."""
        if not isinstance(struct, (ctypes.Structure, ctypes.Union)):
            raise TypeError(f"read_into() fills ctypes structures, not {struct!r}")
        size = ctypes.sizeof(struct)
        ctypes.memmove(ctypes.addressof(struct), self.readexactly(size, timeout=timeout), size)

    def receive(self, *, timeout: float | None = None) -> Any:
        """Return the next message, as the framing cuts it.

        Raises:
            ProtocolError: it breaks the rules of the framing.
        """
        framing = self._cnx.framing or Raw()
        seconds = self._cnx.seconds(timeout)
        return _take(self, self._cnx.link_to_read(self), Message(framing), seconds)

    @final
    def read_waiting(self) -> bytes:
        """Return the bytes that are there now, maybe ``b""``, without waiting.

        Raises:
            NotConnected, ConnectionLost: nothing is there, and nothing will come.
        """
        link = self._cnx.link_to_read(self)
        link.read_waiting()
        data = link.inbox.look(ReceiveBuffer.take_all) if link.inbox.size else b""
        return data if data or link.reason is None else _take(self, link, Rest(), 0.0)

    # -- writing ---------------------------------------------------------------------------------------------------

    @final
    def write(self, data: Data, *, timeout: float | None = None) -> None:
        """Send bytes."""
        if type(data) is not bytes:
            data = checked_data(data)
        parts = self._cnx
        seconds = parts.timeout if timeout is None else checked_timeout(timeout)
        link = parts.link or parts.usable_link(self)
        if parts.broken_off is not None and link is parts.link:
            parts.report_broken_off()  # before anything is sent, as the reply would not be read
        link.write(data, seconds)

    @final
    def write_eof(self, *, timeout: float | None = None) -> None:
        """Send the end of the stream: the peer sees that nothing more comes, and can still answer.

        After that, writing methods raise ``RuntimeError``, and there are no more heartbeats. When the peer has sent its
        own end, the link ends, as always; what arrived before can be read. A second call does nothing.

        Raises:
            io.UnsupportedOperation: it is neither TCP nor a unix socket.
        """
        parts = self._cnx
        (parts.link or parts.usable_link(self)).write_eof(parts.seconds(timeout))

    @final
    def writelines(self, lines: Iterable[Data], *, timeout: float | None = None) -> None:
        """Send several pieces of bytes as one."""
        self.write(b"".join(lines), timeout=timeout)

    @final
    def write_str(self, text: str, *, timeout: float | None = None) -> None:
        """Send text and the terminator.

        Raises:
            UnicodeEncodeError: the text has a character that ``encoding`` does not have.
        """
        if not isinstance(text, str):
            raise TypeError(f"write_str() takes text, not {type(text).__name__}; write() takes bytes")
        self.write(text.encode(self.encoding) + self.terminator, timeout=timeout)

    @final
    def write_json(self, value: Any, *, timeout: float | None = None) -> None:
        """Send a value as JSON, and the terminator.

        Raises:
            TypeError, ValueError: it has no JSON form, as NaN, Infinity and what is nested too deeply.
        """
        self.write_str(format_json(value), timeout=timeout)

    @final
    def write_from(self, *structs: ctypes.Structure | ctypes.Union, timeout: float | None = None) -> None:
        """Send the bytes of ctypes structures, as one."""
        for struct in structs:
            if not isinstance(struct, (ctypes.Structure, ctypes.Union)):
                raise TypeError(f"write_from() takes ctypes structures, not {type(struct).__name__}")
        self.write(b"".join(map(bytes, structs)), timeout=timeout)

    def send(self, message: Any, *, timeout: float | None = None) -> None:
        """Send a message with its framing."""
        framing = self._cnx.framing
        self.write(message if framing is None else framing.encode(message), timeout=timeout)

    # -- both ------------------------------------------------------------------------------------------------------

    def request(self, data: bytes, separator: bytes | None = None, *, timeout: float | None = None) -> bytes:
        """Send ``data`` and return the reply up to ``separator`` (the terminator if omitted), which is included.

        Requests of several threads take turns; ``timeout`` is for waiting, sending and receiving together. Bytes that
        subscribers have got already are not taken for the reply.

        Raises:
            TimedOut: no reply in time. It may still arrive: take it with :meth:`read_waiting` before the next request.
        """
        parts = self._cnx
        message = data if type(data) is bytes else checked_data(data)
        reply = parts.reply if separator is None else Until(checked_terminator(separator), parts.limit)
        seconds = parts.timeout if timeout is None else checked_timeout(timeout)
        began = 0.0 if seconds is None else monotonic()
        with parts.requests if seconds is None else within(parts.requests, seconds, _LATE):
            link = parts.link or parts.usable_link(self)
            if link.inbox.size:
                link.inbox.forget_emitted()
            link.write(message, seconds and left_of(seconds, began), seconds)
            try:
                return link.take(reply, seconds and left_of(seconds, began))
            except TimedOut:
                raise late(link, reply, seconds, self.secrets) from None
            except (ConnectionLost, NotConnected) as error:
                return _take_last(link, reply, error)


class StreamParts(TransportParts):
    """The parts of a connection over a stream.

    Attributes:
        requests: held by the thread whose turn it is to send a request and to receive the reply.
        reply: what :meth:`StreamConnection.request` receives by default.
        broken_off: what to report to the next reading or writing call, as a call before it read from another link.
    """

    def __init__(self, driver: Attempts) -> None:
        super().__init__(driver)
        self.encoding = "utf-8"
        self.terminator = b"\r\n"
        self.requests = Lock()
        self.reply = Until(self.terminator, self.limit)
        self.broken_off: str | None = None

    def on_new_link(self, name: str) -> None:
        last = self.last
        if last is not None and last.raw_reads and not isinstance(last.reason, (Cancelled, NotConnected)):
            self.broken_off = (
                f"{name}: the link was lost and replaced between two reading calls; {last.inbox.size} bytes of the old "
                "one were not read; the next call reads from the new one"
            )
        super().on_new_link(name)

    def report_broken_off(self) -> None:
        """Raise ConnectionLost, once."""
        broken_off, self.broken_off = self.broken_off, None
        if broken_off is not None:
            raise ConnectionLost(broken_off)

    def on_fork(self) -> None:
        self.requests = Lock()  # a thread of the parent may hold the other one

    def on_limit_changed(self) -> None:
        self.reply = Until(self.terminator, self.limit)

    def link_to_read(self, connection: StreamConnection) -> Link:
        """Return the link for a reading method.

        Raises:
            LimitExceeded: bytes were dropped since the last call, as nobody read.
            ConnectionLost: the call before read from another link. This is raised once.
        """
        link = self.link
        if link is None:
            last, preparing = self.last, self.fresh is not None and self.preparing == get_ident()
            if last is None or not last.inbox.size or preparing:
                return self.usable_link(connection)
            link = last
        elif self.broken_off is not None:
            self.report_broken_off()
        link.raw_reads = True
        if link.inbox.dropped and (dropped := link.inbox.take_dropped()):
            raise LimitExceeded(
                f"{dropped} bytes from {link.address} were dropped: subscribers have got them, and nobody read them; "
                "the next call goes on after them"
            )
        return link


class StreamPiece(Piece[T_co], Missing, Protocol[T_co]):
    """What a reading method looks for."""


def _take(
    connection: StreamConnection,
    link: Link,
    piece: StreamPiece[T],
    seconds: float | None,
    *,
    expected: int | None = None,
) -> T:
    """Take a piece; if the link has ended in the middle of it, raise what was there.

    Args:
        connection: whose method was called.
        link: where from.
        piece: what to look for.
        seconds: to wait; ``None`` for ever.
        expected: the size of the piece, where that is known.
    """
    try:
        return link.take(piece, seconds)
    except TimedOut:
        raise late(link, piece, seconds, connection.secrets) from None
    except (ConnectionLost, NotConnected) as error:
        return _take_last(link, piece, error, expected)


def _take_last(link: Link, piece: Piece[T], error: Exception, expected: int | None = None) -> T:
    """Take a piece that another thread has read just before the link ended; or raise the error, with what is left."""
    found = piece.take_from(link.inbox)
    if found is not None:
        return found
    link.raw_reads = False  # the caller hears of the end now
    partial = link.inbox.look(lambda buffer: buffer.peek(len(buffer)))
    if not partial:
        raise error
    raise IncompleteRead(f"{error}; {len(partial)} bytes of an incomplete piece are left", partial, expected) from error


def _take_or_rest(connection: StreamConnection, link: Link, piece: StreamPiece[bytes], seconds: float | None) -> bytes:
    """Take a piece; when the peer has closed, the rest counts as one, and then ``b""``."""
    try:
        return link.take(piece, seconds)
    except TimedOut:
        raise late(link, piece, seconds, connection.secrets) from None
    except (ConnectionLost, NotConnected) as error:
        if not isinstance(link.reason, PeerClosed):
            return _take_last(link, piece, error)
        found = piece.take_from(link.inbox)  # as there
        if found is not None:
            return found
        link.raw_reads = False  # an incomplete line, or nothing, shows the caller that this was the end
        return link.inbox.look(ReceiveBuffer.take_all)
