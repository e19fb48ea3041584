"""Under lossless: does the writer wait for its standby, and has the standby all that was acknowledged?"""

from __future__ import annotations

from ..model.evidence import SemiSync
from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.sight import Sight

STUCK_S = 1.0  # commits that wait for so long, and none acknowledged meanwhile

Said = tuple[Outcome, str, str]


def _writer(sight: Sight, semi: SemiSync) -> Said:
    if semi.waiting and sight.commits_wait_s >= STUCK_S:
        wait_s = round(sight.commits_wait_s, 1)
        return (
            Outcome.CRITICAL,
            "commits-wait",
            f"{semi.waiting} commits have waited for a standby for {wait_s:g} s",
        )
    if sight.memory.solo and not semi.source_enabled:
        return Outcome.WARNING, "solo", "this node is alone: writes are acknowledged without a standby"
    if not semi.source_enabled:
        return Outcome.CRITICAL, "source-off", "writes are acknowledged without a standby"
    if not semi.source_on:
        return (
            Outcome.CRITICAL,
            "source-fell-back",
            "semi-sync fell back: writes are acknowledged unreplicated",
        )
    if semi.clients == 0:
        return Outcome.CRITICAL, "no-replica", "no standby is connected: the next commit will wait"
    if semi.waiting and sight.commits_wait_since_s is None:
        return (
            Outcome.WARNING,
            "commits-under-way",
            f"{semi.waiting} commits wait for a standby at the moment",
        )
    return Outcome.OK, "source-on", f"writes wait for a standby; {semi.clients} connected"


def _standby(sight: Sight, semi: SemiSync) -> Said:
    now = sight.receiving
    if not semi.replica_enabled:
        return Outcome.CRITICAL, "replica-off", "this server does not acknowledge what it receives"
    if now is not None and now.marked:
        live = "" if now.live else "; its source is gone"
        return Outcome.OK, "marked", f"this node has every acknowledged write{live}"
    if now is None or not now.live:
        return Outcome.CRITICAL, "unmarked", "not received from a writer that waits for this node"
    if now.wanted is not None:
        return Outcome.WARNING, "mark-on-its-way", "receiving what the writer had when it began to wait"
    return (
        Outcome.CRITICAL,
        "unmarked",
        "no writer was seen that waits for this node since it began to receive",
    )


def _replica(semi: SemiSync) -> Said:
    """What it acknowledged, the writer would take for safe though no candidate has it."""
    if semi.replica_enabled or semi.replica_on:
        return Outcome.CRITICAL, "replica-acknowledges", "this replica acknowledges what it receives"
    return Outcome.OK, "replica-mute", "this replica acknowledges nothing, as it must"


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """OK under async too, which wants no semi-sync; the number counts the commits that wait."""
    facts = sight.server.facts if sight.server else None
    semi = facts.semi_sync if facts is not None else None
    waiting = float(semi.waiting) if semi is not None else None
    perf = (Perf("waiting", waiting, "", thresholds.warning, thresholds.critical),)
    if facts is None:
        return Finding("semi_sync", Outcome.UNKNOWN, "semi-sync-not-seen", "the server was not seen", perf)
    if not sight.policy.lossless:
        return Finding("semi_sync", Outcome.OK, "durability-async", 'durability is "async"', ())
    if semi is None:
        text = "the server has no semi-sync: put what `vipguard render mysql` prints into its configuration"
        return Finding("semi_sync", Outcome.CRITICAL, "semi-sync-missing", text, perf)
    if sight.policy.me.is_replica:
        outcome, rule, text = _replica(semi)
    else:
        outcome, rule, text = _standby(sight, semi) if facts.closed else _writer(sight, semi)
    return Finding("semi_sync", max(outcome, thresholds.outcome(semi.waiting)), rule, text, perf)
