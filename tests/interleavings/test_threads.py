"""Waiting and waking: all interleavings with at most two preemptions."""

from __future__ import annotations

from cnx.deadline import Deadline
from cnx.threads.condition import Condition, Flag
from tests.interleavings.conftest import Explore


class Waiting:
    """A condition and what waits for it."""

    def __init__(self) -> None:
        self.condition = Condition()
        self.flag = Flag()
        self.permits = 0
        self.got: list[object] = []

    def give(self) -> None:
        with self.condition.lock:
            self.permits += 1
        self.condition.notify()

    def take(self) -> None:
        self.got.append(self.condition.wait_for(self._claim, None))

    def _claim(self) -> bool:
        if not self.permits:
            return False
        self.permits -= 1
        return True


def test_no_notification_is_missed(explore: Explore) -> None:
    """Each waiting thread claims what another one has given, and none waits for ever."""

    def holds(state: Waiting) -> bool:
        return state.got == [True] and state.permits == 1 and not state.condition.gates

    explore(
        "condition x notify x notify", Waiting, Waiting.take, Waiting.give, Waiting.give, holds=holds, among=THREADS
    )


def test_two_threads_wait_for_one_condition(explore: Explore) -> None:
    """Each claims one permit, and leaves no gate behind."""

    def setup() -> Waiting:
        state = Waiting()
        state.permits = 1
        return state

    def holds(state: Waiting) -> bool:
        return state.got == [True, True] and state.permits == 0 and not state.condition.gates

    explore(
        "condition x condition x notify",
        setup,
        Waiting.take,
        Waiting.take,
        Waiting.give,
        holds=holds,
        among=THREADS,
        preemptions=1,
    )


def test_a_flag_wakes_all(explore: Explore) -> None:
    """Each waiting thread goes on, whether it came before or after the flag was set."""

    def wait(state: Waiting) -> None:
        state.got.append(state.flag.wait())

    def holds(state: Waiting) -> bool:
        return state.got == [True, True] and state.flag.wait(0.0)

    def set_flag(state: Waiting) -> None:
        state.flag.set()

    explore("flag set x wait x wait", Waiting, set_flag, wait, wait, holds=holds, among=THREADS)


def test_a_wait_that_ends_by_time_takes_nothing(explore: Explore) -> None:
    """Time is up while the condition becomes true: what is claimed is reported, and what is not is left."""

    def take(state: Waiting) -> None:
        state.got.append(state.condition.wait_for(state._claim, 1.0))

    def holds(state: Waiting) -> bool:
        return (state.got, state.permits) in (([True], 0), ([False], 1)) and not state.condition.gates

    explore("condition with a timeout x notify", Waiting, take, Waiting.give, holds=holds, among=THREADS)


def test_cancelling_a_deadline_wakes_a_wait(explore: Explore) -> None:
    """Cancelled before, while or after a wait begins, a pause without a limit ends."""

    def setup() -> tuple[Deadline, list[bool]]:
        return Deadline(None), []

    def pause(state: tuple[Deadline, list[bool]]) -> None:
        state[1].append(state[0].pause(1e6))

    def cancel(state: tuple[Deadline, list[bool]]) -> None:
        state[0].cancel()

    def holds(state: tuple[Deadline, list[bool]]) -> bool:
        return state[1] == [False] and not state[0]._wakers

    explore(
        "pausing x cancelling x cancelling", setup, pause, cancel, cancel, holds=holds, among=rf"{THREADS}|cnx/deadline"
    )


THREADS = r"cnx/threads/\w+"
