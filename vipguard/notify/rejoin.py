"""Which replication threads may be started, now that the GTID sets can be compared?

A node joins only a history that contains its own: then nothing it has is missing elsewhere. A writer listens only to a
standby that has nothing the writer lacks, so that a returning node can never break or pollute it.
"""

from __future__ import annotations

from ..model import forks
from ..model.effect import StartReceiving, StartReplication
from ..model.evidence import ServerFacts
from ..model.gtid import GtidSet
from ..model.ledger import Relation
from ..model.sight import PeerSight, Sight
from . import relay
from .join import Join

START_S = 2.0


def standby(sight: Sight) -> Join:
    """What a closed node does about its own replication, both threads being stopped or only its IO thread."""
    facts = sight.server.facts if sight.server else None
    if facts is None or not facts.channels:
        return Join("join-not-configured", "no replication channel was seen on this node")
    if all(channel.sql_running and channel.io != "stopped" for channel in facts.channels):
        return Join("joined", "replication runs")
    first = relay.before_start(sight)
    if first is not None:
        return first
    reference = _reference(sight, facts)
    if isinstance(reference, Join):
        return reference
    if sight.policy.me.is_replica and not sight.writers():
        return Join("join-waits", "no writer is seen, and a replica follows nobody else")
    other = reference.evidence.facts if reference.evidence else None
    if other is None:
        return Join("join-nobody-answers", f"{reference.node.name} does not answer")
    received = sight.unapplied
    if received is not None and not other.gtid.contains(received):
        apart, where = received.minus(other.gtid), reference.node.name
        return Join("diverged", f"{apart.count()} transactions were received here that {where} lacks", apart=apart)
    if other.gtid.contains(facts.gtid):
        for channel in facts.channels:
            source = sight.source_of(channel)
            if source is not None and source.answered and not other.gtid.contains(_gtid(source, other)):
                name, text = source.node.name, f"has what {reference.node.name} lacks"
                late = relay.lacking(reference, source) is None
                return Join("join-compare-again" if late else "join-waits", f"the source {name} {text}")
        return Join("join", f"{reference.node.name} has everything that is here", StartReplication(START_S))
    apart = facts.gtid.minus(other.gtid)
    compared = sight.errant is not None and not sight.errant.is_empty  # with what was here at the round before
    if _read_before(reference, sight) and not compared:
        return Join("join-compare-again", f"{reference.node.name} was read before this node")
    return Join(
        "diverged",
        f"this node has {apart.count()} transactions that {reference.node.name} lacks",
        apart=apart,
    )


def _reference(sight: Sight, facts: ServerFacts) -> PeerSight | Join:
    """Whose set to compare with: the writer's; without one, once all peers answer closed, the fullest peer's."""
    writers = sight.newest_writers()
    if writers:
        return writers[0]
    closed = [p for p in sight.peers.values() if (f := p.facts) is not None and f.closed]
    if len(closed) < len(sight.peers):
        return Join("join-waits", "no writer is seen, and not every peer answers closed")
    if apart := sight.forked:
        return Join("join-waits", forks.tell(apart[0], sight))
    relations = {p.node.name: sight.relation(p) for p in closed}
    further = [p for p in closed if relations[p.node.name] is Relation.BEHIND]
    level = further or [p for p in closed if relations[p.node.name] is Relation.SAME]
    sets = [(peer, f.gtid) for peer in level if (f := peer.facts) is not None]
    for peer, gtid in sets:
        if gtid.contains(facts.gtid):
            return peer
    if not further and all(facts.gtid.contains(gtid) for _, gtid in sets):
        return Join("join-waits", "no writer is seen, and this node has more than every peer")
    return level[0]


def writer(sight: Sight) -> Join:
    """What the writer does about its own IO threads, which its takeover stopped."""
    facts = sight.server.facts if sight.server else None
    if facts is None or not facts.channels:
        return Join("join-not-configured", "no replication channel was seen on this node")
    if all(channel.sql_running and channel.io != "stopped" for channel in facts.channels):
        return Join("joined", "replication runs")
    for channel in facts.channels:
        source = sight.source_of(channel)
        other = _facts(source) if source is not None and source.answered else None
        if source is None or other is None or not other.closed:
            return Join("listen-waits", f"the source {channel.source_host} is not back yet")
        if not facts.gtid.contains(other.gtid):
            apart = other.gtid.minus(facts.gtid)
            if _read_after(source, sight):
                return Join("join-compare-again", f"{source.node.name} was read after this node")
            text = f"{source.node.name} has {apart.count()} transactions that this writer lacks"
            return Join("peer-diverged", text, apart=apart)
    applying = all(channel.sql_running for channel in facts.channels)
    effect = StartReceiving(START_S) if applying else StartReplication(START_S)
    return Join("listen", "the source has nothing that is missing here", effect)


def _read_before(peer: PeerSight, sight: Sight) -> bool:
    """Was the peer's set read before this node's was known? Then what it seems to lack may just be newer."""
    return peer.evidence is None or sight.server is None or sight.server.seen_at_s > peer.evidence.asked_at_s


def _read_after(peer: PeerSight, sight: Sight) -> bool:
    return peer.evidence is None or sight.server is None or sight.server.asked_at_s < peer.evidence.seen_at_s


def _gtid(peer: PeerSight, other: ServerFacts) -> GtidSet:
    facts = _facts(peer)
    return facts.gtid if facts is not None else GtidSet.empty(other.flavor)


def _facts(peer: PeerSight) -> ServerFacts | None:
    return peer.evidence.facts if peer.evidence else None
