"""How does the journal look on a terminal? An entry as a line, a story as a block; coloured, fitted to the width."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from vipguard.render import story_text as words

if TYPE_CHECKING:
    from vipguard.model.story import Step, Story

WIDTH_MIN = 40
_STYLES: dict[str, dict[str, Any]] = {
    "warning": {"fg": "yellow"},
    "error": {"fg": "red", "bold": True},
    "critical": {"fg": "red", "bold": True},
}
_TONES: dict[words.Tone, dict[str, Any]] = {
    "good": {"fg": "green", "bold": True},
    "odd": _STYLES["warning"],
    "bad": _STYLES["error"],
}


def entry_text(entry: Mapping[str, Any]) -> str:
    """When, what, by which rule, and its numbers."""
    level = str(entry.get("level", "info"))
    style = _TONES["good"] if entry["what"] == "takeover-complete" else _STYLES.get(level, {})
    head = f"{words.clock(float(entry['at']))}  "
    text = words.told(entry)
    return _fitted(head, text, style, of=len(f"{entry['what']} {entry.get('rule', '')}".rstrip()))


def story_text(story: Story, node: str = "") -> str:
    """One block: heading, trigger, each step with its milliseconds, result, what may be lost; and an empty line."""
    lines = [
        _fitted(f"{words.clock(story.at)}  ", words.headline(story, node), {"bold": True}),
        _row("trigger", words.trigger(story)),
        *map(_step, story.steps),
        _row("result", words.result(story), _result_style(story)),
    ]
    if (lost := words.loss(story)) is not None:
        text, tone = lost
        lines.append(_row("loss", text, _TONES[tone]))
        if story.lost_gtids:
            lines.append(_row("", f"GTIDs: {story.lost_gtids}", _TONES[tone]))
    return "\n".join(lines) + "\n"


def _result_style(story: Story) -> dict[str, Any]:
    plain = story.result == "complete" and story.kind in ("handback", "rejoin")
    return {} if plain else _TONES[words.result_tone(story)]


def _step(step: Step) -> str:
    return _row(words.ms(step.after_ms), words.step(step), _STYLES.get(step.level, {}))


def _row(label: str, text: str, style: Mapping[str, Any] | None = None) -> str:
    return _fitted(f"  {label:>10}  ", text, style or {})


def _fitted(head: str, text: str, style: Mapping[str, Any], of: int | None = None) -> str:
    """`text` after `head`; on a terminal wrapped and indented under itself. The first `of` characters are coloured."""
    text = "".join(c if c.isprintable() else " " for c in text)  # a reason may quote what a server sent
    if sys.stdout.isatty():
        width = max(WIDTH_MIN, shutil.get_terminal_size().columns)
        text = textwrap.fill(text, width - len(head), break_on_hyphens=False).replace("\n", "\n" + " " * len(head))
    coloured = len(text) if of is None else of
    return f"{head}{click.style(text[:coloured], **style) if style else text[:coloured]}{text[coloured:]}"
