"""Flight recorder: the last of what went over a connection, in bounded memory, in a fraction of a microsecond."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from time import time
from typing import Any, NamedTuple

__all__ = ["ENDED", "OPENED", "PIECE", "RECORDS", "Record", "Recorder", "masked"]

PIECE = 256
"""Bytes of one piece that are kept."""

RECORDS = 200
"""Records that are kept."""

LARGEST = 100_000

OPENED = "opened"
"""Text of the record that begins a link."""

ENDED = ("disconnected", "failed")
"""How the text of the record begins that ends a link: one that was ready for use, or one that never was."""


class Record(NamedTuple):
    """One thing that happened.

    Attributes:
        time: seconds since 1970.
        direction: ``"<"`` came in, ``">"`` went out, ``"*"`` happened to the connection.
        data: the bytes, as many as were kept.
        size: how many bytes there were.
        text: what happened, where it is not bytes.
    """

    time: float
    direction: str
    data: bytes = b""
    size: int = 0
    text: str = ""

    def __str__(self) -> str:
        if self.direction == "*":
            return f"* {self.text}"
        more = "" if len(self.data) == self.size else f"... ({self.size} bytes)"
        return f"{self.direction} {self.data!r}{more}"


class Recorder:
    """A ring of records. Thread-safe.

    Args:
        records: how many are kept, up to 100,000; with 0 nothing is.

    Raises:
        TypeError, ValueError: a number is not one, or out of its range.
    """

    __slots__ = ("_append", "_ring")

    def __init__(self, records: int = RECORDS) -> None:
        if not isinstance(records, int) or isinstance(records, bool):
            raise TypeError(f"record is how many records to keep, 0 for none, not {records!r}")
        if not 0 <= records <= LARGEST:
            raise ValueError(f"record is from 0 to {LARGEST} records, not {records}")
        self._ring: deque[tuple[Any, ...]] = deque(maxlen=records)
        self._append = self._ring.append

    def add(self, direction: str, data: bytes | bytearray | memoryview, size: int) -> None:
        """Keep the beginning and the size of a piece that came in (``"<"``) or went out (``">"``); a small one is bytes."""
        self._append((time(), direction, data if size <= PIECE else bytes(data[:PIECE]), size))

    def say(self, text: str) -> None:
        """Keep what happened to the connection."""
        self._ring.append((time(), "*", b"", 0, text))

    def records(self, secrets: Iterable[bytes] = ()) -> list[Record]:
        """Return the records, the oldest first, with stars in place of each secret."""
        records = [Record(*entry) for entry in self._entries()]
        wanted = sorted(filter(None, secrets), key=len, reverse=True)
        return list(cover(records, wanted, len(records) == self._ring.maxlen)) if wanted else records

    def _entries(self) -> deque[tuple[Any, ...]]:
        while True:
            try:
                return self._ring.copy()
            except RuntimeError:  # where threads are free, another may have added one meanwhile
                continue


def masked(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return ``data`` with stars in place of each secret, as many as it has bytes."""
    for secret in secrets:
        if secret:
            data = data.replace(secret, b"*" * len(secret))
    return data


def cover(records: list[Record], secrets: list[bytes], cut: bool) -> Iterator[Record]:
    """Yield the records without secrets, also where one is spread over several pieces or was cut.

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
    """Return a run of bytes without secrets, and without the halves of those that were cut at its ends."""
    data = masked(data, secrets)
    for secret in secrets:
        for size in range(len(secret) - 1, 1, -1):
            if begins_cut and data.startswith(secret[-size:]):
                data = b"*" * size + data[size:]
            if ends_cut and data.endswith(secret[:size]):
                data = data[:-size] + b"*" * size
    return data


def split(data: bytes, pieces: list[Record]) -> Iterator[bytes]:
    """Yield ``data`` in pieces as large as those."""
    start = 0
    for piece in pieces:
        yield data[start : start + len(piece.data)]
        start += len(piece.data)
