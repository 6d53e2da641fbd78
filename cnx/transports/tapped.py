"""A transport whose bytes are also passed to a tap, for example to log them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from cnx.logs import logger
from cnx.recording.recorder import masked
from cnx.transports.transport import Transport

__all__ = ["Tap", "TappedTransport", "log_tap"]

log = logger(__name__)

Tap = Callable[[str, bytes], None]
"""Called with ``"<"`` and the bytes received, or ``">"`` and the bytes sent. It must be quick and must not fail."""

SHOWN = 64
"""Bytes of one piece that a log line shows."""


class TappedTransport(Transport):
    """Passes every call on to another transport, and the bytes also to a tap.

    Attributes:
        inner: the other transport.
    """

    def __init__(self, inner: Transport, tap: Tap) -> None:
        self.inner = inner
        self.address = inner.address
        self.full = inner.full
        self.buffers = inner.buffers
        self._tap = tap

    def fileno(self) -> int:
        return self.inner.fileno()

    def read(self, size: int, timeout: float | None) -> bytes:
        data = self.inner.read(size, timeout)
        self._tap("<", data)
        return data

    def read_now(self, size: int) -> bytes | None:
        data = self.inner.read_now(size)
        if data is not None:
            self._tap("<", data)
        return data

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        sent = self.inner.write(data, timeout)
        self._tap(">", bytes(data[: max(sent, 0)]))
        return sent

    def end_writing(self) -> None:
        self.inner.end_writing()

    def shutdown(self) -> None:
        self.inner.shutdown()

    def close(self) -> None:
        self.inner.close()

    def abandon(self) -> None:
        self.inner.abandon()


def log_tap(name: str, secrets: Callable[[], Iterable[bytes]] = tuple) -> Tap | None:
    """Return a tap that logs bytes at level DEBUG, shortened and without secrets; ``None`` where that is not logged."""
    if not log.isEnabledFor(logging.DEBUG):
        return None

    def show(direction: str, data: bytes) -> None:
        more = "" if len(data) <= SHOWN else f"... ({len(data)} bytes)"
        log.debug("%s: %s %r%s", name, direction, masked(data, secrets())[:SHOWN], more)

    return show
