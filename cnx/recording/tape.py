"""Tape: write everything that goes over links to a file as it happens, as ``cnx record`` does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from time import time
from types import TracebackType
from typing import BinaryIO

from cnx.recording.files import create
from cnx.recording.history import checked_suffix, line_of
from cnx.recording.pcapng import CaptureWriter
from cnx.recording.recorder import Record

__all__ = ["Tape"]


class Tape:
    """A file to which complete records are written in order. Thread-safe; close it, or use a ``with`` block.

    Args:
        path: with the suffix ``.pcapng`` for Wireshark, or ``.txt`` or ``.log`` for text; an existing file is replaced.
            A new one can be read by its owner only, as it may hold passwords.

    Raises:
        ValueError: the suffix is none of these.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        kind = checked_suffix(Path(path))
        self._file: BinaryIO = create(path)
        self._capture = CaptureWriter(self._file) if kind == "pcapng" else None
        self._lock = threading.Lock()

    def note(self, direction: str, data: bytes) -> None:
        """Write bytes that were received (``"<"``) or sent (``">"``); raises OSError."""
        self._write(Record(time(), direction, data, len(data)))

    def say(self, text: str) -> None:
        """Write an event; raises OSError."""
        self._write(Record(time(), "*", text=text))

    def close(self) -> None:
        """Close the file; later records are ignored."""
        with self._lock:
            self._file.close()

    def _write(self, record: Record) -> None:
        with self._lock:
            if self._file.closed:
                return
            if self._capture is not None:
                self._capture.write(record)
            else:
                self._file.write(line_of(record).encode())
            self._file.flush()

    def __enter__(self) -> Tape:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
