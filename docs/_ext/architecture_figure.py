"""The picture of the packages, drawn from the imports, and the table of layers, from the rules that the tests check.

The picture is a layered graph. A package stands one row above the highest package that it imports. An arrow that can
be followed over other packages is left out, as the picture would be black otherwise. Within the rows, packages are
moved towards those that they import, and a long arrow keeps a place free in each row that it crosses.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from itertools import pairwise

from tests.project.test_layers import LAYERS, MODULES, imports, package_of

__all__ = ["arrows", "figure", "packages", "rows"]

HALF_WIDTH, HALF_HEIGHT = 70, 17
ROW, MARGIN = 70, 24
BOX_GAP, LINE_GAP = 2 * HALF_WIDTH + 14, 22
"""Distance between the centres of two boxes, and of two lines that cross a row, at least."""

ROUNDS = 60

Graph = dict[str, set[str]]
Node = tuple[str, ...]
"""A package, as ``(name,)``, or the place where an arrow crosses a row, as ``(from, to, row)``."""


def packages() -> Graph:
    """Return the packages and modules of cnx, each with those that it imports; all clients count as one."""
    found: Graph = {}
    for module in MODULES:
        name = shown(module)
        if name == "cnx":  # only offers the names of the others
            continue
        targets = {shown(full.removeprefix("cnx.")) for full in imports(module) if full.split(".")[0] == "cnx"}
        found.setdefault(name, set()).update(targets - {name, "cnx"})
    return found


def shown(module: str) -> str:
    """Return the package of a module as the picture shows it."""
    first, *rest = package_of(module).split(".")
    return ".".join([first, "*", *rest[1:]]) if first == "clients" else first


def arrows() -> Graph:
    """Return the packages with the imports that the picture shows: those that no chain of other imports implies."""
    graph = packages()

    def reachable(name: str) -> set[str]:
        found = set(graph[name])
        for target in graph[name]:
            found |= reachable(target)
        return found

    return {name: found - set().union(*map(reachable, found)) for name, found in graph.items()}


def rows() -> list[tuple[list[str], list[str]]]:
    """Return the layers: the packages of each, and the packages that these may import."""
    return [(layer.packages.split(), layer.may_import.split()) for layer in LAYERS]


def figure() -> str:
    """Return the picture as SVG."""
    graph = {name: sorted(found) for name, found in sorted(arrows().items())}
    levels: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in levels:
            levels[name] = 1 + max(map(level, graph[name]), default=-1)
        return levels[name]

    # lay out: every package is a node of its row, and so is every crossing of a long arrow with a row
    layers: dict[int, list[Node]] = defaultdict(list)
    below: dict[Node, list[Node]] = defaultdict(list)
    above: dict[Node, list[Node]] = defaultdict(list)
    paths: list[list[Node]] = []
    for name in graph:
        layers[level(name)].append((name,))
    for name, targets in graph.items():
        for target in targets:
            between: list[Node] = [(name, target, str(row)) for row in range(level(name) - 1, level(target), -1)]
            path: list[Node] = [(name,), *between, (target,)]
            paths.append(path)
            for node in between:
                layers[int(node[2])].append(node)
            for upper, lower in pairwise(path):
                below[upper].append(lower)
                above[lower].append(upper)
    places = place(layers, below, above)

    width = 2 * MARGIN + 2 * HALF_WIDTH + max(places.values())
    height = 2 * MARGIN + ROW * max(layers) + 2 * HALF_HEIGHT

    def point(node: Node) -> tuple[float, float]:
        row = levels[node[0]] if len(node) == 1 else int(node[2])
        return MARGIN + HALF_WIDTH + places[node], height - MARGIN - HALF_HEIGHT - ROW * row

    lines = "".join(line([point(node) for node in path]) for path in paths)
    boxes = "".join(box(name, *point((name,))) for name in graph)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="100%" role="img" '
        'aria-label="The packages of cnx; an arrow leads from a package to one that it imports" '
        'font-family="sans-serif" font-size="14">'
        '<defs><marker id="import" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
        f'<path d="M0,0 L9,4 L0,8 z" fill="#555"/></marker></defs>{lines}{boxes}</svg>'
    )


def place(
    layers: dict[int, list[Node]], below: dict[Node, list[Node]], above: dict[Node, list[Node]]
) -> dict[Node, float]:
    """Return how far to the right each node stands: as near to its neighbours as the others in its row allow."""
    places = {node: float(index * BOX_GAP) for row in layers.values() for index, node in enumerate(row)}
    for number in range(ROUNDS):
        up = number % 2 == 0
        for index in sorted(layers, reverse=not up):
            wanted = {}
            for node in layers[index]:
                near = (below if up else above)[node] or (above if up else below)[node]
                wanted[node] = sum(places[each] for each in near) / len(near) if near else places[node]
            row = layers[index] = sorted(layers[index], key=lambda node: wanted[node])
            places.update(apart(row, wanted))
    left = min(places.values())
    return {node: x - left for node, x in places.items()}


def apart(row: list[Node], wanted: dict[Node, float]) -> dict[Node, float]:
    """Return places as near to the wanted ones as the gaps allow: nodes that would collide move as one group."""
    groups: list[tuple[list[Node], list[float]]] = []  # the nodes of each, and where each of them wants the first one
    for node in row:
        nodes, firsts = [node], [wanted[node]]
        while groups and _mean(groups[-1][1]) + _size([*groups[-1][0], nodes[0]]) > _mean(firsts):
            others, theirs = groups.pop()
            offset = _size([*others, nodes[0]])
            nodes, firsts = others + nodes, theirs + [first - offset for first in firsts]
        groups.append((nodes, firsts))
    return {node: _mean(firsts) + _size(nodes[: i + 1]) for nodes, firsts in groups for i, node in enumerate(nodes)}


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _size(nodes: list[Node]) -> float:
    """Return the distance from the first node to the last one, with the least gaps."""
    return sum(
        BOX_GAP if len(left) == len(right) == 1 else LINE_GAP if len(left) == len(right) else HALF_WIDTH + LINE_GAP
        for left, right in pairwise(nodes)
    )


def box(name: str, x: float, y: float) -> str:
    """Return a package as SVG."""
    own = name.startswith("clients")
    return (
        f'<rect x="{x - HALF_WIDTH:.1f}" y="{y - HALF_HEIGHT:.1f}" width="{2 * HALF_WIDTH}" '
        f'height="{2 * HALF_HEIGHT}" rx="6" fill="{"#f6f0e4" if own else "#eef3f8"}" '
        f'stroke="{"#8a6d2f" if own else "#2b5a85"}" stroke-width="1.4"/>'
        f'<text x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle">{escape(name)}</text>'
    )


def line(points: list[tuple[float, float]]) -> str:
    """Return an arrow as SVG: down through the rows, straight where it crosses one."""
    (x, y), *rest = points
    y += HALF_HEIGHT
    parts = [f"M{x:.1f},{y:.1f}"]
    for number, (right, down) in enumerate(rest, 1):
        top = down - HALF_HEIGHT
        middle = (y + top) / 2
        parts.append(f"C{x:.1f},{middle:.1f} {right:.1f},{middle:.1f} {right:.1f},{top:.1f}")
        x, y = right, top
        if number < len(rest):
            y += 2 * HALF_HEIGHT
            parts.append(f"V{y:.1f}")
    return f'<path d="{" ".join(parts)}" fill="none" stroke="#777" stroke-width="1.3" marker-end="url(#import)"/>'
