"""The packets that wait to be sent to one client of the bus."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from cnx.logs import logger
from cnx.threads.starting import new_thread, start

__all__ = ["Outbox", "Sender"]

log = logger(__name__)
SIZE = 4 * 1024 * 1024
"""Bytes that may wait for one client."""
BATCH = 256 * 1024
"""Bytes after which a write takes no further packet."""
PATIENCE = 10.0
"""Seconds after which a client that accepts nothing is disconnected."""


class Sender(Protocol):
    """The session that an outbox writes to."""

    address: str

    def write(self, data: bytes, timeout: float = ...) -> None: ...
    def reset(self) -> None: ...


class Outbox:
    """A bounded queue of packets, and a thread that writes them, so that a slow client does not block others.

    While it is full, :meth:`put` waits (back-pressure). A client that accepts nothing for ``patience`` seconds is
    disconnected. Thread-safe.

    Args:
        session: where the bytes go.
        first: bytes to send before all others.
        size: bytes that may wait; a larger packet is accepted while the queue is empty.
        patience: seconds.
    """

    def __init__(self, session: Sender, first: bytes = b"", *, size: int = SIZE, patience: float = PATIENCE) -> None:
        self._session = session
        self._size = size
        self._patience = patience
        self._changed = threading.Condition()
        self._packets: deque[bytes] = deque([first] if first else [])
        self._waiting = len(first)
        self._writing = False
        self._closed = False
        self._thread = new_thread(self._run, f"cnx outbox {session.address}")

    def start(self) -> None:
        """Start the thread that writes."""
        start(self._thread)

    def put(self, packet: bytes) -> bool:
        """Queue ``packet``, waiting while the queue is full; return ``False`` if the client is gone or disconnected."""
        with self._changed:
            if self._waiting and self._waiting + len(packet) > self._size:
                self._changed.wait_for(lambda: self._closed or self._has_room(packet), self._patience)
            if not self._closed and self._has_room(packet):
                self._packets.append(packet)
                self._waiting += len(packet)
                self._changed.notify_all()
                return True
            stuck = not self._closed
        if stuck:
            log.warning("%s accepted nothing for %g s and is disconnected", self._session.address, self._patience)
            self._session.reset()
        return False

    def reply(self, packet: bytes) -> None:
        """Send ``packet`` at once if nothing waits, otherwise queue it. Only for the thread that serves this client."""
        with self._changed:
            busy = self._writing or self._packets or self._closed
            self._writing = self._writing or not busy
        if busy:
            self.put(packet)
            return
        try:
            self._session.write(packet, self._patience)
        finally:
            self._stop_writing()

    def close(self, timeout: float) -> None:
        """Drop what waits, and wait at most ``timeout`` seconds for the end of the thread. Close the session before."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _has_room(self, packet: bytes) -> bool:
        return not self._waiting or self._waiting + len(packet) <= self._size

    def _stop_writing(self) -> None:
        with self._changed:
            self._writing = False
            if self._packets:
                self._changed.notify_all()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._session.write(batch, self._patience)
                self._stop_writing()
        except ConnectionError as error:
            log.debug("writing to %s ended: %s", self._session.address, error)
            self._session.reset()

    def _next_batch(self) -> bytes:
        """Wait for packets, and return about 256 KiB of them; ``b""`` when the outbox is closed."""
        with self._changed:
            # put() and close() notify; the owner closes the outbox at the end of its session
            while (not self._packets or self._writing) and not self._closed:
                self._changed.wait()
            batch: list[bytes] = []
            size = 0
            while self._packets and not self._closed and size < BATCH:
                batch.append(self._packets.popleft())
                size += len(batch[-1])
            self._waiting -= size
            self._writing = bool(batch)
            self._changed.notify_all()
        return b"".join(batch)
