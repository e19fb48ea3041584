"""What stands in a node's box? Its name, what it is, its state in the words of the table, and the addresses it has."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..render import status_text as words
from ..render.palette import xml
from ..render.reader_text import reader_where
from .edges import edges
from .reading import Status, role_of

LINE, PAD, LABEL, TAG = 18, 16, 72, 24
CHAR = 7.2  # the width that a character takes, of the widest common fonts
_ROWS = {"server": "server", "writable": "writable", "VRRP": "VRRP", "eligible": "eligible", "lag": "lag"}
_SIGNS = {words.BAD: ("bad", "✕ "), words.ODD: ("odd", "! "), "": ("", "")}
#: What a node is, and how its tag looks.
_ROLES = {
    "writer": "accent", "standby": "plain", "replica": "plain", "taking over": "odd", "closing": "odd",
    "maintenance": "odd", "stood down": "odd", "open": "bad", "down": "bad", "diverged": "bad",
    "not seen": "unseen", "not decided": "unseen",
}  # fmt: skip
_PHASES = {"closing": "closing", "handing": "closing", "taking": "taking over"}


@dataclass(frozen=True, slots=True)
class Box:
    """One node's box; `lines` are its rows as SVG from `y` 0 on."""

    node: Mapping[str, Any]
    role: str
    height: int
    lines: tuple[str, ...]
    x: int = 0
    y: int = 0
    width: int = 0


def role(status: Status, node: Mapping[str, Any]) -> str:
    """What a node is, in a word or two of `_ROLES`."""
    if node["writable"] and len(status["writers"]) > 1:
        return f"one of {len(status['writers'])} writers"
    if node["here"] and status.get("phase") in _PHASES:
        return _PHASES[status["phase"]]
    if node["server"] == "absent":
        return "down"
    if node["writable"] and not node["writer"]:
        return "open"
    found = role_of(node)
    if found != "writer" and node["server"] == "answered" and (node["diverged"] or node["maintenance"]):
        return "diverged" if node["diverged"] else "maintenance"
    if found != "writer" and node["server"] == "answered" and node.get("stood_down"):
        return "stood down"
    if found in ("writer", "standby") or (found == "replica" and node["server"] == "answered"):
        return found
    if node["server"] != "answered":
        return "not seen"
    return "not decided" if node["here"] else "standby"


def homeless(status: Status) -> list[str]:
    """The addresses that no node is seen to have."""
    told = []
    if not any(node["vip"] for node in status["nodes"]):
        unseen = any(node["vip"] is None and node["role"] != "replica" for node in status["nodes"])
        told.append(f"VIP {ip(status['vip'])}: {'on no node that is seen from here' if unseen else 'on no node'}")
    for reader in status.get("readers") or ():
        if reader["holder"] not in {node["node"] for node in status["nodes"]}:
            told.append(f"reader {reader['name']} {ip(reader['address'])}: {reader_where(reader)}")
    return told


def ip(address: object) -> str:
    return str(address).partition("/")[0]


def box(status: Status, cells: Mapping[str, words.Cell], node: Mapping[str, Any], width: int, more: bool) -> Box:
    """`more`: with its replication in words, where no arrow has room for a label."""
    rows = dict(_ROWS)
    if more or not any(edge.replica is node for edge in edges(status)):
        rows["replication"] = "threads"
    if node["writable"]:
        rows.pop("lag")  # a writer follows nobody
    if node["writable"] and not node["threads"]:
        rows.pop("replication", None)
    lines: list[str] = []
    y = 72
    for heading, label in rows.items():
        text, style = cells[heading]
        kind, sign = _SIGNS[style]
        if text == words.NOT_SEEN:
            kind = "dim"
        most = int((width - PAD - LABEL - 8) / CHAR)
        found = textwrap.wrap(sign + text, most, max_lines=2, placeholder="…", break_on_hyphens=False) or ["-"]
        lines.append(f'<text class="label" x="{PAD}" y="{y}">{label}</text>')
        for part in found:
            lines.append(f'<text class="{kind}" x="{PAD + LABEL}" y="{y}">{xml(part)}</text>')
            y += LINE
    held = [reader for reader in status.get("readers") or () if reader["holder"] == node["node"]]
    for reader in held:
        text = f"{reader['name']} {ip(reader['address'])}"
        lines.append(_tag(PAD, y - 8, text, "reader"))
        y += TAG + 6
    return Box(node, role(status, node), y + 2, tuple(lines), width=width)


def _tag(x: float, y: float, text: str, kind: str, end: bool = False) -> str:
    """A pill with a word; `x` is its right end when `end`."""
    width = round(len(text) * CHAR + 18)
    left = x - width if end else x
    return (
        f'<g class="tag {kind}"><rect x="{left:g}" y="{y:g}" width="{width}" height="{TAG - 2}" rx="11"/>'
        f'<text x="{left + width / 2:g}" y="{y + 15:g}" text-anchor="middle">{xml(text)}</text></g>'
    )


def drawn(box: Box, vip: str) -> str:
    node = box.node
    kind = _ROLES.get(box.role, "bad")  # one of two writers
    name = textwrap.shorten(str(node["node"]), 18, placeholder="…") if len(str(node["node"])) > 18 else node["node"]
    here = " (here)" if node["here"] else ""
    address = str(node["address"])
    parts = [
        f'<g class="node {kind}" transform="translate({box.x} {box.y})">',
        f'<rect class="box" width="{box.width}" height="{box.height}" rx="10"/>',
        f'<text class="name" x="{PAD}" y="30">{xml(name)}</text>',
        f'<text class="dim" x="{PAD}" y="47">{xml(address + here)}</text>',
        _tag(box.width - 12, 14, box.role, kind, end=True),
        *box.lines,
    ]
    if node["vip"]:
        parts.append(_tag(PAD - 4, -11, f"VIP {vip}", "vip"))
    return "".join([*parts, "</g>"])
