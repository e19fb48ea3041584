"""How does the journal read? The words for an entry and for a story, the same on a terminal and on the status page."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

from vipguard.model.story import Step, Story

Tone = Literal["good", "odd", "bad"]
_KINDS = {
    "takeover": "takeover",
    "move-here": "planned move",
    "move-away": "planned move",
    "handback": "this node gave the writer up",
    "rejoin": "replication joins again",
    "adoption": "the agent was started",
}
_HIDDEN = ("at", "boottime_s", "what", "rule", "level", "text", "reason")
_LOSSES: dict[str, tuple[str, Tone]] = {
    "lost-none": ("nothing is lost", "good"),
    "lost-no-acknowledged": ("nothing acknowledged is lost", "good"),
    "lost-these": ("these transactions are not here", "bad"),
    "lost-unknown": ("perhaps what the old writer wrote last", "odd"),
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


def headline(story: Story, node: str = "") -> str:
    """What it is, of whom, and how it ended."""
    epoch = f", epoch {story.epoch}" if story.epoch is not None else ""
    took = f" after {ms(story.took_ms)}" if story.took_ms else ""
    return f"{_KINDS[story.kind]}{_where(story, node)}{epoch}: {story.result}{took}"


def _where(story: Story, node: str) -> str:
    here, other = node or "this node", story.other or "another node"
    if story.kind == "move-here":
        return f" from {other} to {here}"
    if story.kind == "move-away":
        return f" from {here} to {other}"
    return f" on {node}" if node else ""


def trigger(story: Story) -> str:
    return f"{story.trigger_text} ({story.trigger})"


def result(story: Story) -> str:
    """How it ended, and by which rule."""
    if story.result == "unfinished":
        return "no end is in the journal: it is under way, or the agent or the host stopped meanwhile"
    text = story.result_text or (_PLAIN_END[story.kind] if story.result == "complete" else "")
    rule = f" ({story.result_rule})" if story.result_rule else ""
    return f"{story.result}{': ' if text else ''}{text}{rule}"


def result_tone(story: Story) -> Tone:
    return {"complete": "good", "failed": "bad"}.get(story.result, "odd")  # type: ignore[return-value]


def loss(story: Story) -> tuple[str, Tone] | None:
    """What may be lost by it; None where that is no question of this story."""
    if story.lost_rule:
        word, tone = _LOSSES.get(story.lost_rule, (story.lost_rule, "odd"))
        return f"{word}: {story.lost_text} ({story.lost_rule})", tone
    if story.kind in ("takeover", "move-here") and story.result == "complete" and story.steps:
        return "nothing was noted of it", "odd"
    return None


def step(step: Step) -> str:
    """A takeover's steps go by their rule; other notes by their name."""
    named = step.rule if step.what.endswith("-step") else f"{step.what} {step.rule}"
    numbers = " ".join(f"{key}={value}" for key, value in step.said.items() if key not in ("at_ms", "after_ms"))
    said = "  ".join(filter(None, (step.text, numbers)))
    return f"{named}{': ' if said else ''}{said}"


def ms(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} ms" if value < 10_000 else f"{value / 1000:.1f} s"
