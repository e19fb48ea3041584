"""What is another node to a taker of the VIP: closed, down, legit, open otherwise, or silent?"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ..model.evidence import Answer
from ..model.ledger import Relation
from ..model.sight import PeerSight


class PeerClass(StrEnum):
    CLOSED = "closed"  # read-only, seen now
    DOWN = "down"  # refuses the connection, while its host answers ARP
    LEGIT = "legit"  # open by right: not left behind by ours, open lock held, and it has the VIP or went apart from us
    OPEN_OTHERWISE = "open-otherwise"  # to be closed by the taker
    SILENT = "silent"  # everything else, also: too many connections, access denied, no greeting
    UNSEEN = "unseen"  # not asked since the takeover began


def classify(
    peer: PeerSight, *, since_s: float, relation: Relation | None, arp: Mapping[str, bool | None], vip: str
) -> PeerClass:
    """The class of a peer by evidence that began at or after `since_s`; `relation`: this node's history to its.

    `arp` maps the addresses asked so far to "somebody else answered for it", None where it can't be asked on this
    link. Silence counts from before `since_s` too: it only makes the taker wait. A refusal by a host off this link
    counts as down: only its own kernel, or its network on purpose, refuses.
    """
    seen = peer.evidence
    if seen is None:
        return PeerClass.UNSEEN
    if seen.answer is Answer.SILENT:
        return PeerClass.SILENT
    if seen.asked_at_s < since_s:
        return PeerClass.UNSEEN
    if seen.answer is Answer.ABSENT:
        if peer.node.address not in arp:
            return PeerClass.UNSEEN
        return PeerClass.SILENT if arp[peer.node.address] is False else PeerClass.DOWN
    if seen.facts is None or seen.answer is not Answer.ANSWERED or seen.facts.other_cluster is not None:
        return PeerClass.SILENT
    if seen.facts.closed:
        return PeerClass.CLOSED
    if vip not in arp:
        return PeerClass.UNSEEN
    by_right = seen.facts.open_lock is not None and relation is not Relation.AHEAD
    if by_right and (arp[vip] is True or relation is Relation.FORKED):
        return PeerClass.LEGIT
    return PeerClass.OPEN_OTHERWISE
