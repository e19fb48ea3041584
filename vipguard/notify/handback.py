"""Must an open server be closed? The reasons, as a table; the first that applies names the rule.

Only what was observed closes a writer. Blindness is no row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model.sight import Sight, is_writer
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
    mine = standing.epoch or 0
    known = max(sight.own_epoch, sight.peers_epoch)
    return f"epoch {known} is known, this node opened with {mine}" if known > mine else None


def _two_writers(standing: Standing, sight: Sight) -> str | None:
    """Two open nodes of one epoch come of a cut between them only, where each counted up alone. Of two rows the one
    of the node that is listed first stays; a node whose row names another closes."""
    facts = sight.server.facts if sight.server else None
    row = facts.epoch if facts else None
    for peer in sight.peers.values():
        theirs = peer.evidence.facts.epoch if peer.evidence and peer.evidence.facts else None
        if not is_writer(peer.evidence) or theirs is None or theirs.epoch != standing.epoch:
            continue
        named = row.node if row is not None and row.epoch == standing.epoch else sight.policy.node
        if theirs.node == peer.node.name and (named == peer.node.name or peer.node.name < sight.policy.node):
            return f"epoch {theirs.epoch} belongs to {peer.node.name}"
    return None


ROWS: tuple[tuple[str, Callable[[Standing, Sight], str | None]], ...] = (
    ("not-taken-over", _not_taken_over),
    ("stood-down", _stood_down),
    ("paused", _paused),
    ("vip-gone", _vip_gone),
    ("keepalived-dead", _keepalived_dead),
    ("adverts-stopped", _adverts_stopped),
    ("higher-epoch", _higher_epoch),
    ("epoch-of-another", _two_writers),
    ("isolated", _isolated),
)


def why_close(standing: Standing, sight: Sight) -> tuple[str, str] | None:
    """(rule, text) of the first reason to close, None when the node may stay open."""
    for rule, row in ROWS:
        text = row(standing, sight)
        if text is not None:
            return rule, text
    return None
