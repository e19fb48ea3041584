"""What does a look say of semi-sync? Which IO session has received the writer's mark, and whether commits are stuck.

Only records, for `checks/semi_sync.py` and `semi_sync.py` to judge. Nothing of it is kept on disk: after a restart of
the agent, or of the server, the standby needs the mark anew.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.evidence import ServerEvidence, ServerFacts
from ..model.sight import PeerSight, Receiving, epoch_of, is_writer
from .world import World

UNWATCHED_S = 5.0  # a session that nobody looked at for so long may have ended and begun anew


def see_own(world: World, evidence: ServerEvidence) -> World:
    """A round of the local server that answered."""
    facts = evidence.facts
    if not world.policy.lossless or facts is None:
        return world
    acks = world.acks
    if facts.semi_sync is not None:
        stuck = facts.semi_sync.waiting > 0 and facts.semi_sync.acked == acks.acked
        since_s = evidence.asked_at_s if acks.waiting_since_s is None else acks.waiting_since_s
        acks = replace(acks, acked=facts.semi_sync.acked, waiting_since_s=since_s if stuck else None)
    if facts.channels is not None:
        acks = replace(acks, receiving=_receiving(acks.receiving, evidence, facts))
    return replace(world, acks=acks)


def _receiving(last: Receiving | None, evidence: ServerEvidence, facts: ServerFacts) -> Receiving | None:
    at_s = evidence.seen_at_s
    if last is not None and (last.process != facts.process or at_s - last.seen_s > UNWATCHED_S):
        last = None
    running = facts.semi_sync is not None and facts.semi_sync.replica_on
    if not facts.channels or not all(channel.io == "running" for channel in facts.channels) or not running:
        return None if last is None else replace(last, live=False, seen_s=at_s)
    if last is None or not last.live:
        return Receiving(facts.process, began_s=at_s, seen_s=at_s)
    return _reached(replace(last, seen_s=at_s), facts)


def _reached(now: Receiving, facts: ServerFacts) -> Receiving:
    """The mark's row is applied after all that stands before it; the set may be received only."""
    if now.marked or now.wanted is None or now.mark is None or facts.mark is None:
        return now
    have = facts.gtid
    for channel in facts.channels or ():
        have = have if channel.received is None else have.union(channel.received)
    same = facts.mark.on and facts.mark.epoch == now.mark.epoch and facts.mark.number >= now.mark.number
    return replace(now, marked=True, wanted=None) if same and have.contains(now.wanted) else now


def see_writer(world: World, peer: PeerSight) -> World:
    """A round of a peer: the writer with semi-sync off, or of another epoch than the mark's, makes the mark void."""
    now, evidence = world.acks.receiving, peer.evidence
    if now is None or evidence is None or evidence.facts is None or not is_writer(evidence):
        return world
    facts, own = evidence.facts, world.server.facts if world.server else None
    if epoch_of(evidence) < epoch_of(world.server):
        return world
    mark = facts.mark if facts.mark is not None and facts.mark.epoch == epoch_of(evidence) else None
    on = facts.semi_sync is not None and facts.semi_sync.source_on and mark is not None and mark.on
    if not on or (now.mark is not None and mark is not None and now.mark.epoch != mark.epoch):
        now = replace(now, wanted=None, mark=None, marked=False)
    sources = {channel.source_host for channel in (own.channels if own else None) or ()}
    since = evidence.asked_at_s >= now.began_s and peer.node.address in sources
    if on and now.live and since and not now.marked and now.wanted is None:
        now = replace(now, wanted=facts.gtid, mark=mark)
    return replace(world, acks=replace(world.acks, receiving=now))
