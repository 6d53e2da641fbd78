"""Telemetry of the M2 cell controller as a CSV file: one row for each round of telemetry."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from cnx.clients.m2 import TELEMETRY
from cnx.printable import spreadsheet_cell

__all__ = ["Recorder", "columns_of", "read_recording"]


MOST_COLUMNS = 78
"""Lines in a plot, at most: as many as there are actuators."""


class Recorder:
    """Writes a row whenever a topic arrives for the second time since the last row. One thread at a time.

    Args:
        file: open for text, with ``newline=""``.
        topics: the topics to record.
    """

    def __init__(self, file: TextIO, topics: Sequence[str]) -> None:
        self.rows = 0
        self._columns = {topic: column_names(topic) for topic in topics}
        names = ["time", *(name for columns in self._columns.values() for name in columns)]
        self._writer = csv.DictWriter(file, names)
        self._writer.writeheader()
        self._time = 0.0  # when the row began, seconds since the epoch
        self._row: dict[str, Any] = {}
        self._seen: set[str] = set()

    def take(self, message: Any) -> None:
        """Record a message, without what is not in the table of telemetry."""
        topic = message.get("id") if isinstance(message, dict) else None
        if not isinstance(topic, str) or topic not in self._columns:
            return
        if topic in self._seen:
            self.finish()
        if not self._seen:
            self._time = time.time()
        self._seen.add(topic)
        values = {name: value for field in TELEMETRY[topic].fields for name, value in named(topic, field.name, message)}
        self._row.update((name, values[name]) for name in self._columns[topic] if name in values)

    def finish(self) -> None:
        """Write the last row, which may be incomplete."""
        if self._row:
            cells = {name: spreadsheet_cell(value) for name, value in self._row.items()}
            self._writer.writerow({"time": f"{self._time:.3f}", **cells})
            self.rows += 1
        self._row, self._seen = {}, set()


def column_names(topic: str) -> list[str]:
    """Return the columns of a topic: ``topic.field``, and ``topic.field.0`` onwards for a list."""
    return [
        name
        for field in TELEMETRY[topic].fields
        for name in (
            [f"{topic}.{field.name}"]
            if field.size is None
            else [f"{topic}.{field.name}.{index}" for index in range(field.size[1])]
        )
    ]


def named(topic: str, field: str, message: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yield the values of a field with the names of their columns."""
    value = message.get(field)
    if isinstance(value, list):
        yield from ((f"{topic}.{field}.{index}", item) for index, item in enumerate(value))
    elif value is not None:
        yield f"{topic}.{field}", value


def read_recording(path: Path) -> tuple[list[float], dict[str, list[float]]]:
    """Return the times in seconds since the first row, and each column; missing values are NaN.

    Raises:
        ValueError: the file is not a recording.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "time" not in rows[0]:
        raise ValueError("not a recording with at least one row")
    times = [float(row["time"]) for row in rows]
    series = {name: [float(row[name]) if row[name] else math.nan for row in rows] for name in rows[0] if name != "time"}
    return [at - times[0] for at in times], series


def columns_of(series: Mapping[str, Sequence[float]], chosen: Sequence[str]) -> list[str]:
    """Return the columns with these names or of these topics; if none is chosen, all columns that change.

    Raises:
        ValueError: there is no such column, or there are too many to distinguish.
    """
    unknown = [key for key in chosen if not any(name == key or name.startswith(f"{key}.") for name in series)]
    if chosen:
        found = [name for name in series if any(name == key or name.startswith(f"{key}.") for key in chosen)]
    else:
        found = [name for name, values in series.items() if len(set(values)) > 1]
    if unknown or not 1 <= len(found) <= MOST_COLUMNS:
        topics = ", ".join(sorted({name.partition(".")[0] for name in series}))
        problem = f"no column {unknown[0]!r}" if unknown else f"{len(found)} columns to plot"
        raise ValueError(f"{problem}; name 1 to {MOST_COLUMNS} columns, or topics: {topics}")
    return found
