"""What does the agent know? The world as one frozen value. Times are seconds of CLOCK_BOOTTIME."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.damping import Damping
from ..model.effect import Effect, ProbePeer
from ..model.evidence import (
    AddressEvidence,
    CopyEvidence,
    DiskEvidence,
    EpochRow,
    KeepalivedEvidence,
    ProcessId,
    RelayEvidence,
    ServerEvidence,
)
from ..model.gtid import GtidSet
from ..model.heartbeat import Behind
from ..model.maintenance import Maintenance
from ..model.memory import KeptClean, KeptThreads, Memory
from ..model.policy import Policy
from ..model.reading import ReaderState
from ..model.sight import GoodLag, PeerSight, Receiving, Sight
from ..model.silence import NOTICED, silence_s
from ..model.standdown import StoodDown
from ..model.verdict import Verdict
from ..notify.takeover import ADVERTS_MISSED, Takeover

STEADY_S = 2.0  # so long replication must run, after a start that failed, before this node counts as one that does


@dataclass(frozen=True, slots=True)
class Starting:
    """Looking round before anything is touched."""

    since_s: float


@dataclass(frozen=True, slots=True)
class Resting:
    """Closed, and not taking over."""

    since_s: float


@dataclass(frozen=True, slots=True)
class Taking:
    """The VIP is here; `waiting` is the present rule of the plan, since `waiting_since_s`."""

    takeover: Takeover
    waiting: str
    waiting_since_s: float


@dataclass(frozen=True, slots=True)
class Writing:
    """Open by right. `opener` is the connection that holds the open lock; None while it must be regained. `ordered_s`:
    since when a planned move waits for its target to come near; `shut_s`: since when its server is closed, by whom is
    not known yet."""

    epoch: int
    opener: int | None
    since_s: float
    ordered_s: float | None = None
    shut_s: float | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """Being closed by `rule`; past `close_s` by kill, `again_s` being the earliest time of the next attempt.

    `kill`: at once, because commits wait on a node that is cut off or superseded. `to`: a planned move to that node,
    which kills nothing and leaves the writer of `epoch` open when it cannot be closed; its clients are `cut` first, so
    that none of them is told that the server is read-only, and `since_s` is when they were.
    """

    rule: str
    text: str
    since_s: float
    again_s: float = 0.0
    kill: bool = False
    to: str | None = None
    cut: bool = False
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Handing:
    """Closed for a planned move, with the VIP still here: `node` must have `gtid` first.

    `back_s`: since when this node means to open again, and waits for the target's claim to end.
    """

    node: str
    gtid: GtidSet
    since_s: float
    back_s: float | None = None


@dataclass(frozen=True, slots=True)
class Invited:
    """Ordered to be the writer: claiming every node, and waiting for the VIP."""

    takeover: Takeover
    since_s: float
    shut: bool = False


Phase = Starting | Resting | Invited | Taking | Writing | Closing | Handing


@dataclass(frozen=True, slots=True)
class Flight:
    """An effect under way; without a report by `until_s` it counts as "may have happened"."""

    number: int
    effect: Effect
    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class HoldOff:
    """After a takeover that gave up: by which rule, and until when this node leaves the VIP to others."""

    rule: str
    text: str
    until_s: float


@dataclass(frozen=True, slots=True)
class Acks:
    """Semi-sync, as far as it takes time to know. `acked` is the server's count at the last look; `waiting_since_s`:
    since when commits wait and it stands. `marked_epoch`: the epoch for which this agent wrote the mark since semi-sync
    was switched on; `tried_s`: when it last changed something; `there_s`: when a standby was last seen to acknowledge.
    """

    receiving: Receiving | None = None
    acked: int | None = None
    waiting_since_s: float | None = None
    marked_epoch: int | None = None
    tried_s: float = 0.0
    there_s: float = 0.0


@dataclass(frozen=True)  # as World
class Trying:
    """How the starts of replication fare, and how its threads stood at the last look (`seen_s`) at `process`.

    `tries` starts did not stay, the last was sent at `tried_s`; `failed` is what ended it. `about` and `ids`: what
    would make it another case. `ran_since_s`: since when all threads run; `stands`: they were seen to stand since the
    start. `io_ran_s`: when the IO threads last received; `searching`: one looked for its source; `sql`: the SQL
    threads ran.
    """

    tries: int = 0
    tried_s: float = 0.0
    failed: str = ""
    about: tuple[object, ...] = ()
    ids: tuple[int, ...] = ()
    ran_since_s: float | None = None
    stands: bool = False
    process: ProcessId | None = None
    seen_s: float = 0.0
    io_ran_s: float | None = None
    searching: bool = False
    sql: bool = False


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Who else answered for the VIP when the holder asked last, and for how many rounds nobody has since. `claimed`:
    another node has the claim on this one, since it got the VIP too."""

    macs: tuple[str, ...] = ()
    asked_s: float | None = None
    quiet: int = 0
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """The newest opening of the writer `node`, all that stood in its ledger then, and a set that it had after that,
    which was read by `seen_s`."""

    node: str
    row: EpochRow
    gtid: GtidSet
    rows: frozenset[EpochRow]
    seen_s: float


@dataclass(frozen=True)  # without slots, `model/changed.py` changes it fast
class World:
    """All that `step` knows. `began_s` is when the agent began, `watching_s` since when it looks without a pause.

    `peers` are all other nodes, replicas too. `said` holds what was logged last, by topic. `sent_away`: how often in a
    row a peer that writes by right did so; `mute`: how often the VIP was here and no advert left. `beat_s`: when a
    heartbeat was sent last, `beat_done_s`: when that had ended, `beat_gtid`: what the server had when it was asked
    first after that.
    `track_s`: since when the track file says what it says; `track_changed_s`: when this agent last changed that;
    `vrrp_asked_s`: when it did only to see whether keepalived follows.
    `process`: the server's, None where it is not known; `known`: the last one that was.
    `trying`: the starts of replication; `threads`: which process did replicate, and whether a hand stopped it.
    `steady_s`: since when its ticks come in time; `armed_s`: when the server will close itself, by order;
    `ordered_s`: the same of the last order, called off or not.
    `gone_to`: the peers to which it was said that the local server's process is gone; `said_gone_s`: when that was
    last said to anybody.
    `stood_down`: somebody's word that the server is to stay closed; `word_due`: it, or its end, is the agent's own and
    not on the disk yet.
    `readers`: the reader addresses that it looks after, by name; `wrote_s`: when this server process was last the
    writer's; `writer_mark`: what the file says that tells so. `overruled_s`: when the sitting writer last wrote a row
    of its ledger because of that peer, `noticed_s`: since when there is reason to.
    `reference`: by which it is seen that rows are filtered, from `filtered_from`.
    """

    policy: Policy
    boot_id: str
    began_s: float
    watching_s: float
    phase: Phase
    may_open: bool = True
    memory: Memory = Memory()
    ticks: int = 0
    gap_s: float = 0.0
    server: ServerEvidence | None = None
    server_before: ServerEvidence | None = None
    silent_since_s: float | None = None
    unseen_since_s: float | None = None
    exited_s: float = 0.0
    exited: ProcessId | None = None
    process: ProcessId | None = None
    known: ProcessId | None = None
    join_due: bool | None = None
    relay: RelayEvidence | None = None
    joined_s: float = 0.0
    trying: Trying = Trying()
    threads: KeptThreads | None = None
    address: AddressEvidence | None = None
    keepalived: KeepalivedEvidence = KeepalivedEvidence()
    disk: DiskEvidence | None = None
    disk_asked_s: float | None = None
    peers: Mapping[str, PeerSight] = field(default_factory=dict)
    witnesses: Mapping[str, float | None] = field(default_factory=dict)
    witness_took_s: float | None = None
    outside_s: float | None = None
    good_lag: GoodLag | None = None
    behind: Behind | None = None
    beat_s: float = 0.0
    beat_done_s: float | None = None
    beat_gtid: GtidSet | None = None
    errant: GtidSet | None = None
    compared: bool = False
    clean: KeptClean | None = None
    diverged: str | None = None
    maintenance: tuple[Maintenance, ...] = ()
    lifted: tuple[Maintenance, ...] = ()
    declined: bool = False
    claims: Mapping[str, int] = field(default_factory=dict)
    hold_off: HoldOff | None = None
    sent_away: int = 0
    mute: int = 0
    promoted_until_s: float | None = None
    damping: Damping = Damping()
    duplicate: Duplicate = Duplicate()
    solo_ordered: bool = False
    copying: CopyEvidence | None = None
    stood_down: StoodDown | None = None
    word_due: bool = False
    acks: Acks = Acks()
    track: str | None = None
    track_s: float | None = None
    track_changed_s: float | None = None
    vrrp_asked_s: float | None = None
    track_asked: str | None = None
    flights: Mapping[str, Flight] = field(default_factory=dict)
    next_flight: int = 1
    verdict: Verdict | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    readers: Mapping[str, ReaderState] = field(default_factory=dict)
    steady_s: float = 0.0
    armed_s: float | None = None
    ordered_s: float | None = None
    gone_to: frozenset[str] = frozenset()
    said_gone_s: float | None = None
    wrote_s: float | None = None
    writer_mark: str | None = None
    reference: Reference | None = None
    filtered_from: str | None = None
    gtid_since_s: float | None = None
    overruled_s: Mapping[str, float] = field(default_factory=dict)
    noticed_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def process_lives(self) -> bool:
        """Has the server's process, as far as it is known, not been seen to end?"""
        return self.process is not None and self.exited != self.process

    @property
    def stopped_by_hand(self) -> bool:
        """Do threads of the present server process stand because somebody stopped them?"""
        facts, kept = self.server.facts if self.server else None, self.threads
        if facts is None or kept is None or not kept.by_hand or kept.process != facts.process:
            return False
        return any(not channel.sql_running or channel.io == "stopped" for channel in facts.channels or ())

    def start_fails(self, now_s: float) -> str | None:
        """What ended the last start of replication; None where it stays started, or none has failed."""
        since_s = self.trying.ran_since_s
        if not self.trying.failed or (since_s is not None and now_s - since_s >= STEADY_S):
            return None
        return self.trying.failed

    @property
    def rivals(self) -> dict[str, PeerSight]:
        """The other nodes that may become the writer."""
        return {name: peer for name, peer in self.peers.items() if not peer.node.is_replica}

    def sight(self, now_s: float) -> Sight:
        """The evidence as checks and plans take it."""
        return Sight(
            now_s=now_s,
            policy=self.policy,
            server=self.server,
            server_silent_since_s=self.silent_since_s,
            server_unseen_since_s=self.unseen_since_s,
            process_lives=self.process_lives,
            process_unknown=self.process is None,
            address=self.address,
            keepalived=self.keepalived,
            track_one_since_s=self.track_s if self.track == "1" else None,
            track_changed_s=self.track_changed_s,
            disk=self.disk,
            peers=self.rivals,
            replicas={name: peer for name, peer in self.peers.items() if peer.node.is_replica},
            witnesses=self.witnesses,
            outside_s=self.outside_s,
            watching_since_s=self.watching_s,
            good_lag=self.good_lag,
            behind=self.behind,
            errant=self.errant,
            relay=self.relay,
            io_stopped_by_us=self.memory.stopped == self.boot_id,
            stopped_by_hand=self.stopped_by_hand,
            start_fails=self.start_fails(now_s),
            own_claims=self.claims,
            memory=self.memory,
            parked=self._parked(now_s),
            maintenance=tuple(row for row in self.maintenance if row not in self.lifted),
            invited=isinstance(self.phase, Invited),
            promoted=self.promoted_until_s is not None and now_s < self.promoted_until_s,
            damping=self.damping,
            copying=None if self.copying is None else _unfinished(self.copying),
            receiving=self.acks.receiving,
            commits_wait_since_s=self.acks.waiting_since_s,
            said_gone_s=self.said_gone_s,
            was_writer=self._was_writer(),
            filtered_from=self.filtered_from,
            gtid_since_s=self.gtid_since_s,
            stood_down=self.stood_down,
        )

    def _was_writer(self) -> bool:
        """Is the newest opening on this server the one that this agent, or one before it, completed in this boot?"""
        facts, done = self.server.facts if self.server else None, self.memory.completed
        if facts is None or facts.process is None or done is None or done.boot_id != self.boot_id:
            return False
        if done.process != facts.process:
            return False
        newest = facts.history.newest
        return newest is not None and (newest.node, newest.boot_id) == (self.policy.node, self.boot_id)

    def _parked(self, now_s: float) -> tuple[str, str] | None:
        if self.hold_off is not None and now_s < self.hold_off.until_s:
            given_up = "" if self.hold_off.rule == "switchover" else "gave a takeover up: "
            return self.hold_off.rule, f"{given_up}{self.hold_off.text}"
        return ("diverged", self.diverged) if self.diverged is not None else None


def _unfinished(copy: CopyEvidence) -> str:
    state = "is being made" if copy.working else "was broken off: `vipguard rejoin --discard` makes it again"
    return f"a fresh copy of {copy.source}, begun at {copy.since}, {state}"


def begin(policy: Policy, boot_id: str, now_s: float, memory: Memory, *, may_open: bool = True) -> World:
    """The world before the first look; without `may_open` no takeover begins.

    Nobody looked since the kept lag was seen, so its whole age counts.
    """
    kept = memory.lag if memory.lag is not None and memory.lag.boot_id == boot_id else None
    return World(
        policy=policy,
        boot_id=boot_id,
        may_open=may_open,
        began_s=now_s,
        watching_s=now_s,
        phase=Starting(now_s),
        memory=memory,
        peers={node.name: PeerSight(node) for node in policy.peers},
        witnesses=dict.fromkeys(policy.witnesses),
        join_due=True if memory.stopped == boot_id or memory.diverged else None,
        diverged=memory.diverged,
        maintenance=memory.maintenance,
        good_lag=GoodLag(kept.lag_s, kept.at_s) if kept else None,
        threads=memory.threads if memory.threads is not None and memory.threads.boot_id == boot_id else None,
    )


def suspect_s(world: World) -> float:
    """When the looks of a writer count as unanswered, unless somebody answers before."""
    since_s = max(world.outside_s or 0.0, world.watching_s, world.steady_s)
    return since_s + NOTICED * world.policy.limits.probe_s


def wake_s(world: World, now_s: float) -> float:
    """When the agent must look again at the latest: the next tick, or a limit that ends before it."""
    limits, moments = world.policy.limits, [now_s + world.policy.limits.probe_s]
    if isinstance(world.phase, Taking | Writing):
        moments.append(max(world.outside_s or 0.0, world.watching_s) + limits.lease_s)
    if isinstance(world.phase, Writing):
        moments.append(suspect_s(world))
    if isinstance(world.phase, Writing) and world.keepalived.advert_left_s is not None:
        moments.append(world.keepalived.advert_left_s + ADVERTS_MISSED * world.policy.vip.advert_s)
    if world.silent_since_s is not None:
        moments.append(world.silent_since_s + limits.hang_s)
    if isinstance(world.phase, Closing):
        moments.extend((world.phase.again_s, world.phase.since_s + limits.close_s))
    if world.hold_off is not None:
        moments.append(world.hold_off.until_s)
    if isinstance(world.phase, Taking):
        margin_s = silence_s(world.policy)
        moments.extend(peer.alive_s + margin_s for peer in world.peers.values() if peer.alive_s is not None)
    return min((moment for moment in moments if moment > now_s), default=now_s)


def probing(world: World) -> frozenset[str]:
    """The peers that are being asked right now."""
    return frozenset(f.effect.node for f in world.flights.values() if isinstance(f.effect, ProbePeer))
