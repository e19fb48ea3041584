"""How is it told that two histories went apart, and what is to be typed?"""

from __future__ import annotations

from datetime import UTC, datetime

from .evidence import ServerFacts
from .sight import PeerSight, Sight

REMEDY = "`vipguard promote --force` on the node whose data shall live; the other is then made a fresh copy"


def tell(peer: PeerSight, sight: Sight) -> str:
    """Both sides: what each alone has, and since which opening."""
    mine, theirs = sight.server.facts if sight.server else None, peer.facts
    if mine is None or theirs is None:
        return f"{peer.node.name} was not seen"
    if mine.flavor != theirs.flavor:
        return f"{peer.node.name} is {theirs.flavor}, this node is {mine.flavor}: they cannot be compared"
    sides = (_side(sight.policy.node, mine, theirs), _side(peer.node.name, theirs, mine))
    return f"the histories went apart: {'; '.join(sides)}. Nobody opens by itself: {REMEDY}"


def _side(name: str, one: ServerFacts, other: ServerFacts) -> str:
    alone, since = one.gtid.minus(other.gtid), _since(one, other)
    has = f"alone has {alone}" if not alone.is_empty else "has nothing alone"
    return f"{name} {has}{f', since {since}' if since else ''}"


def _since(one: ServerFacts, other: ServerFacts) -> str:
    """The first opening of the one that the other does not know."""
    for opening in one.ledger.openings if one.ledger is not None else ():
        if not other.history.covers(opening.row):
            at = datetime.fromtimestamp(opening.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            return f"{opening.row.node} opened with epoch {opening.row.epoch} at {at}"
    return ""
