"""A graph laid out in columns from left to right: boxes with places, lines between them. Pure; all in pixels."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 208, 44, 64, 14, 8
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


def lay_out(columns: Mapping[str, int], edges: Sequence[tuple[str, str]]) -> GraphLayout:
    """The drawing of vertices, each with its column; columns without any are left out. Neighbours stand near each other."""
    ordered = _sort_columns(columns, edges)
    tallest = max((len(column) for column in ordered), default=0)
    boxes: dict[str, Box] = {}
    for place, column in enumerate(ordered):
        top = MARGIN + (tallest - len(column)) * (HEIGHT + DOWN) // 2
        for row, vertex in enumerate(column):
            boxes[vertex] = Box(
                vertex, MARGIN + place * (WIDTH + ACROSS), top + row * (HEIGHT + DOWN)
            )
    width = 2 * MARGIN + len(ordered) * (WIDTH + ACROSS) - ACROSS
    height = 2 * MARGIN + tallest * (HEIGHT + DOWN) - DOWN
    lines = [
        Curve(source, target, _curve_path(boxes[source], boxes[target]))
        for source, target in edges
        if {source, target} <= boxes.keys()
    ]
    return GraphLayout(boxes, lines, max(width, 0), max(height, 0))


def _sort_columns(columns: Mapping[str, int], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The columns, each sorted so that lines cross little: every vertex at the mean height of its neighbours, again and again."""
    near: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        near[source].append(target)
        near[target].append(source)
    groups = [
        [vertex for vertex in columns if columns[vertex] == number]
        for number in sorted(set(columns.values()))
    ]
    height = {
        vertex: _relative_height(row, group) for group in groups for row, vertex in enumerate(group)
    }
    for sweep in range(SWEEPS):
        for group in groups if sweep % 2 == 0 else groups[::-1]:
            mean_heights = {
                vertex: _mean(
                    (height[other] for other in near[vertex] if other in height), height[vertex]
                )
                for vertex in group
            }
            group.sort(key=mean_heights.__getitem__)
            height.update(
                {vertex: _relative_height(row, group) for row, vertex in enumerate(group)}
            )
    # Last, whatever has the same parents stands together.
    above: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        if columns.get(source, 0) < columns.get(target, 0):
            above[target].append(source)
    for group in groups:
        order = {
            vertex: (
                _mean(
                    (height[other] for other in above[vertex] if other in height), height[vertex]
                ),
                height[vertex],
            )
            for vertex in group
        }
        group.sort(key=order.__getitem__)
        height.update({vertex: _relative_height(row, group) for row, vertex in enumerate(group)})
    return groups


def _relative_height(row: int, group: Sequence[Hashable]) -> float:
    """How far down a row is, from 0 to 1, so that columns of any length compare."""
    return (row + 0.5) / len(group)


def _mean(values: Iterable[float], default: float) -> float:
    heights = list(values)
    return sum(heights) / len(heights) if heights else default


def _curve_path(source: Box, target: Box) -> str:
    if target.x > source.x:
        half = (target.x + source.right) // 2
        return f"M{source.right} {source.middle}C{half} {source.middle} {half} {target.middle} {target.x} {target.middle}"
    # In the same column, or backwards: around the left.
    out = source.x - ACROSS // 2
    return f"M{source.x} {source.middle}C{out} {source.middle} {out} {target.middle} {target.x} {target.middle}"
