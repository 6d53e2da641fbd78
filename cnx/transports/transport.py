"""Transport: the interface between links and the operating system, with four verbs: read, write, shutdown, close."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod

__all__ = ["CHUNK", "Transport"]

CHUNK = 124 * 1024
"""Bytes asked for in one read. Larger reads need fewer function calls; but from 128 KiB on the C library maps new
memory for each allocation, which costs more than it saves."""


class Transport(ABC):
    """An open way to move bytes.

    The owner makes sure that at most one thread reads and at most one thread writes at a time. :meth:`shutdown` may be
    called by any thread at any moment. To connect to something new, derive from this class: ``read``, ``write``,
    ``shutdown`` and ``close`` are enough. If there is a descriptor that becomes readable when input waits, override
    ``fileno`` and ``read_now``, too; one listener thread can then serve many such transports.

    Attributes:
        address: where it leads to, for people.
        full: a read that returns fewer bytes than this has left none behind; 0 if that is not known, as for datagrams.
        buffers: a ``read`` of less than :data:`CHUNK` may leave bytes inside, which ``fileno`` does not report.
    """

    address: str
    full: int = CHUNK
    buffers: bool = False

    @abstractmethod
    def read(self, size: int, timeout: float | None) -> bytes:
        """Return from 1 to ``size`` bytes; wait until there are any.

        Raises:
            TimedOut: nothing arrived within ``timeout`` seconds (``None``: no limit).
            PeerClosed: the peer ended the stream in an orderly way.
            ConnectionLost: it broke.
        """

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        """Send ``data``; return how many bytes were sent: fewer than all if time was up, -1 if that is not known.

        Raises:
            ConnectionLost: it broke.
        """

    @abstractmethod
    def shutdown(self) -> None:
        """Make a blocked ``read`` or ``write`` return or raise, now and from now on. Thread-safe; never fails."""

    @abstractmethod
    def close(self) -> None:
        """Release the descriptors; called once, after ``shutdown``, when no other call is in progress."""

    def end_writing(self) -> None:
        """Send the end of the stream after what was written; the peer can still send.

        Raises:
            io.UnsupportedOperation: this kind has no such end; nothing was sent.
            OSError: it broke.
        """
        raise io.UnsupportedOperation(f"{self.address} cannot end one direction alone; use disconnect()")

    def abandon(self) -> None:
        """Release the descriptors in a forked child process, without touching the parent's use of them."""
        self.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when input waits, or -1 if there is none."""
        return -1

    def read_now(self, size: int) -> bytes | None:
        """Return like ``read``, but return ``None`` instead of waiting."""
        raise NotImplementedError(f"{type(self).__name__} has a descriptor, so it must override read_now()")
