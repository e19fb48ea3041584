"""Which replication threads may be started, now that the GTID sets can be compared?

A node joins only a history that contains its own: then nothing it has is missing elsewhere. A writer listens only to a
standby that has nothing the writer lacks, so that a returning node can never break or pollute it.
"""

from __future__ import annotations

from ..model import forks
from ..model.effect import StartReceiving, StartReplication, StopReceiving
from ..model.evidence import ServerFacts
from ..model.gtid import GtidSet
from ..model.ledger import Relation
from ..model.sight import PeerSight, Sight
from . import relay
from .join import Join

START_S = 2.0
STOP_S = 3.0  # MySQL takes 2 s while it connects to a host that swallows packets


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
    if sight.policy.me.is_replica and not sight.writers:
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
            if source is not None and not source.answered:  # it brings nothing yet, and may have gone another way
                return Join("join-waits", f"the source {source.node.name} does not answer, so it can't be compared")
            if source is not None and not other.gtid.contains(_gtid(source, other)):
                name, text = source.node.name, f"has what {reference.node.name} lacks"
                late = relay.lacking(reference, source) is None
                return Join("join-compare-again" if late else "join-waits", f"the source {name} {text}")
        return Join("join", f"{reference.node.name} has everything that is here", StartReplication(START_S))
    apart = facts.gtid.minus(other.gtid)
    if read_before(reference, sight):
        return Join("join-compare-again", f"{reference.node.name} was read before this node")
    return Join(
        "diverged",
        f"this node has {apart.count()} transactions that {reference.node.name} lacks",
        apart=apart,
    )


def _reference(sight: Sight, facts: ServerFacts) -> PeerSight | Join:
    """Whose set to compare with: the writer's; without one, once all peers answer closed, the fullest peer's."""
    writers = sight.newest_writers
    if writers:
        return writers[0]
    closed = [p for p in sight.peers.values() if (f := p.facts) is not None and f.closed]
    if len(closed) < len(sight.peers):
        return Join("join-waits", "no writer is seen, and not every peer answers closed")
    if apart := sight.forked:
        return Join("join-waits", forks.tell(apart[0], sight))
    relations = {p.node.name: sight.relation(p) for p in closed}
    further = [p for p in closed if relations[p.node.name] is Relation.BEHIND]
    level = further or [p for p in closed if relations[p.node.name] is Relation.SAME and sight.errant_of(p).is_empty]
    if not level:
        return Join("join-waits", "no writer is seen, and no peer's history goes on from this node's")
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
        if (before := _fed_by(source, facts, sight)) is not None:
            return Join("listen-waits", f"the source {source.node.name} may receive from {before} what is missing here")
    applying = all(channel.sql_running for channel in facts.channels)
    effect = StartReceiving(START_S) if applying else StartReplication(START_S)
    return Join("listen", "the source has nothing that is missing here", effect)


def _fed_by(source: PeerSight, facts: ServerFacts, sight: Sight) -> str | None:
    """In a circle of three: another node of which the source receives, or tries to, and which is not seen to be closed
    with nothing that this writer lacks."""
    from_there = {channel.source_host for channel in source.channels or () if channel.io != "stopped"}
    for peer in sight.peers.values():
        theirs = peer.facts
        if peer.node.address in from_there and (theirs is None or not facts.gtid.contains(theirs.gtid)):
            return peer.node.name
    return None


def unheard(sight: Sight) -> Join | None:
    """A writer, or one that has just closed, stops to listen to a source that it does not see closed: when that one
    comes back it may have gone another way, and the two histories would be mixed before anybody compared them."""
    facts = sight.server.facts if sight.server else None
    for channel in facts.channels or () if facts is not None else ():
        source = sight.source_of(channel)
        if channel.io == "stopped" or source is None or _heard(source, sight):
            continue
        text = f"{source.node.name} is not seen closed any more: its data are compared before it is listened to again"
        return Join("listen-stops", text, StopReceiving(STOP_S, sight.aside))
    return None


def _heard(source: PeerSight, sight: Sight) -> bool:
    theirs = source.facts
    if theirs is None:
        seen_s = source.last.seen_at_s if source.last is not None else sight.watching_since_s
        return sight.now_s - max(seen_s, sight.watching_since_s) < sight.policy.limits.lease_s
    alone = sight.alone(source)
    if not theirs.closed and alone is not None and alone == alone.written_by(theirs.server_id, theirs.uuid):
        return True  # what it wrote itself it has: it came here since that one was looked at
    return theirs.closed and sight.relation(source) in (Relation.SAME, Relation.AHEAD)


def read_before(peer: PeerSight, sight: Sight) -> bool:
    """Was the peer's set read before this node's was what it is? Then what it seems to lack may just be newer."""
    if peer.evidence is None or sight.server is None:
        return True
    since_s = sight.server.seen_at_s if sight.gtid_since_s is None else sight.gtid_since_s
    return since_s > peer.evidence.asked_at_s


def _read_after(peer: PeerSight, sight: Sight) -> bool:
    return peer.evidence is None or sight.server is None or sight.server.asked_at_s < peer.evidence.seen_at_s


def _gtid(peer: PeerSight, other: ServerFacts) -> GtidSet:
    facts = _facts(peer)
    return facts.gtid if facts is not None else GtidSet.empty(other.flavor)


def _facts(peer: PeerSight) -> ServerFacts | None:
    return peer.evidence.facts if peer.evidence else None
