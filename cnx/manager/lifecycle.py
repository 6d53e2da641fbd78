"""The life of a managed connection as a state machine: it decides, and does nothing itself.

States and inputs are data; every pair of them is declared. An output only starts, sets or schedules: it is done under
the lock of the :class:`~cnx.manager.manager.ConnectionManager`, so it must not wait, fail or call code of users.
"""

from __future__ import annotations

import enum
from typing import Protocol

from automat import TypeMachineBuilder

__all__ = ["TRANSITIONS", "Core", "Inputs", "State", "new_machine"]


class State(enum.Enum):
    """Where a managed connection is."""

    READY = "ready"
    """New; nothing was asked for."""
    CONNECTING = "connecting"
    """The first attempt is being made."""
    CONNECTED = "connected"
    """Ready for use."""
    RECOVERING = "recovering"
    """Attempts are being made, or waited for, after one failed or a link was lost."""
    DISCONNECTED = "disconnected"
    """Asked to, or given up."""
    TORNDOWN = "torndown"
    """Ended for good."""


class Inputs(Protocol):
    """What can happen; each is legal in every state."""

    def connect(self) -> None:
        """A user wants a connection."""

    def disconnect(self) -> None:
        """A user wants none."""

    def teardown(self) -> None:
        """A user will never want one again."""

    def attempt_succeeded(self) -> None:
        """An attempt made the link."""

    def attempt_failed(self) -> None:
        """An attempt failed, and another may be made."""

    def gave_up(self) -> None:
        """An attempt failed, and no other may be made."""

    def alarm_raised(self) -> None:
        """The link was lost."""


class Core(Protocol):
    """What the machine may have done."""

    def enter(self, state: State) -> None:
        """Note that ``state`` is the state now."""

    def start_work(self) -> None:
        """Have attempts made until one succeeds, unless they are being made."""

    def stop_work(self) -> None:
        """Have no more attempts made, and the link closed."""

    def stop_for_good(self) -> None:
        """The same, and release everything."""

    def refuse(self) -> None:
        """Have the call refused: this is torn down."""


_READY, _CONNECTING, _CONNECTED, _RECOVERING, _DISCONNECTED, _TORNDOWN = State

TRANSITIONS: dict[tuple[State, str], tuple[State, str | None]] = {
    (_READY, "connect"): (_CONNECTING, "start_work"),
    (_READY, "disconnect"): (_DISCONNECTED, None),
    (_READY, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_CONNECTING, "connect"): (_CONNECTING, "start_work"),
    (_CONNECTING, "disconnect"): (_DISCONNECTED, "stop_work"),
    (_CONNECTING, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_CONNECTING, "attempt_succeeded"): (_CONNECTED, None),
    (_CONNECTING, "attempt_failed"): (_RECOVERING, None),
    (_CONNECTING, "gave_up"): (_DISCONNECTED, None),
    (_CONNECTED, "disconnect"): (_DISCONNECTED, "stop_work"),
    (_CONNECTED, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_CONNECTED, "alarm_raised"): (_RECOVERING, "start_work"),
    (_RECOVERING, "connect"): (_RECOVERING, "start_work"),
    (_RECOVERING, "disconnect"): (_DISCONNECTED, "stop_work"),
    (_RECOVERING, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_RECOVERING, "attempt_succeeded"): (_CONNECTED, None),
    (_RECOVERING, "gave_up"): (_DISCONNECTED, None),
    (_DISCONNECTED, "connect"): (_CONNECTING, "start_work"),
    (_DISCONNECTED, "disconnect"): (_DISCONNECTED, "stop_work"),
    (_DISCONNECTED, "teardown"): (_TORNDOWN, "stop_for_good"),
    # a late success of an attempt that nobody wants any more has to be taken back
    (_DISCONNECTED, "attempt_succeeded"): (_DISCONNECTED, "stop_work"),
    (_TORNDOWN, "attempt_succeeded"): (_TORNDOWN, "stop_for_good"),
    (_TORNDOWN, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_TORNDOWN, "connect"): (_TORNDOWN, "refuse"),
}
"""What an input leads to, and the output that is done; every pair that is not here changes nothing.

A command that is given again is done again, as far as something is left to do: a ``KeyboardInterrupt`` may have cut
the first one off.
"""

INPUTS = ("connect", "disconnect", "teardown", "attempt_succeeded", "attempt_failed", "gave_up", "alarm_raised")


def _build() -> TypeMachineBuilder[Inputs, Core]:
    builder: TypeMachineBuilder[Inputs, Core] = TypeMachineBuilder(Inputs, Core)  # type: ignore[type-abstract]
    states = {state: builder.state(state.value) for state in State}
    for state in State:
        for name in INPUTS:
            target, output = TRANSITIONS.get((state, name), (state, None))
            transition = states[state].upon(getattr(Inputs, name))
            declared = transition.to(states[target]) if target is not state else transition.loop()
            declared(_output(name, target if target is not state else None, output))
    return builder


def _output(name: str, entered: State | None, output: str | None):  # type: ignore[no-untyped-def]
    """Return the function that Automat calls for one transition."""

    def run(inputs: Inputs, core: Core) -> None:
        if entered is not None:
            core.enter(entered)
        if output is not None:
            getattr(core, output)()

    run.__name__ = f"{name}_{output or 'nothing'}"
    return run


new_machine = _build().build()
"""Call it with a :class:`Core` to get the :class:`Inputs` of a new machine in state ``ready``."""
