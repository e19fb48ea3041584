"""What is one story of the journal? Notes of one takeover, planned move, handback or rejoin, from trigger to result.

Fed with the journal's entries, oldest first, as they are or as they come. Every entry stays what it was: a story only
says which belong together. What began and has no end (the agent was stopped, the journal starts in the middle) says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

Entry = Mapping[str, Any]

TAKEOVER, MOVE_IN, MOVE_OUT, HANDBACK, REJOIN = "takeover", "move-here", "move-away", "handback", "rejoin"
ADOPTION = "adoption"  # an agent that was started on a node that is the writer
COMPLETE, ABANDONED, FAILED, UNFINISHED = "complete", "abandoned", "failed", "unfinished"

#: The notes that tell of a step, beside the ones that begin and end a story.
STEPS = frozenset({
    "takeover-step", "switchover-step", "closed", "close-failed", "kill", "peer-closed", "fenced", "track-file",
    "vip-removed", "opened-too-late", "hook", "refused", "semi-sync", "commits", "replication", "rescued",
    "received-unapplied", "ordered", "duplicate-address",
})  # fmt: skip
#: What a rejoin consists of; it goes on beside other stories, and never ends them.
_REJOIN_STEPS = frozenset({"replication", "rescued", "received-unapplied"})
_STUCK = frozenset({"diverged", "peer-diverged"})
_KEPT = ("at", "boottime_s", "what", "rule", "level", "text", "reason", "dropped_before")


@dataclass(frozen=True, slots=True)
class Step:
    """One note; `after_ms` counts from the story's beginning, on a clock that nobody sets. `said` are its numbers."""

    after_ms: float
    what: str
    rule: str
    level: str
    text: str
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """`result` is one of COMPLETE, ABANDONED, FAILED, UNFINISHED; `result_rule` and `result_text` say by what.

    `lost_rule` is of `may-be-lost` ("" where nothing was said of it), with its text and GTIDs. Times are Unix seconds.
    """

    kind: str
    at: float
    trigger: str
    trigger_text: str
    began_s: float | None = None  # CLOCK_BOOTTIME
    epoch: int | None = None
    other: str = ""  # the other node of a planned move
    steps: tuple[Step, ...] = ()
    result: str = UNFINISHED
    result_rule: str = ""
    result_text: str = ""
    took_ms: float | None = None
    lost_rule: str = ""
    lost_text: str = ""
    lost_gtids: str = ""
    rules: frozenset[str] = field(default_factory=frozenset)  # every rule and event name in it

    @property
    def ended(self) -> bool:
        return self.result != UNFINISHED


_TRIGGERS = {
    "vip-here": "keepalived gave this node the VIP",
    "ordered": "an operator ordered the writer away from here",
    "invited": "an operator ordered the writer to this node",
    "holder-server-absent": "the server of this writer was gone",
    "handing-server-absent": "the server of this writer went while it was handing over",
    "switchover": "the VIP of a planned move came",
}


class Stories:
    """Feed it entries; it returns each story once it has ended. `open` are those that have not."""

    def __init__(self) -> None:
        self._main: Story | None = None
        self._rejoin: Story | None = None

    @property
    def open(self) -> tuple[Story, ...]:
        """What is still under way, or never came to an end, oldest first."""
        found = [story for story in (self._main, self._rejoin) if story is not None]
        return tuple(sorted(found, key=lambda story: story.at))

    def feed(self, entry: Entry) -> list[Story]:
        rebooted = [story for story in self.open if _before_a_reboot(story, entry)]
        if rebooted:
            self._main = None if self._main in rebooted else self._main
            self._rejoin = None if self._rejoin in rebooted else self._rejoin
        return rebooted + self._feed(entry)

    def trim(self, most: int) -> None:
        """Of a story under way that has more steps, keep its beginning and its end."""
        self._main, self._rejoin = _trimmed(self._main, most), _trimmed(self._rejoin, most)

    def _feed(self, entry: Entry) -> list[Story]:
        what = str(entry["what"])
        done: list[Story] = []
        if self._main is not None and self._main.ended and what != "may-be-lost":
            done += self._close_main()
        if what == "rejoin" or (self._rejoin is not None and what in _REJOIN_STEPS):
            return done + self._rejoining(entry)
        begun = self._begun(entry)
        if begun is not None:
            done += self._close_main()
            self._main = begun
        elif self._main is not None:
            self._main = _go_on(self._main, entry)
        if self._main is not None and _is_over(self._main, what):
            done += self._close_main()
        return done

    def _close_main(self) -> list[Story]:
        story, self._main = self._main, None
        return [story] if story is not None else []

    def _begun(self, entry: Entry) -> Story | None:
        """The story that begins with this entry, if it begins one that is not under way already."""
        what, rule, now = entry["what"], str(entry.get("rule", "")), self._main
        running = now is not None and not now.ended
        if what == "takeover-begins":
            return None if running and now is not None and now.kind == MOVE_IN else _new(TAKEOVER, entry)
        if what == "switchover-begins":
            return _new(MOVE_OUT if rule == "ordered" else MOVE_IN, entry)
        if what == "adopted":
            # the agent came anew: what it did before has no end that anybody saw
            return replace(_new(ADOPTION, entry), result=COMPLETE, result_rule=rule,
                           result_text="this node was the writer when its agent started", took_ms=0.0)  # fmt: skip
        if what in ("closing", "writer-lost"):
            giving_up = now is not None and (now.kind == HANDBACK or (now.kind == MOVE_OUT and what == "writer-lost"))
            return None if running and giving_up else _new(HANDBACK, entry)
        return None

    def _rejoining(self, entry: Entry) -> list[Story]:
        rule = str(entry.get("rule", ""))
        story = self._rejoin or (None if rule in ("joined", "started") else _new(REJOIN, entry))
        if story is None:
            return []
        if story is self._rejoin:
            story = _go_on(story, entry)
        if entry["what"] != "rejoin" or (rule != "joined" and rule not in _STUCK):
            self._rejoin = story
            return []
        self._rejoin = None
        return [_end(story, entry, FAILED if rule in _STUCK else COMPLETE)]


def stories(entries: Iterable[Entry]) -> list[Story]:
    """All stories of `entries` by their beginning, the unfinished ones too."""
    teller, found = Stories(), []
    for entry in entries:
        found += teller.feed(entry)
    return sorted([*found, *teller.open], key=lambda story: story.at)


def _trimmed(story: Story | None, most: int) -> Story | None:
    if story is None or len(story.steps) <= most:
        return story
    return replace(story, steps=(*story.steps[: most // 2], *story.steps[-(most // 2) :]))


def as_plain(story: Story, node: str) -> dict[str, Any]:
    """A story for programs: `rules` sorted, and what is not known is null."""
    plain = asdict(story)
    del plain["began_s"]
    return {"node": node or None, **plain, "rules": sorted(story.rules)}


def from_plain(plain: Mapping[str, Any]) -> Story:
    """The story that `as_plain` told, perhaps by another version of it. Raises ValueError for what is none."""
    known = {one.name for one in fields(Story)}
    try:
        told = {key: value for key, value in plain.items() if key in known}
        steps = tuple(Step(**{one.name: step[one.name] for one in fields(Step)}) for step in plain["steps"])
        return Story(**{**told, "steps": steps, "rules": frozenset(plain["rules"])})
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError(f"this is no story: {exc!r}") from exc


def _new(kind: str, entry: Entry) -> Story:
    rule, text = str(entry.get("rule", "")), _text(entry)
    other = str(entry.get("node") or "")
    boottime_s = entry.get("boottime_s")
    words = ": ".join(filter(None, (_TRIGGERS.get(rule, ""), text))) or rule.replace("-", " ")
    return Story(
        kind, float(entry["at"]), rule, words,
        float(boottime_s) if isinstance(boottime_s, int | float) else None,
        _epoch(entry), other, rules=_names(entry),
    )  # fmt: skip


def _go_on(story: Story, entry: Entry) -> Story:
    """The story with one more entry in it."""
    what, rule = str(entry["what"]), str(entry.get("rule", ""))
    told = replace(story, rules=story.rules | _names(entry), epoch=_epoch(entry) or story.epoch)
    if what == "may-be-lost":
        return replace(told, lost_rule=rule, lost_text=_text(entry), lost_gtids=str(entry.get("gtids") or ""))
    if what == "takeover-complete":
        return _end(told, entry, COMPLETE)
    if what in ("takeover-abandoned", "open-failed"):
        return _end(told, entry, FAILED if what == "open-failed" else ABANDONED)
    if what == "switchover-abandoned":
        told = _with_step(told, entry)
        closed = any(step.what == "closed" for step in told.steps)
        return told if told.kind == MOVE_OUT and closed else _end(told, entry, ABANDONED)
    if what in ("handed-over", "handed-back"):
        gave_up = told.kind == MOVE_OUT and what == "handed-back"
        return _end(told, entry, ABANDONED if gave_up else COMPLETE)
    if what in STEPS or what in ("takeover-begins", "closing", "writer-lost", "rejoin"):
        return _with_step(told, entry)
    return story


def _with_step(story: Story, entry: Entry) -> Story:
    said = {key: value for key, value in entry.items() if key not in _KEPT and value not in ("", None)}
    step = Step(_after_ms(story, entry), str(entry["what"]), str(entry.get("rule", "")),
                str(entry.get("level", "info")), _text(entry), said)  # fmt: skip
    return replace(story, steps=(*story.steps, step))


def _end(story: Story, entry: Entry, result: str) -> Story:
    text = _text(entry)
    return replace(story, result=result, result_rule=str(entry.get("rule", "")), result_text=text,
                   took_ms=_after_ms(story, entry), epoch=_epoch(entry) or story.epoch)  # fmt: skip


def _is_over(story: Story, what: str) -> bool:
    """A completed takeover waits for one more note: what may be lost by it."""
    return story.ended and what != "takeover-complete"


def _after_ms(story: Story, entry: Entry) -> float:
    """By the clock that nobody sets; by the wall clock where a reboot, or a foreign entry, makes it useless."""
    boottime_s = entry.get("boottime_s")
    if isinstance(boottime_s, int | float) and story.began_s is not None and boottime_s >= story.began_s:
        return round((boottime_s - story.began_s) * 1000, 1)
    return round(max(0.0, float(entry["at"]) - story.at) * 1000, 1)


def _before_a_reboot(story: Story, entry: Entry) -> bool:
    boottime_s = entry.get("boottime_s")
    return isinstance(boottime_s, int | float) and story.began_s is not None and boottime_s < story.began_s


def _epoch(entry: Entry) -> int | None:
    epoch = entry.get("epoch")
    return epoch if isinstance(epoch, int) else None


def _text(entry: Entry) -> str:
    return str(entry.get("text") or entry.get("reason") or "")


def _names(entry: Entry) -> frozenset[str]:
    return frozenset((str(entry["what"]), str(entry.get("rule", ""))))
