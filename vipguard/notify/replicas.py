"""What have the replicas that the node taking over lacks?

A replica may have received what its source sent to nobody else before it died. Law 2 counts every node that can be
reached: so the taker receives that from the replica before it opens. What the replica wrote by its own hand is errant,
and is not asked for; since a server sends all that it has, such a replica is asked for nothing.

So may a candidate that followed the dead writer beside the taker, in what was a circle.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model.effect import Effect, Fetch, ProbePeer
from ..model.evidence import Answer, ServerFacts
from ..model.gtid import GtidSet
from ..model.ledger import Relation
from ..model.sight import PeerSight, Sight
from .record import Due, Takeover, refuse

FETCH_S = 2.0  # then it is sent again, and goes on where it was


def looks(takeover: Takeover, sight: Sight) -> list[Effect]:
    """The replicas are asked once more, beside the claims; one that did not answer when it was asked last is not."""
    deadline_s = sight.policy.limits.deadline_s
    return [ProbePeer(deadline_s, name, channels=True) for name in _unseen(takeover, sight)]


def fetch(takeover: Takeover, sight: Sight, beside: Sequence[str] = ()) -> Due | None:
    """What is due of the replicas, and of the candidates `beside`, once all that was received here is applied; None:
    nothing."""
    limits = sight.policy.limits
    unseen = _unseen(takeover, sight)
    if unseen:
        return Due("replicas", f"looking at {', '.join(unseen)}", tuple(looks(takeover, sight)), 2 * limits.deadline_s)
    nodes = {name: sight.peers[name] for name in beside} | dict(sight.replicas)
    for name, peer in sorted(nodes.items(), key=lambda item: _errant(item[1], takeover, sight) is not None):
        target = beyond(peer, takeover, sight)
        if target is None or target.is_empty:
            continue
        errant = _errant(peer, takeover, sight)
        if sight.promoted and (name in takeover.unfetched or errant is not None):
            continue
        if errant is not None:
            text = f"{name} has {target.count()} transactions that would come with its own errant {errant}"
            return refuse("replica-has-more", text)
        if name in takeover.unfetched:
            text = f"{name} has {target.count()} transactions that did not come: {takeover.unfetched[name]}"
            return refuse("replica-has-more", text)
        home = sight.policy.source_of(sight.policy.me).name
        effect = Fetch(FETCH_S, name, home, target)
        text = f"receiving {target.count()} transactions that {name} has"
        return Due("fetch", text, (effect,), within_s=2 * limits.drain_s_max)
    return None


def beyond(peer: PeerSight, takeover: Takeover, sight: Sight) -> GtidSet | None:
    """What that replica has beyond what was drained here; None where it cannot be told. What it received and has not
    applied counts for as long as a drain may take."""
    facts = _facts(peer)
    if facts is None or takeover.drained is None or not sight.counts(peer):
        return None
    has = facts.gtid
    if sight.now_s - takeover.began_s < sight.policy.limits.drain_s_max:
        for channel in facts.channels or peer.channels or ():
            if channel.received is not None and channel.sql_running:
                has = has.union(channel.received)
    lacking = has.minus(takeover.drained)
    for other in (*sight.replicas.values(), *sight.peers.values()):
        known = _facts(other)
        if known is not None and _writes_errant(other, sight):
            lacking = lacking.minus(lacking.written_by(known.server_id, known.uuid))
    return lacking


def _writes_errant(peer: PeerSight, sight: Sight) -> bool:
    """Is what it wrote, and is not here, no history? A replica's, or a candidate's though another opened last."""
    newest = peer.facts.history.newest if peer.facts is not None else None
    if peer.node.is_replica:
        return True
    return sight.relation(peer) is Relation.SAME and newest is not None and newest.node != peer.node.name


def _errant(peer: PeerSight, takeover: Takeover, sight: Sight) -> GtidSet | None:
    """What that node wrote by its own hand and is not here; None: nothing."""
    facts = _facts(peer)
    if facts is None or takeover.drained is None or not _writes_errant(peer, sight):
        return None
    found = facts.gtid.minus(takeover.drained).written_by(facts.server_id, facts.uuid)
    return None if found.is_empty else found


def _unseen(takeover: Takeover, sight: Sight) -> list[str]:
    found = []
    for name, peer in sight.replicas.items():
        seen = peer.evidence
        if seen is None or (seen.asked_at_s < takeover.began_s and seen.answer is Answer.ANSWERED):
            found.append(name)
    return found


def _facts(peer: PeerSight) -> ServerFacts | None:
    facts = peer.evidence.facts if peer.evidence is not None and peer.answered else None
    return None if facts is None or facts.other_cluster is not None else facts
