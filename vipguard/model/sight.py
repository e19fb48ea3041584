"""What does this node see at one moment? The evidence that the checks and plans draw on, put together.

Made by the agent's world, or by a command that looked once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
)
from .gtid import GtidSet
from .heartbeat import Behind
from .maintenance import CLUSTER, Maintenance, of_node
from .memory import Memory
from .policy import MARIADB, Node, Policy


@dataclass(frozen=True, slots=True)
class GoodLag:
    """The last lag that a replica with a running IO thread told, and when; `source_s`: its source was last there."""

    lag_s: float
    at_s: float
    source_s: float

    @property
    def at_loss_s(self) -> float:
        """The lag that may have been reached when the source went: the last good one plus its age at that moment."""
        return self.lag_s + max(0.0, self.source_s - self.at_s)


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


@dataclass(frozen=True, slots=True)
class PeerSight:
    """Another node, as seen from here. `alive_s`: its last sign of life (SQL answer, refusal, ping, advert).

    `eligible`: would it take over, by its own agent's lock and by the rules that SQL can tell? None: not asked yet.
    `channels` are of the last round that asked for them, and None as soon as the peer doesn't answer. `fenced_s`: when
    the fence command said that it is off. `before`: the round before the last. `behind`: its lag, by the heartbeat.
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
    other_flavor: str = ""

    @property
    def answered(self) -> bool:
        return self.evidence is not None and self.evidence.answered

    @property
    def moving_to(self) -> str | None:
        """The node that somebody wants to be the writer in this one's place, by this one's server."""
        facts = self.evidence.facts if self.evidence is not None and self.answered else None
        return facts.moving_to if facts is not None else None

    @property
    def out(self) -> bool:
        """Positively out: it was fenced and has given no sign of life since."""
        return self.fenced_s is not None and (self.alive_s is None or self.alive_s < self.fenced_s)


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything a decision may rest on. None is "not observed" throughout.

    `peers` are the other candidates, `replicas` the nodes that never become the writer. `server_silent_since_s`: when
    the first round of the present silence was asked; `server_unseen_since_s`: of the present time without an answer of
    any kind. `process_lives`: the server's process was not seen to end; `process_unknown`: nobody knows which it is.
    `track_one_since_s`: since when the track file has said 1; None where it does not. `track_changed_s`: when this
    agent wrote another value to it last. `errant`: what this node has and the writer lacks, by the last comparison;
    None before the first. `outside_s`: the newest answer of any witness or peer.
    `own_claims`: connection ids of this agent's own claim sessions, by node. `io_stopped_by_us`: this agent stopped the
    IO thread, for a takeover or for another source, and nothing started it since; `stopped_by_hand`: somebody stopped
    a thread; `start_fails`: why replication does not stay started. `parked`: a rule that keeps this node from
    candidacy, with its text. `maintenance`: the operator's rows that are in force.
    `invited`: it is the target of a planned move and has begun. `promoted`: the operator said that this node shall be
    the writer, whatever is missing. `copying`: a fresh copy of this node was begun and is not whole.
    `behind`: this node's lag, by the heartbeat; None where that says nothing.
    `commits_wait_since_s`: since when commits have been waiting for an acknowledgement while none came.
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

    @property
    def peer_eligible(self) -> bool:
        """Is some other node known to be able to take over?"""
        return any(peer.eligible is True and peer.answered for peer in self.peers.values())

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

    @property
    def peers_epoch(self) -> int:
        """A replica's row counts too: what it follows or followed has opened with it."""
        seen = (*self.peers.values(), *self.replicas.values())
        return max((epoch_of(peer.evidence) for peer in seen), default=0)

    @property
    def entitled(self) -> bool:
        """No writer is left, and this node has the whole history: every peer answers and is closed, none is of a
        newer epoch, and none of this node's epoch has anything that is not here. Or nobody answers, and the memory
        says `solo`: every other was out for sure when this node last wrote."""
        mine = self.server.facts if self.server else None
        if mine is None or not mine.closed or self.unapplied is None or not self.unapplied.is_empty:
            return False
        if any(p.evidence is None or p.evidence.asked_at_s < self.watching_since_s for p in self.peers.values()):
            return False  # not asked since a pause, during which another may have written
        if not any(peer.answered for peer in self.peers.values()):
            done = self.memory.completed
            return self.memory.solo and done is not None and done.epoch >= self.own_epoch
        for peer in self.peers.values():
            theirs = peer.evidence.facts if peer.evidence and peer.answered else None
            if theirs is None or not theirs.closed or epoch_of(peer.evidence) > self.own_epoch:
                return False
            if epoch_of(peer.evidence) == self.own_epoch and not mine.gtid.contains(theirs.gtid):
                return False
        return bool(self.peers)

    @property
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

    def writers(self) -> tuple[PeerSight, ...]:
        """The peers seen open with their open lock held, the highest epoch first."""
        found = [p for p in self.peers.values() if is_writer(p.evidence)]
        return tuple(sorted(found, key=lambda p: -epoch_of(p.evidence)))

    def newest_writers(self) -> tuple[PeerSight, ...]:
        """Those of them that are not of an older epoch than this node's own rows know."""
        return tuple(writer for writer in self.writers() if epoch_of(writer.evidence) >= self.own_epoch)

    def source_of(self, channel: Channel) -> PeerSight | None:
        """The candidate that this channel receives from; None where it is no node, or a replica."""
        return next((p for p in self.peers.values() if p.node.address == channel.source_host), None)


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
