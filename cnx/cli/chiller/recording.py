"""Recordings of a chiller: CSV files with one row for each round of values and for each change of state."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path
from typing import TextIO

from cnx.cli.chiller.output import flag_names
from cnx.clients.chiller import ChillerMonitor, Telemetry
from cnx.printable import spreadsheet_cell

__all__ = ["COLUMNS", "RecordingWriter", "read_recording"]

VALUES = (
    "setpoint",
    "supply_temperature",
    "return_temperature",
    "ambient_temperature",
    "flow",
    "drive",
    "tec_current_1",
    "tec_current_2",
    "fan_1",
    "fan_2",
    "fan_3",
    "fan_4",
)
COLUMNS = ("time", "state", "pump", "alarm", "warnings", "alarms", *VALUES)
"""Temperatures in degrees Celsius, flow in l/min, drive in per cent (negative: heating), currents in A, fans in Hz."""


class RecordingWriter:
    """Writes what a monitor reads to a CSV file; times are local, with their UTC offset."""

    def __init__(self, file: TextIO, monitor: ChillerMonitor) -> None:
        self._file = file
        self._monitor = monitor
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)

    def write(self, telemetry: Telemetry | None) -> None:
        """Add a row with the state and, if given, the values."""
        status, report = self._monitor.watchdog, self._monitor.report
        state = "" if status is None else status.state.name.lower()
        pump = "" if status is None else int(status.pump)
        alarm = int(report is not None)
        names = ";".join(flag_names(self._monitor.warnings)), ";".join(report.names if report else ())
        values = [""] * len(VALUES) if telemetry is None else values_of(telemetry)
        row = [datetime.now().astimezone().isoformat(), state, pump, alarm, *names, *values]
        self._rows.writerow(map(spreadsheet_cell, row))
        self._file.flush()


def values_of(telemetry: Telemetry) -> list[float | str]:
    """Return the values in the order of the columns."""
    drive = telemetry.drive
    level = None if drive is None else drive.level if drive.mode.value == "C" else -drive.level
    values = [
        telemetry.setpoint,
        telemetry.supply_temperature,
        telemetry.return_temperature,
        telemetry.ambient_temperature,
        telemetry.flow,
        level,
        *telemetry.tec_currents,
        *telemetry.fan_speeds,
    ]
    return ["" if value is None else value for value in values]


def read_recording(path: Path) -> list[dict[str, str]]:
    """Return the rows of a recording.

    Raises:
        ValueError: the file is not a recording, or it is empty.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"not a recording of a chiller: no column {', '.join(sorted(missing))}")
        rows = list(reader)
    if not rows:
        raise ValueError("the recording is empty")
    return rows
