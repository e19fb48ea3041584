"""What does a database server do? A model: sessions that hold named locks, GTIDs, a writable switch, replication.

A transaction is (server id, number); each server numbers its own without gaps. Replicas pull from their source's log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vipguard.model.evidence import Channel, EpochRow, Mark, ProcessId, ServerFacts
from vipguard.model.gtid import GtidSet
from vipguard.model.heartbeat import Beats, Row
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.policy import MARIADB

from .acks import Acks
from .engine import Process

if TYPE_CHECKING:
    from .host import Host

PEER_IDLE_S = 10.0
CONNECT_RETRY_S = 1.0
NET_TIMEOUT_S = 5.0
GIVES_UP_S = 2.0
OUT_OF_ORDER = 1950  # MariaDB's strict mode
Numbers = dict[int, int]  # server id: the last of its transactions


@dataclass(slots=True)
class Txn:
    source: int
    number: int
    at_s: float
    epoch: EpochRow | None = None
    mark: Mark | None = None
    beat: Row | None = None
    opening: Opening | None = None
    acknowledged: bool = False
    acknowledged_s: float = 0.0


@dataclass(eq=False, slots=True)
class Session:
    id: int
    owner: str  # the host it comes from
    guard: bool  # vipguard's account, or a client's
    local: bool
    used_s: float
    alive: bool = True


@dataclass(slots=True)
class Disk:
    """What outlives the process."""

    have: Numbers = field(default_factory=dict)
    log: list[Txn] = field(default_factory=list)
    relay: list[Txn] = field(default_factory=list)
    ever: Numbers = field(default_factory=dict)  # the most that was in it
    epoch: EpochRow | None = None
    mark: Mark | None = None
    beats: dict[int, Row] = field(default_factory=dict)
    ledger: Ledger = Ledger()


class Mysqld(Process):
    """One server process; a restart makes another one on the same disk."""

    def __init__(self, host: Host, disk: Disk, pid: ProcessId, replicate: bool = False) -> None:
        super().__init__(host.engine, host)
        self.disk, self.pid = disk, pid
        self.closed, self.denies, self.born_s = True, False, host.engine.now
        self.sessions: dict[int, Session] = {}
        self.locks: dict[str, Session] = {}
        self.waiting: dict[Callable[[], None], None] = {}  # who is to be told when the process ends
        self.acks = Acks(self)
        self.no_socket = self.leaving = False  # refuses new local connections; refuses all
        self._next_id = 10
        self.received: Numbers = dict(disk.have)
        for txn in disk.relay:
            self.received[txn.source] = max(txn.number, self.received.get(txn.source, 0))
        self.io_wanted = self.sql_wanted = replicate
        self.untold = host.flavor == MARIADB and not replicate  # after a restart it tells nothing of its relay log
        self.sql_errno = self.io_errno = self.io_beats = 0
        self.link: Mysqld | None = None  # the source while the IO thread is connected
        self.replicas: list[Mysqld] = []
        self.cursor = self._links = 0
        self._arrives_s = 0.0  # when the last of what is on its way from the source is here
        self.stalled: list[tuple[Txn, Session, Callable[[], None]]] = []  # commits whose disk does not answer
        self._held: list[tuple[Mysqld, list[Txn], int]] = []  # received while the disk stands
        self._applying = self._fetching = False
        self._stall_s: float | None = None
        self._alone_s: float | None = None  # since when the IO thread has been trying to connect
        self.at(0.01, self.io_tick)

    # -- sessions and locks

    def connect(self, owner: str, *, guard: bool, local: bool) -> Session:
        self._next_id += 1
        session = Session(self._next_id, owner, guard, local, self.engine.now)
        self.sessions[session.id] = session
        return session

    def drop(self, session: Session) -> None:
        session.alive = False
        self.sessions.pop(session.id, None)
        for name in [name for name, holder in self.locks.items() if holder is session]:
            del self.locks[name]

    def lock(self, name: str, session: Session) -> bool:
        return self.locks.setdefault(name, session) is session

    def unlock(self, name: str, session: Session) -> None:
        if self.locks.get(name) is session:
            del self.locks[name]

    def holder(self, name: str) -> int | None:
        held = self.locks.get(name)
        if held is not None and not held.local and self.engine.now - held.used_s > PEER_IDLE_S:
            self.drop(held)
            held = None
        return held.id if held is not None else None

    # -- writing

    @property
    def accepts(self) -> bool:
        """Could a commit succeed right now?"""
        return self.running and not self.closed and not (self.leaving and not self.sessions)

    def shut_down(self, takes_s: float) -> None:
        """SIGTERM: nobody is let in any more, then the sessions are ended, then everything is written to disk."""
        self.leaving = True
        self.at(self.engine.between(0.0, 0.02), self._end_sessions)
        self.at(takes_s, self.end)

    def _end_sessions(self) -> None:
        for session in list(self.sessions.values()):
            self.drop(session)
        self._unlink()
        self.host.cluster.laws.writers_changed(self.host)

    def set_closed(self, closed: bool, who: str) -> None:
        if closed == self.closed:
            return
        self.closed = closed
        self.engine.tell(self.host.name, f"server {'CLOSED' if closed else 'OPEN'} by {who}")
        self.host.cluster.laws.writers_changed(self.host)

    def commit(
        self,
        session: Session,
        told: Callable[[], None] | None = None,
        epoch: EpochRow | None = None,
        mark: Mark | None = None,
        beat: Row | None = None,
        opening: Opening | None = None,
    ) -> Txn:
        """One more transaction; it is acknowledged, and `told` called, at once, when a replica has it, or when the disk
        answers again. It has a number as soon as it is on disk."""
        txn = Txn(self.host.server_id, 0, self.engine.now, epoch, mark, beat, opening)

        def done() -> None:
            if told is not None:
                told()
            else:
                txn.acknowledged = True
                self.host.cluster.laws.histories.acknowledge(txn)

        if self.host.disk_stalled:
            self.stalled.append((txn, session, done))
        else:
            self._write(txn)
            self.acks.wait(txn, session, done)
        return txn

    def _write(self, txn: Txn) -> None:
        txn.number = self.disk.have.get(self.host.server_id, 0) + 1
        self.host.cluster.place(txn.source, txn.number, self.disk.have)
        self._take(txn)
        self.received[txn.source] = txn.number

    def disk_goes_on(self) -> None:
        """What hung is done, also for a client that has gone since."""
        stalled, self.stalled = self.stalled, []
        for txn, session, done in stalled:
            self._write(txn)
            if session.alive:
                self.acks.wait(txn, session, done)

    def _take(self, txn: Txn) -> None:
        self.disk.have[txn.source] = txn.number
        self.disk.log.append(txn)
        self.disk.epoch = txn.epoch or self.disk.epoch
        if txn.opening is not None:
            self.disk.epoch = txn.opening.row
            self.disk.ledger = Ledger.of((*self.disk.ledger.openings, txn.opening))
        self.disk.mark = txn.mark or self.disk.mark
        if txn.beat is not None:
            self.disk.beats[txn.beat.server_id] = txn.beat
        for replica in list(self.replicas):
            replica.pull()

    # -- what it tells

    def gtid(self, numbers: Numbers | None = None) -> GtidSet:
        return self.host.cluster.gtid(self.disk.have if numbers is None else numbers)

    def clock_us(self) -> int:
        """Each host's clock is wrong by an hour more than the last one's."""
        return round((self.engine.now + 3600 * self.host.server_id) * 1e6)

    def facts(self, session: Session, channels: bool, local: bool) -> ServerFacts:
        claim, opened = self.host.policy.claim_lock, self.host.policy.open_lock
        return ServerFacts(
            flavor=self.host.flavor,
            version="1",
            server_id=self.host.server_id,
            uuid=self.host.cluster.uuid(self.host.server_id),
            closed=self.closed,
            gtid=self.gtid(),
            open_lock=self.holder(opened),
            claim_lock=self.holder(claim),
            connection_id=session.id,
            epoch=self.disk.epoch,
            channels=self.channels() if channels else None,
            datadir="/data",
            semi_sync=self.acks.facts() if self.host.policy.lossless else None,
            mark=self.disk.mark,
            moving_to=next((n for n in self.host.cluster.hosts if self.holder(self.host.policy.move_lock(n))), None),
            process=self.pid if local else None,
            fit_lock=self.holder(self.host.policy.fit_lock),
            beats=Beats(self.clock_us(), tuple(self.disk.beats.values())),
            gone=frozenset(n for n in self.host.cluster.hosts if self.holder(self.host.policy.gone_lock(n))),
            ledger=self.disk.ledger if self.host.knows_ledger else None,
            io_beats=self.io_beats,
        )

    def channels(self) -> tuple[Channel, ...]:
        running = self.link is not None
        lag_s: float | None = None
        if running and self.sql_wanted:
            lag_s = float(int(self.engine.now - self.disk.relay[0].at_s)) if self.disk.relay else 0.0
        io: Any = "running" if running else ("connecting" if self.io_wanted else "stopped")
        errno = 2003 if io == "connecting" else self.io_errno
        received, have = self.gtid({} if self.untold else self.received), self.gtid()
        if self.host.flavor == MARIADB:  # a position, which tells the end alone: of what came, not of its own writes
            if self.disk.relay and not self.untold:
                received = self.gtid({self.disk.relay[-1].source: self.disk.relay[-1].number})
            received = GtidSet.parse(MARIADB, received.position())
        source = self.host.source
        return (
            Channel("", source.address, 3306, io, self.sql_wanted, lag_s, received, have.contains(received),
                    errno, "", self.sql_errno, ""),
        )  # fmt: skip

    # -- replication

    def stop_io(self) -> bool:
        """False where MariaDB would throw away what it received, and vipguard's step refuses for that."""
        if self.host.flavor == MARIADB and not self.sql_wanted and self.disk.relay:
            return False
        self.io_wanted, self.io_errno = False, 0
        self._unlink()
        return True

    def start_io(self) -> None:
        self._start_anew()
        if not self.io_wanted:
            self.io_wanted, self.io_errno, self._alone_s = True, 0, None
            self.at(0.005, self.io_tick, True)

    def io_fails(self, errno: int) -> None:
        """The thread ends with this error."""
        self.io_wanted, self.io_errno = False, errno
        self._unlink()

    def _start_anew(self) -> None:
        """MariaDB throws away what was received and not applied when the first of its threads starts."""
        if self.host.flavor == MARIADB and not self.io_wanted and not self.sql_wanted:
            self.disk.relay.clear()
            self.received, self.untold = dict(self.disk.have), False

    def rescue(self) -> None:
        """Apply what the relay log holds."""
        for txn in self.disk.relay:
            if txn.number == self.disk.have.get(txn.source, 0) + 1:
                self._take(txn)
        self.disk.relay.clear()

    def set_aside(self, errant: GtidSet) -> None:
        """Throw away what stands unapplied, if it is nothing else."""
        (channel,), have = self.channels(), self.gtid()
        left = (channel.received or have).minus(have)
        if self.sql_wanted or left.is_empty or not left.minus(errant).is_empty:
            return
        self.io_wanted = False
        self._unlink()
        self.disk.relay.clear()
        self.received, self.untold = dict(self.disk.have), False
        self.sql_wanted, self.sql_errno = bool(self.sql_errno), 0

    def start_sql(self) -> None:
        self._start_anew()
        self.sql_wanted, self.sql_errno = True, 0
        self._apply_soon()

    def point(self, host: Host) -> None:
        """Another source: what was received and not applied is thrown away."""
        sql_wanted = self.sql_wanted
        self.sql_wanted = False
        self.host.follows = host.name
        self.disk.relay.clear()
        self.received = dict(self.disk.have)
        if sql_wanted:
            self.start_sql()

    def stop_sql(self, errno: int = 0) -> None:
        self.sql_wanted, self.sql_errno = False, errno

    def _unlink(self) -> None:
        if self.link is not None:
            self.link.replicas.remove(self)
            self.link, self._fetching = None, False
            self._links += 1

    def io_tick(self, once: bool = False) -> None:
        """Connect, and find out when the source is no longer there."""
        source, net = self.host.source, self.host.network
        there, refused = net.reaches(self.host.name, source.name), net.refuses(self.host.name, source.name)
        if self.link is not None:
            ended = self.link is not source.mysqld or not self.link.alive
            if refused or (there and ended):
                self._unlink()
            elif not there or not self.link.running:
                self._stall_s = self.engine.now if self._stall_s is None else self._stall_s
                if self.engine.now - self._stall_s > NET_TIMEOUT_S:
                    self._unlink()
            else:
                self._stall_s = None
                if self.cursor >= len(self.link.disk.log) and self.engine.now >= self._arrives_s:
                    self.io_beats += 1
                self.pull()
        answers = there and source.mysqld is not None and source.mysqld.running
        if self.link is None and self.io_wanted and not answers and self.host.io_gives_up:
            self._alone_s = self.engine.now if self._alone_s is None else self._alone_s
            if self.engine.now - self._alone_s > GIVES_UP_S:
                self.io_fails(2003)
        if self.link is None and self.io_wanted and answers and self.host.io_fatal:
            self.io_fails(1236)
        if self.link is None and self.io_wanted and answers and source.mysqld is not None:
            self._alone_s = None
            self.link, self._stall_s = source.mysqld, None
            self.link.replicas.append(self)
            self.cursor = 0
            self.received = {**self.disk.have}
            for txn in self.disk.relay:
                self.received[txn.source] = max(txn.number, self.received.get(txn.source, 0))
            self.pull()
        if not once:
            self.at(0.25 if self.link is not None else CONNECT_RETRY_S, self.io_tick)

    def source_ended(self) -> None:
        if self.link is not None and self.host.network.reaches(self.host.name, self.link.host.name):
            self._unlink()

    def pull(self) -> None:
        """The source's dump thread sends what is new."""
        source = self.link
        if source is None or self._fetching or self.cursor >= len(source.disk.log):
            return
        self._fetching = True
        source.at(self.engine.between(0.0002, 0.001) + self.host.network.slow_s, self._send, source)

    def _send(self, source: Mysqld) -> None:
        self._fetching = False
        if self.link is not source or not self.host.network.reaches(self.host.name, source.host.name):
            return
        new, self.cursor = source.disk.log[self.cursor :], len(source.disk.log)
        self._arrives_s = max(self._arrives_s, self.engine.now + 0.0002 + self.host.receives_late_s)
        self.at(self._arrives_s - self.engine.now, self._receive, source, new, self._links)

    def _receive(self, source: Mysqld, new: list[Txn], link: int) -> None:
        if not self.io_wanted or self.link is not source or link != self._links:
            self.cursor = 0
            return
        if self.host.disk_stalled or self._held:
            self._held.append((source, new, link))
            if len(self._held) == 1:
                self.at(0.05, self._write_held)
            return
        for txn in new:
            if txn.source != self.host.server_id and txn.number > self.received.get(txn.source, 0):
                self.received[txn.source] = txn.number
                self.disk.relay.append(txn)
                self.disk.ever[txn.source] = max(txn.number, self.disk.ever.get(txn.source, 0))
        self._acknowledge(source)
        self._apply_soon()

    def _write_held(self) -> None:
        """What came while the disk stood, in its order."""
        if self.host.disk_stalled:
            self.at(0.05, self._write_held)
            return
        held, self._held = self._held, []
        for source, new, link in held:
            self._receive(source, new, link)

    def _acknowledge(self, source: Mysqld) -> None:
        """Semi-sync: what is on this disk is acknowledged to its source, not by a replica."""
        acknowledges = self.host.policy.lossless and not self.acks.mute
        if acknowledges and self.host.network.reaches(self.host.name, source.host.name):
            number = self.received.get(source.host.server_id, 0)
            source.at(self.engine.between(0.0002, 0.001), source.acks.received, source.host.server_id, number)

    def _apply_soon(self) -> None:
        if self.disk.relay and self.sql_wanted and not self._applying:
            self._applying = True
            self.at(self.host.apply_s * self.engine.between(0.5, 1.5), self._apply)

    def _apply(self) -> None:
        self._applying = False
        if not self.sql_wanted or not self.disk.relay:
            return
        if self.host.disk_stalled:
            self._applying = True
            self.at(0.05, self._apply)
            return
        txn, cluster = self.disk.relay[0], self.host.cluster
        if txn.number == self.disk.have.get(txn.source, 0) + 1:
            if self.host.flavor == MARIADB and cluster.places[txn.source, txn.number] <= cluster.end(self.disk.have):
                self.stop_sql(OUT_OF_ORDER)
                return
            self._take(txn)
        self.disk.relay.pop(0)
        self._apply_soon()

    # -- ends

    def end(self) -> None:
        """Killed, crashed or shut down: no commit any more; sockets close a little later."""
        if not self.alive:
            return
        super().end()
        self.engine.tell(self.host.name, "server process ends")
        for txn, _, _ in self.stalled[: self.engine.rng.randint(0, len(self.stalled)) if self.stalled else 0]:
            self._write(txn)  # that much had got to the disk, and nobody was told
        self.stalled = []
        self._unlink()
        for replica in list(self.replicas):
            replica.at(self.engine.between(0.001, 0.08), replica.source_ended)
        waiting, self.waiting = self.waiting, {}
        for tell in waiting:
            self.engine.at(self.engine.between(0.001, 0.08), tell)
        self.host.cluster.laws.writers_changed(self.host)
        self.host.server_ended()

    def stop(self) -> None:
        super().stop()
        self.host.cluster.laws.writers_changed(self.host)

    def cont(self) -> None:
        self.host.cluster.laws.thawed(self.host)
        super().cont()
        self.host.cluster.laws.writers_changed(self.host)
