"""The figure and the table of the lifecycle, made from the data that the state machine is made of."""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape
from typing import NamedTuple

from cnx.manager.lifecycle import INPUTS, TRANSITIONS, State

__all__ = ["figure", "rows"]

PLACES = {
    State.READY: (80, 70),
    State.CONNECTING: (340, 70),
    State.CONNECTED: (800, 70),
    State.RECOVERING: (570, 190),
    State.DISCONNECTED: (570, 370),
    State.TORNDOWN: (860, 370),
}
BENDS = {
    (State.CONNECTING, State.RECOVERING): -12,
    (State.CONNECTING, State.DISCONNECTED): 56,
    (State.DISCONNECTED, State.CONNECTING): 4,
    (State.CONNECTED, State.RECOVERING): 24,
    (State.RECOVERING, State.CONNECTED): 24,
    (State.CONNECTED, State.DISCONNECTED): -48,
    (State.READY, State.DISCONNECTED): 70,
}
"""How far an arrow is bent to its right, where a straight one would cross a box or another arrow."""

WIDTH, HEIGHT = 950, 430
HALF_WIDTH, HALF_HEIGHT = 64, 20
EVERY = "from every state"


class Point(NamedTuple):
    """A place in the figure."""

    x: float
    y: float


def rows() -> list[tuple[str, str, str, str]]:
    """Return state, input, next state and output of every pair, sorted as they are declared; empty: nothing changes."""
    found = []
    for state in State:
        for name in INPUTS:
            target, output = TRANSITIONS.get((state, name), (state, None))
            found.append((state.value, name, target.value if target is not state else "", output or ""))
    return found


def from_everywhere() -> dict[str, State]:
    """Return the inputs that lead to one state from all others, with that state; the figure draws each once."""
    found = {}
    for name in INPUTS:
        targets = {state: TRANSITIONS.get((state, name), (state, None))[0] for state in State}
        target = next((goal for goal in State if all(targets[state] is goal for state in State)), None)
        if target is not None:
            found[name] = target
    return found


def arrows() -> dict[tuple[State, State], list[str]]:
    """Return the inputs on each arrow, without those that are drawn once for all states."""
    found: dict[tuple[State, State], list[str]] = defaultdict(list)
    once = from_everywhere()
    for (state, name), (target, _) in TRANSITIONS.items():
        if target is not state and name not in once:
            found[state, target].append(name)
    return dict(found)


def figure() -> str:
    """Return the lifecycle as SVG."""
    parts = [arrow(PLACES[old], PLACES[new], BENDS.get((old, new), 0), names) for (old, new), names in arrows().items()]
    for name, target in from_everywhere().items():
        x, y = PLACES[target]
        parts.append(arrow((x, y - 110), (x, y), 0, [name, EVERY], from_box=False))
    parts += [box(state) for state in State]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" '
        f'aria-label="The states of a managed connection and the inputs that lead from one to another" '
        'font-family="sans-serif" font-size="15">'
        '<defs><marker id="tip" markerWidth="10" markerHeight="10" refX="8" refY="4" orient="auto">'
        '<path d="M0,0 L9,4 L0,8 z" fill="#555"/></marker></defs>' + "".join(parts) + "</svg>"
    )


def box(state: State) -> str:
    """Return a state as SVG."""
    x, y = PLACES[state]
    return (
        f'<rect x="{x - HALF_WIDTH}" y="{y - HALF_HEIGHT}" width="{2 * HALF_WIDTH}" height="{2 * HALF_HEIGHT}" rx="8" '
        f'fill="#eef3f8" stroke="#2b5a85" stroke-width="1.5"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-weight="bold">{state.value}</text>'
    )


def arrow(
    old: tuple[float, float], new: tuple[float, float], bend: float, names: list[str], *, from_box: bool = True
) -> str:
    """Return an arrow and its inputs as SVG."""
    begin, end = Point(*old), Point(*new)
    length = math.dist(begin, end)
    right = Point((begin.y - end.y) / length, (end.x - begin.x) / length)
    control = Point((begin.x + end.x) / 2 + 2 * bend * right.x, (begin.y + end.y) / 2 + 2 * bend * right.y)
    start = edge(begin, control) if from_box else begin
    stop = edge(end, control)
    label = Point((begin.x + end.x) / 2 + bend * right.x, (begin.y + end.y) / 2 + bend * right.y)
    lines = "".join(
        f'<tspan x="{label.x:.0f}" dy="{0 if number == 0 else 17}">{escape(name.replace("_", " "))}</tspan>'
        for number, name in enumerate(names)
    )
    return (
        f'<path d="M{start.x:.1f},{start.y:.1f} Q{control.x:.1f},{control.y:.1f} {stop.x:.1f},{stop.y:.1f}" '
        'fill="none" stroke="#555" stroke-width="1.4" marker-end="url(#tip)"/>'
        f'<text x="{label.x:.0f}" y="{label.y + 5 - 8.5 * (len(names) - 1):.0f}" text-anchor="middle" stroke="#fff" '
        f'stroke-width="5" paint-order="stroke">{lines}</text>'
    )


def edge(centre: Point, towards: Point) -> Point:
    """Return where the line from the centre of a box to a point leaves the box."""
    dx, dy = towards.x - centre.x, towards.y - centre.y
    share = min(HALF_WIDTH / abs(dx) if dx else math.inf, HALF_HEIGHT / abs(dy) if dy else math.inf)
    return Point(centre.x + dx * share, centre.y + dy * share)
