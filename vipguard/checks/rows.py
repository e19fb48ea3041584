"""What does each row of the verdict's tables say? One question a row, answered by the sight, or None: "go on".

A row answers how it decides, in which words and with which numbers. What blindness means stands in the rows: it makes
no candidate eligible and takes no VIP from a holder.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model import forks
from ..model.evidence import Answer
from ..model.finding import Outcome
from ..model.maintenance import Maintenance
from ..model.sight import Sight
from ..model.verdict import Eligibility
from . import disk, errant, flapping, lag, replication, semi_sync, stall

YES, NO, UNSEEN = Eligibility.ELIGIBLE, Eligibility.INELIGIBLE, Eligibility.UNDETERMINED
Number = tuple[str, float | int | str | None]
Decision = tuple[Eligibility, str, tuple[Number, ...]]
Decide = Callable[[Sight], Decision | None]


def not_asked(sight: Sight) -> Decision | None:
    return (UNSEEN, "the server was not asked yet", ()) if sight.server is None else None


def absent(sight: Sight) -> Decision | None:
    if sight.server is not None and sight.server.answer is Answer.ABSENT:
        return NO, f"the server is not running: {sight.server.reason}", ()
    return None


def leaving(sight: Sight) -> Decision | None:
    if not sight.leaving or sight.hung:
        return None
    return UNSEEN, "the server takes no connections and its process still lives: it may still commit", ()


def blind_taker(sight: Sight) -> Decision | None:
    since_s, hang_s = sight.server_unseen_since_s, sight.policy.limits.hang_s
    if since_s is None or sight.now_s - since_s < hang_s:
        return None
    return NO, f"the server could not be asked for {hang_s:g} s, so nothing can be taken over", ()


def hung(sight: Sight) -> Decision | None:
    if not sight.hung or sight.server_silent_since_s is None:
        return None
    silent_s = round(sight.now_s - sight.server_silent_since_s, 3)
    return NO, f"the server has said nothing for {silent_s:g} s", (("silent_s", silent_s),)


def hung_holder(sight: Sight) -> Decision | None:
    decision = hung(sight)
    kills = sight.policy.fence.kill_hung and not sight.process_unknown
    return decision if decision and sight.peer_eligible and kills else None


def hung_alone(sight: Sight) -> Decision | None:
    decision = hung(sight)
    if decision is None:
        return None
    blind = sight.process_unknown and sight.peer_eligible
    why = "its process is not known, so that it cannot be ended" if blind else "no other node is known eligible"
    return UNSEEN, f"{decision[1]}; {why}", decision[2]


def silent(sight: Sight) -> Decision | None:
    if sight.server is not None and sight.server.answer is Answer.SILENT:
        return UNSEEN, "the server said nothing in the last round", ()
    return None


def blind(sight: Sight) -> Decision | None:
    if sight.server is not None and sight.server.answer is Answer.BLIND:
        return UNSEEN, f"could not look at the server: {sight.server.reason}", ()
    return None


def process_unknown(sight: Sight) -> Decision | None:
    """Not here: such a server could not be killed if it could not be closed, and its end would show late."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.process is not None:
        return None
    return NO, "no process on this host is proven to be the server, so that it could not be ended if need be", ()


def other_flavor(sight: Sight) -> Decision | None:
    """Whose GTIDs are of another kind cannot be compared with; that matters as long as no comparable node writes."""
    apart = [peer for peer in sight.peers.values() if peer.other_flavor]
    if not apart or sight.writers:
        return None
    return NO, "; ".join(f"{peer.node.name}: {peer.other_flavor}" for peer in apart), ()


def other_cluster(sight: Sight) -> Decision | None:
    facts = sight.server.facts if sight.server else None
    if facts is not None and facts.other_cluster is not None:
        return (
            NO,
            f"the server belongs to cluster {facts.other_cluster!r}",
            (("cluster", facts.other_cluster),),
        )
    return None


def parked(sight: Sight) -> Decision | None:
    return (NO, sight.parked[1], (("parked_by", sight.parked[0]),)) if sight.parked else None


def maintenance(sight: Sight) -> Decision | None:
    row = sight.in_maintenance
    return (NO, f"this node is in maintenance, by {row}", _times(row)) if row else None


def paused_candidate(sight: Sight) -> Decision | None:
    row = sight.paused
    return (NO, f"the cluster is paused, by {row}", _times(row)) if row else None


def paused(sight: Sight) -> Decision | None:
    """keepalived keeps what it has, unless law 1 has it otherwise."""
    row = sight.paused
    if row is None or sight.isolated or sight.keepalived.alive is False:
        return None
    return YES, f"the cluster is paused, by {row}: the VIP stays where it is", _times(row)


def _times(row: Maintenance) -> tuple[Number, ...]:
    return ("since_s", row.since_s), ("until_s", row.until_s)


def stood_down(sight: Sight) -> Decision | None:
    """Also of a node that the operator promotes: that is another order, and this one has to be ended first."""
    word = sight.stood_down
    if word is None:
        return None
    since: tuple[Number, ...] = (("since_s", word.since_s),) if word.since_s else ()
    return NO, f"this node's server stays closed, by {word}: `vipguard standdown --end` here ends that", since


def stood_down_holder(sight: Sight) -> Decision | None:
    """A word that cannot be read is blindness, and takes nothing."""
    return stood_down(sight) if sight.stood_down is not None and sight.stood_down.readable else None


def copying(sight: Sight) -> Decision | None:
    return (NO, sight.copying, ()) if sight.copying else None


def unapplied(sight: Sight) -> Decision | None:
    """Also of a node that the operator promotes: unless it was tried, and could not be done. What is set aside by an
    opening counts not."""
    left, seen = sight.unapplied, sight.relay
    if sight.server is None or sight.server.facts is None or not sight.server.facts.channels:
        return None
    if sight.promoted and seen is not None and seen.reason and seen.process == sight.server.facts.process:
        return None
    if sight.aside is not None:
        return None
    if left is None:
        return UNSEEN, "it is not known yet what was received and not applied", ()
    count = left.count()
    return (NO, f"{count} received transactions are not applied", (("unapplied", count),)) if count else None


def writable(sight: Sight) -> Decision | None:
    facts = sight.server.facts if sight.server else None
    return (NO, "the server is writable and did not take over", ()) if facts and not facts.closed else None


def forked(sight: Sight) -> Decision | None:
    """Without a writer nobody may choose between two histories, but the operator."""
    if sight.newest_writers or not sight.forked:
        return None
    names = ",".join(peer.node.name for peer in sight.forked)
    return NO, forks.tell(sight.forked[0], sight), (("apart_from", names),)


def filtered(sight: Sight) -> Decision | None:
    """Its set says that it has the writer's transactions, and an opening of those is not among its rows; or what it
    wrote itself is missing."""
    if (peer := sight.filtered_from) is None:
        return None
    text = f"it has the GTIDs of {peer}'s openings and not every row of them, or lacks transactions of its own that"
    text += f" {peer} has: something filters or skips what it applies, or it was put back to an older state"
    return NO, text, (("lacks_of", peer),)


def threads(sight: Sight) -> Decision | None:
    """The target of a planned move stops its IO thread itself, before the VIP comes."""
    channels = sight.server.facts.channels if sight.server and sight.server.facts else None
    if sight.invited and channels and all(channel.sql_running for channel in channels):
        return None
    row = replication.worst(sight)
    if row.outcome is Outcome.UNKNOWN:
        return UNSEEN, row.text, (("threads", row.rule),)
    return (NO, row.text, (("threads", row.rule),)) if row.outcome is Outcome.CRITICAL else None


def lag_unknown(sight: Sight) -> Decision | None:
    seen = lag.measure(sight)
    return (UNSEEN, seen.text, (("lag", seen.rule),)) if seen.lag_s is None else None


def lag_exceeded(sight: Sight) -> Decision | None:
    return lag_above(sight, sight.policy.limits.lag_s_max)


def lag_above(sight: Sight, lag_s_max: float) -> Decision | None:
    seen = lag.measure(sight)
    lag_s_max = lag.limit_s(sight, seen, lag_s_max)
    if seen.lag_s is None or seen.lag_s <= lag_s_max:
        return None
    numbers: tuple[Number, ...] = (("lag_s", seen.lag_s), ("lag_s_max", lag_s_max))
    return NO, f"{seen.text}, the limit is {lag_s_max:g} s", numbers


def unmarked(sight: Sight) -> Decision | None:
    """Without the mark the writer may have acknowledged, while it was alone, what is not here. Nothing is acknowledged
    because a replica has it."""
    if not sight.policy.lossless or sight.marked or sight.policy.me.is_replica:
        return None
    found = semi_sync.check(sight)
    return (NO if found.outcome is Outcome.CRITICAL else UNSEEN), found.text, (("semi_sync", found.rule),)


def deaf(sight: Sight) -> Decision | None:
    """Whether a peer has the mark, only its own agent knows."""
    semi = sight.server.facts.semi_sync if sight.server and sight.server.facts else None
    if not sight.policy.lossless or (semi is not None and semi.replica_on):
        return None
    return NO, "the server does not acknowledge what it receives", ()


def errant_transactions(sight: Sight) -> Decision | None:
    if sight.errant is None:
        return UNSEEN, errant.check(sight).text, ()
    count = sight.errant.count()
    return (NO, errant.check(sight).text, (("errant", count),)) if count else None


def disk_unfit(sight: Sight) -> Decision | None:
    found = disk.room(sight)
    if found.outcome is Outcome.OK:
        return None
    numbers = tuple((perf.label, perf.value) for perf in found.perf)
    return (UNSEEN if found.outcome is Outcome.UNKNOWN else NO), found.text, numbers


def disk_holder(sight: Sight) -> Decision | None:
    decision = disk_unfit(sight)
    return decision if decision and decision[0] is NO and sight.peer_eligible else None


def disk_alone(sight: Sight) -> Decision | None:
    """Not healthy: its commits fail or wait, or soon will."""
    decision = disk_unfit(sight)
    if decision is None or decision[0] is not NO:
        return None
    return UNSEEN, decision[1] + "; no other node is known eligible", decision[2]


def disk_stalled(sight: Sight) -> Decision | None:
    """Its commits would hang."""
    return (NO, stall.text(sight), _stall(sight)) if stall.suspect(sight) else None


def disk_stalled_holder(sight: Sight) -> Decision | None:
    """As a server that says nothing: killed, since a stalled commit may wake up later, and read-only binds none that
    is under way. Commits that wait for an acknowledgement wait for another node's disk, and for no kill of this one."""
    if not stall.stalled(sight) or not stall.replaceable(sight) or not sight.policy.fence.kill_hung:
        return None
    if sight.commits_wait_since_s is not None or not sight.process_lives:
        return None
    return NO, f"{stall.text(sight)}: commits hang", _stall(sight)


def disk_stalled_alone(sight: Sight) -> Decision | None:
    if not stall.stalled(sight):
        return None
    if not stall.replaceable(sight):
        why = "no other node is known eligible"
    elif not sight.policy.fence.kill_hung:
        why = "fence.kill_hung is off"
    elif sight.commits_wait_since_s is not None:
        why = "commits wait for a standby's acknowledgement too"
    else:
        why = "its process is not known, so that it can't be killed"
    return UNSEEN, f"{stall.text(sight)}; {why}", _stall(sight)


def disk_slow(sight: Sight) -> Decision | None:
    return (UNSEEN, stall.text(sight), _stall(sight)) if stall.slow(sight) else None


def disk_unsynced(sight: Sight) -> Decision | None:
    text = disk.unsynced(sight)
    return (UNSEEN, text, ()) if text else None


def _stall(sight: Sight) -> tuple[Number, ...]:
    return ("waits_s", round(stall.waits_s(sight), 3)), ("still_s", round(stall.still_s(sight), 3))


def isolated(sight: Sight) -> Decision | None:
    if not sight.isolated:
        return None
    lease_s = sight.policy.limits.lease_s
    return NO, f"no witness and no peer answered for {lease_s:g} s", (("lease_s", lease_s),)


def keepalived_dead(sight: Sight) -> Decision | None:
    return (NO, "keepalived is dead", ()) if sight.keepalived.alive is False else None


def nobody_yet(sight: Sight) -> Decision | None:
    lease_s = sight.policy.limits.lease_s
    if sight.outside_s is None or sight.now_s - sight.outside_s >= lease_s:
        return UNSEEN, "no witness and no peer has answered yet", ()
    return None


def moving_elsewhere(sight: Sight) -> Decision | None:
    """Without this row the VIP of a planned move could come here first. It ends when the target writes."""
    targets = [peer.moving_to for peer in sight.peers.values() if peer.moving_to not in (None, sight.policy.node)]
    if not targets or any(peer.node.name in targets for peer in sight.writers):
        return None
    return NO, f"the writer is being moved to {targets[0]}", (("to", targets[0]),)


def replica(sight: Sight) -> Decision | None:
    if not sight.policy.me.is_replica:
        return None
    return NO, "this node is a replica: it follows the writer and never becomes it", ()


def damped(sight: Sight) -> Decision | None:
    found = flapping.damped(sight)
    return (NO, *found) if found else None


def recovery_block(sight: Sight) -> Decision | None:
    found = flapping.recovery_block(sight)
    return (NO, *found) if found else None


def unless_entitled(row: Decide) -> Decide:
    """A row about replication does not concern the node that has all there is: it has nobody to replicate from, and
    nobody to compare with. Nor the one that the operator promotes."""

    def decide(sight: Sight) -> Decision | None:
        decision = row(sight)  # asked first: mostly it has nothing to say, and to be entitled takes long to work out
        return None if decision is None or sight.promoted or sight.entitled else decision

    return decide


def unless_promoted(row: Decide) -> Decide:
    """A row that the operator's word overrides."""
    return lambda sight: None if sight.promoted else row(sight)


def unless_ordered(row: Decide) -> Decide:
    """A row against moves that nobody ordered."""
    return lambda sight: None if sight.promoted or sight.ordered else row(sight)


def promoted(sight: Sight) -> Decision | None:
    return (YES, "the operator promotes this node, whatever is missing", ()) if sight.promoted else None


def yes(text: str) -> Decide:
    return lambda sight: (YES, text, ())
