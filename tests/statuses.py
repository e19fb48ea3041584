"""Clusters in each state, as the agent's own code tells of them, for tests of what is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import healthy

from vipguard.agent.report import snapshot
from vipguard.agent.tally import Tally
from vipguard.agent.world import Taking, World, Writing, begin
from vipguard.checks import writer
from vipguard.model.gtid import GtidSet
from vipguard.model.memory import Memory
from vipguard.model.policy import Node, Policy
from vipguard.model.sight import PeerSight, Sight
from vipguard.model.story import as_plain, stories
from vipguard.notify.takeover import Takeover

Status = dict[str, Any]
AT = 1_763_750_000.0  # a moment in Unix seconds
NOW_S = healthy.NOW_S


def note(what: str, rule: str, ago_s: float, level: str = "info", **numbers: Any) -> dict[str, Any]:
    return {"at": AT - ago_s, "ago_s": ago_s, "what": what, "rule": rule, "level": level, **numbers}


NOTES = [
    note("takeover-begins", "vip-here", 90.09, epoch=3, text="keepalived says MASTER"),
    note("takeover-step", "claim", 90.088),
    note("takeover-step", "silence", 90.07),
    note("fenced", "fence-done", 90.04, "warning", node="db2"),
    note("takeover-step", "drain", 90.03),
    note("takeover-step", "open", 90.015),
    note("takeover-complete", "taken-over", 90.0, epoch=3, took_ms=90.0),
    note("may-be-lost", "lost-none", 89.9, text="db2 had acknowledged nothing more"),
]
MOVE = [
    note("switchover-begins", "invited", 3600.0, node="db2", text="planned upgrade"),
    note("takeover-step", "claim", 3599.96),
    note("takeover-step", "open", 3599.93),
    note("takeover-complete", "taken-over", 3599.91, epoch=2),
    note("may-be-lost", "lost-unknown", 3599.9, "warning", text="db2 was not seen for 120 ms", gtids="0-1-7..9"),
    note("rejoin", "start", 3500.0, text="db1 follows db2"),
    note("rejoin", "joined", 3499.2),
]


def told_stories() -> list[dict[str, Any]]:
    journal = [{key: value for key, value in one.items() if key != "ago_s"} for one in (*MOVE, *NOTES)]
    return [json.loads(json.dumps(as_plain(story, "db1"))) for story in stories(journal)]


def told(world: World, notes: list[dict[str, Any]] | None = None) -> Status:
    """What an agent with this world answers."""
    status = snapshot(world, NOW_S, "1.0", NOTES if notes is None else notes)
    counts = {**Tally().told(), "announced": 5, "state_age_s": 3.5}
    found: Status = json.loads(json.dumps({**status, "counts": counts}))
    return found


def world(sight: Sight, phase: Any = None, standing: str = "candidate", **changes: Any) -> World:
    """An agent that sees this."""
    made = begin(sight.policy, "boot-1", NOW_S - 100, Memory(3))
    made = replace(
        made, server=sight.server, address=sight.address, keepalived=sight.keepalived, disk=sight.disk,
        peers=dict(sight.peers), witnesses=sight.witnesses, outside_s=sight.outside_s, errant=sight.errant,
        good_lag=sight.good_lag, track="1", verdict=writer.judge(sight, standing),  # type: ignore[arg-type]
    )  # fmt: skip
    made = replace(made, phase=phase) if phase is not None else made
    return replace(made, **changes)


FOLLOWS_US = replace(healthy.CHANNEL, source_host="10.73.0.11")


def _peer(peer: PeerSight, **changes: Any) -> PeerSight:
    return replace(peer, **changes)


WRITING = Writing(3, 9, NOW_S - 90)
_STANDBY_PEER = _peer(healthy.WRITER.peers["db2"], channels=(FOLLOWS_US,))
_ABSENT_PEER = _peer(
    healthy.PEER, evidence=replace(healthy.ABSENT, reason="connection refused"), channels=None, gone_s=NOW_S - 1
)


def healthy_pair() -> Status:
    """db1 writes, db2 could take over."""
    return told(world(healthy.WRITER, WRITING, "holder", peers={"db2": _STANDBY_PEER}))


def failing_over() -> Status:
    """db2's server was killed, and db1 is taking over."""
    sight = replace(healthy.without_source(healthy.TAKER), peers={"db2": _ABSENT_PEER})
    taking = Taking(Takeover(NOW_S - 0.05, "boot-1"), "drain", NOW_S - 0.03)
    return told(world(sight, taking, "taking"), NOTES[:3])


def no_writer() -> Status:
    """db2's server is gone, and db1 lags too far behind to take over."""
    sight = replace(healthy.without_source(healthy.STANDBY), peers={"db2": _ABSENT_PEER},
                    good_lag=replace(healthy.STANDBY.good_lag, lag_s=57.0))  # type: ignore[type-var]  # fmt: skip
    return told(world(sight))


def two_writers() -> Status:
    """db1 and db2 are both open."""
    peer = _peer(healthy.PEER, channels=(FOLLOWS_US,))
    return told(world(healthy.WRITER, WRITING, "holder", peers={"db2": peer}))


def diverged() -> Status:
    """db1 has what db2, the writer, lacks."""
    sight = replace(healthy.STANDBY, errant=GtidSet.parse("mariadb", "0-1-7"))
    sight = healthy.with_channel(sight, io="stopped", sql_running=False, lag_s=None)
    return told(world(sight, diverged="1 transaction that db2 lacks: 0-1-7"), [])


def three_nodes_and_replicas(ipv6: bool = True, replicas: int = 2) -> Status:
    """A ring of three with replicas, and reader addresses: db1 writes, a thread of one replica stands."""
    own = "fd00::11" if ipv6 else "10.73.0.11"

    def address(number: int) -> str:
        return f"fd00::{number}" if ipv6 else f"10.73.0.{number}"

    names = [("db1", 11, 200), ("db2", 12, 180), ("db3", 13, 160)]
    nodes = [Node(name, address(number), priority, number) for name, number, priority in names]
    nodes += [Node(f"re{n}", address(20 + n), 0, 20 + n, "replica") for n in range(1, replicas + 1)]
    vip = replace(healthy.POLICY.vip, address=ip_interface("fd00::100/64" if ipv6 else "10.73.0.100/24"))
    policy: Policy = replace(healthy.POLICY, nodes=tuple(nodes), vip=vip)
    follows = replace(healthy.CHANNEL, source_host=own)
    ring = {"db2": follows, "db3": replace(follows, source_host=address(12), lag_s=2.0)}
    peers = {}
    for node in nodes[1:]:
        channel = ring.get(node.name, follows)
        if node.name == "re2":
            channel = replace(channel, io="connecting", lag_s=None)
        peers[node.name] = replace(_STANDBY_PEER, node=node, channels=(channel,), eligible=node.role != "replica")
    loop = replace(healthy.CHANNEL, source_host=address(13))
    sight = healthy.with_facts(replace(healthy.WRITER, policy=policy, peers=peers), channels=(loop,))
    status = told(world(sight, WRITING, "holder"))
    reader = {
        "name": "reader1", "address": "10.73.0.101/24", "router_id": 101, "prefer": None, "writer": "last",
        "mine": True, "here": False, "here_s": None, "holder": "db2", "vrrp": "BACKUP", "eligibility": "eligible",
        "rule": "reader-ready", "text": "it replicates well", "track_file": "1", "giving_to": None, "wait_s": 0.0,
        "losses": 0, "came": 0, "went": 0, "lag_s_max": 5.0,
        "nodes": [{"node": "db2", "priority": 150, "may_be_given": True}],
    }  # fmt: skip
    status["readers"] = [reader, {**reader, "name": "reader2", "address": "10.73.0.102/24", "holder": None}]
    return status


STATES = {
    "healthy": healthy_pair,
    "failing-over": failing_over,
    "no-writer": no_writer,
    "two-writers": two_writers,
    "diverged": diverged,
    "ring-and-replicas": three_nodes_and_replicas,
}
