"""What does this node see at one moment? The evidence that the checks and plans draw on, put together.

Made by the agent's world, or by a command that looked once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, TypeVar

from .changed import worked_out
from .damping import Damping
from .evidence import (
    AddressEvidence,
    Answer,
    Channel,
    DiskEvidence,
    KeepalivedEvidence,
    Mark,
    ProcessId,
    RelayEvidence,
    ServerEvidence,
    ServerFacts,
)
from .gtid import GtidSet
from .heartbeat import Behind
from .ledger import EpochRow, Relation, relate
from .maintenance import CLUSTER, Maintenance, of_node
from .memory import Memory
from .policy import MARIADB, Node, Policy
from .silence import silence_s
from .standdown import StoodDown

Answered = TypeVar("Answered")

OPENINGS_MAX = 200  # that one row overrules, or that are kept on disk: the newest


@dataclass(frozen=True, slots=True)
class GoodLag:
    """The lag when the writer was last seen, at `at_s`; while this node itself wrote, none.

    `suspects`: who may have written since: the writer of that moment, and the candidates that could take over then.
    None: nobody knows who, as after a restart of the agent; it may be any. `writer`: the node that wrote then.
    `blind_s`: for how long since then this node stood still or was isolated, and saw nobody.
    """

    lag_s: float
    at_s: float
    suspects: frozenset[str] | None = None
    writer: str | None = None
    blind_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Receiving:
    """One session of this server's IO thread with the writer, under lossless. `live`: it ran at the last look.

    `wanted` is what the writer had when it was seen, in this session, with semi-sync on by `mark`. What it acknowledged
    later, it acknowledged because it is here. So this node has every acknowledged write as soon as it has `wanted` and
    the mark: `marked`. That outlives the session, not the next one's beginning.
    """

    process: ProcessId | None
    began_s: float
    seen_s: float
    live: bool = True
    wanted: GtidSet | None = None
    mark: Mark | None = None
    marked: bool = False


@dataclass(frozen=True)
class PeerSight:
    """Another node, as seen from here. `alive_s`: its last sign of life (SQL answer, refusal, ping, advert).

    `eligible`: would it take over, by its own agent's lock and by the rules that SQL can tell? None: not asked yet.
    `channels` are of the last round that asked for them, and None as soon as the peer doesn't answer. `fenced_s`: when
    the fence command said that it is off. `before`: the round before the last. `behind`: its lag, by the heartbeat.
    `link_address`: where its adverts come from, if not from its own address: its host on the VIP's link.
    `gone_s`: when it was proven that its server runs no more, by its agent's word or by its host.
    `fit_since_s`: since when it has been `eligible` without a break.
    `other_flavor`: why its GTIDs cannot be compared with this node's; "" where they can.
    """

    node: Node
    evidence: ServerEvidence | None = None
    last: ServerEvidence | None = None
    alive_s: float | None = None
    eligible: bool | None = None
    advert_s: float | None = None
    channels: tuple[Channel, ...] | None = None
    fenced_s: float | None = None
    before: ServerEvidence | None = None
    behind: Behind | None = None
    link_address: str | None = None
    fit_since_s: float = 0.0
    gone_s: float | None = None
    other_flavor: str = ""

    @worked_out
    def answered(self) -> bool:
        return self.evidence is not None and self.evidence.answered

    @worked_out
    def facts(self) -> ServerFacts | None:
        """What its server said in the last round; None where it did not answer, or belongs to another cluster."""
        facts = self.evidence.facts if self.evidence is not None and self.answered else None
        return None if facts is None or facts.other_cluster is not None else facts

    @property
    def moving_to(self) -> str | None:
        """The node that somebody wants to be the writer in this one's place, by this one's server."""
        facts = self.evidence.facts if self.evidence is not None and self.answered else None
        return facts.moving_to if facts is not None else None

    @property
    def out(self) -> bool:
        """Positively out: it was fenced and has given no sign of life since."""
        return self.fenced_s is not None and (self.alive_s is None or self.alive_s < self.fenced_s)


@dataclass(frozen=True)
class Sight:
    """Everything a decision may rest on. None is "not observed" throughout.

    `peers` are the other candidates, `replicas` the nodes that never become the writer. `server_silent_since_s`: when
    the first round of the present silence was asked; `server_unseen_since_s`: of the present time without an answer of
    any kind. `process_lives`: the server's process was not seen to end; `process_unknown`: nobody knows which it is.
    `track_one_since_s`: since when the track file has said 1; None where it does not. `track_changed_s`: when this
    agent wrote another value to it last. `errant`: what this node has and the writer lacks, by the last comparison;
    None before the first. `outside_s`: the newest answer of any witness or peer.
    `gtid_since_s`: from when on this server's set is known to have been what it is.
    `own_claims`: connection ids of this agent's own claim sessions, by node. `io_stopped_by_us`: this agent stopped the
    IO thread, for a takeover or for another source, and nothing started it since; `stopped_by_hand`: somebody stopped
    a thread; `start_fails`: why replication does not stay started. `parked`: a rule that keeps this node from
    candidacy, with its text. `maintenance`: the operator's rows that are in force.
    `invited`: it is the target of a planned move and has begun. `promoted`: the operator said that this node shall be
    the writer, whatever is missing. `copying`: a fresh copy of this node was begun and is not whole.
    `behind`: this node's lag, by the heartbeat; None where that says nothing.
    `filtered_from`: a node whose newest opening this server's rows lack though its set has it.
    `was_writer`: the newest opening on this server is this node's own, of this server process.
    `commits_wait_since_s`: since when commits have been waiting for an acknowledgement while none came.
    `said_gone_s`: when this agent last said to the others that its own server's process is gone.
    `stood_down`: somebody's word that this node's server is to stay closed.
    """

    now_s: float
    policy: Policy
    server: ServerEvidence | None = None
    server_silent_since_s: float | None = None
    server_unseen_since_s: float | None = None
    process_lives: bool = False
    process_unknown: bool = False
    address: AddressEvidence | None = None
    keepalived: KeepalivedEvidence = KeepalivedEvidence()
    track_one_since_s: float | None = None
    track_changed_s: float | None = None
    disk: DiskEvidence | None = None
    peers: Mapping[str, PeerSight] = field(default_factory=dict)
    replicas: Mapping[str, PeerSight] = field(default_factory=dict)
    witnesses: Mapping[str, float | None] = field(default_factory=dict)
    outside_s: float | None = None
    watching_since_s: float = 0.0
    good_lag: GoodLag | None = None
    behind: Behind | None = None
    errant: GtidSet | None = None
    gtid_since_s: float | None = None
    io_stopped_by_us: bool = False
    stopped_by_hand: bool = False
    start_fails: str | None = None
    own_claims: Mapping[str, int] = field(default_factory=dict)
    memory: Memory = Memory()
    parked: tuple[str, str] | None = None
    maintenance: tuple[Maintenance, ...] = ()
    invited: bool = False
    promoted: bool = False
    damping: Damping = Damping()
    copying: str | None = None
    relay: RelayEvidence | None = None
    receiving: Receiving | None = None
    commits_wait_since_s: float | None = None
    said_gone_s: float | None = None
    was_writer: bool = False
    filtered_from: str | None = None
    stood_down: StoodDown | None = None

    def once(self, ask: Callable[[Sight], Answered]) -> Answered:
        """What `ask` says of this sight: a question that several rows have, worked out for the first of them."""
        if ask not in self._answers:
            self._answers[ask] = ask(self)
        return self._answers[ask]  # type: ignore[no-any-return]

    @worked_out
    def _answers(self) -> dict[Callable[[Sight], Any], Any]:
        return {}

    @property
    def vip_here(self) -> bool:
        return self.address is not None and self.address.vip_present

    @property
    def ordered(self) -> bool:
        """Somebody wants this node to be the writer in another's place."""
        return any(peer.moving_to == self.policy.node for peer in self.peers.values())

    @property
    def in_maintenance(self) -> Maintenance | None:
        """The operator took this node out of the election."""
        return of_node(self.maintenance, self.policy.node)

    @property
    def paused(self) -> Maintenance | None:
        """The operator paused the cluster: nothing is promoted by itself."""
        return of_node(self.maintenance, CLUSTER)

    @property
    def leaving(self) -> bool:
        """The server refuses connections and its process lives: it shuts down, or lost its socket. It may commit."""
        return self.server is not None and self.server.answer is Answer.ABSENT and self.process_lives

    @property
    def hung(self) -> bool:
        """The server took our connection and has said nothing, or refuses it and lives on, for the whole `hang_s`."""
        since = self.server_silent_since_s
        return since is not None and self.now_s - since >= self.policy.limits.hang_s

    @property
    def isolated(self) -> bool:
        """No witness and no peer has answered for the whole `lease_s`, though we were looking all that time."""
        return self.now_s >= self.lease_ends_s

    @property
    def lease_ends_s(self) -> float:
        """When this node is isolated, unless somebody answers before."""
        heard_s = (
            self.watching_since_s if self.outside_s is None else max(self.outside_s, self.watching_since_s)
        )
        return heard_s + self.policy.limits.lease_s

    @worked_out
    def peer_eligible(self) -> bool:
        """Is some other node known to be able to take over?"""
        return any(peer.eligible is True and peer.answered for peer in self.peers.values())

    def peer_eligible_by(self, at_s: float) -> bool:
        """The same, and was it so at `at_s` already?"""
        return any(p.eligible is True and p.answered and p.fit_since_s <= at_s for p in self.peers.values())

    @property
    def marked(self) -> bool:
        """Has this node every write that the writer acknowledged, as far as its marks tell?"""
        return self.receiving is not None and self.receiving.marked

    @property
    def commits_wait_s(self) -> float:
        """For how long commits have been waiting for an acknowledgement while none came; 0 when none waits."""
        since_s = self.commits_wait_since_s
        return 0.0 if since_s is None else max(0.0, self.now_s - since_s)

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that this node can know: from its state, its own rows and every peer's."""
        return max(self.memory.epoch, self.own_epoch, self.peers_epoch)

    @property
    def own_epoch(self) -> int:
        return epoch_of(self.server)

    @worked_out
    def peers_epoch(self) -> int:
        """A replica's row counts too: what it follows or followed has opened with it."""
        seen = (*self.peers.values(), *self.replicas.values())
        return max((epoch_of(peer.evidence) for peer in seen), default=0)

    def relation(self, peer: PeerSight) -> Relation | None:
        """How this server's history stands to that peer's, both as seen now; None where one was not seen."""
        mine, theirs = self.server.facts if self.server else None, peer.facts
        return relate(mine.history, theirs.history) if mine is not None and theirs is not None else None

    def counts(self, peer: PeerSight) -> bool:
        """Must this node have what that peer has, before it opens? Not what another opening left behind, and of two
        that were open a moment ago, not what was written where keepalived would not have it."""
        relation = self.relation(peer)
        if relation is Relation.FORKED:
            return not (self.wrote_lately and self.preferred_to(peer.node))
        return relation is not Relation.AHEAD

    @property
    def wrote_lately(self) -> bool:
        """Was this node the writer until so short a time ago that nobody can have written much more than it since?"""
        good = self.good_lag
        lately = good is not None and self.now_s - good.at_s <= self.policy.limits.lag_s_max
        return self.was_writer and lately and good is not None and good.writer == self.policy.node

    def preferred_to(self, other: Node) -> bool:
        """Of two that are MASTER keepalived lets that of the higher priority stay, of equals that of the higher
        address (RFC 5798, 6.4.3)."""
        return _order(self.policy.me) > _order(other)

    def lacks(self, peer: PeerSight, have: GtidSet | None = None) -> GtidSet | None:
        """What that peer has, applied or received, and this node must have before it opens; `have`: what it has, if
        more than it said last. None where one of them was not seen.

        What an opening left behind is not asked for, but where the peer is only late: all that it has applied is here.
        Nor is what the peer wrote by itself though another was the writer.
        """
        mine, theirs = self.server.facts if self.server else None, peer.facts
        if mine is None or theirs is None:
            return None
        have = mine.gtid if have is None else have
        if mine.flavor != theirs.flavor:
            return GtidSet.empty(mine.flavor)
        applied = theirs.gtid.minus(have)
        if not self.counts(peer) and not applied.is_empty:
            return GtidSet.empty(mine.flavor)
        lacking = with_received(peer, theirs).minus(have)
        return lacking if lacking.is_empty else lacking.minus(self.errant_of(peer))

    def errant_of(self, peer: PeerSight) -> GtidSet:
        """What that closed peer wrote by itself, though the newest opening that both have is another's."""
        mine, theirs = self.server.facts if self.server else None, peer.facts
        assert mine is not None and theirs is not None
        return self._errant_in(mine, theirs, peer)

    def _errant_in(self, mine: ServerFacts, theirs: ServerFacts, peer: PeerSight) -> GtidSet:
        """Of what that peer said once. While this node was the writer, nobody else wrote by right, so what came to the
        peer from a third node is errant too."""
        if self.was_writer and _another_reigns(theirs, mine, peer.node.name):
            return with_received(peer, theirs).minus(mine.gtid)
        return wrote_aside(theirs, mine, peer.node.name)

    @worked_out
    def aside(self) -> GtidSet | None:
        """What was received here and stands unapplied, if it is nothing but what a closed node, as it was last seen,
        has errant: that node's applier and this one's stop at it, and neither need have it to open. None: there is no
        such thing, or it is not known to be that."""
        left, mine = self.unapplied, self.server.facts if self.server else None
        if left is None or left.is_empty or mine is None:
            return None
        for peer in self.peers.values():
            theirs = peer.last.facts if peer.last is not None else None
            if theirs is None or theirs.flavor != mine.flavor or not theirs.closed:
                continue
            beyond = theirs.gtid.minus(mine.gtid)
            known = relate(mine.history, theirs.history) is Relation.AHEAD or beyond.minus(
                self._errant_in(mine, theirs, peer)
            ).is_empty
            if known and theirs.gtid.contains(left):
                return left
        return None

    def alone(self, peer: PeerSight) -> GtidSet | None:
        """What is here and was not received there; None where one of them was not seen, or they can't be compared."""
        mine, theirs = self.server.facts if self.server else None, peer.facts
        if mine is None or theirs is None or mine.flavor != theirs.flavor:
            return None
        return mine.gtid.minus(with_received(peer, theirs))

    def goes_on(self, peer: PeerSight) -> bool:
        """Is that peer open by right, or does its history go on from this node's?"""
        relation = self.relation(peer)
        return relation is Relation.BEHIND or (is_writer(peer.evidence) and relation is not Relation.AHEAD)

    def apart(self, peer: PeerSight) -> bool:
        """Did this node's history and that peer's go apart, and no opening decides whose counts?"""
        relation = self.relation(peer)
        if relation is not Relation.SAME:
            return relation is Relation.FORKED and self.counts(peer)
        alone, lacking = self.alone(peer), self.lacks(peer)
        return bool(alone is not None and not alone.is_empty and lacking is not None and not lacking.is_empty)

    @worked_out
    def forked(self) -> tuple[PeerSight, ...]:
        """The closed candidates whose history went apart from this node's."""
        return tuple(p for p in self.peers.values() if p.facts is not None and p.facts.closed and self.apart(p))

    @worked_out
    def entitled(self) -> bool:
        """No writer is left, and this node has the whole history: every other candidate is closed, seen so, and goes
        no further than this one, or it is out for sure. Or nobody answers, and the memory says `solo`: every other was
        out for sure when this node last wrote."""
        mine = self.server.facts if self.server else None
        if mine is None or not mine.closed or self.unapplied is None:
            return False
        if not self.unapplied.is_empty and self.aside is None:
            return False
        there = [peer for peer in self.peers.values() if not peer.out]
        if any(p.evidence is None or p.evidence.asked_at_s < self.watching_since_s for p in there):
            return False  # not asked since a pause, during which another may have written
        if there and not any(peer.answered for peer in there):
            done = self.memory.completed
            return self.memory.solo and done is not None and done.epoch >= self.own_epoch
        return bool(self.peers) and all(self._goes_no_further(peer, mine) for peer in there)

    def _goes_no_further(self, peer: PeerSight, mine: ServerFacts) -> bool:
        theirs = peer.facts
        if theirs is None or not theirs.closed or mine.flavor != theirs.flavor:
            return False
        lacking = self.lacks(peer)
        if self.relation(peer) is not Relation.SAME:
            return not self.counts(peer) and lacking is not None and lacking.is_empty
        newest = mine.history.newest
        own = mine.gtid.minus(theirs.gtid).written_by(mine.server_id, mine.uuid)
        errant = not own.is_empty and newest is not None and newest.node != self.policy.node
        return lacking is not None and lacking.is_empty and not errant

    @worked_out
    def unapplied(self) -> GtidSet | None:
        """What this server received and its stopped SQL thread does not apply; None: not known. MariaDB tells nothing
        of it after a restart, nor of a channel that follows by position: its relay log has to be examined."""
        facts = self.server.facts if self.server else None
        if facts is None or facts.channels is None:
            return None
        left, untold = GtidSet.empty(facts.flavor), False
        for channel in facts.channels:
            if channel.received is None:
                untold = True
            elif not channel.sql_running:
                left = left.union(channel.received.minus(facts.gtid))
                nothing = channel.received.is_empty and channel.io == "stopped"
                untold = untold or (nothing and facts.flavor == MARIADB)
        if not untold:
            return left
        seen = self.relay if self.relay is not None and self.relay.process == facts.process else None
        return (
            None if seen is None or seen.unapplied is None else left.union(seen.unapplied.minus(facts.gtid))
        )

    @property
    def claimed_by_other(self) -> bool:
        """Does a session that isn't ours hold the claim on this node's server?"""
        if self.server is None or self.server.facts is None:
            return False
        holder = self.server.facts.claim_lock
        return holder is not None and holder != self.own_claims.get(self.policy.node)

    @worked_out
    def writers(self) -> tuple[PeerSight, ...]:
        """The peers seen open with their open lock held, the highest epoch first."""
        found = [p for p in self.peers.values() if is_writer(p.evidence)]
        return tuple(sorted(found, key=lambda p: -epoch_of(p.evidence)))

    @worked_out
    def newest_writers(self) -> tuple[PeerSight, ...]:
        """Those of them whose history is not left behind by this node's own, the one that supersedes first."""
        found = [writer for writer in self.writers if self.relation(writer) is not Relation.AHEAD]
        return tuple(sorted(found, key=lambda writer: self.relation(writer) is Relation.FORKED))

    @worked_out
    def known_openings(self) -> frozenset[EpochRow]:
        """The openings that this node knows of and that its own history does not cover."""
        mine = self.server.facts if self.server else None
        found = set(self.memory.openings)
        for peer in (*self.peers.values(), *self.replicas.values()):
            facts = peer.last.facts if peer.last is not None else None
            if facts is None or facts.other_cluster is not None:
                continue
            found |= {facts.epoch} if facts.epoch is not None else set()
            found |= {one.row for one in facts.ledger.openings} if facts.ledger is not None else set()
        lacking = [row for row in found if mine is None or not mine.history.covers(row)]
        return frozenset(sorted(lacking)[-OPENINGS_MAX:])

    def silent_until_s(self, peer: PeerSight) -> float:
        """When a silent peer that is cut off has surely closed itself."""
        return max(self.watching_since_s, peer.alive_s or 0.0) + silence_s(self.policy)

    @property
    def witnessed(self) -> bool:
        """Has a witness answered within the lease?"""
        lease_s = self.policy.limits.lease_s
        return any(at_s is not None and self.now_s - at_s < lease_s for at_s in self.witnesses.values())

    def source_of(self, channel: Channel) -> PeerSight | None:
        """The candidate that this channel receives from; None where it is no node, or a replica."""
        return next((p for p in self.peers.values() if p.node.address == channel.source_host), None)


def with_received(peer: PeerSight, facts: ServerFacts) -> GtidSet:
    """What that server has, with what it received and is applying."""
    has = facts.gtid
    for channel in facts.channels or peer.channels or ():
        has = has if channel.received is None or not channel.sql_running else has.union(channel.received)
    return has


def wrote_aside(one: ServerFacts, other: ServerFacts, node: str) -> GtidSet:
    """What the server of that node wrote by itself and the other lacks, though the newest opening of both is another's:
    a hand's writes, on a server that had no right to any."""
    if not _another_reigns(one, other, node):
        return GtidSet.empty(one.flavor)
    return one.gtid.minus(other.gtid).written_by(one.server_id, one.uuid)


def _another_reigns(one: ServerFacts, other: ServerFacts, node: str) -> bool:
    newest = one.history.newest
    if newest is None or newest.node == node:
        return False
    return relate(one.history, other.history) is Relation.SAME


def _order(node: Node) -> tuple[int, int]:
    return node.priority, int(ip_address(node.address))


def is_writer(evidence: ServerEvidence | None) -> bool:
    """Seen now: open, and its agent holds the open lock."""
    if evidence is None or evidence.answer is not Answer.ANSWERED or evidence.facts is None:
        return False
    return not evidence.facts.closed and evidence.facts.open_lock is not None


def epoch_of(evidence: ServerEvidence | None) -> int:
    """The epoch row's number as that server was last seen; 0 where none was."""
    if evidence is None or evidence.facts is None or evidence.facts.epoch is None:
        return 0
    return evidence.facts.epoch.epoch
