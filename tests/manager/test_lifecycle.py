"""The state machine: what each input leads to, and what it has done."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx import State
from cnx.manager.lifecycle import INPUTS, TRANSITIONS, Inputs, new_machine

WAYS = {
    State.READY: (),
    State.CONNECTING: ("connect",),
    State.CONNECTED: ("connect", "attempt_succeeded"),
    State.RECOVERING: ("connect", "attempt_failed"),
    State.DISCONNECTED: ("disconnect",),
    State.TORNDOWN: ("teardown",),
}
"""How to get to each state."""


class Notes:
    """What a machine has done."""

    def __init__(self) -> None:
        self.state = State.READY
        self.done: list[str] = []

    def enter(self, state: State) -> None:
        """Note the state."""
        self.state = state

    def start_work(self) -> None:
        """Note it."""
        self.done.append("start_work")

    def stop_work(self) -> None:
        """Note it."""
        self.done.append("stop_work")

    def stop_for_good(self) -> None:
        """Note it."""
        self.done.append("stop_for_good")

    def refuse(self) -> None:
        """Note it."""
        self.done.append("refuse")


def machine_in(state: State) -> tuple[Inputs, Notes]:
    """Return a machine in some state, and its notes from then on."""
    notes = Notes()
    machine = new_machine(notes)
    for name in WAYS[state]:
        getattr(machine, name)()
    assert notes.state is state
    notes.done.clear()
    return machine, notes


@pytest.mark.parametrize(("state", "name"), list(product(State, INPUTS)))
def test_every_pair_does_what_the_table_says(state: State, name: str) -> None:
    """No pair of state and input is undeclared; one that is not in the table changes nothing."""
    machine, notes = machine_in(state)
    getattr(machine, name)()
    target, output = TRANSITIONS.get((state, name), (state, None))
    assert notes.state is target
    assert notes.done == ([output] if output else [])


@pytest.mark.parametrize("name", INPUTS)
def test_nothing_leads_out_of_torn_down(name: str) -> None:
    """It is final."""
    machine, notes = machine_in(State.TORNDOWN)
    getattr(machine, name)()
    assert notes.state is State.TORNDOWN
    assert "start_work" not in notes.done


@pytest.mark.parametrize("state", list(State))
def test_commands_mean_the_same_in_every_state(state: State) -> None:
    """Whatever is going on, ``disconnect`` ends it and ``teardown`` ends it for good; neither starts anything."""
    for name, target in (("disconnect", State.DISCONNECTED), ("teardown", State.TORNDOWN)):
        machine, notes = machine_in(state)
        getattr(machine, name)()
        assert notes.state is (State.TORNDOWN if state is State.TORNDOWN else target)
        assert "start_work" not in notes.done


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(INPUTS), max_size=30))
def test_any_sequence_keeps_work_and_state_together(names: list[str]) -> None:
    """However inputs follow each other, attempts are made just while connecting or recovering."""
    notes = Notes()
    machine = new_machine(notes)
    for name in names:
        before = notes.state
        notes.done.clear()
        getattr(machine, name)()
        began = notes.state in (State.CONNECTING, State.RECOVERING) and before not in (
            State.CONNECTING,
            State.RECOVERING,
        )
        assert not began or "start_work" in notes.done
        ended = notes.state is State.DISCONNECTED and before in (State.CONNECTED, State.CONNECTING, State.RECOVERING)
        assert not ended or name == "gave_up" or "stop_work" in notes.done
