"""What is another node to a taker of the VIP: closed, down, legit, open otherwise, refused, or silent?"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ..model.evidence import Answer
from ..model.ledger import Relation
from ..model.sight import PeerSight


class PeerClass(StrEnum):
    CLOSED = "closed"  # read-only, seen now
    DOWN = "down"  # its server's process is gone: its own agent says so, or its host shows that it has no VIP
    LEGIT = "legit"  # open by right: not left behind by ours, open lock held, and it has the VIP or went apart from us
    OPEN_OTHERWISE = "open-otherwise"  # to be closed by the taker
    REFUSED = "refused"  # refuses the connection, and nothing proves that its server is gone
    SILENT = "silent"  # everything else, also: too many connections, access denied, no greeting
    UNSEEN = "unseen"  # not asked since the takeover began


def classify(
    peer: PeerSight,
    *,
    since_s: float,
    relation: Relation | None,
    arp: Mapping[str, bool | None],
    vip: str,
    down: bool = False,
    refused: bool = False,
) -> PeerClass:
    """The class of a peer by evidence that began at or after `since_s`; `relation`: this node's history to its.

    `arp` maps the addresses asked so far to "somebody else answered for it", None where it can't be asked on this
    link. `down`: its server is proven to be gone; `refused`: it has refused a connection since then. Silence counts
    from before `since_s` too: it only makes the taker wait.
    """
    seen = peer.evidence
    answered = seen is not None and seen.answer is Answer.ANSWERED and seen.asked_at_s >= since_s
    if down and not answered:
        return PeerClass.DOWN
    if seen is None:
        return PeerClass.UNSEEN
    silent = PeerClass.REFUSED if refused else PeerClass.SILENT
    if seen.answer is Answer.SILENT:
        return silent
    if seen.asked_at_s < since_s:
        return PeerClass.UNSEEN
    if seen.answer is Answer.ABSENT:
        return PeerClass.REFUSED
    if seen.facts is None or seen.answer is not Answer.ANSWERED or seen.facts.other_cluster is not None:
        return silent
    if seen.facts.closed:
        return PeerClass.CLOSED
    if vip not in arp:
        return PeerClass.UNSEEN
    by_right = seen.facts.open_lock is not None and relation is not Relation.AHEAD
    if by_right and (arp[vip] is True or relation is Relation.FORKED):
        return PeerClass.LEGIT
    return PeerClass.OPEN_OTHERWISE
