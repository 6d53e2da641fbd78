"""History: the records of a connection as text and as files; Archive: a directory of such files."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from cnx.logs import logger
from cnx.recording.files import create
from cnx.recording.pcapng import CaptureWriter, read_capture
from cnx.recording.recorder import Record

__all__ = ["Archive", "History", "load"]

log = logger(__name__)

KEPT = 20
"""Histories that an archive keeps."""

_LATEST = 253_402_300_799.0
"""The last second of the year 9999."""

SUFFIXES = {".pcapng": "pcapng", ".txt": "text", ".log": "text"}


class History(tuple[Record, ...]):
    """Records, the oldest first."""

    __slots__ = ()

    def text(self) -> str:
        """Return a line for each record: time in UTC, ``<`` for in, ``>`` for out or ``*`` for events, the rest."""
        return "".join(map(line_of, self))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file, as text (``.txt``, ``.log``) or for Wireshark (``.pcapng``), and return its path.

        For Wireshark, the bytes are the payload of TCP packets between 192.0.2.1 (this side) and 192.0.2.2 (the peer).
        These addresses are made up, as only the bytes were recorded. Events are comments on empty packets. A new file
        has mode 0600.

        Raises:
            ValueError: the suffix is none of these.
            OSError: the file cannot be written.
        """
        target = Path(path)
        if checked_suffix(target) == "text":
            with create(target) as file:
                file.write(self.text().encode(errors="backslashreplace"))
        else:
            with create(target) as file:
                writer = CaptureWriter(file)
                for record in self:
                    writer.write(record)
        return target


class Archive:
    """A directory where the histories of a connection are saved. A failure is logged, and nothing is raised.

    Args:
        directory: an existing directory.

    Raises:
        ValueError: it is not a directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        if not self._directory.is_dir():
            raise ValueError(f"record_to must be an existing directory, not {str(directory)!r}; create it first")
        self._files: deque[Path] = deque()

    def add(self, name: str, history: History) -> None:
        """Save a history as text and as pcapng; of those saved by this object, keep the last ``KEPT``."""
        target = self._directory / file_name(name, history)
        try:
            for suffix in (".txt", ".pcapng"):
                self._files.append(history.save(f"{target}{suffix}"))
            while len(self._files) > 2 * KEPT:
                self._files.popleft().unlink(missing_ok=True)
        except OSError as error:
            log.error("%s: its history cannot be saved: %s", name, error)


def load(path: str | os.PathLike[str]) -> History:
    """Return a history that was saved as pcapng.

    Raises:
        ProtocolError: the file was not saved by cnx, or is damaged.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return History(read_capture(file))


def checked_suffix(path: Path) -> str:
    """Return the kind of file that the suffix stands for; raises ValueError."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    return kind


def file_name(name: str, records: Iterable[Record]) -> str:
    """Return a file name without suffix: ``name``, and the time of the last record."""
    last = max((record.time for record in records), default=0.0)
    moment = moment_of(last).strftime("%Y%m%d-%H%M%S-%f")
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:80]}-{moment}"


def moment_of(seconds: float) -> datetime:
    """Return the time that a clock showed, which may be set wrong: the nearest one from 1970 to 9999."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST), timezone.utc)


def line_of(record: Record) -> str:
    """Return a record as a line of text, with a newline."""
    moment = moment_of(record.time).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"{moment} {record}\n"
