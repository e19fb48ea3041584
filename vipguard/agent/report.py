"""What does the agent tell about itself and the cluster? The world as plain data, for the socket's `status`.

What SQL cannot tell of a peer is null here and "not seen from here" on the screen: its VRRP state, its VIP, its own
verdict. An advert heard from it says that its keepalived is MASTER.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..checks import CHECKS, lag, replication, stall
from ..model.away import slowest_s
from ..model.evidence import Answer, ServerFacts
from ..model.finding import NO_THRESHOLDS, Finding, Perf
from ..model.maintenance import Maintenance, of_node
from ..model.sight import PeerSight, Sight, is_writer
from ..model.witness import endpoint
from . import reader_report
from .world import Closing, Handing, Taking, World, Writing

ADVERT_FRESH = 3.0


def snapshot(world: World, now_s: float, version: str, story: list[dict[str, Any]]) -> dict[str, Any]:
    """The status as JSON-ready data. Times are seconds ago (`…_ago_s`) or durations in seconds.

    `nodes` holds this node first, then the peers by name. `story` are the recent notes, oldest first. `errant` is ""
    for nothing errant and null for nothing compared yet. `maintenance` are the operator's rows by this node's server
    (`*` pauses the cluster; times are seconds since 1970); a node's own is by its own server.
    """
    sight = world.sight(now_s)
    nodes = [_own(world, sight), *(_peer(sight, peer) for peer in world.peers.values())]
    return {
        "cluster": world.policy.cluster,
        "node": world.policy.node,
        "version": version,
        "agent": "answers",
        "vip": str(world.policy.vip.address),
        "epoch": sight.highest_epoch,
        "phase": type(world.phase).__name__.lower(),
        "waiting": _waiting(world),
        "writers": [node["node"] for node in nodes if node["writable"]],
        "nodes": nodes,
        "readers": reader_report.snapshot(world, sight),
        "maintenance": [asdict(row) for row in sight.maintenance],
        "checks": {name: _finding(check(sight, NO_THRESHOLDS), _took_s(world, name)) for name, check in CHECKS.items()},
        "witnesses": {name: _ago(now_s, at_s) for name, at_s in sight.witnesses.items()},
        "story": story,
    }


def _finding(found: Finding, took_s: float | None) -> dict[str, Any]:
    numbers = {perf.label: perf.value for perf in found.perf}
    said = {"outcome": found.outcome.name.lower(), "rule": found.rule, "text": found.text, **numbers}
    limits = [_limits(perf) for perf in found.perf]
    return {**said, "perf": limits, "took_s": None if took_s is None else round(took_s, 6)}


def _took_s(world: World, check: str) -> float | None:
    """How long the newest look took that the check rests on: the rest is no time at all."""
    if check == "disk":
        return world.disk.took_s if world.disk else None
    if check == "witness":
        return world.witness_took_s
    return world.server.seen_at_s - world.server.asked_at_s if world.server else None


def _limits(perf: Perf) -> dict[str, Any]:
    """The number as the plugins print it: the ranges in which it is no warning and not critical, null for none."""
    warning, critical = (None if one is None else str(one) for one in (perf.warning, perf.critical))
    return {"label": perf.label, "value": perf.value, "unit": perf.unit, "warning": warning, "critical": critical}


def _waiting(world: World) -> str | None:
    if isinstance(world.phase, Taking):
        return world.phase.waiting
    if isinstance(world.phase, Handing):
        return "target-has-all"
    return world.phase.rule if isinstance(world.phase, Closing) else None


def _own(world: World, sight: Sight) -> dict[str, Any]:
    facts = world.server.facts if world.server else None
    verdict = world.verdict
    measured = lag.measure(sight)
    return {
        "node": world.policy.node,
        "here": True,
        "address": world.policy.me.address,
        "role": world.policy.me.role,
        "priority": world.policy.me.priority,
        "server": world.server.answer.value if world.server else None,
        "reason": world.server.reason if world.server else "",
        "version": f"{facts.flavor} {facts.version}" if facts else None,
        "vrrp": sight.keepalived.state,
        "vrrp_ago_s": _ago(sight.now_s, sight.keepalived.state_at_s),
        "keepalived": sight.keepalived.alive,
        "vip": sight.address.vip_present if sight.address else None,
        "link_up": sight.address.link_up if sight.address else None,
        "writable": None if facts is None else not facts.closed,
        "writer": isinstance(world.phase, Writing),
        "eligibility": verdict.eligibility.value if verdict else None,
        "rule": verdict.rule if verdict else None,
        "text": verdict.text if verdict else None,
        "standing": verdict.standing if verdict else None,
        "lag_s": None if isinstance(world.phase, Writing) else measured.lag_s,
        "lag_rule": measured.rule,
        "lag_of": None if sight.behind is None else sight.behind.node,
        "lag_seen_s": None if isinstance(world.phase, Writing) else slowest_s(facts.channels if facts else None),
        "threads": _threads(facts.channels if facts else None),
        "errant": None if sight.errant is None else str(sight.errant),
        "io_stopped_by_takeover": sight.io_stopped_by_us,
        "stopped_by_hand": replication.start(facts) if sight.stopped_by_hand and facts else None,
        "diverged": world.diverged,
        "maintenance": _told(sight.in_maintenance),
        "semi_sync": _semi_sync(world, sight),
        "copying": sight.copying,
        "stood_down": None if sight.stood_down is None else asdict(sight.stood_down),
        "losses": sum(sight.now_s - at_s < sight.policy.damping.window_s for at_s in sight.damping.losses),
        "damped_s": round(sight.damping.left_s(sight.now_s), 1),
        "duplicate": list(world.duplicate.macs),
        "epoch": facts.epoch.epoch if facts and facts.epoch else None,
        "gtid": str(facts.gtid) if facts else None,
        "track_file": world.track,
        "disk_free_bytes": world.disk.free_bytes if world.disk else None,
        "disk_writable": world.disk.writable if world.disk else None,
        "disk_waits_s": round(stall.waits_s(sight), 3) if world.disk else None,
        "disk_still_s": round(stall.still_s(sight), 3) if world.disk else None,
        "disk_unsynced": world.disk.sync_error if world.disk else None,
        "seen_ago_s": _ago(sight.now_s, world.server.seen_at_s if world.server else None),
    }


def _peers_server(peer: PeerSight) -> str | None:
    """Absent by its own agent's word; it refuses this node alone, as far as is known, where nobody says so."""
    if peer.evidence is None:
        return None
    refused = peer.evidence.answer is Answer.ABSENT
    return "refusing" if refused and peer.gone_s is None else peer.evidence.answer.value


def _peer(sight: Sight, peer: PeerSight) -> dict[str, Any]:
    seen = peer.evidence
    facts = seen.facts if seen else None
    advert_ago_s = _ago(sight.now_s, peer.advert_s)
    master = advert_ago_s is not None and advert_ago_s < ADVERT_FRESH * sight.policy.vip.advert_s
    return {
        "node": peer.node.name,
        "here": False,
        "address": peer.node.address,
        "role": peer.node.role,
        "priority": peer.node.priority,
        "server": _peers_server(peer),
        "reason": seen.reason if seen else "",
        "version": f"{facts.flavor} {facts.version}" if facts else None,
        "vrrp": "MASTER" if master else None,
        "vrrp_ago_s": None,
        "keepalived": True if master else None,
        "vip": True if master else None,
        "link_up": None,
        "writable": None if facts is None else not facts.closed,
        "writer": is_writer(seen),
        "eligibility": None if peer.eligible is None or is_writer(seen) else _eligibility(peer.eligible),
        "rule": None,
        "text": None,
        "standing": None,
        "lag_s": slowest_s(peer.channels) if peer.behind is None else peer.behind.lag_s,
        "lag_rule": None,
        "lag_of": None if peer.behind is None else peer.behind.node,
        "lag_seen_s": slowest_s(peer.channels),
        "threads": _threads(peer.channels),
        "errant": None,
        "io_stopped_by_takeover": None,
        "stopped_by_hand": None,
        "diverged": None,
        "maintenance": _told(of_node(facts.maintenance, peer.node.name)) if facts else None,
        "semi_sync": _peer_semi_sync(facts),
        "copying": None,
        "stood_down": None,
        "losses": None,
        "damped_s": None,
        "duplicate": None,
        "epoch": facts.epoch.epoch if facts and facts.epoch else None,
        "gtid": str(facts.gtid) if facts else None,
        "track_file": None,
        "disk_free_bytes": None,
        "disk_writable": None,
        "disk_waits_s": None,
        "disk_still_s": None,
        "disk_unsynced": None,
        "certificate_until_s": facts.certificate_until_s if facts else None,
        "seen_ago_s": _ago(sight.now_s, seen.seen_at_s if seen else None),
        "alive_ago_s": _ago(sight.now_s, peer.alive_s),
    }


def _told(row: Maintenance | None) -> dict[str, Any] | None:
    return asdict(row) if row is not None else None


def _semi_sync(world: World, sight: Sight) -> dict[str, Any] | None:
    """None under async, and where the server was not seen or has none."""
    facts, now = world.server.facts if world.server else None, sight.receiving
    if facts is None or facts.semi_sync is None:
        return None
    return {
        "source": facts.semi_sync.source_on,
        "replica": facts.semi_sync.replica_on,
        "clients": facts.semi_sync.clients,
        "waiting": facts.semi_sync.waiting,
        "commits_wait_s": round(sight.commits_wait_s, 3),
        "solo": world.memory.solo,
        "receiving": now is not None and now.live,
        "marked": sight.marked,
        "mark_on_its_way": now is not None and now.wanted is not None,
    }


def _peer_semi_sync(facts: ServerFacts | None) -> dict[str, Any] | None:
    if facts is None or facts.semi_sync is None:
        return None
    return {"source": facts.semi_sync.source_on, "replica": facts.semi_sync.replica_on}


def _eligibility(eligible: bool) -> str:
    return "eligible" if eligible else "ineligible"


def _threads(channels: Any) -> list[dict[str, Any]] | None:
    if channels is None:
        return None
    return [
        {
            "channel": c.name,
            "source": endpoint(c.source_host, c.source_port),
            "io": c.io,
            "sql": c.sql_running,
            "lag_s": c.lag_s,
            "applied": c.applied,
            "error": c.sql_error or c.io_error,
        }
        for c in channels
    ]


def _ago(now_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else round(max(0.0, now_s - at_s), 3)
