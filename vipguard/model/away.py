"""Could a peer that this node did not see meanwhile have become the writer, written, and be gone again?"""

from __future__ import annotations

from collections.abc import Sequence

from .evidence import Channel
from .sight import GoodLag, PeerSight, Sight

CATCH_UP = 100.0  # an applier is at most so much faster than the writer was


def stays_down_s(peer: PeerSight, sight: Sight) -> float | None:
    """Since when that peer has been down, or out, for sure. None where it is not, or may have come back, written, and
    be gone again while this node stood still or was isolated, unless nobody could have become eligible in that time."""
    down_s = _down_s(peer)
    if down_s is None or down_s >= sight.watching_since_s:
        return down_s
    good = sight.good_lag
    alone = good is not None and good.writer == sight.policy.node
    if good is None or not alone or not all(_too_late(one, good, sight) for one in sight.peers.values()):
        return None
    return down_s


def _down_s(peer: PeerSight) -> float | None:
    return peer.fenced_s if peer.out else peer.gone_s


def _too_late(peer: PeerSight, good: GoodLag, sight: Sight) -> bool:
    """When this node was last seen to write, had that peer been down for longer than it may lag, or was too far behind?
    Who comes back then must see a writer first."""
    down_s = _down_s(peer)
    late = down_s is not None and good.at_s - down_s > sight.policy.limits.lag_s_max
    return late or too_far_behind(peer, good, sight)


def too_far_behind(peer: PeerSight, good: GoodLag, sight: Sight) -> bool:
    """Could it not have become eligible meanwhile, as far behind as it was?"""
    last = peer.last.facts if peer.last is not None else None
    lag_s = slowest_s(last.channels) if last is not None else None
    if peer.behind is not None:
        lag_s = peer.behind.lag_s
    limit_s = sight.policy.limits.lag_s_max
    return lag_s is not None and lag_s > limit_s + CATCH_UP * (sight.now_s - good.at_s)


def slowest_s(channels: Sequence[Channel] | None) -> float | None:
    """The slowest channel's Seconds_Behind; None where one says nothing, and without a channel."""
    lags = [channel.lag_s for channel in channels or ()]
    known = [lag_s for lag_s in lags if lag_s is not None]
    return max(known) if known and len(known) == len(lags) else None
