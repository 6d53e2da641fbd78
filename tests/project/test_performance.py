"""The performance page draws the results of the benchmarks, and the benchmarks notice a missed bound."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.harness import Result, missed

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def performance_chart() -> ModuleType:
    """Load the module that draws the chart."""
    spec = importlib.util.spec_from_file_location("performance_chart", DOCS / "_ext" / "performance_chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chart_shows_the_published_results(performance_chart: ModuleType) -> None:
    """Each group is drawn, with at most 15 bars in all, inside the picture, each with its name and ratio."""
    cases = json.loads((DOCS / "topics" / "performance.json").read_text(encoding="utf-8"))["cases"]
    drawn = ElementTree.fromstring(performance_chart.chart(cases))
    ways = [way for case in cases if case["case"] in performance_chart.GROUPS for way in performance_chart.bars(case)]
    bars = [rect for rect in drawn.iter(f"{SVG}rect") if float(rect.attrib["x"]) == performance_chart.LABEL]
    texts = [text.text or "" for text in drawn.iter(f"{SVG}text")]
    assert set(performance_chart.GROUPS) <= {case["case"] for case in cases}
    assert len(performance_chart.GROUPS) < len(bars) == len(ways) <= 15
    for bar in bars:
        assert 0 < float(bar.attrib["width"]) <= performance_chart.BAR_WIDTH
    for way in ways:
        assert way["way"] in texts
        assert any(text.startswith(f"{way['ratio']:.2f}") for text in texts)


def result(way: str, ratio: float, bound: float | None = None, behind: str | None = None, **other: bool) -> Result:
    """Return a result of a case of which more is better, unless ``other`` says something else."""
    settings = {"less": False, "absolute": False, **other}
    return Result(
        "work", way, "1/s", figure=100.0, ratio=ratio, low=0.0, high=0.0, bound=bound, behind=behind, **settings
    )


def test_results_within_their_bounds_are_not_reported() -> None:
    """A result that equals its bound is good enough, and so is a peer that is level."""
    assert not missed([result("bare", 1.0), result("cnx", 0.8, 0.8), result("peer", 0.8, behind="cnx")])
    assert not missed([result("cnx", 1.5, 1.5, less=True), result("peer", 1.6, behind="cnx", less=True)])
    assert not missed([result("cnx", 0.0, 100.0, absolute=True)])


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([result("cnx", 0.79, 0.8)], "work: cnx: 0.79, the bound is 0.8"),
        ([result("cnx", 1.51, 1.5, less=True)], "work: cnx: 1.51, the bound is 1.5"),
        ([result("cnx", 9.0, 101.0, absolute=True)], "work: cnx: 100, the bound is 101"),
        ([result("cnx", 0.9), result("peer", 1.0, behind="cnx")], "work: peer: ahead of cnx"),
        ([result("cnx", 1.2, less=True), result("peer", 1.1, behind="cnx", less=True)], "work: peer: ahead of cnx"),
    ],
)
def test_a_missed_bound_is_reported(rows: list[Result], line: str) -> None:
    """A result beyond its bound is reported, and so is a peer that is ahead of cnx."""
    assert missed(rows) == [line]
