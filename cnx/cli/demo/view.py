"""Output of the demonstration: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnx.cli.console import echo
from cnx.cli.demo.story import Story
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager

__all__ = ["LiveView", "PlainView"]

COLOURS = {State.CONNECTED: "green", State.RECOVERING: "yellow", State.CONNECTING: "cyan"}


class PlainView:
    """Prints what happens line by line, and a reading every second."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._shown = 0
        self._second = -1

    def __enter__(self) -> PlainView:
        echo(f"a simulated chiller listens at {self._story.url}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._show_notes()

    def update(self, manager: ConnectionManager) -> None:
        """Print what is new."""
        self._show_notes()
        if int(self._story.elapsed) > self._second:
            self._second = int(self._story.elapsed)
            row = self._story.readings[-1]
            supply = "no reading" if row.supply is None else f"supply {row.supply:.1f} °C"
            echo(f"{row.time:5.1f} s  {manager.state.value:12} {supply}")

    def _show_notes(self) -> None:
        new = self._story.notes[self._shown :]  # another thread may add some at any moment
        for when, text in new:
            echo(f"{when:5.1f} s  * {text}")
        self._shown += len(new)


class LiveView:
    """A table that is redrawn with every reading, with the last events below it."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._live = Live(console=Console(), refresh_per_second=8, transient=False)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def update(self, manager: ConnectionManager) -> None:
        """Draw the present state."""
        notes = Text("\n".join(f"{when:5.1f} s  {text}" for when, text in self._story.notes[-8:]), style="dim")
        self._live.update(Group(self._table(manager), notes))

    def _table(self, manager: ConnectionManager) -> Table:
        story, done = self._story, manager.counters
        row = story.readings[-1]
        state = Text(manager.state.value, style=f"bold {COLOURS.get(manager.state, 'red')}")
        table = Table(title=f"cnx demo: {story.url}   {story.elapsed:4.1f} of {story.seconds:g} s")
        for head in ("state", "supply °C", "ambient °C", "attempts", "connects", "losses", "bytes in", "bytes out"):
            table.add_column(head, justify="left" if head == "state" else "right", min_width=8)
        temperatures = ("-" if value is None else f"{value:.1f}" for value in (row.supply, row.ambient))
        numbers = (done.attempts, done.connects, done.losses, done.traffic.bytes_received, done.traffic.bytes_sent)
        table.add_row(state, *temperatures, *map(str, numbers))
        return table
