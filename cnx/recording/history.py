"""History: the records of a connection, as people and tools read them."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from cnx.recording.pcapng import CaptureWriter, read_capture
from cnx.recording.recorder import Record

__all__ = ["Archive", "History", "load"]

log = logging.getLogger(__name__)

KEPT = 20
"""Histories that an archive keeps."""

SUFFIXES = {".pcapng": "pcapng", ".txt": "text", ".log": "text"}


class History(tuple[Record, ...]):
    """Records, the oldest first."""

    __slots__ = ()

    def text(self) -> str:
        """Return a line for each record, with its time in UTC, ``<`` for in, ``>`` for out, ``*`` for all else."""
        return "".join(map(line_of, self))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file, as text (``.txt``, ``.log``) or for Wireshark (``.pcapng``), and return its path.

        In the latter, bytes are the payload of TCP between 192.0.2.1 (this side) and 192.0.2.2 (the peer); both are
        made up, as nothing below the bytes is known. All else is a comment on an empty packet.

        Raises:
            ValueError: the suffix is none of these.
            OSError: the file cannot be written.
        """
        target = Path(path)
        if checked_suffix(target) == "text":
            target.write_text(self.text(), encoding="utf-8")
        else:
            with target.open("wb") as file:
                writer = CaptureWriter(file)
                for record in self:
                    writer.write(record)
        return target


class Archive:
    """A directory where the histories of a connection are saved. A failure is logged and harms nobody.

    Args:
        directory: has to exist.

    Raises:
        ValueError: it is no directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        if not self._directory.is_dir():
            raise ValueError(f"record_to={str(directory)!r} is no directory; make it first")
        self._files: deque[Path] = deque()

    def add(self, name: str, history: History) -> None:
        """Save a history as text and as pcapng, and delete the oldest that was saved here when there are too many."""
        target = self._directory / file_name(name, history)
        try:
            for suffix in (".txt", ".pcapng"):
                self._files.append(history.save(f"{target}{suffix}"))
            while len(self._files) > 2 * KEPT:
                self._files.popleft().unlink(missing_ok=True)
        except OSError as error:
            log.error("%s: its history cannot be saved: %s", name, error)


def load(path: str | os.PathLike[str]) -> History:
    """Return what was saved as pcapng.

    Raises:
        ProtocolError: it is not such a file.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return History(read_capture(file))


def checked_suffix(path: Path) -> str:
    """Return the kind of file that the suffix stands for."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path}: the suffix has to be one of {', '.join(SUFFIXES)}")
    return kind


def file_name(name: str, records: Iterable[Record]) -> str:
    """Return a name, without suffix, for the history of something called ``name``, by the time of its last record."""
    last = max((record.time for record in records), default=0.0)
    moment = datetime.fromtimestamp(last, timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:80]}-{moment}"


def line_of(record: Record) -> str:
    """Return a record as a line of text, with its end."""
    moment = datetime.fromtimestamp(record.time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"{moment} {record}\n"
