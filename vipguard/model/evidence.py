"""What was observed? Evidence as frozen values; `None` always means "not observed", never zero and never "fine".

Times are seconds of CLOCK_BOOTTIME. Nothing here decides; `checks/` and `notify/` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .changed import worked_out
from .gtid import GtidSet
from .heartbeat import Beats
from .ledger import EpochRow as EpochRow  # noqa: PLC0414, it is what others import from here
from .ledger import History, Ledger
from .maintenance import Maintenance
from .policy import Flavor


class Answer(StrEnum):
    """How a server reacted to being asked."""

    ANSWERED = "answered"
    ABSENT = "absent"  # refused the connection, or has no socket; of a peer, a firewall may have done that
    SILENT = "silent"  # took the connection, or the packets, and said nothing before the deadline
    BLIND = "blind"  # we could not look: wrong password, missing grant or table, no descriptor, too many connections,
    # or a server that lives and is kept from answering: its tables are locked, its threads or processors all taken


IoState = Literal["running", "connecting", "stopped"]


@dataclass(frozen=True, slots=True)
class Channel:
    """One replication connection, as the replica tells it.

    `lag_s` is Seconds_Behind and None whenever the server says NULL, or says a number while the IO thread isn't
    running (a thread that just started says 0 before it has spoken to its source). `applied` is True when all that
    was received has been applied (GTID sets compared), None when it can't be told. `io_beats`: how many heartbeats of
    replication's own it received, where its status tells.
    """

    name: str
    source_host: str
    source_port: int
    io: IoState
    sql_running: bool
    lag_s: float | None
    received: GtidSet | None
    applied: bool | None
    io_errno: int = 0
    io_error: str = ""
    sql_errno: int = 0
    sql_error: str = ""
    io_beats: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The replicated row in which the writer of `epoch` says that semi-sync is on, or off. `number` grows each time."""

    epoch: int
    number: int
    on: bool


@dataclass(frozen=True, slots=True)
class SemiSync:
    """Semi-synchronous replication as a server tells it, of its two roles.

    `source_on`: switched on, and not fallen back. `clients`: replicas that acknowledge; MariaDB counts a dead one until
    the next commit. `waiting`: commits that wait for an acknowledgement now; `acked`: those that ever got one.
    `replica_on`: the IO thread, if it runs, acknowledges.
    """

    source_enabled: bool
    source_on: bool
    clients: int
    waiting: int
    acked: int
    replica_enabled: bool
    replica_on: bool


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that can't be confused with a later one of the same number. `start_ticks`: /proc/PID/stat, field 22."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Order:
    """What keeps MariaDB's transactions in one order. `domain`: new sessions write in it. `strict`: gtid_strict_mode.
    `parallel`: it would apply what lies in two domains in either order."""

    domain: int
    strict: bool
    parallel: bool


@dataclass(frozen=True)
class ServerFacts:
    """What a server that answered said of itself, in one round.

    `closed` is read_only and, on MySQL, super_read_only with it. `gtid` is everything it has, applied or written
    here. `open_lock`, `claim_lock` and `fit_lock` are the connection ids that hold the three named locks. `sessions`
    are the connection ids of the sessions the prober itself knows to be its own. `channels` is None where this round
    did not ask. `other_cluster` names a foreign cluster whose epoch row stands where ours should.
    `process` is known of a local server only. `semi_sync` and `mark` are asked for under lossless only; `semi_sync` is
    None where the server has no semi-sync. `maintenance`: the operator's rows that are in force, by this server.
    `moving_to`: the node that somebody wants to be the writer in the place of this one, while he holds its lock here.
    `log_dirs`: where its binary log and redo log lie, of a local server.
    `reads`: the reader addresses that its agent may be given, by the locks that it holds. `certificate_until_s`: when
    its certificate ends, in seconds since 1970; None without TLS. `beats`: the heartbeat's rows; None where there is no
    table for them, or they were not asked for. `ledger`: the openings; None where there is no table for them.
    `io_beats`: how many heartbeats of replication's own its IO threads have received; None where it does not tell.
    `half_closed`: MySQL's read_only without super_read_only, which refuses all but administrators.
    table for them, or they were not asked for. `order`: of MariaDB only.
    """

    flavor: Flavor
    version: str
    server_id: int
    closed: bool
    gtid: GtidSet
    open_lock: int | None
    claim_lock: int | None
    connection_id: int
    epoch: EpochRow | None
    channels: tuple[Channel, ...] | None
    datadir: str = ""
    other_cluster: str | None = None
    process: ProcessId | None = None
    uuid: str = ""
    semi_sync: SemiSync | None = None
    mark: Mark | None = None
    maintenance: tuple[Maintenance, ...] = ()
    moving_to: str | None = None
    fit_lock: int | None = None
    reads: frozenset[str] = frozenset()
    certificate_until_s: float | None = None
    beats: Beats | None = None
    gone: frozenset[str] = frozenset()
    log_dirs: tuple[str, ...] = ()
    half_closed: bool = False
    ledger: Ledger | None = None
    io_beats: int | None = None

    order: Order | None = None

    @worked_out
    def history(self) -> History:
        return History(self.gtid, self.epoch, self.ledger)


@dataclass(frozen=True, slots=True)
class RelayEvidence:
    """What the relay log of server `process` held unapplied, seen at `seen_at_s` while nothing received.

    `unapplied` is None where it could not be told, for `reason`; with a set, `reason` is why it could not be applied.
    """

    process: ProcessId | None
    seen_at_s: float
    unapplied: GtidSet | None
    reason: str = ""


@dataclass(frozen=True)
class ServerEvidence:
    """One round of asking a server. `asked_at_s` is when the round began: what it saw is at least that new.

    `spoke`: it said something in this round, though not what it was asked: its host lives and reaches us.
    """

    answer: Answer
    asked_at_s: float
    seen_at_s: float
    facts: ServerFacts | None = None
    reason: str = ""
    spoke: bool = False

    @worked_out
    def answered(self) -> bool:
        return self.answer is Answer.ANSWERED


@dataclass(frozen=True, slots=True)
class AddressEvidence:
    """This host's network as netlink tells it. `link_up`: the VIP's interface has a carrier."""

    seen_at_s: float
    vip_present: bool
    link_up: bool


@dataclass(frozen=True, slots=True)
class DiskEvidence:
    """The file systems that a commit writes to; of the data directory's: its room. None: statvfs failed or did not come
    back in time. `took_s`: the look.

    vipguard writes a few bytes there and syncs them, again and again. `waits_since_s`: since when one of these writes
    has not come back; None while none is under way. `still_since_s`: since when, besides, nothing was seen to move: the
    write slept in the kernel, and its device completed no other one. `counted`: that device counts what it completes.
    `sync_error`: why no file can be written or synced there, `place` being where; empty when it can.
    """

    seen_at_s: float
    free_bytes: int | None
    total_bytes: int | None
    writable: bool | None
    took_s: float | None = None
    waits_since_s: float | None = None
    still_since_s: float | None = None
    counted: bool = True
    sync_error: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class CopyEvidence:
    """A fresh copy of this node that is not whole: begun at `since` from node `source`. `working`: by a process that
    lives."""

    since: str
    source: str
    working: bool


VrrpState = Literal["INIT", "MASTER", "BACKUP", "FAULT", "STOP"]


@dataclass(frozen=True, slots=True)
class KeepalivedEvidence:
    """keepalived on this host. `alive`: the process that speaks VRRP; None: none was seen, by no pid file, under no
    name and by nobody who has the FIFO open.

    `advert_left_s`: when its last advert for our router id left the interface, watched until `looked_at_s`.
    `state`: of the newest notify line; None before the first of this process. `started_s`: when the process began.
    `stands`: it is stopped (SIGSTOP). `writer`: somebody has the FIFO open for writing; None: not looked at.
    `unheld_since_s`: since when nobody has, although keepalived lives.
    """

    alive: bool | None = None
    hung_up: bool = False
    state: VrrpState | None = None
    state_at_s: float | None = None
    advert_left_s: float | None = None
    looked_at_s: float | None = None
    started_s: float | None = None
    stands: bool = False
    writer: bool | None = None
    unheld_since_s: float | None = None
