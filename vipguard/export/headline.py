"""What must somebody know at three in the morning? One sentence on who writes, and what else matters, by urgency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..render import status_text as words
from .reading import Status

Tone = Literal["good", "odd", "bad", "unseen"]


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, and how it is meant."""

    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Headline:
    """`said` is on the writer. `tone` is the worst of all that is said."""

    said: Said
    more: tuple[Said, ...] = ()

    @property
    def tone(self) -> Tone:
        if self.said.tone != "good":
            return self.said.tone
        return "good" if all(line.tone == "good" for line in self.more) else "odd"


def headline(status: Status) -> Headline:
    """Of a status that an agent told."""
    return Headline(_writer(status), (*_why(status), *_successors(status), *_operator(status), *_wrong(status)))


def _writer(status: Status) -> Said:
    writers, phase = list(status["writers"]), status["phase"]
    own = status["nodes"][0]
    if len(writers) > 1:
        return Said("bad", f"{_count(len(writers))} nodes accept writes: {_list(writers, 'and')}.")
    if phase == "taking":
        yet = "" if writers else "Nobody writes yet: "
        return Said("odd", f"{yet}{own['node']} is taking over{_for(status)}.")
    if phase in ("closing", "handing"):
        return Said("odd", f"{own['node']} is giving the writer up{_for(status)}.")
    if not writers:
        taking = [node["node"] for node in status["nodes"][1:] if node["vip"] and node["server"] == "answered"]
        if taking:
            return Said("odd", f"Nobody writes yet: {taking[0]} has the VIP, and is closed still.")
        return Said("bad", f"Nobody writes, as far as is seen from {status['node']}.")
    (name,) = writers
    if next(node["writer"] for node in status["nodes"] if node["node"] == name):
        return Said("good", f"{name} writes.")
    return Said("odd", f"{name} accepts writes, but no agent guards it as the writer.")


def _count(number: int) -> str:
    return {2: "Two", 3: "Three"}.get(number, str(number))


def _list(names: list[str], last: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _for(status: Status) -> str:
    return f", waiting by {status['waiting']}" if status["waiting"] else ""


def _why(status: Status) -> Iterator[Said]:
    """Why nobody writes, or what to do about two."""
    writers = status["writers"]
    if len(writers) > 1:
        yield Said("bad", "Their histories go apart with each write. Close the one that clients do not reach: "
                          "docs/runbook.md, VipguardTwoWriters.")  # fmt: skip
    if len(writers) == 1 and status["phase"] not in ("taking", "closing", "handing"):
        return
    own = status["nodes"][0]
    if not writers and own["rule"] and own["role"] != "replica":
        yield Said(_tone(own["eligibility"]), f"{own['node']}: {own['eligibility']} ({own['rule']}): {own['text']}.")
    for node in status["nodes"]:
        if node["server"] is None:
            yield Said("unseen", f"{node['node']} is {words.NOT_SEEN}.")
        elif node["server"] != "answered":
            reason = f": {node['reason']}" if node["reason"] else ""
            yield Said("unseen" if node["server"] == "blind" else "bad",
                       f"The server of {node['node']} is {node['server']}{reason}.")  # fmt: skip


def _tone(eligibility: str | None) -> Tone:
    return "good" if eligibility == "eligible" else "odd"


def _successors(status: Status) -> Iterator[Said]:
    """Who may take over from the writer."""
    if len(status["writers"]) != 1:
        return
    others = [node for node in status["nodes"] if not node["writable"] and node["role"] != "replica"]
    ready = [node["node"] for node in others if node["eligibility"] == "eligible"]
    if ready:
        yield Said("good", f"{_list(ready, 'or')} may take over.")
    elif others:
        yield Said("odd", f"Nobody could take over: {'; '.join(map(_unfit, others))}.")


def _unfit(node: Mapping[str, Any]) -> str:
    if node["server"] != "answered":
        seen = words.NOT_SEEN if node["server"] is None else str(node["server"])
        return f"the server of {node['node']} is {seen}"
    if node["eligibility"] is None:
        return f"whether {node['node']} may is {words.NOT_SEEN}"
    why = f" ({node['rule']}): {node['text']}" if node["rule"] else ""
    return f"{node['node']} is {node['eligibility']}{why}"


def _operator(status: Status) -> Iterator[Said]:
    for row in status.get("maintenance") or ():
        yield Said("odd", f"{words.maintenance_line(row)}.")
    if line := words.stood_down_line(status["nodes"][0]):
        yield Said("odd", f"{line}.")


def _wrong(status: Status) -> Iterator[Said]:
    own = status["nodes"][0]
    if own["damped_s"]:
        left = words.duration(own["damped_s"])
        yield Said("odd", f"{own['node']} flapped, and is left alone for {left} more ({own['losses']} losses).")
    for line in words.tail(status, 0):
        if words.is_loud(line):
            yield Said("bad", f"{line}.")
