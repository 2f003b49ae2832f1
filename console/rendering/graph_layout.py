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
class Line:
    """A curve between two boxes, as SVG's path data."""

    source: str
    target: str
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes by id, lines, and the size of it all."""

    boxes: Mapping[str, Box]
    lines: Sequence[Line]
    width: int
    height: int


def drawn(columns: Mapping[str, int], edges: Sequence[tuple[str, str]]) -> Drawing:
    """The drawing of vertices, each with its column; columns without any are left out. Neighbours stand near each other."""
    ordered = _ordered(columns, edges)
    tallest = max((len(column) for column in ordered), default=0)
    boxes: dict[str, Box] = {}
    for place, column in enumerate(ordered):
        top = MARGIN + (tallest - len(column)) * (HEIGHT + DOWN) // 2
        for row, one in enumerate(column):
            boxes[one] = Box(one, MARGIN + place * (WIDTH + ACROSS), top + row * (HEIGHT + DOWN))
    width = 2 * MARGIN + len(ordered) * (WIDTH + ACROSS) - ACROSS
    height = 2 * MARGIN + tallest * (HEIGHT + DOWN) - DOWN
    lines = [
        Line(source, target, _curve(boxes[source], boxes[target]))
        for source, target in edges
        if {source, target} <= boxes.keys()
    ]
    return Drawing(boxes, lines, max(width, 0), max(height, 0))


def _ordered(columns: Mapping[str, int], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The columns, each sorted so that lines cross little: every vertex at the mean height of its neighbours, again and again."""
    near: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        near[source].append(target)
        near[target].append(source)
    groups = [
        [one for one in columns if columns[one] == number]
        for number in sorted(set(columns.values()))
    ]
    height = {one: _place(row, group) for group in groups for row, one in enumerate(group)}
    for sweep in range(SWEEPS):
        for group in groups if sweep % 2 == 0 else groups[::-1]:
            wish = {
                one: _mean((height[other] for other in near[one] if other in height), height[one])
                for one in group
            }
            group.sort(key=wish.__getitem__)
            height.update({one: _place(row, group) for row, one in enumerate(group)})
    # Last, whatever has the same parents stands together.
    above: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        if columns.get(source, 0) < columns.get(target, 0):
            above[target].append(source)
    for group in groups:
        order = {
            one: (
                _mean((height[other] for other in above[one] if other in height), height[one]),
                height[one],
            )
            for one in group
        }
        group.sort(key=order.__getitem__)
        height.update({one: _place(row, group) for row, one in enumerate(group)})
    return groups


def _place(row: int, group: Sequence[Hashable]) -> float:
    """How far down a row is, from 0 to 1, so that columns of any length compare."""
    return (row + 0.5) / len(group)


def _mean(values: Iterable[float], default: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else default


def _curve(source: Box, target: Box) -> str:
    if target.x > source.x:
        half = (target.x + source.right) // 2
        return f"M{source.right} {source.middle}C{half} {source.middle} {half} {target.middle} {target.x} {target.middle}"
    # In the same column, or backwards: around the left.
    out = source.x - ACROSS // 2
    return f"M{source.x} {source.middle}C{out} {source.middle} {out} {target.middle} {target.x} {target.middle}"
