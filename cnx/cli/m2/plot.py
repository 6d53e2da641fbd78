"""Plots of recorded telemetry: one pair of axes for each unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cnx.clients.m2 import TELEMETRY

__all__ = ["draw"]


def draw(path: Path, times: Sequence[float], series: Mapping[str, Sequence[float]]) -> None:
    """Plot columns of a recording over time into ``path``, whose suffix selects the format."""
    by_unit: dict[str, list[str]] = {}
    for name in series:
        by_unit.setdefault(unit_of(name), []).append(name)
    figure = Figure(figsize=(9, 1 + 2.5 * len(by_unit)), layout="constrained")
    rows = figure.subplots(len(by_unit), sharex=True, squeeze=False)[:, 0]
    for axes, (unit, names) in zip(rows, by_unit.items(), strict=True):
        for name in names:
            axes.plot(times, series[name], label=name, marker="." if len(times) < 50 else "")
        axes.set_ylabel(unit or "value")
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    rows[-1].set_xlabel("time in s")
    figure.savefig(path)


def unit_of(column: str) -> str:
    """Return the unit of a column, from the table of telemetry."""
    topic, _, rest = column.partition(".")
    name = rest.partition(".")[0]
    fields = TELEMETRY[topic].fields if topic in TELEMETRY else ()
    return next((field.unit for field in fields if field.name == name), "")
