"""The benchmarks as a picture."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from tests.benchmarks.harness import Result

__all__ = ["draw"]


def draw(results: list[Result], where: str, path: Path) -> None:
    """Draw a bar for every ratio; cases of which less is better are drawn as the inverse, so that longer is better."""
    cases = [(name, list(rows)) for name, rows in groupby(results, lambda row: row.case) if not name.startswith("emit")]
    cases = [(name, rows) for name, rows in cases if not rows[0].absolute and len(rows) > 1]
    figure = Figure(figsize=(9, 0.34 * sum(len(rows) for _, rows in cases) + 0.6 * len(cases)), layout="constrained")
    heights = [len(rows) for _, rows in cases]
    plots = figure.subplots(len(cases), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False)
    for (name, rows), axes in zip(cases, plots[:, 0], strict=True):
        slower_is_more = rows[0].unit in ("us", "us/message", "ns", "ms", "s")
        values = [1 / row.ratio if slower_is_more and row.ratio else row.ratio for row in rows]
        colours = ["#999999" if not index else _colour(row) for index, row in enumerate(rows)]
        bars = axes.barh([row.way for row in rows], values, color=colours)
        axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontsize=8)
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold")
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"1.00 is the bare loop; longer is better\n{where}", fontsize=9)
    figure.savefig(path)


def _colour(row: Result) -> str:
    return "#1f5fa8" if row.way.startswith("cnx") else "#d9a066"
