"""How is a server closed, and how is it opened? The steps that change who may write; each within a total deadline."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from ..errors import CouldNotDo, VipguardError
from ..model.effect import Care
from ..model.evidence import ProcessId
from ..model.gtid import GtidSet
from ..model.ledger import Opening
from ..model.policy import MARIADB
from ..session import Deadline, Denied, Session, dialect_of, ledger
from ..session.process import is_done, is_exiting, stat_fields
from .sessions import Row, end_and_see_gone, kill, list_sessions
from .step import step

Connect = Callable[[Deadline], Session]
FIRST_S = 0.001  # with nothing in its way the SET is through by then
ROUND_S = 0.003
COMMITTING_S = 0.02  # a commit on its way to a replica that answers is done by then
RESERVE_SHARE = 0.2  # of the deadline, kept to end a SET that hangs and to see it gone
TOO_MANY_CONNECTIONS = 1040


@dataclass(frozen=True, slots=True)
class CloseResult:
    """Closed, and seen so. `gtid`: the set then. `killed`: client sessions ended.

    `left`: client sessions still on the list at the deadline: the server refuses to end them, or they roll back. They
    cannot commit, except on MariaDB those of an account that `read_only` does not bind.
    """

    gtid: GtidSet
    killed: int
    took_s: float
    left: int = 0


def close_server(
    connect: Connect, own_ids_to_keep: frozenset[int], deadline_s: float, care: Care = Care.NONE
) -> CloseResult:
    """Make the server read-only, whatever stands in the way, and end its client sessions.

    `care` says what may stand in the way: a commit that waits for a replica is never ended by it but for Care.NONE.

    First vipguard's other local sessions are ended and seen gone, so that no open that is under way comes after it.
    `own_ids_to_keep` are spared, as is every session of vipguard's account from another host, replication, and the
    server itself. The same serves this host's server and a peer's. Raises Absent, Silent, CouldNotDo: `refused` when
    the server is certainly as open as before.
    """
    started_s = time.monotonic()
    deadline = Deadline(deadline_s)
    with step("close the server"):
        killer = connect(deadline)
        try:
            killed: set[int] = set()
            setter = _second(connect, killer, own_ids_to_keep, killed, deadline, care)
            try:
                closing = _Closing(setter, killer, own_ids_to_keep, killed, deadline, deadline_s, care)
                gtid, left = closing.run()
            finally:
                setter.close()
        finally:
            killer.close()
    return CloseResult(gtid, len(killed), time.monotonic() - started_s, left)


def _second(
    connect: Connect,
    killer: Session,
    keep: frozenset[int],
    killed: set[int],
    deadline: Deadline,
    care: Care,
) -> Session:
    """Another session; with all connections taken, room is made for it."""
    while True:
        try:
            return connect(deadline)
        except Denied as exc:
            if exc.errno != TOO_MANY_CONNECTIONS or deadline.expired or care is Care.STRICT:
                raise
        victims = _victims(list_sessions(killer, deadline), killer, keep, care)
        killed |= victims - kill(killer, victims, deadline)
        time.sleep(ROUND_S)


def _victims(rows: list[Row], killer: Session, keep: frozenset[int], care: Care) -> set[int]:
    me = next((row.user for row in rows if row.id == killer.connection_id), None)
    found = (row for row in rows if row.is_client and row.user != me and row.id not in keep)
    return {row.id for row in found if care is Care.NONE or not row.waits_for_ack}


class _Closing:
    """One close on two sessions: `setter` waits in the SET, `killer` clears what it waits for."""

    def __init__(
        self,
        setter: Session,
        killer: Session,
        keep: frozenset[int],
        killed: set[int],
        deadline: Deadline,
        deadline_s: float,
        care: Care,
    ) -> None:
        self.setter, self.killer, self.deadline, self.care = setter, killer, deadline, care
        self.keep = keep | {setter.connection_id, killer.connection_id}
        self.set_deadline = deadline.before(RESERVE_SHARE * deadline_s)
        self.dialect = dialect_of(killer.flavor)
        self.killed = killed
        self.refused: set[int] = set()
        self.failure: VipguardError | None = None

    def run(self) -> tuple[GtidSet, int]:
        self._end_own()
        self._set()
        if not self._look()[0]:
            raise CouldNotDo("it is not read-only though it said so")
        left = self._clear()
        closed, gtid = self._look()
        if not closed:
            raise CouldNotDo("somebody opened it again meanwhile")
        return gtid, left

    def _end_own(self) -> None:
        rows = list_sessions(self.killer, self.deadline)
        me = next((row.user for row in rows if row.id == self.killer.connection_id), None)
        self._look_for_waiting(rows)
        stale = {row.id for row in rows if row.user == me and row.is_local and row.id not in self.keep}
        if self.care is not Care.NONE:  # the mark's commit may wait, and can open nothing any more
            stale -= {row.id for row in rows if row.waits_for_ack}
        if still := end_and_see_gone(self.killer, stale, self.deadline):
            raise CouldNotDo(f"an older session of vipguard's is still there ({sorted(still)})", refused=True)

    def _set(self) -> None:
        lock_wait_s = ceil(self.set_deadline.remaining()) + 1
        statements = (f"SET SESSION lock_wait_timeout={lock_wait_s}", self.dialect.close)
        done = threading.Event()

        def send() -> None:
            try:
                self.setter.ask(statements, self.deadline)
            except VipguardError as exc:
                self.failure = exc
            finally:
                done.set()

        thread = threading.Thread(target=send, name="close-server", daemon=True)
        thread.start()
        try:
            wait_s, began_s = FIRST_S, time.monotonic()
            while not done.wait(wait_s):
                if self.set_deadline.expired:
                    self._end_set(done)
                    return
                if self.care is Care.STRICT:
                    self._look_for_waiting(list_sessions(self.killer, self.deadline))
                elif self.care is Care.NONE or time.monotonic() - began_s > COMMITTING_S:
                    self._kill_clients()
                wait_s = ROUND_S
        finally:
            if not done.is_set():
                self.setter.close()  # wakes the thread
            thread.join(1.0)
        if self.failure is not None:
            raise self.failure

    def _look_for_waiting(self, rows: list[Row]) -> None:
        waiting = sorted(row.id for row in rows if row.waits_for_ack) if self.care is Care.STRICT else []
        if waiting:
            raise CouldNotDo(f"commits wait for a replica (sessions {waiting})")

    def _end_set(self, done: threading.Event) -> None:
        """The SET hangs: end its session by id and see it gone, so that it cannot come through later."""
        gone = not end_and_see_gone(self.killer, {self.setter.connection_id}, self.deadline)
        done.wait(self.deadline.remaining())
        if self._look()[0]:
            return  # it came through at the last moment
        raise CouldNotDo("read-only could not be set within the deadline", refused=gone)

    def _clear(self) -> int:
        """End the client sessions that there were; how many are left at the deadline. Later ones find it read-only."""
        left, wait_s = self._kill_clients(), FIRST_S / 2
        while left - self.refused and self.deadline.remaining() >= ROUND_S:
            time.sleep(wait_s)
            left, wait_s = left & self._kill_clients(), min(2 * wait_s, ROUND_S)
        return len(left)

    def _kill_clients(self) -> set[int]:
        victims = _victims(list_sessions(self.killer, self.deadline), self.killer, self.keep, self.care)
        self.refused |= kill(self.killer, victims - self.killed - self.refused, self.deadline)
        self.killed |= victims - self.refused
        return victims

    def _look(self) -> tuple[bool, GtidSet]:
        row = self.killer.ask((self.dialect.own_gtid(),), self.deadline)[0][0]
        return self.dialect.read_closed(row), self.dialect.read_gtid(row)


class Opener:
    """The one session that may open this host's server. It holds the open lock as long as it lives.

    It is made before the last look at the world: a close that comes in between ends it, and then it opens nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sent = False
        self._ledger = False

    @classmethod
    def prepare(cls, connect: Connect, open_lock: str, deadline: Deadline, domain: int | None = None) -> Opener:
        """A new session that holds the lock. CouldNotDo (refused) when another session has it; Absent, Silent.

        MariaDB: new sessions, this one included, write in `domain`. Where that had to be changed, and the account may,
        whoever was connected before is cut off: his writes would go on in the old one.
        """
        with step("prepare to open"):
            session = connect(deadline)
            try:
                if domain is not None and session.flavor == MARIADB and _change_domain(session, domain, deadline):
                    session.close()
                    session = connect(deadline)
                name = session.literal(open_lock)
                row = session.ask((f"SELECT GET_LOCK({name}, 0), IS_USED_LOCK({name})",), deadline)[0][0]
                if row[0] != b"1":
                    holder = (row[1] or b"nobody").decode()
                    raise CouldNotDo(f"session {holder} holds the open lock", refused=True)
            except BaseException:
                session.close()
                raise
            try:
                opener = cls(session)
                opener._ledger = session.ask((ledger.THERE,), deadline)[0][0][0] == b"1"
            except BaseException:
                session.close()
                raise
        return opener

    def open(self, deadline: Deadline) -> None:
        """Send read_only=0, once and never again; a server that comes to it after the deadline stays closed.

        Raises CouldNotDo: `refused` when it is certainly still closed. After any other error it may be open, and is
        to be closed.
        """
        with step("open the server"):
            if self._sent:
                raise CouldNotDo("this session has tried to open it before")
            self._sent = True
            dialect = dialect_of(self._session.flavor)
            statement = dialect.open(time.time() + deadline.remaining())
            row = self._session.ask((statement, dialect.own_gtid()), deadline)[1][0]
            if dialect.read_closed(row):
                raise CouldNotDo("the server came to it too late, and stayed closed", refused=True)

    def write_epoch(self, cluster: str, opening: Opening, deadline: Deadline) -> None:
        """The first transaction after opening: it tells every node by replication who opened, with what epoch, and what
        that overrules. A server whose accounts are of an older version has no ledger."""
        with step("write the epoch"):
            self._session.ask(ledger.write(self._session.literal, cluster, opening, self._ledger), deadline)

    @property
    def connection_id(self) -> int:
        return self._session.connection_id

    def fileno(self) -> int:
        return self._session.fileno()

    def close(self) -> None:
        """Gives the open lock back as well."""
        self._session.close()


def _change_domain(session: Session, domain: int, deadline: Deadline) -> bool:
    """Did it have to be changed, and could it be? Where the account may not, `doctor` says so: to open matters more."""
    (now, user), *_ = session.ask(("SELECT @@global.gtid_domain_id, CURRENT_USER()",), deadline)[0]
    if int(now or 0) == domain or session.attempt_all([f"SET GLOBAL gtid_domain_id = {domain}"], deadline) != [0]:
        return False
    ours = (user or b"").decode().rpartition("@")[0]
    clients = {row.id for row in list_sessions(session, deadline) if row.is_client and row.user != ours}
    kill(session, clients, deadline)
    return True


def kill_server(process: ProcessId, within_s: float) -> bool:
    """SIGKILL, and wait until none of its code runs any more; False when that was not seen `within_s`.

    Its sockets may close much later, when its memory is torn down. Raises CouldNotDo when it may not be killed.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    except OSError as exc:
        raise CouldNotDo(f"kill the server: process {process.pid}: {exc.strerror}", refused=True) from exc
    try:
        fields = stat_fields(process.pid)
        if fields is None or int(fields[19]) != process.start_ticks:
            return True  # the number is another's by now
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except OSError as exc:
        raise CouldNotDo(f"kill the server: process {process.pid}: {exc.strerror}", refused=True) from exc
    finally:
        os.close(descriptor)
    deadline = Deadline(within_s)
    while not is_done(process):
        if deadline.expired:
            return False
        time.sleep(0.0005)
    return True


__all__ = ["CloseResult", "Opener", "close_server", "is_exiting", "kill_server"]
