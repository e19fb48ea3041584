"""What may be lost by a takeover? Counted and named as far as it can be known, never guessed to be none.

The old writer acknowledged what was in its own set. Seen closed, its set is known; dead or silent, only the set it had
when it was last seen, and whatever it wrote after that moment is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model.gtid import GtidSet
from ..model.sight import Sight, epoch_of

SHOWN_IN_MS_S = 10.0


@dataclass(frozen=True, slots=True)
class Loss:
    """`rule`: `lost-none` (certain), `lost-these` (the GTIDs in `lacking`, certain), or `lost-unknown`: `lacking` is
    known, and more may have been written in the `unseen_s` seconds since `node` was last seen (None: never seen).
    `lost-no-acknowledged`: as unknown, but by semi-sync nothing of it was acknowledged."""

    rule: str
    text: str
    node: str = ""
    lacking: GtidSet | None = None
    unseen_s: float | None = None


def account(have: GtidSet, sight: Sight, before: str | None) -> Loss:
    """What this node, having `have` as it opens, lacks of what `before`, the last writer, may have acknowledged."""
    old = sight.peers.get(before) if before is not None else None
    if old is None:
        return Loss("lost-none", "no other node has written")
    seen = old.last
    if seen is None or seen.facts is None:
        return Loss("lost-unknown", f"{old.node.name} was never seen by this agent", old.node.name)
    lacking, name = seen.facts.gtid.minus(have), old.node.name
    if old.answered and seen.facts.closed:
        if lacking.is_empty:
            return Loss(
                "lost-none", f"{name} is closed, and this node has everything that it has", name, lacking
            )
        return Loss(
            "lost-these", f"{name} is closed and has {lacking.count()} transactions more", name, lacking
        )
    unseen_s = round(max(0.0, sight.now_s - seen.seen_at_s), 4)
    if sight.policy.lossless and sight.marked:
        text = f"{name} acknowledged nothing that is not here: it waited for this node"
        return Loss("lost-no-acknowledged", text, name, lacking, unseen_s)
    ago = f"{unseen_s * 1000:.0f} ms" if unseen_s < SHOWN_IN_MS_S else f"{unseen_s:.0f} s"
    text = f"{name} was last seen {ago} before, {lacking.count()} transactions ahead"
    return Loss("lost-unknown", text, name, lacking, unseen_s)


def last_writer(sight: Sight) -> str | None:
    """The node that wrote last, by the newest epoch row; None where nobody has. To be asked as a takeover begins: once
    it has opened, the newest row is its own."""
    others = (*sight.peers.values(), *sight.replicas.values())
    newest = max([sight.server, *(peer.last for peer in others)], key=epoch_of)
    row = newest.facts.epoch if newest is not None and newest.facts is not None else None
    return row.node if row is not None else None
