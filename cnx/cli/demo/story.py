"""The events of the demonstration, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from cnx.manager.lifecycle import State
from cnx.manager.manager import Counters

__all__ = ["Reading", "Story"]


@dataclass(frozen=True)
class Reading:
    """Temperatures in degrees Celsius at a time in seconds; ``None`` while there was no link."""

    time: float
    supply: float | None
    ambient: float | None


@dataclass
class Story:
    """A record of one demonstration; times are seconds from its beginning."""

    url: str
    seconds: float
    began: float = field(default_factory=monotonic)
    states: list[tuple[float, State]] = field(default_factory=lambda: [(0.0, State.READY)])
    readings: list[Reading] = field(default_factory=list)
    notes: list[tuple[float, str]] = field(default_factory=list)
    killed_at: float | None = None
    restarted_at: float | None = None
    counters: Counters | None = None
    ended: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds from the beginning until now, or until the end."""
        return (self.ended or monotonic()) - self.began

    @property
    def recovered(self) -> bool:
        """Whether the link came back after the simulator did, and brought readings."""
        since = self.restarted_at
        return since is not None and any(row.time > since and row.supply is not None for row in self.readings)

    def on_state_changed(self, old: State, new: State, reason: BaseException | None) -> None:
        """Note a change of the connection."""
        self.states.append((self.elapsed, new))
        because = f" ({reason})" if reason is not None and new is State.RECOVERING else ""
        self.note(f"{old.value} -> {new.value}{because}")

    def note(self, text: str) -> float:
        """Note something else, and return when."""
        now = self.elapsed
        self.notes.append((now, text))
        return now

    def end(self, counters: Counters) -> None:
        """Note the end."""
        self.counters = counters
        self.ended = monotonic()

    def add_reading(self, supply: float | None, ambient: float | None) -> None:
        """Note a reading."""
        self.readings.append(Reading(self.elapsed, supply, ambient))

    def recovery_time(self) -> float | None:
        """Return the seconds from the simulator's return to the link's."""
        since = self.restarted_at
        if since is None:
            return None
        return next((when - since for when, state in self.states if when > since and state is State.CONNECTED), None)

    def summary(self) -> list[str]:
        """Return the end of the story in a few lines."""
        lines = [f"{self.url}: {sum(row.supply is not None for row in self.readings)} readings in {self.elapsed:.1f} s"]
        if self.counters is not None:
            done = self.counters
            lines.append(
                f"attempts {done.attempts}, connects {done.connects}, losses {done.losses}, "
                f"bytes in {done.traffic.bytes_received}, bytes out {done.traffic.bytes_sent}"
            )
        took = self.recovery_time()
        recovered = f"recovered {took:.2f} s after the simulator was back" if took is not None else "recovered"
        lines.append(recovered if self.recovered else "NOT recovered")
        return lines
