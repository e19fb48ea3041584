"""Whom must this node follow, if not whom it follows now?

A replica follows the writer. A candidate of a circle of three or more follows the writer too as soon as the node that
it follows is gone, stands still itself or went apart: else it would stand still for as long. From then on it goes where
the writer goes: two nodes that follow each other would look well and receive nothing. And no candidate follows a
replica: only a fetch that was broken off leaves one so. Nothing is pointed at a node that lacks what is here.
"""

from __future__ import annotations

from ..model.effect import Point, StopReceiving
from ..model.evidence import ServerFacts
from ..model.gtid import GtidSet
from ..model.sight import PeerSight, Sight
from . import relay
from .join import Join
from .rejoin import read_before

STOP_S = 3.0
POINT_S = 10.0  # what was received is applied within it; then it is tried again


def another(sight: Sight) -> Join | None:
    """What is due of a node whose source is the wrong one; None where it is not, or nobody better is known."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.channels is None or len(facts.channels) != 1:
        return None
    channel, me = facts.channels[0], sight.policy.me
    if not me.is_replica and channel.source_host in {p.node.address for p in sight.replicas.values()}:
        home = sight.policy.source_of(me)
        return _stop_first(facts, sight) or Join(
            "follow-home", f"{home.name} is this node's source, a replica is not", Point(POINT_S, home.name)
        )
    writer = next(iter(sight.newest_writers), None)
    if writer is None or channel.source_host == writer.node.address:
        return None
    source = sight.source_of(channel)
    if not me.is_replica and (source is None or not _leads_nowhere(source, writer, sight)):
        return None  # what an operator let it follow, or a member of the circle that is well
    if not me.is_replica and sight.policy.lossless:
        return None  # of two that acknowledge, either alone would make a write count as safe
    return _stop_first(facts, sight) or _compare(writer, sight, facts)


def _leads_nowhere(source: PeerSight, writer: PeerSight, sight: Sight) -> bool:
    """Does what is written not come from there? From the node before in the circle it does, as long as that one is
    well; any other that is not the writer may follow this one."""
    if source.node != sight.policy.source_of(sight.policy.me) or _gone(source, sight):
        return True
    if not source.answered:
        return False
    if any(channel.io == "stopped" or not channel.sql_running for channel in source.channels or ()):
        return True
    return relay.lacking(writer, source) is not None


def _gone(source: PeerSight, sight: Sight) -> bool:
    """It has given no sign of life for a lease, or its server has refused for as long."""
    seen, lease_s = source.last, sight.policy.limits.lease_s
    since_s = sight.watching_since_s if seen is None else max(seen.seen_at_s, sight.watching_since_s)
    return not source.answered and sight.now_s - since_s >= lease_s


def _stop_first(facts: ServerFacts, sight: Sight) -> Join | None:
    if all(channel.io == "stopped" for channel in facts.channels or ()):
        return None
    return Join("follow-stops", "receiving no more from this source", StopReceiving(STOP_S, sight.aside))


def _compare(writer: PeerSight, sight: Sight, facts: ServerFacts) -> Join | None:
    """What this node has, and what it received, must be the writer's: read here first, there second."""
    name = writer.node.name
    left = sight.unapplied
    if left is None:
        return relay.before_start(sight) or Join("follow-waits", "it is not known what was received here")
    mine = facts.gtid.union(left)
    for channel in facts.channels or ():
        mine = mine.union(channel.received or GtidSet.empty(facts.flavor))
    theirs = writer.evidence
    if theirs is None or theirs.facts is None:
        return None
    if theirs.facts.gtid.contains(mine):
        return Join("follow-writer", f"{name} is the writer and has everything that is here", Point(POINT_S, name))
    if read_before(writer, sight):
        return Join("follow-compare-again", f"{name} was read before this node")
    apart = mine.minus(theirs.facts.gtid)
    return Join("diverged", f"this node has {apart.count()} transactions that {name} lacks", apart=apart)
