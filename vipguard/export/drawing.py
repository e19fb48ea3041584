"""How does the cluster look as a picture? Boxes for nodes, arrows for replication, tags for addresses; as inline SVG.

Twice: nodes beside each other, and one below the other for a phone. What is not seen is dashed and says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..render import status_text as words
from ..render.palette import xml
from .boxes import CHAR, LINE, Box, box, drawn, homeless, ip, role
from .edges import edges
from .reading import Status
from .routes import Lanes, arrow

_WIDTHS = {1: (400, 0), 2: (350, 260), 3: (280, 140)}  # by columns: of a box, and between two
_NARROW = 328


@dataclass(slots=True)
class Picture:
    width: int
    height: int = 0
    parts: list[str] = field(default_factory=list)


def drawing(status: Status) -> str:
    """Both pictures; the page's style shows the one that fits."""
    said = describe(status)
    return "".join(
        f'<svg class="cluster {name}" viewBox="0 0 {made.width} {made.height}" role="img" '
        f'aria-labelledby="{name}-title {name}-words">'
        f'<title id="{name}-title">Cluster {xml(status["cluster"])}, seen from {xml(status["node"])}</title>'
        f'<desc id="{name}-words">{xml(said)}</desc>{"".join(made.parts)}</svg>'
        for name, made in (("wide", _wide(status)), ("narrow", _narrow(status)))
    )


def describe(status: Status) -> str:
    """The picture in words, for who cannot see it."""
    told = [f"{node['node']} at {node['address']}: {role(status, node)}" for node in status["nodes"]]
    told += [
        f"{edge.source['node']} replicates to {edge.replica['node']}: {', '.join(edge.label)}"
        for edge in edges(status)
    ]
    return ". ".join([*told, *homeless(status)]) + "."


def _strip(status: Status, width: int, top: int) -> tuple[list[str], int]:
    """The addresses that nobody has, in lines from `top` on; and where they end."""
    parts = []
    for text in homeless(status):
        for line in textwrap.wrap(text, int((width - 30) / CHAR)):
            at = f'x="{width / 2:g}" y="{top + 15}" text-anchor="middle"'
            parts.append(f'<text class="homeless" {at}>{xml(line)}</text>')
            top += LINE
        top += 4
    return parts, top + 8 if parts else top


# -- nodes beside each other


def _wide(status: Status) -> Picture:
    told = _cells(status)
    nodes = _in_order(status)
    candidates = [node for node in nodes if node["role"] != "replica"]
    replicas = nodes[len(candidates) :]
    columns = min(3, max(len(candidates), len(replicas), 1))
    box_width, gap = _WIDTHS[columns]
    grid = [row for nodes in (candidates, replicas) for row in _in_rows(nodes, columns)]
    margin = 2 if len(grid) < 3 else 24  # where arrows pass by rows
    width = columns * box_width + (columns - 1) * gap + 2 * margin
    parts, top = _strip(status, width, 2)
    lanes = Lanes(gap, box_width)
    links = edges(status)
    place = {id(node): (r, c) for r, row in enumerate(grid) for c, node in enumerate(row)}
    shift = {r: (columns - len(row)) * (box_width + gap) // 2 for r, row in enumerate(grid)}
    boxes: dict[int, Box] = {}
    y = top + 14
    for r, row in enumerate(grid):
        y += lanes.above(r, links, place)
        made = [box(status, told[str(node["node"])], node, box_width, more=False) for node in row]
        height = max(one.height for one in made)
        for c, one in enumerate(made):
            x = margin + shift[r] + c * (box_width + gap)
            boxes[id(one.node)] = replace(one, height=height, x=x, y=y)
        y += height
    parts += lanes.draw(links, place, boxes)
    parts += [drawn(one, ip(status["vip"])) for one in boxes.values()]
    return Picture(width, y + 6, parts)


def _in_order(status: Status) -> list[Mapping[str, Any]]:
    """The same on every node's page, replicas last."""
    return sorted(status["nodes"], key=lambda node: (node["role"] == "replica", str(node["node"])))


def _in_rows(nodes: Sequence[Mapping[str, Any]], columns: int) -> list[Sequence[Mapping[str, Any]]]:
    return [nodes[at : at + columns] for at in range(0, len(nodes), columns)]


def _cells(status: Status) -> dict[str, dict[str, words.Cell]]:
    """The table's cells by node and heading: the picture says what the table says."""
    return {
        str(node["node"]): dict(zip(words.HEADINGS, row, strict=True))
        for node, row in zip(status["nodes"], words.rows(status), strict=True)
    }


# -- nodes below each other


def _narrow(status: Status) -> Picture:
    told, links = _cells(status), edges(status)
    step = 16 if len(links) <= 4 else 11
    lanes = min(len(links), 6)
    gutter = 8 + step * lanes if links else 0
    parts, y = _strip(status, _NARROW, 2)
    y += 14
    boxes: dict[int, Box] = {}
    for node in _in_order(status):
        one = box(status, told[str(node["node"])], node, _NARROW - gutter - 2, more=True)
        boxes[id(node)] = replace(one, x=1, y=y)
        y += one.height + 26
    ends: dict[int, int] = {}
    for number, link in enumerate(links):
        x = _NARROW - gutter + 12 + step * (number % lanes)
        points = []
        for one in (boxes[id(link.source)], boxes[id(link.replica)]):
            ends[id(one.node)] = ends.get(id(one.node), -1) + 1
            down = 60 + 16 * ends[id(one.node)] % (one.height - 70)
            points.append((one.x + one.width, one.y + down))
        (x1, y1), (x2, y2) = points
        parts.append(arrow(replace(link, label=()), [(x1, y1), (x, y1), (x, y2), (x2, y2)], 0, 0, 0))
    parts += [drawn(one, ip(status["vip"])) for one in boxes.values()]
    return Picture(_NARROW, y - 16, parts)
