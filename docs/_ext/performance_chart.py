"""The chart of the performance page, as SVG: two groups of horizontal bars from the results of the benchmarks."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["bars", "chart", "is_ours"]

GROUPS = {
    "request and reply, p50": "Time of a request and its reply, in round trips of a bare socket. Shorter is better.",
    "lines of 100 bytes": "Lines per second, as a share of what a bare loop reads. Longer is better.",
}
SCALE = (0.01, 10.0)
"""Ratios outside this range would make all other bars unreadable, and are left out."""

WIDTH, LABEL, BAR_WIDTH, ROW, HEAD, LEGEND = 780, 290, 370, 25, 44, 34
"""Pixels; the labels and the bars begin at the left, the numbers follow the bars."""

OURS, OTHERS, BARE, BOUND = "#1f5fa8", "#d9a066", "#777777", "#000000"


def is_ours(way: str) -> bool:
    """Whether a way of this name uses cnx."""
    return way.partition(",")[0].partition(" ")[0] == "cnx"


def bars(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the ways of a case that have a bar, best first; the bare loop, which is always 1, has none."""
    ways = [way for way in case["ways"][1:] if SCALE[0] <= way["ratio"] <= SCALE[1]]
    return sorted(ways, key=lambda way: way["ratio"], reverse=not case["less"])


def chart(cases: list[dict[str, Any]]) -> str:
    """Return the chart as SVG."""
    by_name = {case["case"]: case for case in cases}
    parts, top = [legend()], LEGEND
    for name, title in GROUPS.items():
        if name in by_name:
            group, height = draw_group(title, bars(by_name[name]), top)
            parts.append(group)
            top += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="100%" role="img" '
        'aria-label="Ratios to a bare loop of requests and replies, and of lines" font-family="sans-serif" '
        f'font-size="13">{"".join(parts)}</svg>'
    )


def legend() -> str:
    """Return the meaning of the colours."""
    parts = [
        f'<rect x="{x}" y="6" width="14" height="14" fill="{colour}"/><text x="{x + 20}" y="18">{text}</text>'
        for x, colour, text in ((0, OURS, "cnx"), (70, OTHERS, "other ways"))
    ]
    parts.append(line(187, 4, 22, BOUND, 3) + '<text x="197" y="18">bound: the worst acceptable ratio</text>')
    parts.append(line(450, 4, 22, BARE, 1.5, "4 3") + '<text x="460" y="18">bare loop</text>')
    return "".join(parts)


def draw_group(title: str, ways: list[dict[str, Any]], top: float) -> tuple[str, float]:
    """Return one group of bars, and its height."""
    unit = BAR_WIDTH / max(1.0, *(max(way["ratio"], way["bound"] or 0.0) for way in ways))
    parts = [f'<text x="0" y="{top + 24}" font-weight="bold">{escape(title)}</text>']
    begin = top + HEAD
    parts.append(line(LABEL + unit, begin - 6, begin + ROW * len(ways), BARE, 1.5, "4 3"))
    for number, way in enumerate(ways):
        y = begin + ROW * number
        end = LABEL + way["ratio"] * unit
        parts.append(f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(way["way"])}</text>')
        parts.append(
            f'<rect x="{LABEL}" y="{y}" width="{end - LABEL:.1f}" height="{ROW - 7}" '
            f'fill="{OURS if is_ours(way["way"]) else OTHERS}"/>'
        )
        text = f"{way['ratio']:.2f}"
        if way["bound"] is not None:
            text += f" (bound {way['bound']:.2f})"
            bound = LABEL + way["bound"] * unit
            parts.append(line(bound, y - 2, y + ROW - 5, BOUND, 3))
            end = max(end, bound)  # so that the mark does not cross the number
        parts.append(  # white behind the number, where the line of the bare loop would cross it
            f'<rect x="{end + 3:.1f}" y="{y}" width="{7.5 * len(text):.0f}" height="{ROW - 7}" fill="#ffffff"/>'
            f'<text x="{end + 6:.1f}" y="{y + 14}">{text}</text>'
        )
    return "".join(parts), HEAD + ROW * len(ways) + 8


def line(x: float, top: float, bottom: float, colour: str, width: float, dashes: str = "none") -> str:
    """Return a vertical line."""
    return (
        f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-dasharray="{dashes}"/>'
    )
