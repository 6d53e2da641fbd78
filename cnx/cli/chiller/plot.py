"""A picture drawn from a recording."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnx.cli.chiller.recording import read_recording

__all__ = ["draw"]

Rows = list[dict[str, str]]

TEMPERATURES = {
    "setpoint": "#777777",
    "supply_temperature": "#1f5fa8",
    "return_temperature": "#3f9b6c",
    "ambient_temperature": "#a8551f",
}
"""The colour of each curve in the top diagram, by column."""


def draw(recording: Path, output: Path) -> None:
    """Draw a recording into the file ``output``; its extension selects the format.

    Raises:
        ValueError: ``recording`` is not a recording, or the extension is not a known format.
        OSError: a file cannot be read or written.
    """
    rows = read_recording(recording)
    figure = Figure(figsize=(10, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, sharex=True, height_ratios=[3, 1, 1])
    for name, colour in TEMPERATURES.items():
        draw_values(top, rows, name, colour, label=name.replace("_temperature", "").replace("setpoint", "set point"))
    draw_values(middle, rows, "flow", "#1f5fa8")
    draw_values(bottom, rows, "drive", "#8a3fa8")
    top.set(ylabel="temperature in °C", title=recording.name)
    middle.set(ylabel="flow in l/min")
    bottom.set(ylabel="drive in %\n(< 0: heating)", xlabel="time")
    bottom.xaxis_date(tz=time_of(rows[0]).tzinfo)
    labelled = False
    for begin, end, alarms in alarm_spans(rows):
        for axes in (top, middle, bottom):
            axes.axvspan(begin, end, color="#e06666", alpha=0.3, linewidth=0, label=None if labelled else "alarm")
            axes.axvline(begin, color="#e06666", linewidth=1)  # visible even if the span is too short to be
            labelled = True
        names = " " + alarms.replace(";", "\n ").replace("_", " ").lower()
        paper = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
        top.annotate(names, (begin, 0.98), xycoords=("data", "axes fraction"), va="top", size=8, bbox=paper)
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(output)


def draw_values(axes: Axes, rows: Rows, name: str, colour: str, label: str | None = None) -> None:
    """Draw one column, with a gap where a round has no value."""
    rounds = [
        row for row in rows if any(row[column] for column in (*TEMPERATURES, "flow", "drive")) or not row["state"]
    ]
    values = [float(row[name]) if row[name] else float("nan") for row in rounds]
    times: Any = [time_of(row) for row in rounds]  # matplotlib accepts datetimes, although its annotations do not
    axes.plot(times, values, color=colour, label=label, marker=".", markersize=3, linewidth=1.5)


def alarm_spans(rows: Rows) -> Iterator[tuple[datetime, datetime, str]]:
    """Yield the begin, the end and the names of each alarm."""
    begin, names = None, ""
    for row in rows:
        if row["alarm"] == "1":
            begin = time_of(row) if begin is None else begin
            names = row["alarms"] or names
        elif begin is not None:
            yield begin, time_of(row), names
            begin, names = None, ""
    if begin is not None:
        yield begin, time_of(rows[-1]), names


def time_of(row: dict[str, str]) -> datetime:
    """Return the time of a row."""
    return datetime.fromisoformat(row["time"])
