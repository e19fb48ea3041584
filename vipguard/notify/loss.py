"""What may be lost by a takeover? Counted and named as far as it can be known, never guessed to be none.

Every other candidate may have written. Seen closed, its set is known; dead or silent, only the set it had when it was
last seen, and whatever it wrote after that moment is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model.away import stays_down_s
from ..model.gtid import GtidSet
from ..model.sight import PeerSight, Sight, with_received
from .semi_sync import SURELY_S

SHOWN_IN_MS_S = 10.0


@dataclass(frozen=True, slots=True)
class Loss:
    """`rule`: `lost-none` (certain), `lost-these` (the GTIDs in `lacking`, certain), or `lost-unknown`: `lacking` is
    known, and more may have been written in the `unseen_s` seconds since `node` was last seen (None: never seen).
    `lost-no-acknowledged`: as unknown, but by semi-sync nothing of it was acknowledged: there was no time yet to let it
    go on alone."""

    rule: str
    text: str
    node: str = ""
    lacking: GtidSet | None = None
    unseen_s: float | None = None


_WORST = ("lost-none", "lost-no-acknowledged", "lost-these", "lost-unknown")


def account(have: GtidSet, sight: Sight, reopens: bool = False) -> Loss:
    """What this node, having `have` as it opens, lacks of what any other candidate may have acknowledged: the worst of
    all that can be said of one. `reopens`: it was the writer itself before, and no other opening was heard of."""
    found = [_of(peer, have, sight, reopens) for peer in sight.peers.values()]
    if not found:
        return Loss("lost-none", "there is no other candidate")
    worst = max(found, key=lambda loss: (_WORST.index(loss.rule), loss.unseen_s or 0.0))
    lacking = GtidSet.empty(have.flavor)
    for loss in found:
        lacking = lacking if loss.lacking is None else lacking.union(loss.lacking)
    return replace(worst, lacking=lacking)


def _of(peer: PeerSight, have: GtidSet, sight: Sight, reopens: bool) -> Loss:
    seen, name = peer.last, peer.node.name
    if seen is None or seen.facts is None or seen.facts.flavor != have.flavor:
        return Loss("lost-unknown", f"{name} was never seen by this agent", name)
    lacking = with_received(peer, seen.facts).minus(have)
    if peer.answered and seen.facts.closed:
        if lacking.is_empty:
            return Loss("lost-none", f"{name} is closed, and this node has everything that it has", name, lacking)
        return Loss("lost-these", f"{name} is closed and has {lacking.count()} transactions more", name, lacking)
    reign = sight.good_lag
    down_s = stays_down_s(peer, sight) if peer.gone_s is not None else None
    if reopens and reign is not None and lacking.is_empty and down_s is not None and down_s <= reign.at_s:
        return Loss("lost-none", f"{name} was down while this node wrote, and is since", name, lacking)
    unseen_s = round(max(0.0, sight.now_s - seen.asked_at_s), 4)
    if sight.policy.lossless and sight.marked and len(sight.peers) == 1 and _may_have_written_s(peer, sight) < SURELY_S:
        text = f"{name} acknowledged nothing that is not here: it waited for this node"
        return Loss("lost-no-acknowledged", text, name, lacking, unseen_s)
    ago = f"{unseen_s * 1000:.0f} ms" if unseen_s < SHOWN_IN_MS_S else f"{unseen_s:.0f} s"
    text = f"{name} was last seen {ago} before, {lacking.count()} transactions ahead"
    return Loss("lost-unknown", text, name, lacking, unseen_s)


def _may_have_written_s(peer: PeerSight, sight: Sight) -> float:
    """For how long after it was last seen: until it was known to be down, or out."""
    assert peer.last is not None
    asked_s, end_s = peer.last.asked_at_s, sight.now_s
    for known_s in (peer.gone_s, peer.fenced_s if peer.out else None):
        if known_s is not None and known_s >= asked_s:
            end_s = min(end_s, known_s)
    return end_s - asked_s
