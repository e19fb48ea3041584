"""When does the writer beat? While there is a lag to tell, and in answer to good news: no node diverges by it.

What a writer writes while it is cut off, nobody has, and it returns diverged. So a beat is sent when a standby that
receives from here has answered this very moment, and no other candidate is out of sight; the window is as short as the
way of one transaction. And where nobody wrote since the last one, and that standby has everything, there is nothing
to tell: an idle writer does not beat. Who has nobody does not either; the lag is then what the replicas' servers say.
"""

from __future__ import annotations

from ..checks import stall
from ..model.effect import Beat, ProbePeer, ProbeServer
from ..model.evidence import Answer
from ..model.sight import PeerSight
from ..notify import semi_sync
from . import phases
from .draft import Draft
from .event import Did, Event
from .world import Writing

NEWS_S = 0.02  # an answer that is older is no news; and so late a beat has no effect
BEAT_S = 0.2
DISK_S = 0.25  # a disk that takes as long for a few bytes


def keep(draft: Draft, event: Event) -> None:
    """On a peer's answer: a beat, when it is due and nothing speaks against it."""
    world = draft.world
    every_s, phase = world.policy.limits.heartbeat_s, world.phase
    if not every_s or not isinstance(event, Did) or not isinstance(phase, Writing) or phase.opener is None:
        return
    if isinstance(event.effect, Beat):
        draft.set(beat_done_s=draft.now_s)
    elif isinstance(event.effect, ProbeServer):
        _compare(draft)
    if not isinstance(event.effect, ProbePeer):
        return
    if draft.now_s - world.beat_s < every_s - world.policy.limits.probe_s / 2:
        return  # answers come once in probe_s
    peer = world.peers.get(event.effect.node)
    if peer is None or not _something_to_tell(draft, peer):
        return
    if _receives(draft, peer) and _all_seen(draft) and _at_ease(draft, phase.opener):
        draft.set(beat_s=draft.now_s, beat_done_s=None, beat_gtid=None)
        draft.send(Beat(BEAT_S, phase.opener, draft.now_s + NEWS_S))


def _compare(draft: Draft) -> None:
    """What the server had when it was asked first after the last beat."""
    world, server = draft.world, draft.world.server
    if world.beat_gtid is not None or server is None or server.facts is None:
        return
    if world.beat_done_s is not None and server.asked_at_s >= world.beat_done_s:
        draft.set(beat_gtid=server.facts.gtid)


def _something_to_tell(draft: Draft, peer: PeerSight) -> bool:
    """Has somebody written since the last beat, or lacks this peer anything of what was here?"""
    own, theirs = (seen.facts if seen else None for seen in (draft.world.server, peer.evidence))
    if own is None or theirs is None:
        return False
    return own.gtid != draft.world.beat_gtid or not theirs.gtid.contains(own.gtid)


def _receives(draft: Draft, peer: PeerSight) -> bool:
    """Did it answer just now, closed and with its IO thread at this node? Under lossless: and acknowledges?"""
    world, seen = draft.world, peer.evidence
    if seen is None or seen.facts is None or draft.now_s - seen.seen_at_s > NEWS_S:
        return False
    if world.rivals and peer.node.is_replica:
        return False  # the one that may write next must have it
    semi = semi_sync.own(draft.sight)
    if world.policy.lossless and semi is None:
        return False
    if semi is not None and semi.source_enabled and not semi_sync.acknowledges(peer, draft.sight):
        return False
    me = world.policy.me.address
    io = any(channel.source_host == me and channel.io == "running" for channel in peer.channels or ())
    return io and seen.facts.closed


def _all_seen(draft: Draft) -> bool:
    """A candidate that is out of sight may be about to write; one whose agent says that its server is gone is not."""
    own = draft.world.server.facts if draft.world.server else None
    gone = own.gone if own is not None else frozenset()
    for peer in draft.world.rivals.values():
        seen = peer.evidence
        fresh = seen is not None and draft.now_s - seen.seen_at_s <= draft.world.policy.limits.probe_s + NEWS_S
        there = seen is not None and seen.answer is Answer.ANSWERED
        if not peer.out and peer.node.name not in gone and not (fresh and there):
            return False
    return True


def _at_ease(draft: Draft, opener: int) -> bool:
    """Open by right as far as it was seen, nobody takes over, and a commit has nothing to wait for."""
    world, sight = draft.world, draft.sight
    facts = world.server.facts if world.server else None
    if facts is None or facts.closed or facts.open_lock != opener or facts.beats is None:
        return False
    if sight.claimed_by_other or sight.isolated or not sight.vip_here or phases.no_room(draft):
        return False
    if stall.waits_s(sight) >= DISK_S:
        return False  # each beat would hang in a session of its own
    semi = semi_sync.own(sight)
    if semi is None or not semi.source_enabled:
        return True
    return semi.source_on and semi.clients > 0 and semi.waiting == 0
