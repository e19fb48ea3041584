"""What becomes of transactions that were received and are not applied, before replication starts anew?

Where a node that answers has them too, replication brings them. Where nobody does, the relay log is the only place
that has them, and they are applied from there first.
"""

from __future__ import annotations

from ..model.effect import ExamineRelay, RescueRelay
from ..model.evidence import ServerFacts
from ..model.gtid import GtidSet
from ..model.ledger import Relation
from ..model.policy import MARIADB
from ..model.sight import PeerSight, Sight
from .join import Join

EXAMINE_S = 10.0  # a gigabyte takes a few seconds
RESCUE_S = 30.0  # then it is tried again, and goes on where it was
AGAIN_S = 10.0  # after one that was refused


def before_start(sight: Sight) -> Join | None:
    """What is due before replication may start; None where nothing is left, or the ordinary join brings it."""
    facts = sight.server.facts if sight.server else None
    if facts is None or not facts.channels:
        return None
    left = sight.unapplied
    if left is None:
        if _lately(sight) is not None:
            return None  # it could not be told
        return Join("join-examines", "seeing what was received and not applied", ExamineRelay(EXAMINE_S))
    if left.is_empty and not half_rescued(facts):
        return None
    if any(_has(peer, left) for peer in sight.peers.values()):
        return None
    return _rescue(sight, facts, left)


def _rescue(sight: Sight, facts: ServerFacts, left: GtidSet) -> Join | None:
    if not sight.promoted:
        if sight.writers or any(sight.relation(p) is Relation.BEHIND for p in sight.peers.values()):
            return None  # a history without them is the newer one
        sources = {channel.source_host for channel in facts.channels or ()}
        away = [p.node.name for p in sight.peers.values() if not p.answered and p.node.address not in sources]
        if away:
            return Join("rescue-waits", f"{away[0]} does not answer, and may be the writer")
    if reason := _lately(sight):
        return Join("rescue-failed", reason)
    return Join(
        "join-rescue",
        f"{left.count()} transactions were received and not applied, and no other node has them",
        RescueRelay(RESCUE_S),
    )


def _lately(sight: Sight) -> str | None:
    """Why looking, or applying, failed a moment ago; "" where it did not, None where it was not tried."""
    seen, facts = sight.relay, sight.server.facts if sight.server else None
    if seen is None or facts is None or seen.process != facts.process or sight.now_s - seen.seen_at_s >= AGAIN_S:
        return None
    return seen.reason


def half_rescued(facts: ServerFacts) -> bool:
    """Was a rescue interrupted? A channel that follows by position and does not receive is left by nothing else."""
    channels = facts.channels or ()
    return facts.flavor == MARIADB and any(c.received is None and c.io == "stopped" for c in channels)


def lacking(peer: PeerSight, other: PeerSight) -> GtidSet | None:
    """What `other` has and `peer` lacks; None: nothing, or one of them does not answer, or `other` was read later."""
    mine, theirs = peer.evidence, other.evidence
    if mine is None or theirs is None or mine.facts is None or theirs.facts is None:
        return None
    if theirs.seen_at_s > mine.asked_at_s or mine.facts.gtid.contains(theirs.facts.gtid):
        return None
    return theirs.facts.gtid.minus(mine.facts.gtid)


def _has(peer: PeerSight, left: GtidSet) -> bool:
    facts = peer.evidence.facts if peer.evidence and peer.answered else None
    return facts is not None and facts.gtid.contains(left)
