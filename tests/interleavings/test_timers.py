"""Timers: all interleavings with at most two preemptions."""

from __future__ import annotations

from cnx.link.timers import Timer, Timers
from tests.interleavings.conftest import Explore


class Life:
    """What a timer knows of its link."""

    reason: BaseException | None = None
    address = "memory"


class Clock:
    """The timers of one thread, and a list of which ones have run."""

    def __init__(self) -> None:
        self.life = Life()
        self.timers = Timers()
        self.ran: list[str] = []
        self.first = self._timer("first")
        self.timers.add(self.first)

    def _timer(self, name: str) -> Timer:
        return Timer(self.life, 0.0, lambda: self.ran.append(name), periodic=False)

    def look(self) -> None:
        """What the thread of a listener does in its turn."""
        if self.timers.any and self.timers.remaining() == 0.0:
            self.timers.run_due()

    def schedule(self) -> None:
        self.timers.add(self._timer("second"))

    def stop(self) -> None:
        self.first.cancel()

    def end(self) -> None:
        self.life.reason = ConnectionError("ended")
        self.timers.tidy()


def test_a_timer_that_is_added_runs_once(explore: Explore) -> None:
    """No addition is missed while the thread looks which timer is due."""

    def holds(clock: Clock) -> bool:
        clock.look()
        return sorted(clock.ran) == ["first", "second"]

    explore("timers: schedule x run", Clock, Clock.look, Clock.schedule, holds=holds, among=TIMERS)


def test_a_timer_that_is_cancelled_runs_at_most_once(explore: Explore) -> None:
    """The others run once."""

    def holds(clock: Clock) -> bool:
        clock.look()
        return sorted(clock.ran) in (["first", "second"], ["second"])

    explore("timers: schedule x run x stop", Clock, Clock.look, Clock.schedule, Clock.stop, holds=holds, among=TIMERS)


def test_the_timers_of_a_link_that_has_ended_are_dropped(explore: Explore) -> None:
    """They do not run after the end, and nothing waits for them."""

    def holds(clock: Clock) -> bool:
        ran = list(clock.ran)
        clock.look()
        clock.timers.remaining()
        return clock.ran == ran and not clock.timers.any

    explore("timers: schedule x run x end", Clock, Clock.look, Clock.schedule, Clock.end, holds=holds, among=TIMERS)


TIMERS = "cnx/link/timers"
