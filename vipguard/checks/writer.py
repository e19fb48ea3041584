"""May this node take, or keep, the writer VIP? The verdict, by a table for each standing.

A row looks at the sight and answers None ("does not apply, go on") or how it decides. The first row that applies
makes the verdict, and its name is the rule everywhere else. What blindness means stands in the rows: it makes no
candidate eligible and takes no VIP from a holder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..model.evidence import Answer
from ..model.finding import Outcome
from ..model.maintenance import Maintenance
from ..model.sight import Sight
from ..model.verdict import Eligibility, Standing, Verdict
from . import disk, errant, flapping, lag, replication, semi_sync

YES, NO, UNSEEN = Eligibility.ELIGIBLE, Eligibility.INELIGIBLE, Eligibility.UNDETERMINED
Number = tuple[str, float | int | str | None]
Decision = tuple[Eligibility, str, tuple[Number, ...]]
Row = tuple[str, Callable[[Sight], Decision | None]]


def _not_asked(sight: Sight) -> Decision | None:
    return (UNSEEN, "the server was not asked yet", ()) if sight.server is None else None


def _absent(sight: Sight) -> Decision | None:
    if sight.server is not None and sight.server.answer is Answer.ABSENT:
        return NO, f"the server is not running: {sight.server.reason}", ()
    return None


def _leaving(sight: Sight) -> Decision | None:
    if not sight.leaving or sight.hung:
        return None
    return UNSEEN, "the server takes no connections and its process still lives: it may still commit", ()


def _blind_taker(sight: Sight) -> Decision | None:
    since_s, hang_s = sight.server_unseen_since_s, sight.policy.limits.hang_s
    if since_s is None or sight.now_s - since_s < hang_s:
        return None
    return NO, f"the server could not be asked for {hang_s:g} s, so nothing can be taken over", ()


def _hung(sight: Sight) -> Decision | None:
    if not sight.hung or sight.server_silent_since_s is None:
        return None
    silent_s = round(sight.now_s - sight.server_silent_since_s, 3)
    return NO, f"the server has said nothing for {silent_s:g} s", (("silent_s", silent_s),)


def _hung_holder(sight: Sight) -> Decision | None:
    decision = _hung(sight)
    return decision if decision and sight.peer_eligible and sight.policy.fence.kill_hung else None


def _hung_alone(sight: Sight) -> Decision | None:
    decision = _hung(sight)
    return (UNSEEN, decision[1] + "; no other node is known eligible", decision[2]) if decision else None


def _silent(sight: Sight) -> Decision | None:
    if sight.server is not None and sight.server.answer is Answer.SILENT:
        return UNSEEN, "the server said nothing in the last round", ()
    return None


def _blind(sight: Sight) -> Decision | None:
    if sight.server is not None and sight.server.answer is Answer.BLIND:
        return UNSEEN, f"could not look at the server: {sight.server.reason}", ()
    return None


def _other_cluster(sight: Sight) -> Decision | None:
    facts = sight.server.facts if sight.server else None
    if facts is not None and facts.other_cluster is not None:
        return (
            NO,
            f"the server belongs to cluster {facts.other_cluster!r}",
            (("cluster", facts.other_cluster),),
        )
    return None


def _parked(sight: Sight) -> Decision | None:
    return (NO, sight.parked[1], (("parked_by", sight.parked[0]),)) if sight.parked else None


def _maintenance(sight: Sight) -> Decision | None:
    row = sight.in_maintenance
    return (NO, f"this node is in maintenance, by {row}", _times(row)) if row else None


def _paused_candidate(sight: Sight) -> Decision | None:
    row = sight.paused
    return (NO, f"the cluster is paused, by {row}", _times(row)) if row else None


def _paused(sight: Sight) -> Decision | None:
    """keepalived keeps what it has, unless law 1 has it otherwise."""
    row = sight.paused
    if row is None or sight.isolated or sight.keepalived.alive is False:
        return None
    return YES, f"the cluster is paused, by {row}: the VIP stays where it is", _times(row)


def _times(row: Maintenance) -> tuple[Number, ...]:
    return ("since_s", row.since_s), ("until_s", row.until_s)


def _copying(sight: Sight) -> Decision | None:
    return (NO, sight.copying, ()) if sight.copying else None


def _unapplied(sight: Sight) -> Decision | None:
    """Also of a node that the operator promotes: unless it was tried, and could not be done."""
    left, seen = sight.unapplied, sight.relay
    if sight.server is None or sight.server.facts is None or not sight.server.facts.channels:
        return None
    if sight.promoted and seen is not None and seen.reason and seen.process == sight.server.facts.process:
        return None
    if left is None:
        return UNSEEN, "it is not known yet what was received and not applied", ()
    count = left.count()
    return (NO, f"{count} received transactions are not applied", (("unapplied", count),)) if count else None


def _writable(sight: Sight) -> Decision | None:
    facts = sight.server.facts if sight.server else None
    return (NO, "the server is writable and did not take over", ()) if facts and not facts.closed else None


def _threads(sight: Sight) -> Decision | None:
    """The target of a planned move stops its IO thread itself, before the VIP comes."""
    channels = sight.server.facts.channels if sight.server and sight.server.facts else None
    if sight.invited and channels and all(channel.sql_running for channel in channels):
        return None
    row = replication.worst(sight)
    if row.outcome is Outcome.UNKNOWN:
        return UNSEEN, row.text, (("threads", row.rule),)
    return (NO, row.text, (("threads", row.rule),)) if row.outcome is Outcome.CRITICAL else None


def _lag_unknown(sight: Sight) -> Decision | None:
    seen = lag.measure(sight)
    return (UNSEEN, seen.text, (("lag", seen.rule),)) if seen.lag_s is None else None


def _lag(sight: Sight) -> Decision | None:
    seen, lag_s_max = lag.measure(sight), sight.policy.limits.lag_s_max
    if seen.lag_s is None or seen.lag_s <= lag_s_max:
        return None
    numbers: tuple[Number, ...] = (("lag_s", seen.lag_s), ("lag_s_max", lag_s_max))
    return NO, f"{seen.text}, the limit is {lag_s_max:g} s", numbers


def _unmarked(sight: Sight) -> Decision | None:
    """Without the mark the writer may have acknowledged, while it was alone, what is not here."""
    if not sight.policy.lossless or sight.marked:
        return None
    found = semi_sync.check(sight)
    return (NO if found.outcome is Outcome.CRITICAL else UNSEEN), found.text, (("semi_sync", found.rule),)


def _deaf(sight: Sight) -> Decision | None:
    """Whether a peer has the mark, only its own agent knows."""
    semi = sight.server.facts.semi_sync if sight.server and sight.server.facts else None
    if not sight.policy.lossless or (semi is not None and semi.replica_on):
        return None
    return NO, "the server does not acknowledge what it receives", ()


def _errant(sight: Sight) -> Decision | None:
    found = errant.check(sight)
    if sight.errant is None:
        return UNSEEN, found.text, ()
    count = sight.errant.count()
    return (NO, found.text, (("errant", count),)) if count else None


def _disk(sight: Sight) -> Decision | None:
    found = disk.check(sight)
    if found.outcome is Outcome.OK:
        return None
    numbers = tuple((perf.label, perf.value) for perf in found.perf)
    return (UNSEEN if found.outcome is Outcome.UNKNOWN else NO), found.text, numbers


def _disk_holder(sight: Sight) -> Decision | None:
    decision = _disk(sight)
    return decision if decision and decision[0] is NO and sight.peer_eligible else None


def _disk_alone(sight: Sight) -> Decision | None:
    """Not healthy: its commits fail or wait, or soon will."""
    decision = _disk(sight)
    if decision is None or decision[0] is not NO:
        return None
    return UNSEEN, decision[1] + "; no other node is known eligible", decision[2]


def _isolated(sight: Sight) -> Decision | None:
    if not sight.isolated:
        return None
    lease_s = sight.policy.limits.lease_s
    return NO, f"no witness and no peer answered for {lease_s:g} s", (("lease_s", lease_s),)


def _keepalived_dead(sight: Sight) -> Decision | None:
    return (NO, "keepalived is dead", ()) if sight.keepalived.alive is False else None


def _nobody_yet(sight: Sight) -> Decision | None:
    lease_s = sight.policy.limits.lease_s
    if sight.outside_s is None or sight.now_s - sight.outside_s >= lease_s:
        return UNSEEN, "no witness and no peer has answered yet", ()
    return None


def _moving_elsewhere(sight: Sight) -> Decision | None:
    """Without this row the VIP of a planned move could come here first. It ends when the target writes."""
    targets = [peer.moving_to for peer in sight.peers.values() if peer.moving_to not in (None, sight.policy.node)]
    if not targets or any(peer.node.name in targets for peer in sight.writers()):
        return None
    return NO, f"the writer is being moved to {targets[0]}", (("to", targets[0]),)


def _damped(sight: Sight) -> Decision | None:
    found = flapping.damped(sight)
    return (NO, *found) if found else None


def _recovery_block(sight: Sight) -> Decision | None:
    found = flapping.recovery_block(sight)
    return (NO, *found) if found else None


def _unless_entitled(row: Callable[[Sight], Decision | None]) -> Callable[[Sight], Decision | None]:
    """A row about replication does not concern the node that has all there is: it has nobody to replicate from, and
    nobody to compare with. Nor the one that the operator promotes."""
    return lambda sight: None if sight.entitled or sight.promoted else row(sight)


def _unless_promoted(row: Callable[[Sight], Decision | None]) -> Callable[[Sight], Decision | None]:
    """A row that the operator's word overrides."""
    return lambda sight: None if sight.promoted else row(sight)


def _unless_ordered(row: Callable[[Sight], Decision | None]) -> Callable[[Sight], Decision | None]:
    """A row against moves that nobody ordered."""
    return lambda sight: None if sight.promoted or sight.ordered else row(sight)


def _promoted(sight: Sight) -> Decision | None:
    return (YES, "the operator promotes this node, whatever is missing", ()) if sight.promoted else None


def _yes(text: str) -> Callable[[Sight], Decision | None]:
    return lambda sight: (YES, text, ())


CANDIDATE: tuple[Row, ...] = (
    ("server-not-asked", _not_asked),
    ("server-absent", _absent),
    ("server-hung", _hung),
    ("server-silent", _silent),
    ("server-blind", _blind),
    ("other-cluster", _other_cluster),
    ("keepalived-dead", _keepalived_dead),
    ("copy-unfinished", _copying),
    ("maintenance", _unless_promoted(_maintenance)),
    ("cluster-paused", _unless_promoted(_paused_candidate)),
    ("parked", _unless_promoted(_parked)),
    ("not-read-only", _writable),
    ("replication-broken", _unless_entitled(_threads)),
    ("received-unapplied", _unapplied),
    ("lag-unknown", _unless_entitled(_lag_unknown)),
    ("lag-exceeded", _unless_entitled(_lag)),
    ("semi-sync-unmarked", _unless_entitled(_unmarked)),
    ("errant-transactions", _unless_entitled(_errant)),
    ("disk-unfit", _disk),
    ("isolated", _isolated),
    ("nobody-answers-yet", _nobody_yet),
    ("moving-elsewhere", _unless_promoted(_moving_elsewhere)),
    ("recovery-block", _unless_ordered(_recovery_block)),
    ("damped", _unless_ordered(_damped)),
    ("promoted-by-operator", _promoted),
    ("candidate-ready", _yes("this node can take over")),
)

TAKING: tuple[Row, ...] = (
    ("takeover-paused", _unless_promoted(_paused)),
    ("takeover-server-absent", _absent),
    ("takeover-server-hung", _hung),
    ("takeover-server-blind", _blind_taker),
    ("takeover-other-cluster", _other_cluster),
    ("takeover-keepalived-dead", _keepalived_dead),
    ("takeover-isolated", _isolated),
    ("takeover-copy-unfinished", _copying),
    ("takeover-maintenance", _unless_promoted(_maintenance)),
    ("takeover-parked", _parked),
    ("taking-over", _yes("this node has the VIP and is taking over")),
)

HOLDER: tuple[Row, ...] = (
    ("holder-paused", _paused),
    ("holder-server-leaving", _leaving),
    ("holder-server-hung", _hung_holder),
    ("holder-hung-alone", _hung_alone),
    ("holder-server-absent", _absent),
    ("holder-isolated", _isolated),
    ("holder-disk-unfit", _disk_holder),
    ("holder-disk-unfit-alone", _disk_alone),
    ("holder-server-silent", _silent),
    ("holder-server-blind", _blind),
    ("holder-healthy", _yes("this node is the writer")),
)

TABLES: dict[Standing, tuple[Row, ...]] = {"candidate": CANDIDATE, "taking": TAKING, "holder": HOLDER}


def judge(sight: Sight, standing: Standing) -> Verdict:
    """The verdict of the first row of the standing's table that applies; the last row always does."""
    for rule, row in TABLES[standing]:
        decision = row(sight)
        if decision is not None:
            eligibility, text, numbers = decision
            return Verdict(standing, eligibility, rule, text, numbers)
    raise AssertionError(f"the {standing} table has no last row")


_DATA = frozenset(
    {
        "other-cluster",
        "replication-broken",
        "received-unapplied",
        "lag-unknown",
        "lag-exceeded",
        "semi-sync-unmarked",
        "errant-transactions",
        "disk-unfit",
        "recovery-block",
    }
)

#: What makes a node ineligible without a fault: its own hold-off, the operator, and these rules themselves.
NO_FAULTS = frozenset(
    {
        "maintenance",
        "takeover-maintenance",
        "cluster-paused",
        "moving-elsewhere",
        "parked",
        "takeover-parked",
        "copy-unfinished",
        "takeover-copy-unfinished",
        "not-read-only",
        "recovery-block",
        "damped",
    }
)


def unfit(sight: Sight) -> tuple[str, str] | None:
    """Why this node may not begin a takeover, as (rule, text): the rows about its data, and the recovery block."""
    for rule, row in CANDIDATE:
        decision = row(sight) if rule in _DATA else None
        if decision is not None:
            return rule, decision[1]
    return None


def fit(sight: Sight) -> bool:
    """Would this node take over if the writer went now? That it stands back for one that is there does not count."""
    parked = None if sight.parked is not None and sight.parked[0] == "peer-legit" else sight.parked
    sight = replace(sight, parked=parked, damping=replace(sight.damping, until_s=None))
    return judge(sight, "candidate").eligibility is YES


def fit_from_afar(sight: Sight) -> bool:
    """Would a peer take over, by its agent's word and by what its SQL says? `sight` holds its server as `server`."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.fit_lock is None:
        return False
    rows = (_other_cluster, _writable, _threads, _lag_unknown, _lag, _deaf)
    return sight.server is not None and sight.server.answered and all(row(sight) is None for row in rows)
