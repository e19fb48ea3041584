"""How does a MySQL node become a copy of the writer? By the clone plugin, which reads the writer over its client port.

The clone empties the server only without super_read_only, so that is off for these moments; read_only stays, and
the agent leaves the server alone while the mark's process lives. At the end the server shuts itself down: a supervisor
starts it, and it boots closed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from ..errors import CouldNotDo, Silent, VipguardError
from ..model.evidence import ProcessId
from ..session import Deadline, Lost, Session, SqlError
from .copy import AGAIN_S, ASK_S, Plan, Tell, change_source, hold_readers, wait_for_server
from .sessions import kill

NO_SUPERVISOR = 3707  # ER_RESTART_SERVER_FAILED: the copy is whole, the server shuts down
TOO_MANY = 3634  # ER_CLONE_TOO_MANY_CONCURRENT_CLONES
POLL_S = 0.05
FOUND_S = 2.0  # to find its process
ORPHAN_S = 60.0
_PLUGIN = "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'"
_STAGES = "SELECT STAGE, STATE, ESTIMATE, DATA FROM performance_schema.clone_progress WHERE STATE <> 'Not Started'"
_STATUS = "SELECT STATE, ERROR_NO, ERROR_MESSAGE FROM performance_schema.clone_status"
_GRANTED = (
    "SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = '{}'"
    " AND REPLACE(GRANTEE, '\\'', '') = CURRENT_USER()"
)
HINT = (
    "the data are here, and the server waits to be started: nobody restarted it (the unit needs Restart=on-failure,"
    " RestartForceExitStatus=16 and Environment=MYSQLD_PARENT_PID=1); run: systemctl start mysql"
)


def check(plan: Plan) -> None:
    """The plugin and the grants on both sides. Raises CouldNotDo."""
    for where, privilege, connect in (
        ("this node", "CLONE_ADMIN", plan.ask_home),
        (plan.writer.name, "BACKUP_ADMIN", plan.ask_writer),
    ):
        session = connect()
        try:
            _check_one(session, where, privilege, plan.deadline.at_most(ASK_S))
        finally:
            session.close()


def _check_one(session: Session, where: str, privilege: str, deadline: Deadline) -> None:
    rows = session.query(_PLUGIN, deadline=deadline)
    if not rows or rows[0][0] != "ACTIVE":
        raise CouldNotDo(
            f"the clone plugin is not loaded on {where}: put what `vipguard render mysql` prints into its my.cnf and"
            " restart it, or, on a server that is open: INSTALL PLUGIN clone SONAME 'mysql_clone.so'",
            refused=True,
        )
    if not int(session.query(_GRANTED.format(privilege), deadline=deadline)[0][0]):
        raise CouldNotDo(
            f"vipguard's account lacks {privilege} on {where}: run what `vipguard render accounts` prints there",
            refused=True,
        )


def make(plan: Plan, tell: Tell) -> None:
    """Clone, wait for the restart, and configure replication. Raises CouldNotDo, Silent."""
    tell.step(f"cloning {plan.writer.name}")
    orphaned = plan.deadline.at_most(ORPHAN_S)
    while True:
        session = wait_for_server(plan, tell, lambda _: True, "start it, for example: systemctl start mysql")
        process = session.server_process(Deadline(FOUND_S))
        try:
            _end_orphans(session, orphaned)
            if _whole(session, plan):
                settle(plan)
                return
            hold_readers(plan)
            _prepare(session, plan)
            # its own history ends here: a number that is discarded now is never given to another transaction
            with contextlib.suppress(FileNotFoundError):
                (Path(plan.datadir) / "auto.cnf").unlink()
            unsupervised = _clone(session, plan, tell)
            break
        except (_Busy, Lost) as exc:  # the orphan's end may be the server's, too
            if orphaned.expired:
                raise CouldNotDo(str(exc)) from exc
            time.sleep(AGAIN_S)
        finally:
            session.close()
    tell.step("waiting for the server to start again")
    hint = HINT if unsupervised else "look into the server's error log"
    wait_for_server(plan, tell, lambda s: _is_another(s, process), hint).close()
    _require_success(plan)
    settle(plan)


def _is_another(session: Session, process: ProcessId | None) -> bool:
    """Another process than `process`; where that was not known, one that was up by now."""
    return process is None or session.server_process(Deadline(FOUND_S)) != process


class _Busy(Exception):
    """A clone that was begun before has not ended yet, though its session has."""


def _end_orphans(session: Session, deadline: Deadline) -> None:
    """A clone goes on when whoever asked for it has died, and only one at a time is allowed."""
    while True:
        rows = session.rows_as_dicts("SHOW PROCESSLIST", deadline=deadline)
        orphans = {int(row["Id"]) for row in rows if str(row["Info"] or "").upper().startswith("CLONE INSTANCE")}
        if not orphans:
            return
        kill(session, orphans, deadline)
        if deadline.expired:
            raise Silent("a clone that was begun before does not end")
        time.sleep(AGAIN_S)


def _whole(session: Session, plan: Plan) -> bool:
    """Did the clone of a run that broke off come to its end by itself, of the same writer?"""
    if not plan.again:
        return False
    deadline = plan.deadline.at_most(ASK_S)
    rows = session.query(
        "SELECT STATE, ERROR_NO, SOURCE, UNIX_TIMESTAMP(BEGIN_TIME) FROM performance_schema.clone_status",
        deadline=deadline,
    )
    donor = f"{plan.writer.address}:{plan.policy.mysql.port}"
    if not rows or (rows[0][0], int(rows[0][1] or 0), rows[0][2]) != ("Completed", 0, donor):
        return False
    return float(rows[0][3] or 0) >= plan.began_at


def _prepare(session: Session, plan: Plan) -> None:
    donor = f"{plan.writer.address}:{plan.policy.mysql.port}"
    mib_s = max(1, int(plan.policy.copy.mb_s_max * 1e6 / 2**20))
    statements = [
        f"SET GLOBAL clone_valid_donor_list = {session.literal(donor)}",
        f"SET GLOBAL clone_max_network_bandwidth = {mib_s}",
    ]
    if plan.policy.mysql.tls == "verify" and plan.policy.mysql.tls_ca:
        statements.append(f"SET GLOBAL clone_ssl_ca = {session.literal(plan.policy.mysql.tls_ca)}")
    session.ask(statements, plan.deadline.at_most(ASK_S))


def _clone(session: Session, plan: Plan, tell: Tell) -> bool:
    """True when the server said that nobody supervises it."""
    mysql = plan.policy.mysql
    secure = "" if mysql.tls == "preferred" else " REQUIRE SSL"
    text = (
        f"CLONE INSTANCE FROM {session.literal(mysql.user)}@{session.literal(plan.writer.address)}:{mysql.port}"
        f" IDENTIFIED BY {session.literal(mysql.password)}{secure}"
    )
    with _Watching(plan, tell) as watching:
        session.ask(("SET GLOBAL read_only = 1", "SET GLOBAL super_read_only = 0"), plan.deadline.at_most(ASK_S))
        try:
            session.ask((text,), plan.deadline)
        except SqlError as exc:
            if exc.errno != NO_SUPERVISOR:
                watching.close_again()
                if exc.errno == TOO_MANY:
                    raise _Busy(f"a clone that was begun before does not end: {exc}") from exc
                raise CouldNotDo(f"the clone failed: {exc}") from exc
            return True
        except Lost:
            return False  # the server went down to start again, or for another reason: it will say
        except VipguardError:
            watching.close_again()
            raise
    return False


class _Watching:
    """Another session that tells the progress, and closes the server again as soon as its old data are gone."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan, self._tell, self._closed = plan, tell, False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clone-progress", daemon=True)

    def __enter__(self) -> _Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(2.0)

    def close_again(self) -> None:
        """After a failure; the agent does it too once the mark's process has ended."""
        with contextlib.suppress(VipguardError):
            session = self._plan.ask_home()
            session.ask(("SET GLOBAL super_read_only = 1",), Deadline(ASK_S))
            session.close()

    def _run(self) -> None:
        while not self._end.wait(POLL_S):
            with contextlib.suppress(VipguardError):  # the server may be busy, or on its way down
                session = self._plan.ask_home()
                try:
                    while not self._end.wait(POLL_S):
                        self._look(session)
                finally:
                    session.close()

    def _look(self, session: Session) -> None:
        rows = session.query(_STAGES, deadline=Deadline(ASK_S))
        stages = {row[0]: row for row in rows}
        if not self._closed and stages.get("DROP DATA", ("", ""))[1] == "Completed":
            session.ask(("SET GLOBAL super_read_only = 1",), Deadline(ASK_S))
            self._closed = True
        copied = [row for row in rows if row[0] in ("FILE COPY", "PAGE COPY", "REDO COPY")]
        if copied:
            self._tell.progress(sum(int(row[3]) for row in copied), sum(int(row[2]) for row in copied))


def _require_success(plan: Plan) -> None:
    session = plan.ask_home()
    try:
        rows = session.query(_STATUS, deadline=plan.deadline.at_most(ASK_S))
    finally:
        session.close()
    if not rows or rows[0][0] != "Completed" or int(rows[0][1]):
        said = f"{rows[0][0]}: {rows[0][2]}" if rows else "no clone at all"
        raise CouldNotDo(f"the server came back and says of its clone: {said}")


def settle(plan: Plan) -> None:
    """The writer's replication came with its data: forget it, and follow `plan.follows`."""
    session = plan.ask_home()
    try:
        deadline = plan.deadline.at_most(6 * ASK_S)
        session.ask(("SET GLOBAL super_read_only = 1", "STOP REPLICA", "RESET REPLICA ALL"), deadline)
        session.ask((change_source(plan, session.literal),), deadline)
    finally:
        session.close()
