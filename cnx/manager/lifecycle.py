"""The lifecycle of a managed connection as a state machine, which decides and does nothing itself.

States, inputs and transitions are data, and every pair of state and input is declared; the figure in the documentation
is drawn from the same table. Outputs run under the lock of :class:`~cnx.manager.recovery.Recovery`, so they only start,
set or schedule something: they never wait, fail or call code of users.
"""

from __future__ import annotations

import enum
from typing import Protocol

from automat import TypeMachineBuilder

__all__ = ["TRANSITIONS", "Core", "Inputs", "State", "new_machine"]


class State(enum.Enum):
    """The states of a managed connection."""

    READY = "ready"
    """New; no command was given yet."""
    CONNECTING = "connecting"
    """The first attempt is being made."""
    CONNECTED = "connected"
    """Ready for use."""
    RECOVERING = "recovering"
    """An attempt failed or a link was lost; attempts are made, with waits between them."""
    DISCONNECTED = "disconnected"
    """Disconnected on request, or given up. ``connect()`` begins anew."""
    TORNDOWN = "torndown"
    """Ended for good; ``connect()`` is refused."""


class Inputs(Protocol):
    """The inputs of the machine: three commands and four events. Each is legal in every state."""

    def connect(self) -> None:
        """Command: connect, and stay connected."""

    def disconnect(self) -> None:
        """Command: disconnect."""

    def teardown(self) -> None:
        """Command: disconnect for good."""

    def attempt_succeeded(self) -> None:
        """An attempt succeeded: there is a link."""

    def attempt_failed(self) -> None:
        """An attempt failed, and another may be made."""

    def gave_up(self) -> None:
        """An attempt failed or the link was lost, and no other attempt may be made."""

    def alarm_raised(self) -> None:
        """The link was lost."""


class Core(Protocol):
    """The outputs of the machine, implemented by :class:`~cnx.manager.recovery.Recovery`."""

    def enter(self, state: State) -> None:
        """Record that ``state`` is the present state."""

    def start_work(self) -> None:
        """Start making attempts until one succeeds, unless a worker already makes them."""

    def stop_work(self) -> None:
        """Stop making attempts, and close the link."""

    def stop_for_good(self) -> None:
        """Stop making attempts, and tear the connection down."""

    def refuse(self) -> None:
        """Refuse the call, as the connection was torn down."""


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
    (_CONNECTED, "gave_up"): (_DISCONNECTED, None),
    (_RECOVERING, "connect"): (_RECOVERING, "start_work"),
    (_RECOVERING, "disconnect"): (_DISCONNECTED, "stop_work"),
    (_RECOVERING, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_RECOVERING, "attempt_succeeded"): (_CONNECTED, None),
    (_RECOVERING, "gave_up"): (_DISCONNECTED, None),
    (_DISCONNECTED, "connect"): (_CONNECTING, "start_work"),
    (_DISCONNECTED, "disconnect"): (_DISCONNECTED, "stop_work"),
    (_DISCONNECTED, "teardown"): (_TORNDOWN, "stop_for_good"),
    # an attempt may succeed just after a stop: its link has to be closed
    (_DISCONNECTED, "attempt_succeeded"): (_DISCONNECTED, "stop_work"),
    (_TORNDOWN, "attempt_succeeded"): (_TORNDOWN, "stop_for_good"),
    (_TORNDOWN, "teardown"): (_TORNDOWN, "stop_for_good"),
    (_TORNDOWN, "connect"): (_TORNDOWN, "refuse"),
}
"""The next state and the output of each pair of state and input; pairs that are not listed change nothing.

A command that is repeated runs its output again, because a ``KeyboardInterrupt`` may have cut the first call short.
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
