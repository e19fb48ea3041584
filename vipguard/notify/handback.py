"""Must an open server be closed? The reasons, as a table; the first that applies names the rule.

Only what was observed closes a writer. Blindness is no row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model.ledger import EpochRow, Relation, relate
from ..model.policy import Node
from ..model.sight import PeerSight, Sight, is_writer
from .takeover import ADVERTS_MISSED


@dataclass(frozen=True, slots=True)
class Standing:
    """What this node believes of itself: `epoch` that it opened with (None: it did not), and how late its tick was."""

    epoch: int | None
    tick_gap_s: float = 0.0


def _not_taken_over(standing: Standing, sight: Sight) -> str | None:
    return "the server is writable, but this node did not take over" if standing.epoch is None else None


def _stood_down(standing: Standing, sight: Sight) -> str | None:
    word = sight.stood_down
    return f"the server is to stay closed, by {word}" if word is not None and word.readable else None


def _paused(standing: Standing, sight: Sight) -> str | None:
    if standing.tick_gap_s <= sight.policy.limits.lease_s:
        return None
    return f"this host or its guard stood still for {standing.tick_gap_s:.3f} s"


def _vip_gone(standing: Standing, sight: Sight) -> str | None:
    if sight.address is None or sight.address.vip_present:
        return None
    return f"the VIP {sight.policy.vip.ip} left this node"


def _keepalived_dead(standing: Standing, sight: Sight) -> str | None:
    return "keepalived is dead" if sight.keepalived.alive is False else None


def _adverts_stopped(standing: Standing, sight: Sight) -> str | None:
    seen = sight.keepalived
    if seen.advert_left_s is None or seen.looked_at_s is None:
        return None
    quiet_s = seen.looked_at_s - seen.advert_left_s
    if quiet_s < ADVERTS_MISSED * sight.policy.vip.advert_s:
        return None
    return f"keepalived has sent no advert for {quiet_s:.3f} s"


def _isolated(standing: Standing, sight: Sight) -> str | None:
    if not sight.isolated:
        return None
    return f"no witness and no peer answered for {sight.policy.limits.lease_s:g} s"


def _higher_epoch(standing: Standing, sight: Sight) -> str | None:
    """An opening that goes on from this node's own, or overrules it. A higher number alone says nothing."""
    mine = standing.epoch or 0
    facts = sight.server.facts if sight.server else None
    own = facts.history.newest if facts is not None else None
    if own is not None and own.epoch > mine and own.node != sight.policy.node:
        return f"{own.node} opened with epoch {own.epoch}, this node with {mine}"
    for peer in (*sight.peers.values(), *sight.replicas.values()):
        newest = _goes_on_from(mine, peer, sight)
        if newest is not None and (open_by(peer, sight) or would_open(peer) or _nothing_alone(peer, sight)):
            both = f"{peer.node.name} has both openings"
            return f"{newest.node} opened with epoch {newest.epoch}, after this node with {mine}: {both}"
    return None


def _goes_on_from(mine: int, peer: PeerSight, sight: Sight) -> EpochRow | None:
    """The newest opening on that peer, if it is another's and covers this node's with epoch `mine`."""
    theirs, facts = peer.facts, sight.server.facts if sight.server else None
    newest = theirs.history.newest if theirs is not None else None
    if theirs is None or newest is None or newest.node == sight.policy.node or newest.epoch <= mine:
        return None
    own = facts.history.newest if facts is not None else None
    if own is None or facts is None:
        return None
    if own.epoch == mine:
        return newest if relate(facts.history, theirs.history) is Relation.BEHIND else None
    covered = theirs.ledger.covered if theirs.ledger is not None else frozenset()  # the row was not read here yet
    return newest if any(row.epoch == mine and row.node == sight.policy.node for row in covered) else None


def would_open(peer: PeerSight) -> bool:
    """A closed node that was open a moment ago, and only lost the VIP: its agent says that it would open again."""
    return peer.facts is not None and peer.facts.fit_lock is not None


def _nothing_alone(peer: PeerSight, sight: Sight) -> bool:
    """Another closed node that opened beside this one while this one wrote on ends nothing that clients use."""
    alone = sight.alone(peer)
    return alone is not None and alone.is_empty


def _epoch_of_another(standing: Standing, sight: Sight) -> str | None:
    """This server's own row of that number names another node: it came by replication."""
    facts = sight.server.facts if sight.server else None
    row = facts.history.newest if facts is not None else None
    if row is None or row.epoch != standing.epoch or row.node == sight.policy.node:
        return None
    return f"epoch {row.epoch} belongs to {row.node}"


def _fork_not_preferred(standing: Standing, sight: Sight) -> str | None:
    """Two nodes are open, and neither history goes on from the other's: the one stays that keepalived leaves MASTER. A
    closed node that receives from a third counts as that one seen open."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.history.newest is None or facts.history.newest.epoch != standing.epoch:
        return None
    for peer in (*sight.peers.values(), *sight.replicas.values()):
        for node in open_by(peer, sight):
            if sight.relation(peer) is Relation.FORKED and not sight.preferred_to(node):
                return f"{node.name} is open too, the histories went apart, and keepalived prefers {node.name}"
    return None


def open_by(peer: PeerSight, sight: Sight) -> list[Node]:
    """The nodes of which that peer's last round tells that they are open: itself, or the maker of its newest opening
    from whom it receives, and who is not seen from here."""
    if is_writer(peer.evidence):
        return [peer.node]
    newest = peer.facts.history.newest if peer.facts is not None and peer.facts.closed else None
    maker = sight.peers.get(newest.node) if newest is not None else None
    if maker is None or maker is peer or maker.facts is not None:
        return []
    live = {channel.source_host for channel in peer.channels or () if channel.io == "running"}
    return [maker.node] if maker.node.address in live else []


ROWS: tuple[tuple[str, Callable[[Standing, Sight], str | None]], ...] = (
    ("not-taken-over", _not_taken_over),
    ("stood-down", _stood_down),
    ("paused", _paused),
    ("vip-gone", _vip_gone),
    ("keepalived-dead", _keepalived_dead),
    ("adverts-stopped", _adverts_stopped),
    ("higher-epoch", _higher_epoch),
    ("epoch-of-another", _epoch_of_another),
    ("fork-not-preferred", _fork_not_preferred),
    ("isolated", _isolated),
)


def why_close(standing: Standing, sight: Sight) -> tuple[str, str] | None:
    """(rule, text) of the first reason to close, None when the node may stay open."""
    for rule, row in ROWS:
        text = row(standing, sight)
        if text is not None:
            return rule, text
    return None
