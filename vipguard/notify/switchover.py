"""A planned move: who is asked to be the writer, and may the writer go on handing over?

Somebody holds the move lock on the writer's server, named after the target. The target, if it could take over, claims
every node. The claimed writer closes, waits until the target has everything, and lets the VIP go; the target then
takes over by the rules of any takeover. Whoever sees the lock gone, or the other's part missing, goes back.
"""

from __future__ import annotations

from ..model.effect import Claim
from ..model.evidence import ServerEvidence
from ..model.gtid import GtidSet
from ..model.sight import PeerSight, Sight
from .record import Takeover

NEAR_S = 1.0  # for the target to come near; it may never do so, and the move is wanted all the same
NEAR_MIN = 10  # transactions
HANDING_S = 5.0  # closed, for the target to have everything; a lossless target has it when the close is through
INVITED_S = 15.0  # claimed, for the VIP to come
RELEASED_S = 2.0  # for a target's claim to end once the order is gone


def ordering(sight: Sight) -> PeerSight | None:
    """The peer on whose server it is ordered that this node become the writer."""
    return next((peer for peer in sight.peers.values() if peer.moving_to == sight.policy.node), None)


def target(sight: Sight) -> str | None:
    """The node that this writer is ordered to hand over to, once that node has claimed it."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.moving_to not in sight.peers or not sight.claimed_by_other:
        return None
    return facts.moving_to


def near(node: str, before: ServerEvidence | None, sight: Sight) -> bool:
    """Does the target lack no more than a fifth of what was written since the look `before`? The clients will wait for
    it to apply what it lacks. What is not seen is no reason to wait: the move's own rules judge it."""
    peer, own = sight.peers.get(node), sight.server.facts if sight.server else None
    theirs = peer.evidence.facts if peer is not None and peer.evidence is not None else None
    if own is None or theirs is None or before is None or before.facts is None:
        return True
    grown = own.gtid.minus(before.facts.gtid).count()
    return own.gtid.minus(theirs.gtid).count() <= max(NEAR_MIN, grown // 5)


def next_claim(takeover: Takeover, sight: Sight) -> Claim | None:
    """Claims in order of node name, on every node that answers, the own one included."""
    for node in sight.policy.candidates:
        peer = sight.peers.get(node.name)
        if node.name not in takeover.claims and (peer is None or peer.answered):
            return Claim(sight.policy.limits.deadline_s, node.name)
    return None


def why_leave(takeover: Takeover, since_s: float, sight: Sight) -> tuple[str, str] | None:
    """Why the target does not wait for the VIP any longer, as (rule, text)."""
    facts = sight.server.facts if sight.server else None
    if takeover.failed is not None:
        return takeover.failed
    if ordering(sight) is None:
        return "order-withdrawn", "nobody orders any more that this node become the writer"
    if facts is not None and not facts.closed:
        return "opened-by-another-hand", "the server became writable meanwhile"
    if sight.now_s - since_s > INVITED_S:
        return "vip-did-not-come", f"the VIP did not come within {INVITED_S:g} s"
    return None


def why_go_back(node: str, since_s: float, sight: Sight) -> tuple[str, str] | None:
    """Why the closed writer keeps the VIP and opens again, as (rule, text)."""
    server, peer = sight.server, sight.peers.get(node)
    facts = server.facts if server is not None and server.asked_at_s > since_s else None
    if peer is None or not peer.answered:
        return "target-silent", f"{node} does not answer any more"
    if facts is not None and facts.moving_to != node:
        return "order-withdrawn", f"nobody orders any more that {node} become the writer"
    if facts is not None and not sight.claimed_by_other:
        return "target-left", f"{node} gave its claim back"
    if sight.now_s - since_s > HANDING_S:
        return "target-behind", f"{node} did not have everything within {HANDING_S:g} s"
    return None


def has_all(node: str, gtid: GtidSet, sight: Sight) -> bool:
    """Has the target applied the closed writer's final set, by its own last word?"""
    peer = sight.peers.get(node)
    facts = peer.evidence.facts if peer is not None and peer.evidence is not None and peer.answered else None
    return facts is not None and facts.gtid.contains(gtid)
