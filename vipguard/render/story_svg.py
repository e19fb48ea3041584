"""How does one story of the journal look on a line of time? An SVG that needs nothing else: no script, font or host.

Each step is a bar from its moment to the next one's, and what stands for a moment alone is a mark. Light and dark
follow the reader's settings; who cannot see it has the same in words.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vipguard.model.story import Step, Story

from .palette import DARK, LIGHT, literal
from .palette import xml as _text


@dataclass(frozen=True, slots=True)
class Shape:
    """Room of a picture, in its own units. `stacked`: labels above their bars, where there is no room beside them."""

    width: int
    left: int
    right: int
    head: int
    row: int
    foot: int
    label_most: int
    stacked: bool = False

    @property
    def plot(self) -> int:
        return self.width - self.left - self.right


ALONE = Shape(960, 260, 24, 76, 26, 64, 38)
#: Within a page that has heading and table: beside each other, and on a phone.
WIDE = Shape(960, 290, 24, 26, 26, 4, 38)
NARROW = Shape(328, 2, 2, 26, 40, 4, 42, stacked=True)
LEFT = ALONE.left
#: Steps that last until the next of them; everything else is a moment.
_LASTING = ("takeover-step", "switchover-step")
_CLASSES = {"complete": "good", "failed": "bad", "abandoned": "bad", "unfinished": "odd"}
#: A page that shows such pictures has these rules too, with its own variables.
RULES = """
.story{background:var(--paper);color:var(--ink);font:13px system-ui,sans-serif}.story .grid{stroke:var(--line)}
.story text{fill:currentColor}.story text.dim{fill:var(--dim)}.story .bar{fill:var(--dim)}.story .mark{fill:var(--ink)}
.story text.within{fill:var(--paper)}
.story .warning,.story text.warning,.story .bad{fill:var(--bad)}
.story .good{fill:var(--good)}.story .odd{fill:var(--odd)}
"""
_STYLE = f"{literal(RULES, LIGHT)}@media (prefers-color-scheme:dark){{{literal(RULES, DARK)}}}\n"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that the journal cannot know, such as the fault or a client's first write; may lie before the story."""

    at_ms: float
    label: str


def story_svg(story: Story, node: str, title: str, marks: Sequence[Mark] = ()) -> str:
    """The picture as a file. `title` is the story's headline, `node` whose journal it is of."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(story.at))
    heading = [
        f"<style>{_STYLE}</style>",
        f'<text x="16" y="28" font-size="18" font-weight="600">{_text(title)}</text>',
        f'<text x="16" y="50" class="dim">{_text(f"{when}, node {node}" if node else when)}</text>',
    ]
    return _picture(story, title, ALONE, "", marks, heading)


def story_part(story: Story, title: str, shape: Shape, name: str) -> str:
    """The picture for a page with the `RULES`; `name` tells its ids from the page's others."""
    return _picture(story, title, shape, f"{name}-", (), [])


def _picture(
    story: Story, title: str, shape: Shape, name: str, marks: Sequence[Mark], heading: Sequence[str]
) -> str:
    moments = [mark.at_ms for mark in marks] + [step.after_ms for step in story.steps]
    end_ms = max([story.took_ms or 0.0, *moments, 1.0])
    begin_ms = min([0.0, *(mark.at_ms for mark in marks)])
    scale = _Scale(begin_ms, end_ms, shape)
    rows = _rows(story, marks, end_ms)
    height = shape.head + shape.row * len(rows) + shape.foot
    words = "; ".join(f"{row.at_ms:g} ms {row.label}" for row in rows)
    size = f'viewBox="0 0 {shape.width} {height}" width="{shape.width}" height="{height}"'
    named = f'role="img" aria-labelledby="{name}title {name}words"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="story" {size} {named}>',
        f'<title id="{name}title">{_text(title)}</title><desc id="{name}words">{_text(words)}</desc>',
        *heading,
        *_grid(scale, height),
        *(_row(row, scale, shape.head + shape.row * place) for place, row in enumerate(rows)),
        *(_foot(story, height) if heading else ()),
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
    shape: Shape

    def x(self, at_ms: float) -> float:
        return self.shape.left + self.shape.plot * (at_ms - self.begin_ms) / (self.end_ms - self.begin_ms)

    def ticks(self) -> list[float]:
        """Round moments, six to twelve of them; half as many where there is little room."""
        raw = (self.end_ms - self.begin_ms) / (4 if self.shape.stacked else 8)
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
    lines, shape = [], scale.shape
    for at_ms in scale.ticks():
        x = scale.x(at_ms)
        word = f"{at_ms / 1000:g} s" if scale.end_ms - scale.begin_ms >= 10_000 else f"{at_ms:g} ms"
        half = 4 * len(word)  # so that no word is cut at the picture's edge
        anchor = "start" if x < half else "end" if x > shape.width - half else "middle"
        top, bottom = shape.head - 8, height - shape.foot + 4
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        lines.append(f'<text class="dim" x="{x:.1f}" y="{shape.head - 12}" text-anchor="{anchor}">{word}</text>')
    return lines


def _row(row: _Row, scale: _Scale, y: int) -> str:
    shape = scale.shape
    x, high = scale.x(row.at_ms), 16
    top = y + shape.row - 5 - high
    middle = top + high / 2
    words = _text(_cut(row.label, shape.label_most))
    if shape.stacked:
        label = f'<text x="{shape.left}" y="{y + 13}">{words}</text>'
    else:
        label = f'<text x="{shape.left - 10}" y="{middle + 4.5:.1f}" text-anchor="end">{words}</text>'
    if row.until_ms is None:
        x = min(max(x, 6.0), shape.width - 6.0)
        return label + f'<path class="{row.kind}" d="M{x:.1f} {middle - 6:.1f}l6 6l-6 6l-6 -6z"/>'
    width = max(2.0, scale.x(row.until_ms) - x)
    took = f'<text class="dim" x="{x + width + 5:.1f}" y="{middle + 4.5:.1f}">{row.until_ms - row.at_ms:.1f} ms</text>'
    if x + width > shape.width - shape.right - 70:  # no room behind it
        took = took.replace(f'x="{x + width + 5:.1f}"', f'x="{x - 5:.1f}" text-anchor="end"')
        if x - 70 < shape.left and shape.stacked:  # nor before it: beside its label
            took = (
                f'<text class="dim" x="{shape.width - shape.right}" y="{y + 13}" text-anchor="end">'
                f"{row.until_ms - row.at_ms:.1f} ms</text>"
            )
        elif x - 70 < shape.left:  # within it
            took = took.replace(f'class="dim" x="{x - 5:.1f}"', f'class="within" x="{x + width - 6:.1f}"')
    return f'{label}<rect class="bar" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{high}" rx="3"/>{took}'


def _foot(story: Story, height: int) -> list[str]:
    y = height - ALONE.foot + 28
    lines = [f'<text x="16" y="{y}">{_text(_cut(f"Trigger: {story.trigger_text}", 130))}</text>']
    if story.lost_rule:
        told = _cut(f"May be lost: {story.lost_text} {story.lost_gtids}".strip(), 130)
        kind = "" if story.lost_rule in ("lost-none", "lost-no-acknowledged") else ' class="warning"'
        lines.append(f'<text x="16" y="{y + 20}"{kind}>{_text(told)}</text>')
    return lines


def _cut(text: str, most: int = 38) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
