"""Recorder: the flight recorder of a connection. It keeps the last pieces that were received and sent, and events.

It is always on, so adding a piece takes a fraction of a microsecond, and memory is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from time import time
from typing import Any, NamedTuple

from cnx.printable import printable

__all__ = ["ENDED", "OPENED", "PIECE", "RECORDS", "Record", "Recorder", "masked"]

PIECE = 256
"""Bytes that are kept of one piece."""

RECORDS = 200
"""Records that are kept by default."""

LARGEST = 100_000
"""Records that can be kept at most."""

OPENED = "opened"
"""Text of the record that begins a link."""

ENDED = ("disconnected", "failed")
"""Beginnings of the text of the record that ends a link: one that was connected, or one that never was."""


class Record(NamedTuple):
    """A piece of bytes, or an event.

    Attributes:
        time: seconds since 1970.
        direction: ``"<"`` for bytes received, ``">"`` for bytes sent, ``"*"`` for an event.
        data: the bytes that were kept.
        size: how many bytes there were.
        text: the event in words.
    """

    time: float
    direction: str
    data: bytes = b""
    size: int = 0
    text: str = ""

    def __str__(self) -> str:
        if self.direction == "*":
            return f"* {printable(self.text)}"
        more = "" if len(self.data) == self.size else f"... ({self.size} bytes)"
        return f"{self.direction} {self.data!r}{more}"


class Recorder:
    """A ring buffer of records. Thread-safe.

    Args:
        records: how many are kept, up to 100,000; 0 for none.

    Raises:
        TypeError, ValueError: ``records`` is not a whole number, or out of range.
    """

    __slots__ = ("_append", "_ring")

    def __init__(self, records: int = RECORDS) -> None:
        if not isinstance(records, int) or isinstance(records, bool):
            raise TypeError(f"record must be the number of records to keep, 0 for none, not {records!r}")
        if not 0 <= records <= LARGEST:
            raise ValueError(f"record must be between 0 and {LARGEST} records, not {records}")
        self._ring: deque[tuple[Any, ...]] = deque(maxlen=records)
        self._append = self._ring.append

    def add(self, direction: str, data: bytes | bytearray | memoryview, size: int) -> None:
        """Keep the beginning of a piece of ``size`` bytes that was received (``"<"``) or is to be sent (``">"``)."""
        self._append((time(), direction, data if size <= PIECE else bytes(data[:PIECE]), size))

    def say(self, text: str) -> None:
        """Keep an event."""
        self._ring.append((time(), "*", b"", 0, text))

    def records(self, secrets: Iterable[bytes] = ()) -> list[Record]:
        """Return the records, the oldest first, with secrets replaced by stars."""
        records = [Record(*entry) for entry in self._entries()]
        wanted = sorted(filter(None, secrets), key=len, reverse=True)
        return list(cover(records, wanted, len(records) == self._ring.maxlen)) if wanted else records

    def _entries(self) -> deque[tuple[Any, ...]]:
        while True:
            try:
                return self._ring.copy()
            except RuntimeError:  # without the GIL, another thread may have added one meanwhile
                continue


def masked(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return ``data`` with each secret replaced by as many stars as it has bytes."""
    for secret in secrets:
        if secret:
            data = data.replace(secret, b"*" * len(secret))
    return data


def cover(records: list[Record], secrets: list[bytes], cut: bool) -> Iterator[Record]:
    """Yield the records without secrets, also without those that are spread over several pieces or were cut.

    ``cut`` says that there were earlier records.
    """
    clean = {way: masked_pieces([each for each in records if each.direction == way], secrets, cut) for way in "<>"}
    for record in records:
        yield record if record.direction == "*" else record._replace(data=next(clean[record.direction]))


def masked_pieces(pieces: list[Record], secrets: list[bytes], cut: bool) -> Iterator[bytes]:
    """Yield the bytes of the pieces of one direction without secrets."""
    run: list[Record] = []
    for piece in pieces:
        run.append(piece)
        if len(piece.data) < piece.size:
            yield from split(without(b"".join(each.data for each in run), secrets, cut, True), run)
            run, cut = [], True
    yield from split(without(b"".join(each.data for each in run), secrets, cut, False), run)


def without(data: bytes, secrets: list[bytes], begins_cut: bool, ends_cut: bool) -> bytes:
    """Return a run of bytes without secrets, and without the parts of secrets that were cut at its ends."""
    data = masked(data, secrets)
    for secret in secrets:
        for size in range(len(secret) - 1, 1, -1):
            if begins_cut and data.startswith(secret[-size:]):
                data = b"*" * size + data[size:]
            if ends_cut and data.endswith(secret[:size]):
                data = data[:-size] + b"*" * size
    return data


def split(data: bytes, pieces: list[Record]) -> Iterator[bytes]:
    """Yield ``data`` in pieces of the same sizes as ``pieces``."""
    start = 0
    for piece in pieces:
        yield data[start : start + len(piece.data)]
        start += len(piece.data)
