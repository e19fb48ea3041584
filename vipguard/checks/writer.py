"""May this node take, or keep, the writer VIP? The verdict, by a table for each standing.

The first row that applies makes the verdict, and its name is the rule everywhere else.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.sight import Sight
from ..model.verdict import Standing, Verdict
from . import lag, rows, vrrp

Row = tuple[str, rows.Decide]

CANDIDATE: tuple[Row, ...] = (
    ("server-not-asked", rows.not_asked),
    ("server-absent", rows.absent),
    ("disk-stalled", rows.disk_stalled),  # before what it makes of a server
    ("server-hung", rows.hung),
    ("server-silent", rows.silent),
    ("server-blind", rows.blind),
    ("other-cluster", rows.other_cluster),
    ("process-unknown", rows.unless_promoted(rows.process_unknown)),
    ("keepalived-dead", rows.keepalived_dead),
    ("copy-unfinished", rows.copying),
    ("stood-down", rows.stood_down),
    ("maintenance", rows.unless_promoted(rows.maintenance)),
    ("cluster-paused", rows.unless_promoted(rows.paused_candidate)),
    ("parked", rows.unless_promoted(rows.parked)),
    ("not-read-only", rows.writable),
    ("filtered", rows.unless_promoted(rows.filtered)),
    ("forked", rows.unless_promoted(rows.forked)),
    ("replication-broken", rows.unless_entitled(rows.threads)),
    ("received-unapplied", rows.unapplied),
    ("lag-unknown", rows.unless_entitled(rows.lag_unknown)),
    ("lag-exceeded", rows.unless_entitled(rows.lag_exceeded)),
    ("semi-sync-unmarked", rows.unless_entitled(rows.unmarked)),
    ("other-flavor", rows.unless_promoted(rows.other_flavor)),
    ("errant-transactions", rows.unless_entitled(rows.errant_transactions)),
    ("disk-unfit", rows.disk_unfit),
    ("disk-unsynced", rows.disk_unsynced),
    ("isolated", rows.isolated),
    ("nobody-answers-yet", rows.nobody_yet),
    ("replica", rows.replica),
    ("keepalived-not-seen", vrrp.not_seen),
    ("keepalived-stands-still", vrrp.stands_still),
    ("keepalived-starting", vrrp.starting),
    ("keepalived-foreign", vrrp.foreign),
    ("keepalived-unheard", vrrp.unheard),
    ("keepalived-fault", vrrp.fault),
    ("moving-elsewhere", rows.unless_promoted(rows.moving_elsewhere)),
    ("recovery-block", rows.unless_ordered(rows.recovery_block)),
    ("damped", rows.unless_ordered(rows.damped)),
    ("promoted-by-operator", rows.promoted),
    ("candidate-ready", rows.yes("this node can take over")),
)

TAKING: tuple[Row, ...] = (
    ("takeover-replica", rows.replica),
    ("takeover-stood-down", rows.stood_down),
    ("takeover-paused", rows.unless_promoted(rows.paused)),
    ("takeover-server-absent", rows.absent),
    ("takeover-server-hung", rows.hung),
    ("takeover-server-blind", rows.blind_taker),
    ("takeover-other-cluster", rows.other_cluster),
    ("takeover-process-unknown", rows.unless_promoted(rows.process_unknown)),
    ("takeover-keepalived-dead", rows.keepalived_dead),
    ("takeover-isolated", rows.isolated),
    ("takeover-copy-unfinished", rows.copying),
    ("takeover-maintenance", rows.unless_promoted(rows.maintenance)),
    ("takeover-parked", rows.parked),
    ("taking-over", rows.yes("this node has the VIP and is taking over")),
)

HOLDER: tuple[Row, ...] = (
    ("holder-stood-down", rows.stood_down_holder),
    ("holder-paused", rows.paused),
    ("holder-server-leaving", rows.leaving),
    ("holder-server-hung", rows.hung_holder),
    ("holder-hung-alone", rows.hung_alone),
    ("holder-server-absent", rows.absent),
    ("holder-isolated", rows.isolated),
    ("holder-disk-stalled", rows.disk_stalled_holder),
    ("holder-disk-stalled-alone", rows.disk_stalled_alone),
    ("holder-disk-unfit", rows.disk_holder),
    ("holder-disk-unfit-alone", rows.disk_alone),
    ("holder-server-silent", rows.silent),
    ("holder-server-blind", rows.blind),
    ("holder-disk-slow", rows.disk_slow),
    ("holder-disk-unsynced", rows.disk_unsynced),
    ("holder-healthy", rows.yes("this node is the writer")),
)

TABLES: dict[Standing, tuple[Row, ...]] = {"candidate": CANDIDATE, "taking": TAKING, "holder": HOLDER}


#: What only keepalived can change. These rows keep nobody from writing 1 to the track file: what waits for a 0 to end
#: would never be seen to.
OF_KEEPALIVED = frozenset(
    {
        "keepalived-not-seen",
        "keepalived-stands-still",
        "keepalived-starting",
        "keepalived-foreign",
        "keepalived-unheard",
        "keepalived-fault",
    }
)


def judge(sight: Sight, standing: Standing, without: frozenset[str] = frozenset()) -> Verdict:
    """The verdict of the first row of the standing's table that applies; the last row always does."""
    for rule, row in TABLES[standing]:
        if rule in without:
            continue
        decision = row(sight)
        if decision is not None:
            eligibility, text, numbers = decision
            return Verdict(standing, eligibility, rule, text, numbers)
    raise AssertionError(f"the {standing} table has no last row")


def for_track(sight: Sight, standing: Standing) -> Verdict:
    """The same without what only keepalived can change: what the track file says."""
    return judge(sight, standing, OF_KEEPALIVED)


_DATA = frozenset(
    {
        "other-cluster",
        "process-unknown",
        "other-flavor",
        "filtered",
        "forked",
        "replication-broken",
        "received-unapplied",
        "lag-unknown",
        "lag-exceeded",
        "semi-sync-unmarked",
        "errant-transactions",
        "disk-unfit",
        "disk-stalled",
        "recovery-block",
    }
)

#: What makes a node ineligible without a fault: its own hold-off, the operator, and these rules themselves.
NO_FAULTS = frozenset(
    {
        "replica",
        "takeover-replica",
        "maintenance",
        "takeover-maintenance",
        "cluster-paused",
        "moving-elsewhere",
        "parked",
        "takeover-parked",
        "copy-unfinished",
        "takeover-copy-unfinished",
        "stood-down",
        "takeover-stood-down",
        "not-read-only",
        "recovery-block",
        "damped",
    }
) | OF_KEEPALIVED


def unfit(sight: Sight) -> tuple[str, str] | None:
    """Why this node may not begin a takeover, as (rule, text): the rows about its data, and the recovery block."""
    for rule, row in CANDIDATE:
        decision = row(sight) if rule in _DATA else None
        if decision is not None:
            return rule, decision[1]
    return None


#: What a node must answer that was the writer itself until a moment ago: its replica side tells nothing.
_AFTER_REIGN = frozenset({"filtered", "forked", "errant-transactions"})


def unfit_after_reign(sight: Sight) -> tuple[str, str] | None:
    """As `unfit`, of a node whose own opening is the newest: has anybody else written since it was the writer?"""
    for rule, row in CANDIDATE:
        decision = row(sight) if rule in _AFTER_REIGN else None
        if decision is not None and decision[0] is rows.NO:
            return rule, decision[1]
    for name, peer in sight.peers.items():
        alone = sight.alone(peer)
        if sight.goes_on(peer) and alone is not None and not alone.is_empty:
            return "diverged", f"this node has {alone.count()} transactions that {name} lacks: {alone}"
    seen, lag_s_max = lag.last_good(sight), sight.policy.limits.lag_s_max
    if not sight.promoted and not sight.entitled and seen.lag_s is not None and seen.lag_s > lag_s_max:
        return "lag-exceeded", f"{seen.text}, the limit is {lag_s_max:g} s"
    return None


def fit(sight: Sight) -> bool:
    """Would this node take over if the writer went now? That it stands back for one that is there does not count."""
    parked = None if sight.parked is not None and sight.parked[0] == "peer-legit" else sight.parked
    if parked is not sight.parked or sight.damping.until_s is not None:
        sight = replace(sight, parked=parked, damping=replace(sight.damping, until_s=None))
    return judge(sight, "candidate").eligibility is rows.YES


def fit_from_afar(sight: Sight) -> bool:
    """Would a peer take over, by its agent's word and by what its SQL says? `sight` holds its server as `server`."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.fit_lock is None:
        return False
    told = (rows.other_cluster, rows.writable, rows.threads, rows.lag_unknown, rows.lag_exceeded, rows.deaf)
    return sight.server is not None and sight.server.answered and all(row(sight) is None for row in told)
