"""How far behind its source is this server, as far as that can be known?

The writer's heartbeat tells it where there is one; else the server's Seconds_Behind, which knows only of what was
received. With the source dead that is NULL. NULL never reads as zero: what counts then is the lag when the writer was
last seen, plus all the time since in which somebody may have written, whatever kept this node from looking; and that
all that was received is applied or being applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..model import heartbeat
from ..model.away import slowest_s, stays_down_s, too_far_behind
from ..model.evidence import Answer, ServerFacts
from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.heartbeat import RESOLUTION, Beats
from ..model.ranges import Range
from ..model.sight import GoodLag, PeerSight, Sight

HEARTBEAT = "lag-heartbeat"


@dataclass(frozen=True, slots=True)
class Lag:
    """`lag_s` None: not known. `rule` says where the number comes from."""

    lag_s: float | None
    rule: str
    text: str


def measure(sight: Sight) -> Lag:
    """The lag behind the writer by its heartbeat, else that of the slowest channel, in seconds, and how it is known."""
    return sight.once(_measure)


def _measure(sight: Sight) -> Lag:
    facts = sight.server.facts if sight.server else None
    if facts is None or not facts.channels:
        return Lag(None, "lag-not-seen", "no replication channel was seen")
    behind = sight.behind
    if behind is not None and behind.live and _fresh(sight, behind.node):
        return Lag(behind.lag_s, HEARTBEAT, f"{behind.lag_s:g} s behind {behind.node}")
    if behind is None and all(channel.io == "running" for channel in facts.channels):
        slowest = slowest_s(facts.channels)
        if slowest is None:
            return Lag(None, "lag-null", "the server says NULL: its SQL thread is not running")
        if sight.good_lag is not None and unseen_s(sight) <= fresh_s(sight):
            return Lag(slowest, "lag-seen", f"{slowest:g} s behind")
    return last_good(sight)


def last_good(sight: Sight) -> Lag:
    """The lag when the writer was last seen, and the time since in which somebody may have written."""
    good = sight.good_lag
    if good is None:
        return Lag(None, "lag-never-seen", "the source is gone and no lag was seen while it lived")
    unseen = round(unseen_s(sight), 3)
    unseen = unseen if unseen > fresh_s(sight) else 0.0
    lag_s = round(good.lag_s + unseen, 3)
    seen = f"{good.lag_s:g} s behind when the writer was last seen"
    text = f"{seen}, and for {unseen:g} s after that somebody may have written" if unseen else seen
    return Lag(lag_s, "lag-last-good", text)


def fresh_s(sight: Sight) -> float:
    """How old a look may be and still count as one of now: peers are asked each `probe_s`, for `deadline_s`."""
    limits = sight.policy.limits
    return limits.probe_s + limits.deadline_s + limits.lease_s


def _fresh(sight: Sight, node: str) -> bool:
    peer = sight.peers.get(node)
    seen = peer.evidence if peer is not None else None
    return seen is None or sight.now_s - seen.asked_at_s <= fresh_s(sight)


def unseen_s(sight: Sight) -> float:
    """For how long, after the writer was last seen, somebody may have written what is not here: until now, or until it
    was certain of each who could have that he did not, or does not any more."""
    return sight.once(_unseen_s)


def _unseen_s(sight: Sight) -> float:
    good = sight.good_lag
    if good is None:
        return 0.0
    others = [node.name for node in sight.policy.candidates if node.name != sight.policy.node]
    names = others  # after a blind moment any: who was down may have come back meanwhile
    if good.suspects is not None and good.at_s >= sight.watching_since_s:
        names = [name for name in others if name in good.suspects]
    ends = [_wrote_until_s(sight.peers.get(name), good, sight) for name in names]
    return max(0.0, max(ends, default=good.at_s) - good.at_s)


def _wrote_until_s(peer: PeerSight | None, good: GoodLag, sight: Sight) -> float:
    if peer is None:
        return sight.now_s
    seen = peer.evidence
    asked = seen is not None and seen.asked_at_s >= max(good.at_s, sight.watching_since_s)
    if asked and peer.facts is not None and peer.facts.closed and _has_all_of(peer, sight):
        return good.at_s
    down_s = stays_down_s(peer, sight)
    if down_s is not None:
        return down_s
    if peer.gone_s is not None and _says_gone(peer, sight):
        return max(peer.gone_s, good.at_s) + good.blind_s
    if too_far_behind(peer, good, sight):
        return good.at_s
    silent = seen is not None and seen.answer is Answer.SILENT
    trusted = sight.policy.silent_peer == "open" and not sight.policy.fence.required  # to close itself
    if silent and trusted and sight.witnessed:
        return min(sight.now_s, sight.silent_until_s(peer))
    return sight.now_s


def _says_gone(peer: PeerSight, sight: Sight) -> bool:
    """Does its agent still say here that its server is gone? Then it can have written only while this one was blind."""
    server = sight.server
    looked = server is not None and server.asked_at_s >= sight.watching_since_s
    return looked and server is not None and server.facts is not None and peer.node.name in server.facts.gone


def _has_all_of(peer: PeerSight, sight: Sight) -> bool:
    """Is all here, applied or received, that this closed peer has?"""
    facts = sight.server.facts if sight.server else None
    if facts is None:
        return False
    have = facts.gtid
    for channel in facts.channels or ():
        have = have if channel.received is None else have.union(channel.received)
    lacking = sight.lacks(peer, have)
    return lacking is not None and lacking.is_empty


def behind_s(writer: ServerFacts, beats: Beats | None, replica: ServerFacts, heartbeat_s: float) -> float | None:
    """How far `replica` is behind the writer, whose rows are `beats`: not at all where it has all its GTIDs.

    None where that says nothing, and without a heartbeat (`heartbeat_s` 0).
    """
    if not heartbeat_s:
        return None
    if replica.flavor == writer.flavor and replica.gtid.contains(writer.gtid):  # an idle writer does not beat
        return 0.0
    return heartbeat.lag_s(writer.server_id, beats, replica.beats, heartbeat_s)


def limit_s(sight: Sight, lag: Lag, lag_s_max: float) -> float:
    """`lag_s_max`, or the least that the heartbeat can tell from nothing."""
    return max(lag_s_max, RESOLUTION * sight.policy.limits.heartbeat_s) if lag.rule == HEARTBEAT else lag_s_max


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """CRITICAL above `lag_s_max` unless the operator gave ranges; UNKNOWN when the lag is not known."""
    lag = measure(sight)
    if thresholds.critical is None and thresholds.warning is None:
        thresholds = Thresholds(critical=Range(-math.inf, limit_s(sight, lag, sight.policy.limits.lag_s_max)))
    perf = (Perf("lag", lag.lag_s, "s", thresholds.warning, thresholds.critical),)
    if lag.lag_s is None:
        return Finding("lag", Outcome.UNKNOWN, lag.rule, lag.text, perf)
    return Finding("lag", thresholds.outcome(lag.lag_s), lag.rule, lag.text, perf)
