"""How does the journal read to a person? An entry as a line, a story as a block; fitted to a terminal's width."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vipguard.model.story import Step, Story

WIDTH_MIN = 40
_STYLES: dict[str, dict[str, Any]] = {
    "warning": {"fg": "yellow"},
    "error": {"fg": "red", "bold": True},
    "critical": {"fg": "red", "bold": True},
}
_GOOD: dict[str, Any] = {"fg": "green", "bold": True}
_KINDS = {
    "takeover": "takeover",
    "move-here": "planned move",
    "move-away": "planned move",
    "handback": "this node gave the writer up",
    "rejoin": "replication joins again",
    "adoption": "the agent was started",
}
_HIDDEN = ("at", "boottime_s", "what", "rule", "level", "text", "reason")
_LOSSES = {
    "lost-none": ("nothing is lost", _GOOD),
    "lost-no-acknowledged": ("nothing acknowledged is lost", _GOOD),
    "lost-these": ("these transactions are not here", _STYLES["error"]),
    "lost-unknown": ("perhaps what the old writer wrote last", _STYLES["warning"]),
}
_PLAIN_END = {
    "takeover": "this node is the writer",
    "move-here": "this node is the writer",
    "move-away": "the target has all: it may take over",
    "handback": "this node is closed",
    "rejoin": "it replicates",
}


def told(note: Mapping[str, Any], hidden: Collection[str] = _HIDDEN) -> str:
    """What, by which rule, and its numbers."""
    name = f"{note['what']} {note.get('rule', '')}".rstrip()
    words = [str(note.get("text") or note.get("reason") or ""),
             *(f"{key}={value}" for key, value in note.items()
               if key not in hidden and value not in ("", None))]  # fmt: skip
    said = "  ".join(filter(None, words))
    return f"{name}{': ' if said else ''}{said}"


def clock(at: float, *, date: bool = True) -> str:
    """This host's time, to the millisecond."""
    millis = int(at * 1000)
    shape = "%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S"
    return f"{time.strftime(shape, time.localtime(millis // 1000))}.{millis % 1000:03d}"


def entry_text(entry: Mapping[str, Any]) -> str:
    """When, what, by which rule, and its numbers."""
    level = str(entry.get("level", "info"))
    style = _GOOD if entry["what"] == "takeover-complete" else _STYLES.get(level, {})
    head = f"{clock(float(entry['at']))}  "
    text = told(entry)
    return _fitted(head, text, style, of=len(f"{entry['what']} {entry.get('rule', '')}".rstrip()))


def story_text(story: Story, node: str = "") -> str:
    """One block: heading, trigger, each step with its milliseconds, result, what may be lost; and an empty line."""
    lines = [
        _fitted(f"{clock(story.at)}  ", headline(story, node), {"bold": True}),
        _row("trigger", f"{story.trigger_text} ({story.trigger})"),
        *map(_step, story.steps),
        _row("result", _result(story), _result_style(story)),
    ]
    if story.lost_rule:
        word, style = _LOSSES.get(story.lost_rule, (story.lost_rule, _STYLES["warning"]))
        lines.append(_row("loss", f"{word}: {story.lost_text} ({story.lost_rule})", style))
        if story.lost_gtids:
            lines.append(_row("", f"GTIDs: {story.lost_gtids}", style))
    elif story.kind in ("takeover", "move-here") and story.result == "complete" and story.steps:
        lines.append(_row("loss", "nothing was noted of it", _STYLES["warning"]))
    return "\n".join(lines) + "\n"


def headline(story: Story, node: str = "") -> str:
    """What it is, of whom, and how it ended."""
    epoch = f", epoch {story.epoch}" if story.epoch is not None else ""
    took = f" after {_ms(story.took_ms)}" if story.took_ms else ""
    return f"{_KINDS[story.kind]}{_where(story, node)}{epoch}: {story.result}{took}"


def _where(story: Story, node: str) -> str:
    here, other = node or "this node", story.other or "another node"
    if story.kind == "move-here":
        return f" from {other} to {here}"
    if story.kind == "move-away":
        return f" from {here} to {other}"
    return f" on {node}" if node else ""


def _result(story: Story) -> str:
    if story.result == "unfinished":
        return "no end is in the journal: it is under way, or the agent or the host stopped meanwhile"
    text = story.result_text or (_PLAIN_END[story.kind] if story.result == "complete" else "")
    rule = f" ({story.result_rule})" if story.result_rule else ""
    return f"{story.result}{': ' if text else ''}{text}{rule}"


def _result_style(story: Story) -> dict[str, Any]:
    if story.result == "complete":
        return {} if story.kind in ("handback", "rejoin") else _GOOD
    return _STYLES["error"] if story.result == "failed" else _STYLES["warning"]


def _step(step: Step) -> str:
    """A takeover's steps go by their rule; other notes by their name."""
    named = step.rule if step.what.endswith("-step") else f"{step.what} {step.rule}"
    numbers = " ".join(f"{key}={value}" for key, value in step.said.items() if key not in ("at_ms", "after_ms"))
    said = "  ".join(filter(None, (step.text, numbers)))
    return _row(_ms(step.after_ms), f"{named}{': ' if said else ''}{said}", _STYLES.get(step.level, {}))


def _ms(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


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
