"""What a transport is."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["CHUNK", "Transport"]

CHUNK = 124 * 1024
"""Bytes asked for in one read: as many as can be, since each costs some function calls; but from 128 KiB on, allocating
them costs more, as the C library then maps memory anew for each."""


class Transport(ABC):
    """An open way to move bytes.

    At most one thread reads and one thread writes at a time, which its owner sees to; :meth:`shutdown` may come
    from any thread at any moment. To connect to something new, derive from this class: ``read``, ``write``,
    ``shutdown`` and ``close`` are enough. A transport that has a descriptor which tells when input waits also
    gives ``fileno`` and ``read_now``; one listener thread can then serve many of them, and a caller of a reading
    method reads by itself instead of being handed the bytes.

    Attributes:
        address: where it leads to, for people.
        full: a read that returns fewer bytes than these has left none behind; 0 if one never knows, as for datagrams.
        buffers: a ``read`` of less than :data:`CHUNK` may leave bytes inside, of which ``fileno`` does not tell.
    """

    address: str
    full: int = CHUNK
    buffers: bool = False

    @abstractmethod
    def read(self, size: int, timeout: float | None) -> bytes:
        """Return from 1 to ``size`` bytes, waiting for the first of them.

        Raises:
            TimedOut: nothing came within ``timeout`` seconds (``None``: no limit).
            PeerClosed: the peer ended the stream in an orderly way.
            ConnectionLost: it broke.
        """

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        """Send ``data``; return how many bytes of it went out, fewer than all when time was up.

        Raises:
            ConnectionLost: it broke.
        """

    @abstractmethod
    def shutdown(self) -> None:
        """Make a blocked ``read`` and ``write`` return or raise, at once and for ever. Thread-safe; never fails."""

    @abstractmethod
    def close(self) -> None:
        """Release the descriptors; called once, after ``shutdown``, when no thread is inside."""

    def abandon(self) -> None:
        """Release the descriptors in a forked child process, without touching the parent's use of them."""
        self.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when input waits, or -1 where there is none."""
        return -1

    def read_now(self, size: int) -> bytes | None:
        """Return like ``read``, but ``None`` instead of waiting."""
        raise NotImplementedError(f"{type(self).__name__} has a descriptor and needs read_now")
