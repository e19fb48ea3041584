"""How does one story of the journal look on a line of time? An SVG that needs nothing else: no script, font or host.

Each step is a bar from its moment to the next one's, and what stands for a moment alone is a mark. Light and dark
follow the reader's settings; who cannot see it has the same in words.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from vipguard.model.story import Step, Story

WIDTH, LEFT, RIGHT = 960, 260, 24
HEAD, ROW, FOOT = 76, 26, 64
_PLOT = WIDTH - LEFT - RIGHT
#: Steps that last until the next of them; everything else is a moment.
_LASTING = ("takeover-step", "switchover-step")
_CLASSES = {"complete": "good", "failed": "bad", "abandoned": "bad", "unfinished": "open"}
_STYLE = """
svg{background:#fff;color:#1c2530;font:13px system-ui,sans-serif}
.grid{stroke:#d5dbe2}.dim{fill:#5b6875}.bar{fill:#3572b0}.mark{fill:#a45a00}.warning{fill:#b3261e}
.good{fill:#1b7f3b}.bad{fill:#b3261e}.open{fill:#a45a00}text{fill:currentColor}text.dim{fill:#5b6875}
@media (prefers-color-scheme:dark){svg{background:#12171d;color:#e6ebf0}.grid{stroke:#33404d}.bar{fill:#6aa9e9}
.mark{fill:#f0a94a}.warning,.bad{fill:#ff8a80}.good{fill:#6fd08c}.open{fill:#f0a94a}text.dim{fill:#9aa8b5}}
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that the journal cannot know, such as the fault or a client's first write; may lie before the story."""

    at_ms: float
    label: str


def story_svg(story: Story, node: str, title: str, marks: Sequence[Mark] = ()) -> str:
    """The picture as text. `title` is the story's headline, `node` whose journal it is of."""
    moments = [mark.at_ms for mark in marks] + [step.after_ms for step in story.steps]
    end_ms = max([story.took_ms or 0.0, *moments, 1.0])
    begin_ms = min([0.0, *(mark.at_ms for mark in marks)])
    scale = _Scale(begin_ms, end_ms)
    rows = _rows(story, marks, end_ms)
    height = HEAD + ROW * len(rows) + FOOT
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(story.at))
    words = "; ".join(f"{row.at_ms:g} ms {row.label}" for row in rows)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title words">',
        f'<title id="title">{_text(title)}</title><desc id="words">{_text(words)}</desc><style>{_STYLE}</style>',
        f'<text x="16" y="28" font-size="18" font-weight="600">{_text(title)}</text>',
        f'<text x="16" y="50" class="dim">{_text(f"{when}, node {node}" if node else when)}</text>',
        *_grid(scale, height),
        *(_row(row, scale, HEAD + ROW * place) for place, row in enumerate(rows)),
        *_foot(story, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Row:
    at_ms: float
    until_ms: float | None
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Scale:
    begin_ms: float
    end_ms: float

    def x(self, at_ms: float) -> float:
        return LEFT + _PLOT * (at_ms - self.begin_ms) / (self.end_ms - self.begin_ms)

    def ticks(self) -> list[float]:
        """Round moments, six to twelve of them."""
        raw = (self.end_ms - self.begin_ms) / 8
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
        first = math.ceil(self.begin_ms / step)
        return [step * number for number in range(first, math.floor(self.end_ms / step) + 1)]


def _rows(story: Story, marks: Sequence[Mark], end_ms: float) -> list[_Row]:
    lasting = [step for step in story.steps if step.what in _LASTING]
    ends = {id(one): two.after_ms for one, two in pairwise(lasting)}
    last_ms = story.took_ms if story.took_ms is not None else end_ms
    rows = [_Row(mark.at_ms, None, mark.label, "mark") for mark in marks]
    for step in story.steps:
        if step.what in _LASTING:
            rows.append(_Row(step.after_ms, ends.get(id(step), last_ms), _label(step), "bar"))
        else:
            rows.append(_Row(step.after_ms, None, _label(step), "warning" if step.level != "info" else "mark"))
    if story.ended and story.took_ms is not None:
        rows.append(_Row(story.took_ms, None, f"{story.result} {story.result_rule}".strip(), _CLASSES[story.result]))
    return sorted(rows, key=lambda row: row.at_ms)


def _label(step: Step) -> str:
    return step.rule if step.what in _LASTING else f"{step.what} {step.rule}".strip()


def _grid(scale: _Scale, height: int) -> list[str]:
    lines = []
    for at_ms in scale.ticks():
        x = scale.x(at_ms)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 8}" y2="{height - FOOT + 4}"/>')
        lines.append(f'<text class="dim" x="{x:.1f}" y="{HEAD - 12}" text-anchor="middle">{at_ms:g} ms</text>')
    return lines


def _row(row: _Row, scale: _Scale, y: int) -> str:
    x, middle = scale.x(row.at_ms), y + ROW / 2
    label = f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{_text(_cut(row.label))}</text>'
    if row.until_ms is None:
        shape = f'<path class="{row.kind}" d="M{x:.1f} {middle - 6:.1f}l6 6l-6 6l-6 -6z"/>'
        return label + shape
    width = max(2.0, scale.x(row.until_ms) - x)
    took = f'<text class="dim" x="{x + width + 5:.1f}" y="{middle + 4:.1f}">{row.until_ms - row.at_ms:.1f} ms</text>'
    if x + width > WIDTH - RIGHT - 70:  # no room behind it
        took = took.replace(f'x="{x + width + 5:.1f}"', f'x="{x - 5:.1f}" text-anchor="end"')
    return f'{label}<rect class="bar" x="{x:.1f}" y="{y + 5}" width="{width:.1f}" height="{ROW - 10}" rx="3"/>{took}'


def _foot(story: Story, height: int) -> list[str]:
    y = height - FOOT + 28
    lines = [f'<text x="16" y="{y}">{_text(_cut(f"Trigger: {story.trigger_text}", 130))}</text>']
    if story.lost_rule:
        told = _cut(f"May be lost: {story.lost_text} {story.lost_gtids}".strip(), 130)
        kind = "" if story.lost_rule in ("lost-none", "lost-no-acknowledged") else ' class="warning"'
        lines.append(f'<text x="16" y="{y + 20}"{kind}>{_text(told)}</text>')
    return lines


def _cut(text: str, most: int = 38) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(words: str) -> str:
    """Escaped, without what XML forbids."""
    return escape("".join(char for char in words if char.isprintable()))
