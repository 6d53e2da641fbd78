"""The picture of the demonstration."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a file, never a window

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnx.cli.demo.story import Story
from cnx.manager.lifecycle import State

__all__ = ["save_picture"]

COLOURS = {State.CONNECTED: "#c9e8c5", State.RECOVERING: "#fbe3a6", State.CONNECTING: "#c4e3f3"}


def save_picture(story: Story, path: Path) -> None:
    """Draw temperatures and connection states over time into ``path``."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    _draw_states(story, axes)
    times = [row.time for row in story.readings]
    nothing = float("nan")
    for label, colour in (("supply", "#1f5fa8"), ("ambient", "#a8551f")):
        values = [nothing if (value := getattr(row, label)) is None else value for row in story.readings]
        axes.plot(times, values, label=f"{label} temperature", color=colour, linewidth=2, marker=".", markersize=4)
    for when, text in ((story.killed_at, "killed"), (story.restarted_at, "started again")):
        if when is not None:
            axes.axvline(when, color="#777777", linestyle="--", linewidth=1)
            axes.annotate(f" simulator {text}", (when, 0.02), xycoords=("data", "axes fraction"), fontsize=8)
    axes.set(xlabel="time in s", ylabel="temperature in °C", title=f"cnx demo: {story.url}", xlim=(0, story.elapsed))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path)


def _draw_states(story: Story, axes: Axes) -> None:
    """Colour the background by the state of the connection."""
    ends = [when for when, _ in story.states[1:]] + [story.elapsed]
    labelled: set[State] = set()
    for (begin, state), end in zip(story.states, ends, strict=True):
        if state in COLOURS:
            label = None if state in labelled else state.value
            labelled.add(state)
            axes.axvspan(begin, end, color=COLOURS[state], label=label, linewidth=0)
