"""The methods that write, for streams of bytes."""

from __future__ import annotations

import ctypes
import json
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cnx.deadline import checked_timeout
from cnx.framing import Framing
from cnx.recording.recorder import PIECE

if TYPE_CHECKING:
    from cnx.link.link import Link

__all__ = ["Writing"]

Data = bytes | bytearray | memoryview


class Writing:
    """The methods that write. Thread-safe: what one call writes is never mixed with another's.

    Each waits up to ``timeout`` seconds, or the connection's own ``timeout`` if omitted (``math.inf``: for ever). All
    of them raise:

    * ``NotConnected``, ``ConnectionLost``: there is no link, or it ended.
    * ``TimedOut``: the peer did not take it in time. If a part had gone, the link is closed, since the rest is missing.
    * ``TypeError``, ``ValueError``: it cannot be sent; nothing was.
    """

    encoding: str
    terminator: bytes
    timeout: float | None
    _timeout: float | None
    _framing: Framing | None
    _link: Link | None

    @abstractmethod
    def _current(self) -> Link: ...

    def write(self, data: Data, *, timeout: float | None = None) -> None:
        """Send bytes."""
        if type(data) is not bytes:
            data = checked_data(data)
        link = self._link or self._current()
        link.write(data, self._timeout if timeout is None else checked_timeout(timeout))

    def writelines(self, lines: Iterable[Data], *, timeout: float | None = None) -> None:
        """Send several pieces of bytes as one."""
        self.write(b"".join(lines), timeout=timeout)

    def write_str(self, text: str, *, timeout: float | None = None) -> None:
        """Send text and the terminator.

        Raises:
            UnicodeEncodeError: it cannot be said in ``encoding``.
        """
        if not isinstance(text, str):
            raise TypeError(f"write_str() takes text, not {type(text).__name__}; write() takes bytes")
        self.write(text.encode(self.encoding) + self.terminator, timeout=timeout)

    def write_json(self, value: Any, *, timeout: float | None = None) -> None:
        """Send a value as JSON, and the terminator."""
        self.write_str(json.dumps(value), timeout=timeout)

    def write_from(self, *structs: ctypes.Structure | ctypes.Union, timeout: float | None = None) -> None:
        """Send the bytes of ctypes structures, as one."""
        for struct in structs:
            if not isinstance(struct, (ctypes.Structure, ctypes.Union)):
                raise TypeError(f"write_from() takes ctypes structures, not {type(struct).__name__}")
        self.write(b"".join(map(bytes, structs)), timeout=timeout)

    def send(self, message: Any, *, timeout: float | None = None) -> None:
        """Send a message with its framing."""
        self.write(message if self._framing is None else self._framing.encode(message), timeout=timeout)


def checked_data(data: Data) -> Data:
    """Return ``data`` if it is like bytes, with a length that is its number of bytes; a copy where that is cheap."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes are written, not {type(data).__name__}; write_str() takes text")
    if isinstance(data, memoryview) and (data.itemsize != 1 or data.ndim != 1 or not data.c_contiguous):
        return data.tobytes()
    return data if len(data) > PIECE else bytes(data)
