"""What does a person see at the exporter's `/`? One HTML page that needs nothing else, made of the agent's status.

It says everything without a script; the script only fetches the page again, and says so when that fails.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from ..model.policy import Policy
from ..model.ranges import Range, number
from ..render import status_text as words
from ..render.palette import xml
from .drawing import drawing
from .headline import Headline, Said, headline
from .look import SCRIPT, STYLE
from .source import Seen
from .takeovers import takeovers

SIGNS = {"good": "✓", "odd": "!", "bad": "✕", "unseen": "?"}
_OUTCOMES = {"ok": "good", "warning": "odd", "critical": "bad", "unknown": "unseen"}
#: What is needed of a status; an agent of another version may lack some of it.
_NEEDED = ("cluster", "node", "version", "vip", "epoch", "phase", "waiting", "writers", "nodes", "witnesses", "story")
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%231857b8' "
    "d='M8 1l6 2v5c0 4-3 6-6 7-3-1-6-3-6-7V3z'/%3E%3C/svg%3E"
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


#: Nothing from elsewhere, and of scripts and styles only those two, whatever a name or a reason may hold.
_CSP = (
    f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Connection", "close"),  # an open page asks again and again: it must not keep one of the few rooms meanwhile
)
_BUILD = hashlib.sha256((SCRIPT + STYLE).encode()).hexdigest()[:12]


def page(policy: Policy, seen: Seen, stories: list[Any] | str, at: float) -> str:
    """The page. `stories`: the agent's last ones, or why there are none. `at`: now, in Unix seconds."""
    status, reason = seen.status, seen.reason
    if status is not None and (missing := [key for key in _NEEDED if key not in status]):
        status, reason = None, f"it tells no {', '.join(missing)}: is it of another version than the exporter?"
    if status is None:
        said = _silent(policy, seen, reason)
        parts = [_cluster(unseen(policy)), _agent_silent(policy)]
        status = unseen(policy)
    else:
        said = headline(status)
        parts = [
            _cluster(status),
            _checks(status),
            f'<section data-part="stories" aria-labelledby="h-stories">{takeovers(stories, policy.node)}</section>',
            _told(status),
        ]
    return _whole(status, said, parts, at)


def unseen(policy: Policy) -> dict[str, Any]:
    """A status of which nothing was seen, in the agent's shape."""
    keys = (
        "server", "version", "vrrp", "vrrp_ago_s", "keepalived", "vip", "link_up", "writable", "eligibility", "rule",
        "text", "standing", "lag_s", "lag_rule", "threads", "errant", "diverged", "epoch", "track_file", "semi_sync",
        "maintenance", "stood_down", "damped_s", "losses",
    )  # fmt: skip
    nodes = [
        {**dict.fromkeys(keys), "node": node.name, "here": node is policy.me, "address": node.address,
         "role": node.role, "reason": "", "writer": False}
        for node in (policy.me, *policy.peers)
    ]  # fmt: skip
    return {"cluster": policy.cluster, "node": policy.node, "version": None, "vip": str(policy.vip.address),
            "epoch": None, "phase": None, "waiting": None, "writers": [], "nodes": nodes, "witnesses": {},
            "story": [], "agent": "silent", "agent_reason": ""}  # fmt: skip


def _silent(policy: Policy, seen: Seen, reason: str) -> Headline:
    if seen.answered_at is None:
        since = "It has not answered since this exporter began."
    else:
        since = f"It answered last at {words.stamp(seen.answered_at)}."
    others = ", ".join(node.name for node in policy.peers)
    return Headline(
        Said("bad", f"The agent of {policy.node} is silent: who writes is not known here."),
        (
            Said("bad", f"{since} {_sentence(reason)}"),
            Said("unseen", f"Look at the page of {others}, or type `vipguard status` on any node."),
        ),
    )


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _whole(status: Mapping[str, Any], said: Headline, parts: Sequence[str], at: float) -> str:
    cluster, node = xml(status["cluster"]), xml(status["node"])
    version = f" Agent {xml(status['version'])}." if status["version"] else ""
    epoch = "" if status["epoch"] is None else f"<li>epoch {xml(status['epoch'])}</li>"
    return f"""<!DOCTYPE html>
<html lang="en" data-build="{_BUILD}" data-node="{node}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{SIGNS[said.tone]} {cluster}: {xml(said.said.text)}</title>
<link rel="icon" href="{ICON}">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{cluster}</h1>
<ul class="facts" data-part="facts">
<li>seen from {node}</li><li>VIP {xml(status["vip"])}</li>{epoch}
<li><time id="at" data-at="{at:.3f}">{words.stamp(at)}</time></li>
</ul>
</header>
<main>
<p id="lost" hidden></p>
<section class="headline" aria-label="Who writes" data-part="headline" data-tone="{said.tone}">
<p id="said" role="status" aria-live="polite"><span class="sign" aria-hidden="true">{SIGNS[said.tone]}</span>
<span id="sentence">{xml(said.said.text)}</span></p>
<ul id="more" data-part="more">{"".join(map(_line, said.more))}</ul>
</section>
{"".join(parts)}
</main>
<footer><p>vipguard.{version} For programs: <a href="metrics">metrics</a>, <a href="status.json">status.json</a>.
<noscript>Without a script, this page loads itself anew every five seconds.</noscript></p></footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _line(said: Said) -> str:
    sign = f'<span class="sign" aria-hidden="true">{SIGNS[said.tone]}</span>'
    return f'<li class="{said.tone}">{sign} <span>{_code(said.text)}</span></li>'


def _code(text: str) -> str:
    """Escaped, with what stands between backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", xml(text))


def _cluster(status: Mapping[str, Any]) -> str:
    cells = "".join(
        f'<tr role="row">{"".join(_cell(name, *cell) for name, cell in zip(words.HEADINGS, row, strict=True))}</tr>'
        for row in words.rows(status)
    )
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in words.HEADINGS)
    return f"""<section data-part="cluster" aria-labelledby="h-cluster">
<h2 id="h-cluster">Cluster</h2>
<div class="card picture">{drawing(status)}</div>
<details id="table" class="card"><summary id="s-table">The same as a table</summary>
<table role="table"><caption>What {xml(status["node"])} sees of each node</caption>
<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{cells}</tbody></table></details>
</section>
"""


def _cell(heading: str, text: str, style: str) -> str:
    tone, sign = {words.BAD: ("bad", "✕ "), words.ODD: ("odd", "! ")}.get(style, ("", ""))
    kind = f' class="{tone}"' if tone else ""
    if heading == words.HEADINGS[0]:
        return f'<th role="rowheader" scope="row">{xml(text)}</th>'
    return f'<td role="cell" data-label="{heading}"{kind}>{sign}{xml(text)}</td>'


def _checks(status: Mapping[str, Any]) -> str:
    cards = "".join(_check(name, found) for name, found in (status.get("checks") or {}).items())
    return f"""<section data-part="checks" aria-labelledby="h-checks">
<h2 id="h-checks">Checks on {xml(status["node"])}</h2>
<ul class="checks">{cards or "<li>This agent tells of no check.</li>"}</ul>
</section>
"""


def _check(name: str, found: Mapping[str, Any]) -> str:
    tone = _OUTCOMES.get(found["outcome"], "unseen")
    numbers = "".join(f"<li>{xml(line)}</li>" for line in _numbers(found))
    return (
        f'<li class="card check {tone}"><h3>{xml(name)}</h3>'
        f'<p class="outcome"><span class="sign" aria-hidden="true">{SIGNS[tone]}</span> {xml(found["outcome"])}</p>'
        f'<p>{xml(found.get("text", ""))}</p><p class="rule">{xml(found.get("rule", ""))}</p>'
        f'<ul class="numbers">{numbers}</ul></li>'
    )


def _numbers(found: Mapping[str, Any]) -> Iterator[str]:
    """Each number with its unit, and within which bounds it is well."""
    for perf in found.get("perf") or ():
        value = "not seen" if perf["value"] is None else f"{number(perf['value'])} {perf['unit']}".strip()
        bounds = [
            f"{level} unless {_bounds(Range.parse(perf[level]), perf['unit'])}"
            for level in ("warning", "critical")
            if perf.get(level)
        ]
        yield "; ".join([f"{perf['label']} {value}", *bounds])
    if found.get("took_s") is not None:
        yield f"its look took {found['took_s'] * 1000:.1f} ms"


def _bounds(limit: Range, unit: str) -> str:
    low, high = (f"{number(edge)} {unit}".strip() if isfinite(edge) else "" for edge in (limit.low, limit.high))
    if limit.low == limit.high:
        return f"{'not ' if limit.inside else ''}{low}"
    low = "" if limit.low == 0 and high else low  # none of these numbers can be negative
    inside = f"between {low} and {high}" if low and high else f"at least {low}" if low else f"at most {high}"
    return f"not {inside}" if limit.inside else inside


def _told(status: Mapping[str, Any]) -> str:
    lines = [line for line in words.tail(status, 0) if line]
    notes = [
        f"<li>{xml(words.told(note))}</li>" for note in list(status["story"])[-words.STORY_LINES :][::-1]
    ]
    recent = "".join(notes) or "<li>Nothing since this agent began.</li>"
    return f"""<section data-part="told" aria-labelledby="h-told">
<h2 id="h-told">What {xml(status["node"])} says</h2>
<ul class="card told">{"".join(f"<li>{_code(line)}</li>" for line in lines)}</ul>
<details id="recent" class="card"><summary id="s-recent">Recent events, newest first</summary>
<ol class="told">{recent}</ol></details>
</section>
"""


def _agent_silent(policy: Policy) -> str:
    return f"""<section data-part="silent" aria-labelledby="h-silent">
<h2 id="h-silent">What to do</h2>
<ul class="card told"><li>Does it run? <code>systemctl status vipguard-agent</code> on {xml(policy.node)}.</li>
<li>What it said last: <code>journalctl -u vipguard-agent</code>, <code>vipguard events</code>.</li>
<li>Starting it again harms no writer: <code>systemctl restart vipguard-agent</code>.</li></ul>
</section>
"""


def raw(policy: Policy, seen: Seen) -> dict[str, Any]:
    """For programs: the agent's status as it is, or that it is silent, why, and since when."""
    if seen.status is not None:
        return seen.status
    silent = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seen.answered_at)) if seen.answered_at else None
    return {"cluster": policy.cluster, "node": policy.node, "agent": "silent", "agent_reason": seen.reason,
            "answered_last": silent}  # fmt: skip
