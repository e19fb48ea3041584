"""A status as an agent tells it, with something in every field, for tests of what is exported."""

from __future__ import annotations

from typing import Any

from vipguard.agent.tally import Tally
from vipguard.model.effect import Note


def note(what: str, rule: str = "", level: str = "info", **numbers: object) -> Note:
    return Note(0.0, what, rule, level, tuple(numbers.items()))


def told() -> dict[str, Any]:
    """What a tally says after a takeover of 60 ms in two steps."""
    tally = Tally()
    for one in (
        note("verdict", "candidate-ready", standing="candidate"),
        note("verdict", "taking-over", standing="taking"),
        note("takeover-begins", "vip-here"),
        note("takeover-step", "claim", at_ms=0),
        note("takeover-step", "drain", at_ms=20.0),
        note("takeover-complete", "taken-over", took_ms=60.0),
        note("may-be-lost", "lost-unknown", "warning", unseen_ms=120.0),
        note("verdict", "holder-healthy", standing="holder"),
        note("fenced", "fence-failed", "error", node="db2"),
    ):
        tally.tell(one)
    return tally.told()


STATUS: dict[str, Any] = {
    "cluster": "orders",
    "node": "db1",
    "version": "1.2",
    "epoch": 7,
    "writers": ["db1"],
    "nodes": [
        {
            "node": "db1", "role": "candidate", "standing": "holder", "writer": True, "vip": True, "writable": True,
            "server": "answered", "version": "mariadb 10.11.6", "vrrp": "MASTER", "keepalived": True, "link_up": True,
            "eligibility": "eligible", "rule": "holder-healthy", "lag_s": 0.5, "lag_rule": "lag-seen", "errant": "",
            "diverged": None, "damped_s": 0.0, "losses": 2, "duplicate": [], "disk_free_bytes": 5e9,
            "disk_writable": True, "disk_waits_s": 0.0,
            "threads": [{"channel": "", "io": "running", "sql": False, "applied": True}],
            "semi_sync": {"waiting": 0, "commits_wait_s": 0.0, "solo": False},
            "stood_down": {"since_s": 1_700_000_001, "by": "root", "reason": "", "readable": True},
        },
        {"node": "db2", "server": "silent", "certificate_until_s": 1_800_000_000.0},
    ],
    "maintenance": [{"node": "*", "since_s": 1_700_000_000, "until_s": None, "reason": ""}],
    "readers": [
        {"name": "r1", "mine": True, "here": True, "eligibility": "eligible", "came": 2, "went": 1},
        {"name": "r2", "mine": False, "here": None, "eligibility": None, "came": None, "went": None},
    ],
    "witnesses": {"10.0.0.1": 0.1, "10.0.0.2": None},
    "checks": {
        "lag": {"outcome": "ok"},
        "disk": {"outcome": "critical", "took_s": 0.001},
        "errant": {"outcome": "unknown"},
    },
    "counts": {**told(), "announced": 5, "state_age_s": 3.5},
}  # fmt: skip
#: One whose agent has seen nothing yet.
BLIND: dict[str, Any] = {
    **STATUS,
    "nodes": [dict.fromkeys(STATUS["nodes"][0], None) | {"node": "db1"}],
    "writers": [],
    "maintenance": [],
    "readers": [],
    "witnesses": {},
    "checks": {},
    "counts": {**Tally().told(), "announced": 0, "state_age_s": None},
}
