"""How far behind its source is this server, as far as that can be known?

The writer's heartbeat tells it where there is one; else the server's Seconds_Behind, which knows only of what was
received. With the source dead that is NULL. NULL never reads as zero: what counts then is the last good lag plus its
age at the moment the source was last seen, and that all that was received is applied or being applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..model import heartbeat
from ..model.evidence import Channel, ServerFacts
from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.heartbeat import RESOLUTION, Beats
from ..model.ranges import Range
from ..model.sight import Sight

HEARTBEAT = "lag-heartbeat"


@dataclass(frozen=True, slots=True)
class Lag:
    """`lag_s` None: not known. `rule` says where the number comes from."""

    lag_s: float | None
    rule: str
    text: str


def measure(sight: Sight) -> Lag:
    """The lag behind the writer by its heartbeat, else that of the slowest channel, in seconds, and how it is known."""
    facts = sight.server.facts if sight.server else None
    if facts is None or not facts.channels:
        return Lag(None, "lag-not-seen", "no replication channel was seen")
    behind = sight.behind
    if behind is not None and behind.live:
        return Lag(behind.lag_s, HEARTBEAT, f"{behind.lag_s:g} s behind {behind.node}")
    if behind is None and all(channel.io == "running" for channel in facts.channels):
        slowest = slowest_s(facts.channels)
        if slowest is None:
            return Lag(None, "lag-null", "the server says NULL: its SQL thread is not running")
        return Lag(slowest, "lag-seen", f"{slowest:g} s behind")
    if sight.good_lag is None:
        return Lag(None, "lag-never-seen", "the source is gone and no lag was seen while it lived")
    lag_s = round(sight.good_lag.at_loss_s, 3)
    return Lag(lag_s, "lag-last-good", f"{lag_s:g} s behind when its source was last seen")


def slowest_s(channels: Sequence[Channel] | None) -> float | None:
    """The slowest channel's Seconds_Behind; None where one says nothing, and without a channel."""
    lags = [channel.lag_s for channel in channels or ()]
    known = [lag_s for lag_s in lags if lag_s is not None]
    return max(known) if known and len(known) == len(lags) else None


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
