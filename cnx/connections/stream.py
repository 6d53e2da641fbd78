"""Connections over streams of bytes: what sockets and serial ports have in common."""

from __future__ import annotations

from time import monotonic
from typing import Any

from cnx.connections.reading import Reading
from cnx.connections.transport import TransportConnection
from cnx.connections.writing import Writing, checked_data
from cnx.deadline import checked_timeout, left_of
from cnx.framing import checked_terminator
from cnx.threads.locks import Lock, within
from cnx.transports.transport import CHUNK

__all__ = ["StreamConnection"]

_LATE = "another request did not end in time; nothing was sent"


class StreamConnection(TransportConnection, Reading, Writing):
    """A connection over a stream of bytes. To connect to something new, say in ``open_transport`` how to open it.

    Args:
        encoding: of text, for ``read_str``, ``write_str`` and JSON.
        terminator: what ends a piece of text.
        **settings: see :class:`~cnx.connections.transport.TransportConnection`.
    """

    def __init__(self, *, encoding: str = "utf-8", terminator: bytes = b"\r\n", **settings: Any) -> None:
        self.encoding = encoding
        self.terminator = terminator
        super().__init__(**settings)

    def _let_go(self) -> None:
        super()._let_go()
        self._requesting = Lock()

    def request(self, data: bytes, separator: bytes | None = None, *, timeout: float | None = None) -> bytes:
        """Send ``data`` and return the reply up to ``separator`` (the terminator if omitted), which is included.

        Requests of several threads take turns; ``timeout`` is for waiting, sending and receiving together.

        Raises:
            TimedOut: no reply in time. It may still come: take it with :meth:`read_waiting` before the next request.
        """
        end = self._terminator if separator is None else checked_terminator(separator)
        message = data if type(data) is bytes else checked_data(data)
        patience = self._timeout if timeout is None else checked_timeout(timeout)
        turn = self._requesting
        began = monotonic() if patience else 0.0
        with turn if patience is None else within(turn, patience, _LATE):
            link = (self.reading and self._link) or self._reading_link()
            link.write(message, patience and left_of(patience, began))
            left = patience and left_of(patience, began)
            reply = link.take_whole(len(end), self._limit, left, CHUNK, end)
            return self._take_piece(link, end, left) if reply is None else reply

    @property
    def encoding(self) -> str:
        """The encoding of text."""
        return self._encoding

    @encoding.setter
    def encoding(self, encoding: str) -> None:
        try:
            "".encode(encoding)
        except (LookupError, TypeError, ValueError) as error:  # also for a codec that is not about text, such as "hex"
            raise ValueError(f"unknown encoding {encoding!r}") from error
        self._encoding = encoding

    @property
    def terminator(self) -> bytes:
        """What ends a piece of text."""
        return self._terminator

    @terminator.setter
    def terminator(self, terminator: bytes) -> None:
        self._terminator = checked_terminator(terminator)
