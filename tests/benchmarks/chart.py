"""The benchmarks as a picture."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from tests.benchmarks.harness import Result

__all__ = ["draw"]

Panel = tuple[str, list[Result]]

TIMES = ("us", "us/message", "ns", "ms", "s", "ms/s")
BARE, OURS, OTHERS = "#9a9a9a", "#1f5fa8", "#d9a066"
ROW, TITLE, HEAD = 0.21, 0.45, 0.8
"""Heights, inches."""


def draw(results: list[Result], where: str, path: Path) -> None:
    """Draw a bar for every ratio; where less is better the inverse, so that longer always is.

    Left out are figures that are compared with no bare loop, and 99th percentiles, which the tables have.
    """
    panels = [(name, list(rows)) for name, rows in groupby(results, lambda row: row.case)]
    panels = [(name, rows) for name, rows in panels if _is_drawn(name, rows)]
    if not panels:
        return
    columns = _columns(panels)
    height = max(sum(ROW * len(rows) + TITLE for _, rows in column) for column in columns)
    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8, "svg.hashsalt": "cnx"}):
        figure = Figure(figsize=(6.2 * len(columns), height + HEAD), layout="constrained")
        figure.suptitle(
            f"1.00 (grey) is the bare loop; longer is better; a black line is what cnx has to reach\n{where}",
            fontsize=9,
        )
        for column, part in zip(columns, figure.subfigures(1, len(columns), squeeze=False)[0], strict=True):
            heights = [ROW * len(rows) + TITLE for _, rows in column]
            plots = part.subplots(len(column), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)
            for (name, rows), axes in zip(column, plots[:, 0], strict=True):
                _draw_panel(name, rows, axes)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _is_drawn(name: str, rows: list[Result]) -> bool:
    bare = rows[0].way.startswith(("bare", "asyncio"))
    return bare and len(rows) > 1 and not rows[0].absolute and not name.endswith("p99")


def _columns(panels: list[Panel]) -> list[list[Panel]]:
    """Return the panels in two columns of about the same height."""
    half = sum(len(rows) + 2 for _, rows in panels) / 2
    left: list[Panel] = []
    while panels and sum(len(rows) + 2 for _, rows in left) < half - len(panels[0][1]) / 2:
        left.append(panels.pop(0))
    return [column for column in (left, panels) if column]


def _draw_panel(name: str, rows: list[Result], axes: Any) -> None:
    inverse = rows[0].unit in TIMES
    values = [_drawn(row.ratio, inverse) for row in rows]
    labels = [f"{row.way}  {row.figure:,.{1 if row.figure < 1000 else 0}f} {row.unit}" for row in rows]
    axes.barh(labels, values, color=[_colour(index, row) for index, row in enumerate(rows)], height=0.75)
    limit = max(*values, 1.0)
    for index, (row, value) in enumerate(zip(rows, values, strict=True)):
        end = value
        if row.target is not None:
            must = _drawn(row.target.must, inverse)
            axes.vlines(must, index - 0.45, index + 0.45, color="black", linewidth=1.6)
            end = must if value < must < value + limit * 0.12 else value
        text = f"{value:.2f}" if value >= 0.01 else f"{value:.4f}"
        axes.text(end + limit * 0.01, index, text, va="center", fontsize=8)
    axes.set_title(name, loc="left", fontsize=9, fontweight="bold")
    axes.set_xlim(0, limit * 1.15)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8, length=0)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _drawn(ratio: float, inverse: bool) -> float:
    return 1 / ratio if inverse and ratio else ratio


def _colour(index: int, row: Result) -> str:
    return BARE if not index else OURS if row.way.startswith("cnx") else OTHERS
