"""Under lossless: does this node's server wait for a standby, or is it alone for sure?

A writer's source is on unless its memory says `solo`, and only a taker, or the operator, says that. Solo is on the disk
before the source is switched off, and off the disk before it is switched on again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..model.effect import Care, Remember, SetSource
from ..model.evidence import SemiSync
from ..model.sight import PeerSight, Sight
from .peers import PeerClass
from .record import Due, refuse

SET_S = 1.0
REMEMBER_S = 2.0
SOLO_AFTER_S = 3.0  # so long no standby must have acknowledged before the operator's word counts: who was cut off
#: knows for somewhat less that nothing is acknowledged without it
SURELY_S = 2.5
NEAR = 2000  # transactions: a replica that has to receive more first would hold every commit up for that long
#: closed by these, the node is cut off or another may be the writer already: nobody may be told or shown what waits
SUPERSEDED = frozenset(
    {
        "isolated",
        "holder-isolated",
        "paused",
        "higher-epoch",
        "epoch-of-another",
        "fork-not-preferred",
        "stale-open",
        "stood-down",
        "holder-stood-down",
        "closed-by-another-hand",
    }
)


def own(sight: Sight) -> SemiSync | None:
    return sight.server.facts.semi_sync if sight.server and sight.server.facts else None


def acknowledges(peer: PeerSight, sight: Sight) -> bool:
    """Is this closed peer's IO thread connected to this node, and does it acknowledge? By its own words, now."""
    theirs = peer.evidence.facts if peer.evidence is not None and peer.answered else None
    if theirs is None or not theirs.closed or theirs.semi_sync is None or not theirs.semi_sync.replica_on:
        return False
    me = sight.policy.me.address
    return any(channel.source_host == me and channel.io == "running" for channel in peer.channels or ())


def is_near(peer: PeerSight, sight: Sight) -> bool:
    """Has the peer received nearly all that is here?"""
    mine = sight.server.facts if sight.server else None
    theirs = peer.evidence.facts if peer.evidence is not None else None
    if mine is None or theirs is None:
        return False
    have = theirs.gtid
    for channel in peer.channels or ():
        have = have if channel.received is None else have.union(channel.received)
    return mine.gtid.minus(have).count() <= NEAR


def replica(sight: Sight) -> PeerSight | None:
    """A standby that acknowledges at once what is committed here; None while there is none."""
    found = (p for p in sight.peers.values() if acknowledges(p, sight) and is_near(p, sight))
    semi = own(sight)
    return next(found, None) if semi is not None and semi.clients > 0 else None


def settle(sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    """The taker's step before it opens: on where a standby is there, else `solo`, then off. None: it is as it must be.

    It comes when every peer is closed, down or timed out.
    """
    semi, there = own(sight), replica(sight)
    if semi is None:
        return None if sight.promoted else refuse("semi-sync-missing", "the server has no semi-sync")
    if there is not None and found.get(there.node.name) is not PeerClass.CLOSED:
        there = None
    solo = there is None
    if sight.memory.solo is not solo:
        text = "no standby is there: recording that this node is alone" if solo else "a standby is there"
        return Due(
            "solo", text, (Remember(REMEMBER_S, replace(sight.memory, solo=solo)),), within_s=REMEMBER_S + 1
        )
    if semi.source_enabled is solo:
        text = f"switching semi-sync {'off' if solo else 'on'}"
        return Due("semi-sync", text, (SetSource(SET_S, not solo),), within_s=SET_S + 1)
    return None


def care(sight: Sight, rule: str) -> Care:
    """How a close by `rule` treats commits that wait. A source that was never on has none."""
    semi = own(sight)
    if not sight.policy.lossless or semi is None or not semi.source_enabled:
        return Care.NONE
    return Care.STRICT if rule in SUPERSEDED else Care.SPARE
