"""Where do the arrows run between the boxes? Beside, over and under them, never through one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..render.palette import xml
from .boxes import Box
from .edges import Edge


class Lanes:
    """Where the arrows run: between neighbours straight, over a row's top to the next but one, and between rows."""

    def __init__(self, gap: int, box_width: int) -> None:
        self._gap, self._box_width = gap, box_width
        self._used: dict[tuple[int, ...], int] = {}

    def above(self, row: int, links: Sequence[Edge], place: Mapping[int, tuple[int, int]]) -> int:
        """The room that the arrows above this row need."""
        count = sum(self._lane_row(link, place) == row for link in links)
        if not count:
            return 34 if row else 0
        return 62 + 14 * count if row else 30 + 34 * count

    def _lane_row(self, link: Edge, place: Mapping[int, tuple[int, int]]) -> int | None:
        """The row above which it runs; None for a straight one between neighbours."""
        (r1, c1), (r2, c2) = place[id(link.source)], place[id(link.replica)]
        if r1 == r2:
            return None if abs(c1 - c2) == 1 else r1
        return max(r1, r2)

    def draw(self, links: Sequence[Edge], place: Mapping[int, tuple[int, int]], boxes: Mapping[int, Box]) -> list[str]:
        found = []
        for link in links:
            source, replica = boxes[id(link.source)], boxes[id(link.replica)]
            row = self._lane_row(link, place)
            if row is None:
                found.append(self._straight(link, source, replica))
            elif source.y == replica.y:
                found.append(self._over(link, source, replica))
            else:
                far = abs(place[id(link.source)][0] - place[id(link.replica)][0]) > 1
                found.append(self._between(link, source, replica, row, far))
        return found

    def _next(self, *key: int) -> int:
        self._used[key] = self._used.get(key, -1) + 1
        return self._used[key]

    def _straight(self, link: Edge, source: Box, replica: Box) -> str:
        right = replica.x > source.x
        y = source.y + (62 if right else 116)
        start, end = (source.x + source.width, replica.x) if right else (source.x, replica.x + replica.width)
        return arrow(link, [(start, y), (end, y)], (start + end) / 2, y - 9, y + 17)

    def _over(self, link: Edge, source: Box, replica: Box) -> str:
        lane = self._next(source.y)
        y = source.y - 26 - 34 * lane
        away = 30 + 22 * lane
        x1 = source.x + source.width - away if source.x < replica.x else source.x + away
        x2 = replica.x + away if source.x < replica.x else replica.x + replica.width - away
        path = [(x1, source.y), (x1, y), (x2, y), (x2, replica.y)]
        one_line = replace(link, label=(", ".join(link.label),))
        return arrow(one_line, path, (x1 + x2) / 2, y - 7, 0)

    def _between(self, link: Edge, source: Box, replica: Box, row: int, far: bool) -> str:
        down = replica.y > source.y
        upper, lower = (source, replica) if down else (replica, source)
        y = lower.y - 62 - 14 * self._next(row, 0)
        x2 = lower.x + lower.width / 2 + 30 * self._next(lower.x, lower.y)
        x1 = upper.x + upper.width / 2 - 14 + 14 * self._next(upper.x, upper.y, 1)
        path: list[tuple[float, float]] = [(x1, upper.y + upper.height)]
        below = upper.y + upper.height + 10
        if far:  # rows are in between: past them, beside the target's column
            x3 = lower.x - 8 - 4 * (self._next(lower.x, 0, 2) % 3)
            path += [(x1, below), (x3, below), (x3, y), (x2, y)]
        else:
            path += [(x1, y), (x2, y)]
        path.append((x2, lower.y))
        return arrow(link, path if down else path[::-1], x2 + 10, lower.y - 34, lower.y - 17, "start")


def arrow(
    link: Edge, path: Sequence[tuple[float, float]], x: float, y1: float, y2: float, anchor: str = "middle"
) -> str:
    """A line through `path` with a head at its end, and the label's one or two lines at (`x`, `y1`) and (`x`, `y2`)."""
    (fx, fy), (ex, ey) = path[-2], path[-1]
    dx, dy = (0 if ex == fx else 1 if ex > fx else -1), (0 if ey == fy else 1 if ey > fy else -1)
    line = " ".join(f"{px:g},{py:g}" for px, py in [*path[:-1], (ex - 6 * dx, ey - 6 * dy)])
    corners = [(ex, ey), *((ex - 10 * dx + side * dy, ey - 10 * dy + side * dx) for side in (-6, 6))]
    head = " ".join(f"{px:g},{py:g}" for px, py in corners)
    label = "".join(
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{xml(text)}</text>'
        for text, y in zip(link.label, (y1, y2), strict=False)
    )
    return f'<g class="edge {link.tone}"><polyline points="{line}"/><polygon points="{head}"/>{label}</g>'
