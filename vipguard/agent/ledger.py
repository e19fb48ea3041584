"""What goes on record of a peer whose history is not the writer's? The sitting writer raises its epoch over it at once.

So what went apart is decided while it is known, and blocks no later opening: whoever has that row knows that the peer
was left behind. Where no writer is left, the two sides are told, and nothing is decided.
"""

from __future__ import annotations

from dataclasses import replace

from ..model import forks
from ..model.effect import WriteOpening
from ..model.evidence import EpochRow
from ..model.ledger import Opening, Relation
from ..model.sight import PeerSight, Sight, epoch_of
from ..notify.handback import open_by
from .draft import Draft
from .world import Resting, Writing

WRITE_S = 1.0
NOTICE_S = 1.0  # a node that would open again says so within some rounds
AGAIN_S = 10.0  # after a row that did not come to be
ERRANT_AGAIN_S = 60.0  # a node on which somebody goes on to write costs a row a minute, not one each time


def keep(draft: Draft) -> None:
    """On every event: what is due by the last looks."""
    world = draft.world
    if isinstance(world.phase, Resting):
        _tell_forks(draft)
    if not isinstance(world.phase, Writing) or "WriteOpening" in world.flights or not _at_ease(draft, world.phase):
        return
    sight = draft.sight
    apart = [peer for peer in sight.peers.values() if _to_record(peer, sight, draft, world.phase)]
    apart = _noticed(draft, apart)
    if not apart or world.phase.opener is None:
        return
    row = EpochRow(sight.highest_epoch + 1, world.policy.node, world.boot_id)
    draft.set(overruled_s={**world.overruled_s, **{peer.node.name: draft.now_s for peer in apart}})
    draft.send(WriteOpening(WRITE_S, world.phase.opener, Opening(row, overrules=sight.known_openings)))


def _at_ease(draft: Draft, phase: Writing) -> bool:
    """Open by right by the last look, nobody takes over or is about to, and no other node is open: between two that
    are, keepalived's order decides first."""
    server, sight = draft.world.server, draft.sight
    facts = server.facts if server is not None and server.asked_at_s >= phase.since_s else None
    if facts is None or facts.closed or facts.ledger is None or phase.opener is None:
        return False
    if facts.open_lock != phase.opener or facts.epoch is None or facts.epoch.epoch != phase.epoch:
        return False
    if any(open_by(peer, sight) for peer in (*sight.peers.values(), *sight.replicas.values())):
        return False
    return not (sight.claimed_by_other or facts.moving_to or sight.isolated) and sight.vip_here


def _to_record(peer: PeerSight, sight: Sight, draft: Draft, phase: Writing) -> bool:
    """A closed peer, seen since the opening, of which this node's own rows do not say yet how it stands."""
    seen, facts, server = peer.evidence, peer.facts, sight.server
    if seen is None or facts is None or not facts.closed or server is None or server.facts is None:
        return False
    if seen.asked_at_s < phase.since_s or facts.flavor != server.facts.flavor:
        return False
    last_s, relation = draft.world.overruled_s.get(peer.node.name), sight.relation(peer)
    since_s = float("inf") if last_s is None else draft.now_s - last_s
    if relation is not Relation.SAME:
        higher = relation is Relation.AHEAD and epoch_of(seen) <= phase.epoch
        return not higher and since_s >= AGAIN_S
    if since_s < ERRANT_AGAIN_S or seen.seen_at_s > server.asked_at_s:
        return False
    return not server.facts.gtid.contains(facts.gtid)


def _noticed(draft: Draft, apart: list[PeerSight]) -> list[PeerSight]:
    """Of a node that goes on from here it must first show whether it would open again: then this one closes for it."""
    found = {peer.node.name: draft.world.noticed_s.get(peer.node.name, draft.now_s) for peer in apart}
    if found != draft.world.noticed_s:
        draft.set(noticed_s=found)
    sight = draft.sight
    return [
        peer
        for peer in apart
        if sight.relation(peer) is not Relation.BEHIND or draft.now_s - found[peer.node.name] >= NOTICE_S
    ]


def written(draft: Draft, effect: WriteOpening) -> None:
    """The row is there: the epoch is raised, and the peers are named."""
    world, row = draft.world, effect.opening.row
    if not isinstance(world.phase, Writing) or world.phase.opener != effect.opener:
        return
    draft.set(phase=replace(world.phase, epoch=row.epoch))
    mine = world.server.facts if world.server else None
    for name, at_s in world.overruled_s.items():
        peer = world.peers.get(name)
        if draft.landed is None or at_s != draft.landed.since_s or peer is None or peer.facts is None or mine is None:
            continue
        left = peer.facts.gtid.minus(mine.gtid) if peer.facts.flavor == mine.flavor else None
        text = f"{name} has transactions that this writer lacks: it stays apart until `vipguard rejoin` there"
        draft.note("history", "overruled", "error", text=text, node=name, epoch=row.epoch, gtids=str(left or ""))


def _tell_forks(draft: Draft) -> None:
    sight = draft.sight
    apart = () if sight.newest_writers or sight.promoted else sight.forked
    if apart:
        draft.say("forked", "forked", "error", text=forks.tell(apart[0], sight))
    else:
        draft.forget("forked")
