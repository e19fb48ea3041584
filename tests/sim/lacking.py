"""Does an opening lack what it must have (law 2), and is it true what is said about what it lacks (law 8)?

A node is reachable to a taker that has been able to ask it for a second, with a server that ran, answered in time and
let the guard in. Of it every write must be there. Of the others every write that somebody was told is done, except the
last ones: these may never have been sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.model.effect import Note, Open
from vipguard.model.gtid import GtidSet
from vipguard.model.policy import MARIADB

from .histories import SENT_S, Reign

if TYPE_CHECKING:
    from .host import Host
    from .laws import Laws
    from .mysqld import Txn

SETTLED_S = 1.0
ANSWERS_S = 0.1  # a server that takes longer for a statement may be late for a probe, which has several
JITTER_S = 0.01


def reachable(laws: Laws, host: Host, other: Host, for_s: float = SETTLED_S) -> bool:
    """For `for_s` now."""
    server, now = other.mysqld, laws.engine.now
    if not other.powered or server is None or not server.running or server.leaving or server.denies:
        return False
    if other.server_s > ANSWERS_S or host.network.slow_s > ANSWERS_S:
        return False
    since_s = max(laws.reached_since_s(host, other), laws.thawed_s(other), server.born_s)
    return now - since_s >= for_s + host.worker_late_s


def opening(laws: Laws, host: Host, effect: Open) -> None:
    """The moment before read_only=0 works."""
    histories, mine, now = laws.histories, host.disk.have, laws.engine.now
    promoted = histories.promoted(host)
    histories.ordered_s.pop(host.name, None)
    reign = Reign(host.name, host.server_id, mine.get(host.server_id, 0), now, False, promoted)
    line, forgiven = histories.line(mine), set()
    own_epoch = host.disk.epoch.epoch if host.disk.epoch else 0
    if effect.row.epoch <= own_epoch:
        laws.broken(f"law 1: {host.name} opens with epoch {effect.row.epoch}, its row says {own_epoch}")
    for other in laws.cluster.hosts.values():
        if other is host or not reachable(laws, host, other):
            continue
        epoch = other.disk.epoch.epoch if other.disk.epoch else 0
        if epoch >= effect.row.epoch:
            laws.broken(f"law 1: {host.name} opens with epoch {effect.row.epoch}, {other.name} has {epoch}")
        for part in histories.missing(mine, other.disk.have):
            why = histories.pardon(reign, part, line, histories.told(part))
            if why is None:
                laws.broken(f"law 2: {host.name} opens without {part}, and the reachable {other.name} has them")
            forgiven.add(why)
    for part in histories.missing(mine, host.disk.ever):
        why = histories.pardon(reign, part, line, histories.told(part))
        if why is None:
            laws.broken(f"law 2: {host.name} opens without {part}, which it had received")
        forgiven.add(why)
    if not promoted:
        _errant(laws, host)
    lost: list[Txn] = []
    for part, told in histories.lost(mine):
        why = histories.pardon(reign, part, line, told)
        if why is None:
            lost += told
        else:
            forgiven.add(why)
    if lost:
        _not_sent(laws, host, lost)
        forgiven.add("not-yet-sent")
    for why in sorted(forgiven):
        laws.pardons.give(why)
    histories.begin(reign)
    histories.leave(reign, mine)


def _not_sent(laws: Laws, host: Host, lost: list[Txn]) -> None:
    first, last = min(txn.at_s for txn in lost), max(txn.at_s for txn in lost)
    what = f"{len(lost)} acknowledged writes of {last - first:.1f} s, the first {laws.engine.now - first:.1f} s ago"
    if laws.cluster.lossless:
        laws.broken(f"lossless: {host.name} opens without {what}")
    if last - first > host.policy.limits.lag_s_max + SENT_S:
        laws.broken(f"law 2: {host.name} opens without {what}")


def _errant(laws: Laws, host: Host) -> None:
    """What a hand wrote here and the writer lacked, unless every other candidate is there and lacks nothing else."""
    rivals = [h for h in laws.cluster.hosts.values() if h is not host and not h.node.is_replica]
    if all(reachable(laws, host, other) for other in rivals):
        return
    for reign in laws.histories.reigns.get(host.server_id, ()):
        if reign.errant and any(h.disk.have.get(host.server_id, 0) <= reign.first for h in rivals):
            laws.broken(f"law 2: {host.name} opens with errant writes of {reign}")


def joining(laws: Laws, host: Host) -> None:
    """The moment before an agent starts replication on its server."""
    writers, now = laws.writers(), laws.engine.now
    reign = laws.histories.open.get(writers[0].name) if len(writers) == 1 else None
    if reign is None or now - reign.began_s < SETTLED_S or laws.histories.promoted(host):
        return
    writer = writers[0]
    if writer is host:
        source = host.source
        if source.mysqld is not None and source.mysqld.running and source.mysqld.closed:
            for part in laws.histories.missing(host.disk.have, source.disk.have):
                laws.broken(f"law 2: {host.name} listens to {source.name}, which has {part}")
    elif reachable(laws, host, writer):
        for part in laws.histories.missing(writer.disk.have, host.disk.have):
            laws.broken(f"law 2: {host.name} joins with {part}, which {writer.name} lacks")


def told(laws: Laws, host: Host, note: Note) -> None:
    """What a writer says as it opens: `may-be-lost`."""
    numbers, now = dict(note.numbers), laws.engine.now
    unseen_ms, text = numbers.get("unseen_ms"), str(numbers.get("gtids") or "")
    named, histories = GtidSet.parse(host.flavor, text), laws.histories
    before = [reign for reign in histories.line(host.disk.have) if reign is not histories.open.get(host.name)]
    for part, lost in histories.lost(host.disk.have):
        if part.reign.by_hand or any(histories.was_told(reign, part, lost) for reign in before):
            continue  # that was said when it was left behind
        for txn in lost:
            one = f"{txn.source}-{txn.number}"
            if note.rule in ("lost-none", "lost-no-acknowledged"):
                laws.broken(f"law 8: {host.name} says {note.rule}, and lacks the acknowledged {one} of {part.reign}")
            known = named.contains(_alone(host, txn))
            late = note.rule == "lost-unknown" and (
                unseen_ms is None or txn.at_s >= now - float(str(unseen_ms)) / 1000 - JITTER_S
            )
            if not known and not late:
                said = f"{note.rule} {text!r} unseen_ms={unseen_ms}"
                laws.broken(f"law 8: {host.name} says {said}, and lacks {one}, {now - txn.at_s:.3f} s old")


def _alone(host: Host, txn: Txn) -> GtidSet:
    if host.flavor == MARIADB:
        place = host.cluster.places[txn.source, txn.number]
        return GtidSet.parse(host.flavor, f"0-{txn.source}-{place}..{place}")
    return GtidSet.parse(host.flavor, f"{host.cluster.uuid(txn.source)}:{txn.number}")
