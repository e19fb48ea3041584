"""Could the writer be moved to that node now? Asked before a planned move, by what SQL tells from anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import heartbeat
from ..model.away import slowest_s
from ..model.evidence import Channel, ServerEvidence, ServerFacts
from ..model.heartbeat import Beats
from ..model.maintenance import CLUSTER, of_node
from ..model.sight import Sight, is_writer
from . import lag

LAG_S_MAX = 1.0
BEHIND_MAX = 5000  # transactions: more would keep everybody waiting while they are applied


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at: what was found, and whether the move may begin."""

    rule: str
    text: str
    fine: bool = True


@dataclass(frozen=True, slots=True)
class Transaction:
    """One that has been open on the writer for long: the move would end it."""

    connection: int
    user: str
    open_s: float
    rows: int

    def __str__(self) -> str:
        return f"connection {self.connection} of {self.user}, open for {self.open_s:.0f} s, {self.rows} rows changed"


def evidence(sight: Sight, name: str) -> ServerEvidence | None:
    if name == sight.policy.node:
        return sight.server
    return sight.peers[name].evidence if name in sight.peers else None


def facts(sight: Sight, name: str) -> ServerFacts | None:
    seen = evidence(sight, name)
    return seen.facts if seen is not None else None


def writers(sight: Sight) -> list[str]:
    """Every node that is open with its open lock held, this one included."""
    return [node.name for node in sight.policy.nodes if is_writer(evidence(sight, node.name))]


def examine(writer: str, target: str, first: Sight, second: Sight) -> list[Line]:
    """What speaks for and against it. The target is judged by the `first` look and the writer's set by the `second`, so
    that what the target has was read before what the writer has."""
    seen, theirs, its = evidence(first, target), facts(first, target), facts(second, writer)
    if theirs is None or its is None:
        reason = seen.reason if seen is not None and theirs is None else "its server does not answer"
        return [Line("not-seen", f"{target if theirs is None else writer}: {reason}", False)]
    if theirs.flavor != its.flavor:
        text = f"{target} is {theirs.flavor} and {writer} is {its.flavor}: their GTIDs cannot be compared"
        return [_standing(target, theirs), Line("other-flavor", text, False)]
    lines = [_standing(target, theirs), *_by_operator(target, its), _threads(target, _channels(first, target, theirs))]
    lines.append(_fit(target, theirs, first.policy.damping.recovery_block_s))
    every_s, before = first.policy.limits.heartbeat_s, facts(first, writer)
    beats = before.beats if before is not None else None
    lines += [_lag(target, _channels(first, target, theirs), theirs, its, beats, every_s), _errant(target, theirs, its)]
    lines += _order(writer, target, first, second)
    if first.policy.lossless:
        acknowledges = theirs.semi_sync is not None and theirs.semi_sync.replica_on
        text = "acknowledges what it receives" if acknowledges else "does not acknowledge what it receives"
        lines.append(Line("semi-sync", f"{target} {text}", acknowledges))
    return lines


def _channels(sight: Sight, name: str, theirs: ServerFacts) -> tuple[Channel, ...]:
    peer = sight.peers.get(name)
    return (peer.channels if peer is not None else theirs.channels) or ()


def _standing(target: str, theirs: ServerFacts) -> Line:
    version = theirs.version.partition("-")[0]
    if theirs.closed:
        return Line("closed", f"{target} answers and is read-only ({theirs.flavor} {version})")
    return Line("closed", f"{target} is writable", False)


def _fit(target: str, theirs: ServerFacts, block_s: float) -> Line:
    """What SQL cannot tell of it, its keepalived above all, its own agent judges: it holds a lock while all is well.
    With a recovery block it may not hold it and take an order up all the same; if it does not, nobody is closed."""
    if theirs.fit_lock is not None:
        return Line("fit", f"the agent of {target} says that it would take over")
    text = f"the agent of {target} does not say that it would take over: see `vipguard status` there"
    return Line("not-fit", f"{text}, its keepalived included", block_s > 0)


def _by_operator(target: str, its: ServerFacts) -> list[Line]:
    found = []
    if (row := of_node(its.maintenance, target)) is not None:
        found.append(Line("maintenance", f"{target} is in maintenance, by {row}", False))
    if (row := of_node(its.maintenance, CLUSTER)) is not None:
        found.append(Line("cluster-paused", f"the cluster is paused, by {row}", False))
    return found


def _threads(target: str, channels: tuple[Channel, ...]) -> Line:
    if not channels:
        return Line("replication", f"{target} replicates from nobody", False)
    bad = [c for c in channels if c.io != "running" or not c.sql_running]
    if not bad:
        return Line("replication", f"{target} replicates from {', '.join(c.source_host for c in channels)}")
    one = bad[0]
    error = one.sql_error or one.io_error
    sql = "running" if one.sql_running else "stopped"
    text = f"replication from {one.source_host} stands: IO {one.io}, SQL {sql}{': ' + error if error else ''}"
    return Line("replication", f"{target}: {text}", False)


def _lag(
    target: str,
    channels: tuple[Channel, ...],
    theirs: ServerFacts,
    its: ServerFacts,
    beats: Beats | None,
    every_s: float,
) -> Line:
    """By the writer's `beats` of the same look, which may have come a little later: less than what is let pass."""
    behind = its.gtid.minus(theirs.gtid).count()
    lag_s = lag.behind_s(its, beats, theirs, every_s)
    if lag_s is None:
        lag_s = slowest_s(channels)
    if lag_s is None:
        return Line("lag", f"the lag of {target} is not known", False)
    text = f"{target} is {lag_s:g} s and {behind} transactions behind"
    lag_s_max = max(LAG_S_MAX, heartbeat.RESOLUTION * every_s)
    return Line("lag", text, lag_s <= lag_s_max and behind <= BEHIND_MAX)


def _order(writer: str, target: str, first: Sight, second: Sight) -> list[Line]:
    """MariaDB: the move into the cluster's domain, which waits while somebody else applies in parallel."""
    its, domain = facts(second, writer), first.policy.mysql.gtid_domain_id
    if its is None or its.order is None or its.order.domain == domain:
        return []
    others = {node.name: facts(first, node.name) for node in first.policy.nodes if node.name not in (writer, target)}
    others |= {name: peer.facts for name, peer in first.replicas.items()}
    said = f"{writer} writes in domain {its.order.domain}"
    for name, theirs in others.items():
        if theirs is None or theirs.order is None or theirs.order.parallel:
            why = "applies in parallel" if theirs is not None and theirs.order is not None else "is not seen"
            return [Line("order", f"{said}, and {target} goes on in it, not in {domain}: {name} {why}")]
    return [Line("order", f"{said}, and {target} will in {domain}, as the cluster is to")]


def _errant(target: str, theirs: ServerFacts, its: ServerFacts) -> Line:
    apart = theirs.gtid.minus(its.gtid)
    if apart.is_empty:
        return Line("errant", f"{target} has nothing that the writer lacks")
    return Line("errant", f"{target} has transactions that the writer lacks: {apart}", False)
