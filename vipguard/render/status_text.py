"""How does the cluster stand, in words? What the agent's status says, the same on a terminal and on the status page.

What was not seen is said so, and is never a value.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .reader_text import reader_lines
from .story_text import clock
from .story_text import told as note_text

STUCK_S = 1.0
_LOUD = ("DIVERGED", "COMMITS", "SEMI-SYNC", "DUPLICATE", "REPLICATION")
EXIT_NO_WRITER, EXIT_TWO_WRITERS, EXIT_AGENT_SILENT = 3, 4, 5
STORY_LINES = 12
TRANSITIONS = (
    "takeover-complete",
    "handed-back",
    "takeover-abandoned",
    "adopted",
    "writer-lost",
    "found-closed",
)
NOT_SEEN = "not seen from here"
HEADINGS = ("node", "VRRP", "VIP", "server", "writable", "eligible", "lag", "replication", "epoch")
BAD, ODD = "bold red", "yellow"
Cell = tuple[str, str]  # text, and how loud it is: "", ODD or BAD, which are a terminal's styles


def judge(status: Mapping[str, Any]) -> tuple[int, str]:
    """The exit code, and the sentence for stderr ("" for none)."""
    writers = list(status["writers"])
    blind = [
        node["node"] for node in status["nodes"] if node["writable"] is None and node["server"] != "absent"
    ]
    unseen = f"; not seen: {', '.join(blind)}" if blind else ""
    silent = (
        f"the agent of this node is silent: {status['agent_reason']}" if status["agent"] != "answers" else ""
    )
    if len(writers) > 1:
        return EXIT_TWO_WRITERS, _join(
            f"{len(writers)} nodes are writable: {', '.join(writers)}{unseen}", silent
        )
    if not writers:
        return EXIT_NO_WRITER, _join(f"no writer is seen from here{unseen}", silent)
    return (EXIT_AGENT_SILENT, silent) if silent else (0, "")


def _join(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)


def rows(status: Mapping[str, Any]) -> list[list[Cell]]:
    """The table's cells, by `HEADINGS`. What was not seen is said so, and is never a value."""
    two = len(status["writers"]) > 1
    return [_row(node, two) for node in status["nodes"]]


def _row(node: Mapping[str, Any], two: bool) -> list[Cell]:
    here = " (here)" if node["here"] else ""
    return [
        (f"{node['node']}{here} {node['address']}", ""),
        _vrrp(node),
        _yes(node["vip"]),
        _server(node),
        _writable(node, two),
        _eligible(node),
        _lag(node),
        _threads(node),
        ("-" if node["epoch"] is None else str(node["epoch"]), ""),
    ]


def _vrrp(node: Mapping[str, Any]) -> Cell:
    if node.get("role") == "replica":
        return "-", ""
    if node["keepalived"] is False:
        return "keepalived is dead", BAD
    if node["vrrp"] is None:
        return NOT_SEEN, ODD if node["here"] else ""
    return str(node["vrrp"]), BAD if node["vrrp"] == "FAULT" else ""


def _yes(value: bool | None, style: str = "") -> Cell:
    return (NOT_SEEN, "") if value is None else ("yes" if value else "no", style)


def _writable(node: Mapping[str, Any], two: bool) -> Cell:
    if node["server"] == "absent":
        return "no", ""  # nobody writes to a server that is not running
    return _yes(node["writable"], BAD if two and node["writable"] else "")


def _server(node: Mapping[str, Any]) -> Cell:
    if node["server"] is None:
        return NOT_SEEN, ODD
    if node["server"] == "answered":
        return str(node["version"]).partition("-")[0], ""
    reason = f": {node['reason']}" if node["reason"] else ""
    return f"{node['server']}{reason}", BAD if node["server"] == "absent" else ODD


def _eligible(node: Mapping[str, Any]) -> Cell:
    if node.get("role") == "replica" and node["rule"] in ("replica", None):
        return "replica", ""
    if node["eligibility"] is None:
        return NOT_SEEN, ""
    if node["writable"] and not node["here"]:
        return "-", ""  # what SQL tells is whether it could take over, and it has no need to
    style = {"eligible": "", "ineligible": BAD}.get(node["eligibility"], ODD)
    rule = f" ({node['rule']})" if node["rule"] else ""
    return f"{node['eligibility']}{rule}", style


def _lag(node: Mapping[str, Any]) -> Cell:
    if node["writable"]:
        return "-", ""
    if node["lag_s"] is None:
        return "not known", ODD
    return f"{node['lag_s']:g} s", ""


def _threads(node: Mapping[str, Any]) -> Cell:
    threads = node["threads"]
    if threads is None:
        return NOT_SEEN, ""
    if not threads:
        return "none", ODD
    said = [f"{t['io']}/{'running' if t['sql'] else 'stopped'} from {t['source']}" for t in threads]
    return ", ".join(said), "" if all(t["sql"] and t["io"] == "running" for t in threads) else ODD


def head(status: Mapping[str, Any]) -> list[str]:
    """The lines above the table."""
    lines = [
        f"cluster {status['cluster']}, VIP {status['vip']}, epoch {status['epoch']}, seen from {status['node']}"
    ]
    if status["agent"] != "answers":
        reason = status["agent_reason"]
        lines.append(f"THE AGENT IS SILENT: {reason}. This is one look, without what only an agent knows.")
    lines += [maintenance_line(row) for row in status.get("maintenance") or ()]
    lines += [line] if (line := stood_down_line(status["nodes"][0])) else []
    return lines


def stood_down_line(own: Mapping[str, Any]) -> str:
    """That this node's server stays closed by somebody's word, as a sentence; "" where none does."""
    word = own.get("stood_down")
    if not word:
        return ""
    if not word["readable"]:
        return f"{own['node']} STAYS CLOSED by a word that cannot be read; `vipguard standdown --end` there ends it"
    since = f" since {stamp(word['since_s'])}" if word["since_s"] else ""
    reason = f": {word['reason']}" if word["reason"] else ""
    return f"{own['node']} STAYS CLOSED{since}, by {word['by']}{reason}; `vipguard standdown --end` there ends it"


def maintenance_line(row: Mapping[str, Any]) -> str:
    """One of the operator's rows, as a sentence."""
    what = "THE CLUSTER IS PAUSED" if row["node"] == "*" else f"{row['node']} IS IN MAINTENANCE"
    until = "until it is ended" if row["until_s"] is None else f"until {stamp(row['until_s'])}"
    reason = f": {row['reason']}" if row["reason"] else ""
    return f"{what} since {stamp(row['since_s'])}, {until}{reason}"


def stamp(seconds: float) -> str:
    """A moment since 1970, in this host's time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def tail(status: Mapping[str, Any], story_lines: int = STORY_LINES) -> list[str]:
    """The lines below the table: why, what is waited for, witnesses, the last transition and the recent story."""
    own = status["nodes"][0]
    standing = "" if own.get("role") == "replica" else f"{own.get('standing')}, "
    lines = [f"verdict: {standing}{own['rule']}: {own['text']}"] if own["rule"] else []
    if status["phase"]:
        waiting = f", waiting by {status['waiting']}" if status["waiting"] else ""
        since = f", VRRP state for {duration(own['vrrp_ago_s'])}" if own.get("vrrp_ago_s") is not None else ""
        lines.append(f"phase: {status['phase']}{waiting}{since}; track file: {own['track_file']}")
    if own["errant"] and not own["diverged"]:
        lines.append(f"errant: {own['errant']}")
    if own.get("stopped_by_hand"):
        lines.append(f"REPLICATION IS STOPPED by a hand, and stays so: type {own['stopped_by_hand']} to start it")
    if own.get("duplicate"):
        lines.append(f"DUPLICATE ADDRESS: {', '.join(own['duplicate'])} answers for the VIP too")
    if own["diverged"]:
        lines.append(f"DIVERGED: {own['diverged']}; `vipguard rejoin` there tells what may be done")
    if said_of_acks := acks_line(own):
        lines.append(said_of_acks)
    lines += reader_lines(status)
    said = [f"{name} {'is silent' if ago_s is None else f'answered {duration(ago_s)} ago'}"
            for name, ago_s in status["witnesses"].items()]  # fmt: skip
    lines.append(f"witnesses: {', '.join(said) or 'none configured'}")
    story = list(status["story"])
    last = next((note for note in reversed(story) if note["what"] in TRANSITIONS), None)
    if last is not None:
        lines.append(f"last transition: {told(last)}")
    if story and story_lines:
        lines += ["", "recently:", *(f"  {told(note)}" for note in story[-story_lines:])]
    return lines


def is_loud(line: str) -> bool:
    """Whether a line of `tail` tells of something that is wrong."""
    return line.startswith(_LOUD) or (line.startswith("reader ") and ": NOWHERE" in line)


def told(note: Mapping[str, Any]) -> str:
    """One note of the story: when, and the words of `vipguard events`."""
    said = {key: value for key, value in note.items() if key != "ago_s"}
    return f"{clock(float(note['at']), date=False)} ({duration(note['ago_s'])} ago)  {note_text(said)}"


def duration(seconds: float) -> str:
    """Short, with the unit that fits."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def acks_line(own: Mapping[str, Any]) -> str:
    """Of this node's part of the status; "" under async."""
    said = own.get("semi_sync")
    if not said:
        return ""
    if not own["writable"]:
        known = "has" if said["marked"] else "is not known to have"
        return f"semi-sync: this node {known} every acknowledged write"
    if said["waiting"] and said["commits_wait_s"] >= STUCK_S:
        return (
            f"COMMITS WAIT: {said['waiting']} for {said['commits_wait_s']:.0f} s, until a standby has them; "
            "if it is out for sure: vipguard solo"
        )
    if said["source"]:
        return f"semi-sync: writes wait for a standby, {said['clients']} connected"
    if said["solo"]:
        return "semi-sync: solo, writes are acknowledged without a standby"
    return "SEMI-SYNC IS OFF: writes are acknowledged without a standby"
