"""Gates and monitors: waiting that signal handlers cannot break."""

from __future__ import annotations

import threading

from cnx.testing import PATIENCE
from cnx.threads.condition import Condition, Flag, Gate
from tests.helpers.interrupts import interrupt, strike


def test_gate_remembers_that_it_was_opened() -> None:
    """Opening comes before or after waiting, once or often."""
    gate = Gate()
    assert not gate.wait(0.0)
    gate.open()
    gate.open()
    assert gate.wait(0.0)


def test_wait_for_returns_what_holds() -> None:
    """It returns the answer as soon as it is true, and the last one when time is up."""
    condition = Condition()
    assert condition.wait_for(lambda: 7, 0.0) == 7
    assert condition.wait_for(lambda: 0, 0.01) == 0
    assert not condition.gates


def test_all_who_wait_look_again() -> None:
    """One change wakes every thread, and each claims only what is there."""
    condition = Condition()
    free: list[int] = []
    taken: list[int] = []

    def claim() -> bool:
        if free:
            taken.append(free.pop())
            return True
        return False

    threads = [threading.Thread(target=condition.wait_for, args=(claim, PATIENCE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(8):
        with condition.lock:
            free.append(number)
        condition.notify()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(taken) == list(range(8))
    assert not condition.gates


def test_handler_on_the_waiting_thread_is_not_missed() -> None:
    """Wherever a signal handler strikes while its own thread waits, what it changes ends the wait."""
    at, struck = 0, True
    while struck:
        condition = Condition()
        state: list[int] = []

        def change(condition: Condition = condition, state: list[int] = state) -> None:
            with condition.lock:
                state.append(1)
            condition.notify()

        backstop = threading.Timer(PATIENCE, change)
        struck, _ = strike(lambda m=condition, s=state: m.wait_for(lambda: s, 0.05), change, at)  # type: ignore[misc]
        assert bool(state) == struck
        backstop.cancel()
        at += 1
    assert at > 10


def test_interrupt_leaves_no_lock_behind() -> None:
    """Wherever Ctrl-C strikes, the lock is free and nobody is taken for waiting."""
    at, struck = 0, True
    while struck:
        condition = Condition()
        struck, raised = strike(lambda m=condition: m.wait_for(lambda: False, 0.0), interrupt, at)  # type: ignore[misc]
        assert (raised is None) != struck
        free: list[int] = []
        other = threading.Thread(target=condition.wait_for, args=(lambda f=free: f.append(1) or True, 0.0), daemon=True)
        other.start()
        other.join(PATIENCE)
        assert free
        assert not condition.gates
        at += 1
    assert at > 5


def test_flag_may_be_set_by_a_handler_anywhere() -> None:
    """Wherever a signal handler strikes that sets it, in waiting or in setting, the call ends, and it is set."""
    for call in (lambda flag: flag.wait(0.05), lambda flag: flag.set()):
        at, struck = 0, True
        while struck:
            flag = Flag()
            struck, raised = strike(lambda c=call, f=flag: c(f), flag.set, at)  # type: ignore[misc]
            assert raised is None
            assert flag.is_set() or not struck
            at += 1
        assert at > 2


def test_flag_lets_everybody_go_on() -> None:
    """All who wait go on, and who comes later; a timeout ends a wait."""
    flag = Flag()
    assert not flag.wait(0.0)
    went_on: list[bool] = []
    threads = [threading.Thread(target=lambda: went_on.append(flag.wait(PATIENCE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert not flag.is_set()
    flag.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert went_on == [True] * 4
    assert flag.wait(0.0)
