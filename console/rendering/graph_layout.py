"""Lays out a graph in columns from left to right: boxes and curves between them, in pixels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH = 208
HEIGHT = 44
# Between two columns, and between two boxes of a column.
COLUMN_GAP = 64
ROW_GAP = 14
MARGIN = 8
# More sweeps rarely remove another crossing, and a page waits for each.
SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Box:
    """Where a vertex is drawn."""

    id: str
    x: int
    y: int

    @property
    def right(self) -> int:
        """Where lines to the right begin."""
        return self.x + WIDTH

    @property
    def middle(self) -> int:
        """How far down lines begin and end."""
        return self.y + HEIGHT // 2


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve between two boxes, as SVG's path data."""

    source: str
    target: str
    path: str


@dataclass(frozen=True, slots=True)
class GraphLayout:
    """Boxes by id, lines, and the size of it all."""

    boxes: Mapping[str, Box]
    lines: Sequence[Curve]
    width: int
    height: int


def lay_out(
    columns: Mapping[str, int],
    edges: Sequence[tuple[str, str]],
) -> GraphLayout:
    """Lay out vertices in their columns so that neighbours are near each other.

    Columns without vertices take no room. An edge with an unknown vertex is left out.
    """
    ordered = _sort_columns(columns, edges)
    tallest = max((len(column) for column in ordered), default=0)
    boxes: dict[str, Box] = {}
    for index, column in enumerate(ordered):
        x = MARGIN + index * (WIDTH + COLUMN_GAP)
        # Shorter columns are centred.
        top = MARGIN + (tallest - len(column)) * (HEIGHT + ROW_GAP) // 2
        for row, vertex in enumerate(column):
            boxes[vertex] = Box(vertex, x, top + row * (HEIGHT + ROW_GAP))
    width = 2 * MARGIN + len(ordered) * (WIDTH + COLUMN_GAP) - COLUMN_GAP
    height = 2 * MARGIN + tallest * (HEIGHT + ROW_GAP) - ROW_GAP
    lines = [
        Curve(source, target, _curve_path(boxes[source], boxes[target]))
        for source, target in edges
        # Folded and hidden vertices have no box to draw a line to.
        if {source, target} <= boxes.keys()
    ]
    return GraphLayout(boxes, lines, max(width, 0), max(height, 0))


def _sort_columns(
    columns: Mapping[str, int],
    edges: Sequence[tuple[str, str]],
) -> list[list[str]]:
    """The vertices of each column, sorted so that few lines cross.

    The barycenter method: each vertex moves to the mean height of its neighbours, in sweeps from
    left to right and back.
    """
    neighbours: dict[str, list[str]] = defaultdict(list)
    parents: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        neighbours[source].append(target)
        neighbours[target].append(source)
        # An edge inside a column or backwards makes no parent: it must not pull vertices together.
        if columns.get(source, 0) < columns.get(target, 0):
            parents[target].append(source)
    groups = [
        [vertex for vertex in columns if columns[vertex] == number]
        for number in sorted(set(columns.values()))
    ]
    height: dict[str, float] = {}
    for group in groups:
        height.update(_relative_heights(group))

    def mean_height(vertex: str, others: Mapping[str, list[str]]) -> float:
        heights = [height[other] for other in others[vertex] if other in height]
        return sum(heights) / len(heights) if heights else height[vertex]

    for sweep in range(SWEEPS):
        # Each direction lets the columns follow the neighbours on their other side.
        for group in groups if sweep % 2 == 0 else groups[::-1]:
            # The heights are those before the column is sorted.
            means = {vertex: mean_height(vertex, neighbours) for vertex in group}
            group.sort(key=means.__getitem__)
            height.update(_relative_heights(group))
    # Last, vertices with the same parents are put together.
    for group in groups:
        order = {
            vertex: (
                mean_height(
                    vertex,
                    parents,
                ),
                height[vertex],
            )
            for vertex in group
        }
        group.sort(key=order.__getitem__)
        height.update(_relative_heights(group))
    return groups


def _relative_heights(group: Sequence[str]) -> dict[str, float]:
    """The height of each vertex from 0 to 1, so that columns of any length compare."""
    return {vertex: (row + 0.5) / len(group) for row, vertex in enumerate(group)}


def _curve_path(source: Box, target: Box) -> str:
    if target.x > source.x:
        start = source.right
        bend = (target.x + source.right) // 2
    else:
        # In the same column, or backwards: around the left.
        start = source.x
        bend = source.x - COLUMN_GAP // 2
    return (
        f"M{start} {source.middle}"
        f"C{bend} {source.middle} {bend} {target.middle} {target.x} {target.middle}"
    )
