"""Do the replication threads run, or is the IO thread merely without its source?

A dead source must not make its replica ineligible: that replica is the one to take over. Error numbers: MySQL
Reference Manual, "Server Error Message Reference" and "Client Error Message Reference".

On MariaDB also: do the threads keep one order? A server whose `gtid_strict_mode` is off hides what it wrote by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..model.evidence import Channel, ServerFacts
from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.policy import MARIADB
from ..model.sight import Sight, is_writer

# What an IO thread says of a source that cannot be reached, as against one that refuses it for good.
SOURCE_GONE = frozenset(
    {0, 1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1927, 2002, 2003, 2005, 2006, 2013, 2055}
)
OUT_OF_ORDER = 1950  # MariaDB Server documentation, "gtid_strict_mode"


@dataclass(frozen=True, slots=True)
class Threads:
    """How the channels stand: the first row of the table that fits any of them, the worst first."""

    outcome: Outcome
    rule: str
    text: str


def judge(channel: Channel, io_stopped_by_us: bool, stopped_by_hand: bool = False) -> Threads:
    """One channel by the table; `io_stopped_by_us` says that a takeover stopped the IO thread on purpose,
    `stopped_by_hand` that somebody else did."""
    name = f"channel {channel.name!r}" if channel.name else "replication"
    if channel.received is None:
        return Threads(Outcome.CRITICAL, "not-by-gtid", f"{name}: it follows by position, not by GTID")
    if not channel.sql_running:
        if channel.sql_errno:
            why = f"{channel.sql_errno} {channel.sql_error}"
            if channel.sql_errno == OUT_OF_ORDER:
                why = f"this server, or its source, wrote by itself what the other lacks (vipguard check errant): {why}"
            return Threads(Outcome.CRITICAL, "sql-thread-failed", f"{name}: the SQL thread stopped: {why}")
        return Threads(Outcome.CRITICAL, "sql-thread-stopped", f"{name}: the SQL thread is stopped")
    if channel.io == "running":
        return Threads(Outcome.OK, "threads-running", f"{name}: both threads run")
    if channel.io_errno not in SOURCE_GONE:
        why = f"{channel.io_errno} {channel.io_error}"
        return Threads(
            Outcome.CRITICAL, "io-thread-failed", f"{name}: the IO thread cannot read its source: {why}"
        )
    if channel.io == "connecting":
        return Threads(Outcome.WARNING, "source-gone", f"{name}: the IO thread is without its source")
    if io_stopped_by_us:
        return Threads(Outcome.WARNING, "io-stopped-by-takeover", f"{name}: a takeover stopped the IO thread")
    if channel.io_errno and not stopped_by_hand:
        return Threads(Outcome.WARNING, "source-given-up", f"{name}: the IO thread looked for its source in vain")
    return Threads(Outcome.CRITICAL, "io-thread-stopped", f"{name}: the IO thread is stopped")


def worst(sight: Sight) -> Threads:
    """The worst of all channels; UNKNOWN where they were not seen."""
    facts = sight.server.facts if sight.server else None
    if facts is None or facts.channels is None:
        return Threads(Outcome.UNKNOWN, "replication-not-seen", "the replication threads were not seen")
    if not facts.channels:
        return Threads(Outcome.CRITICAL, "replication-not-configured", "this server replicates from nobody")
    rows = [judge(channel, sight.io_stopped_by_us, sight.stopped_by_hand) for channel in facts.channels]
    found = max((*rows, *_order(facts, sight)), key=lambda row: row.outcome)
    if sight.stopped_by_hand and found.rule in ("io-thread-stopped", "sql-thread-stopped"):
        return replace(found, text=f"{found.text}, by a hand, and stays so; to start it: {start(facts)}")
    if sight.start_fails is not None and found.outcome is not Outcome.CRITICAL:
        return Threads(Outcome.CRITICAL, "start-fails", sight.start_fails)
    return found


def start(facts: ServerFacts) -> str:
    """What an operator types to start replication there."""
    if facts.flavor != MARIADB:
        return "START REPLICA;"
    return "START ALL SLAVES;" if len(facts.channels or ()) > 1 else "START SLAVE;"


def _order(facts: ServerFacts, sight: Sight) -> Iterator[Threads]:
    """What would let transactions of two writers be applied, or hidden, out of their order."""
    if facts.order is None:
        return
    if not facts.order.strict:
        text = "gtid_strict_mode is off: what this server wrote by itself may hide among the GTIDs that it received"
        yield Threads(Outcome.CRITICAL, "strict-mode-off", text)
    if facts.order.parallel and (other := other_domain(sight)) is not None:
        name, domain = other
        text = (
            f"{name} writes in domain {domain}, and the cluster is to in {sight.policy.mysql.gtid_domain_id}: no move"
            " changes that as long as this server applies in parallel (vipguard doctor)"
        )
        yield Threads(Outcome.WARNING, "order-at-risk", text)


def other_domain(sight: Sight) -> tuple[str, int] | None:
    """The writer, as (name, domain), where what it writes is in another domain than the next one's will be; of a writer
    that is not seen, nothing is known."""
    writers = [(peer.node.name, peer.evidence) for peer in sight.writers]
    if is_writer(sight.server):
        writers.append((sight.policy.node, sight.server))
    for name, seen in writers:
        order = seen.facts.order if seen is not None and seen.facts is not None else None
        if order is not None and order.domain != sight.policy.mysql.gtid_domain_id:
            return name, order.domain
    return None


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """OK with both threads running, WARNING without a source; the number is the count of channels."""
    row = worst(sight)
    facts = sight.server.facts if sight.server else None
    count = len(facts.channels) if facts and facts.channels is not None else None
    perf = (Perf("channels", count, "", thresholds.warning, thresholds.critical),)
    outcome = row.outcome if count is None else Outcome(max(row.outcome, thresholds.outcome(count)))
    return Finding("replication", outcome, row.rule, row.text, perf)
