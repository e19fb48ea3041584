"""Are the other nodes' GTIDs of the same kind as this node's? Those of MariaDB and MySQL cannot be compared.

A node whose server is of the other flavour is as good as not seen, by name: nothing that it says of its transactions
means anything here. It gives a sign of life all the same.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.evidence import Answer, ServerEvidence, ServerFacts
from ..model.policy import Flavor
from ..model.sight import PeerSight
from .world import Acks, World


def own(world: World) -> Flavor | None:
    """What this node's server is, or was when it answered last; None before it has."""
    for seen in (world.server, world.server_before):
        if seen is not None and seen.facts is not None:
            return seen.facts.flavor
    return None


def comparable(evidence: ServerEvidence, mine: Flavor | None) -> tuple[ServerEvidence, str]:
    """The evidence as this node may use it, and why that is not all of it; "" where it is."""
    facts = evidence.facts
    if facts is None or mine is None or facts.flavor == mine:
        return evidence, ""
    why = f"its server is {facts.flavor} {facts.version} and this node's is {mine}: their GTIDs cannot be compared"
    return ServerEvidence(Answer.BLIND, evidence.asked_at_s, evidence.seen_at_s, reason=f"other-flavor: {why}"), why


def see_own(world: World, facts: ServerFacts) -> World:
    """This node's server answers as what it is: what peers said before is judged by that, and whatever was known of
    this node's own history ends where it is another flavour's."""
    before = own(world)
    if before == facts.flavor:
        return world
    world = replace(world, peers={name: _judged(peer, facts.flavor) for name, peer in world.peers.items()})
    if before is None:
        return world
    return replace(
        world, server_before=None, good_lag=None, behind=None, beat_gtid=None, errant=None, compared=False, clean=None,
        relay=None, acks=Acks(), reference=None, filtered_from=None,
    )  # fmt: skip


def _judged(peer: PeerSight, mine: Flavor) -> PeerSight:
    """What was seen of the peer before this node's flavour was known, or was another one."""
    if peer.evidence is None:
        return peer
    evidence, why = comparable(peer.evidence, mine)
    if not why:
        return peer
    return replace(
        peer, evidence=evidence, last=None, before=None, eligible=None, channels=None, behind=None, other_flavor=why
    )
