"""What does `vipguard rejoin` tell of a node that is apart, and of what each answer would cost?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..act.copy import Plan
    from ..agent.apart import Apart
    from ..model.binlog import Transaction
    from ..model.gtid import GtidSet

SHOW_S = 10.0
SHOWN_MAX = 5000
LISTED_MAX = 20


def shown(seen: Apart) -> Iterator[str]:
    """What was seen, a line each, and what may be done about it."""
    node, writer = seen.policy.node, seen.writer.name if seen.writer else "the writer"
    if seen.unfinished is not None or seen.unfinished_reason:
        since = seen.unfinished.since if seen.unfinished else seen.unfinished_reason
        yield f"{node} is no whole copy: one was begun ({since}) and not finished"
        yield "vipguard rejoin --discard   makes it again"
        return
    if seen.home is None:
        yield f"{node}: its server cannot be asked: {seen.home_reason}; start it, then run this again"
        return
    if seen.lacking is None and seen.sight.vip_here and not seen.home.closed:
        yield f"{node} is the writer: it is the others that join it; run this on the node that stays apart"
        return
    if seen.lacking is None:
        from ..agent.apart import why_not_discard

        yield f"{node} has {seen.home.gtid}; there is no writer to compare it with: {why_not_discard(seen)}"
        return
    if seen.lacking.is_empty:
        yield f"{node} has nothing that {writer} lacks: there is nothing to decide, its agent lets it join by itself"
        return
    yield f"{node} has {count(seen.lacking)} that {writer} lacks: {seen.lacking}"
    yield from _contents(seen, seen.lacking)
    yield f"  to look at them: {_look_command(seen, seen.lacking)}"
    yield "vipguard rejoin --accept    applies them on the writer, all or none, if nothing there contradicts"
    yield "vipguard rejoin --discard   gives them up: this node becomes a fresh copy of the writer"


def _contents(seen: Apart, lacking: GtidSet) -> Iterator[str]:
    """What they change, where this node's binary log tells it within a moment."""
    from ..act.accept import export
    from ..errors import VipguardError
    from ..session import Deadline

    if lacking.count() > SHOWN_MAX:
        return
    try:
        yield from listed(export(seen.policy, lacking, Deadline(SHOW_S)))
    except VipguardError as exc:
        yield f"  what they change is not seen: {exc}"


def listed(transactions: Sequence[Transaction]) -> Iterator[str]:
    """What each changes; of many the first ones, and the rest as one sum."""
    from ..model.binlog import summary

    shown = transactions if len(transactions) <= LISTED_MAX else transactions[: LISTED_MAX - 1]
    for one in shown:
        yield f"  {one.gtid}  {summary(one)}"
    if rest := transactions[len(shown) :]:
        yield f"  and {len(rest)} more, up to {rest[-1].gtid}  {summary(*rest)}"


def count(lacking: GtidSet) -> str:
    number = lacking.count()
    return "1 transaction" if number == 1 else f"{number} transactions"


def _look_command(seen: Apart, lacking: GtidSet) -> str:
    """The command line that prints these transactions' rows."""
    home = seen.home
    assert home is not None
    files = f"{home.binlog or home.datadir + 'binlog'}.[0-9]*"
    if home.flavor == "mysql":
        return f"mysqlbinlog --base64-output=DECODE-ROWS -vv --include-gtids='{lacking}' {files}"
    stop = lacking.position()
    first = {source[0]: spans[0][0] for source, _, spans in sorted(lacking.parts, key=lambda one: -one[2][0][0])}
    ends = [end.split("-") for end in stop.split(",")]
    start = ",".join(f"{domain}-{server}-{first[int(domain)] - 1}" for domain, server, _ in ends)
    return (
        f"mariadb-binlog --base64-output=DECODE-ROWS -vv --start-position={start} --stop-position={stop} {files}"
    )


def what_it_costs(seen: Apart, plan: Plan, *, kept: bool = False) -> Iterator[str]:
    from ..act.copy import readers
    from ..agent.apart import databases

    names = databases(seen)
    listed = f" ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})" if names else ""
    yield f"All data of the server on {seen.policy.node}{listed} will be destroyed and copied from {plan.writer.name}."
    if kept:
        pass
    elif seen.lacking is None or seen.lacking.is_empty:
        yield f"Nothing that is here is missing on {plan.writer.name}."
    else:
        yield f"Lost for good: {count(seen.lacking)} that {plan.writer.name} lacks: {seen.lacking}"
        for name, peer in seen.sight.peers.items():
            theirs = peer.evidence.facts.gtid if peer.evidence and peer.evidence.facts else None
            if name != plan.writer.name and theirs is not None and theirs.contains(seen.lacking):
                yield f"{name} has them too: discard them there as well, before it joins"
    for name in readers(plan.policy, plan.deadline):
        yield f"{name} does not replicate from this node meanwhile."
    yield "Until the copy is whole, and caught up, this node cannot take over."
