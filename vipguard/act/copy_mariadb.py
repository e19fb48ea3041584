"""How does a MariaDB node become a copy of the writer? mariadb-dump reads the writer, the local superuser loads it.

Not logged here, so that the node's own history ends where the writer's stood in the dump. A GTID that no server has
ever written keeps this node's set from looking contained, to every peer too, until the very last statement.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import CouldNotDo, VipguardError
from ..model.gtid import GtidSet
from ..model.policy import MARIADB, Node
from ..session import Deadline, Session
from .accounts import synchronize
from .copy import AGAIN_S, ASK_S, Plan, Tell, change_source, hold_readers, peer_session
from .dump import Dump
from .replication import look
from .sessions import end_and_see_gone, list_sessions

NOT_WHOLE = "4294967295-1-1"  # in the highest domain, which nobody uses
SYSTEM = ("information_schema", "performance_schema", "mysql", "sys")
OURS = "vipguard"  # not dropped: the agent reads its epoch meanwhile
DROP_S = 600.0
APPLY_S = 10.0
_SIZE = "SELECT COALESCE(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({})"
_FILES = (  # the statistics of a table that was filled a moment ago say nothing of it
    "SELECT COALESCE(SUM(FILE_SIZE), 0) FROM information_schema.INNODB_SYS_TABLESPACES"
    " WHERE SUBSTRING_INDEX(NAME, '/', 1) IN ({})"
)
_NOT_SAFE = (
    "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
    " AND ENGINE NOT IN ('InnoDB') AND TABLE_SCHEMA IN ({}) ORDER BY 1 LIMIT 6"
)
_VERSIONED = (
    "SELECT 1 FROM information_schema.TABLES WHERE TABLE_TYPE = 'SYSTEM VERSIONED' AND TABLE_SCHEMA IN ({}) LIMIT 1"
)
_EVENTS = (
    "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'"
    " AND EVENT_SCHEMA NOT IN ('mysql', 'sys')"
)


def ask_root(plan: Plan) -> Session:
    """A session to this host's server that may do everything; nothing it does is logged. Raises CouldNotDo."""
    copy = plan.policy.copy
    mysql = replace(plan.policy.mysql, user=copy.user, password=copy.password)
    deadline = plan.deadline.at_most(ASK_S)
    try:
        session = Session.local(mysql, deadline)
        session.ask(("SET SESSION sql_log_bin=0, foreign_key_checks=0, lock_wait_timeout=60",), deadline)
    except VipguardError as exc:
        remedy = "name a local superuser with copy.user and copy.password_file"
        raise CouldNotDo(f"the copy cannot be loaded as {copy.user!r} over the socket: {exc}; {remedy}") from exc
    return session


def check(plan: Plan) -> None:
    """Programs and accounts. Raises CouldNotDo."""
    Dump.check()
    root = ask_root(plan)
    try:
        if root.flavor != MARIADB:
            raise CouldNotDo(f"this node's server is {root.flavor}, and the plan is for MariaDB", refused=True)
    finally:
        root.close()
    writer = plan.ask_writer()
    try:
        writer.query("SELECT User FROM mysql.user LIMIT 1", deadline=plan.deadline.at_most(ASK_S))
    finally:
        writer.close()


def make(plan: Plan, tell: Tell) -> None:
    """Empty, load, accounts, position. Raises CouldNotDo, Silent, Absent."""
    dump, total = _survey(plan, tell)
    root = ask_root(plan)
    try:
        tell.step("removing this node's own data")
        _begin(root, plan)
        hold_readers(plan)
        _empty(root, plan)
    finally:
        root.close()
    tell.step(f"copying {plan.writer.name}")
    with _events_off(plan):
        position = dump.run(plan, total, tell)
        tell.step("accounts, events and position")
        for skipped in synchronize(plan.ask_writer, lambda: ask_root(plan), plan.policy, plan.deadline):
            tell.warn(skipped)
        _quiet_events(plan)
    settle(plan, position)


def _survey(plan: Plan, tell: Tell) -> tuple[Dump, int]:
    writer = plan.ask_writer()
    try:
        deadline = plan.deadline.at_most(60.0)
        found = [row[0] for row in writer.query("SHOW DATABASES", deadline=deadline) if row[0] not in SYSTEM]
        names = [*sorted(set(found) - {OURS}), OURS]  # the epoch last: it says whose history this is
        listed = ", ".join(writer.literal(name) for name in names)
        unsafe = [row[0] for row in writer.query(_NOT_SAFE.format(listed), deadline=deadline)]
        if unsafe:
            tell.warn(f"not InnoDB, so perhaps of another moment than the rest: {', '.join(unsafe[:5])}")
        total = max(
            int(writer.query(text.format(listed), deadline=deadline)[0][0]) for text in (_SIZE, _FILES)
        )
        versioned = bool(writer.query(_VERSIONED.format(listed), deadline=deadline))
    finally:
        writer.close()
    return Dump(names, with_history=versioned), total


def _begin(root: Session, plan: Plan) -> None:
    """Replication stopped, and a set that is contained nowhere."""
    deadline = plan.deadline.at_most(60.0)
    root.ask(("SET GLOBAL read_only = 1", "STOP ALL SLAVES"), deadline)
    rows = root.query("SELECT @@global.gtid_binlog_pos, @@global.gtid_slave_pos", deadline=deadline)
    have = GtidSet.parse("mariadb", ",".join(str(cell) for cell in rows[0]))
    position = position_of(have.union(GtidSet.parse("mariadb", NOT_WHOLE)))
    root.ask((f"SET GLOBAL gtid_slave_pos = '{position}'",), deadline)


def _empty(root: Session, plan: Plan) -> None:
    kept = {*SYSTEM, OURS}
    for (name,) in root.query("SHOW DATABASES", deadline=plan.deadline.at_most(ASK_S)):
        if name not in kept:
            root.ask((f"DROP DATABASE {quoted(name)}",), plan.deadline.at_most(DROP_S))


@contextlib.contextmanager
def _events_off(plan: Plan) -> Iterator[None]:
    """No event of the dump may write here before it is disabled."""
    root = ask_root(plan)
    deadline = plan.deadline.at_most(ASK_S)
    try:
        was_on = root.query("SELECT @@global.event_scheduler", deadline=deadline)[0][0] == "ON"
        if was_on:
            root.ask(("SET GLOBAL event_scheduler = OFF",), deadline)
    finally:
        root.close()
    try:
        yield
    finally:
        if was_on:
            root = ask_root(plan)
            root.ask(("SET GLOBAL event_scheduler = ON",), Deadline(ASK_S))
            root.close()


def _quiet_events(plan: Plan) -> None:
    """As on any replica: an event runs where it was made, and its rows come by replication."""
    root, deadline = ask_root(plan), plan.deadline.at_most(60.0)
    try:
        for schema, name, definer in root.query(_EVENTS, deadline=deadline):
            user, _, host = str(definer).rpartition("@")
            account = f"{root.literal(user)}@{root.literal(host)}"
            event = f"{quoted(str(schema))}.{quoted(str(name))}"
            root.ask((f"ALTER DEFINER={account} EVENT {event} DISABLE ON SLAVE",), deadline)
    finally:
        root.close()


def settle(plan: Plan, position: str) -> None:
    """The binary log begins anew where the copy stands; replication is configured and stopped."""
    try:
        snapshot = GtidSet.parse("mariadb", position)
    except ValueError as exc:
        raise CouldNotDo(f"the copy names no GTID position: {exc}") from exc
    if snapshot.is_empty:
        raise CouldNotDo("the copy names no GTID position")
    root = ask_root(plan)
    try:
        deadline = plan.deadline.at_most(6 * ASK_S)
        domain = int(root.query("SELECT @@global.gtid_domain_id", deadline=deadline)[0][0])
        state = _beginning(plan, snapshot, domain)
        root.ask(("STOP ALL SLAVES", *_forget(root, plan)), deadline)
        dumps = {row.id for row in list_sessions(root, deadline) if row.command.startswith("Binlog Dump")}
        end_and_see_gone(root, dumps, deadline)
        # together: whoever connected in between would be told that its position is unknown here, and give up
        root.ask(("RESET MASTER", f"SET GLOBAL gtid_binlog_state = '{state}'"), deadline)
        root.ask((change_source(plan, root.literal),), deadline)
        root.ask((f"SET GLOBAL gtid_slave_pos = '{position_of(snapshot)}'",), deadline)
    finally:
        root.close()


def _beginning(plan: Plan, snapshot: GtidSet, domain: int) -> str:
    """A follower may be about to apply the last of what it received."""
    until = plan.deadline.at_most(APPLY_S)
    while True:
        try:
            return binlog_state(snapshot, _followers(plan), domain)
        except CouldNotDo:
            if until.expired:
                raise
            time.sleep(AGAIN_S)


def _forget(root: Session, plan: Plan) -> list[str]:
    names = [row[0] for row in root.query("SHOW ALL SLAVES STATUS", deadline=plan.deadline.at_most(ASK_S))]
    return [f"RESET SLAVE {root.literal(str(name))} ALL" for name in names]


def _followers(plan: Plan) -> list[GtidSet]:
    """The positions of the nodes that replicate from this one, as far as they can be asked; the writer must answer."""
    found: list[GtidSet] = []
    for node in plan.policy.peers:
        try:
            position = _position_if_follower(plan, node)
        except VipguardError:
            if node == plan.writer:
                raise
            continue
        if position is not None:
            found.append(position)
    return found


def _position_if_follower(plan: Plan, node: Node) -> GtidSet | None:
    session = peer_session(plan.policy, node, plan.deadline.at_most(ASK_S))
    try:
        deadline = plan.deadline.at_most(ASK_S)
        if not any(channel.source_host == plan.policy.me.address for channel in look(session, deadline)[1]):
            return None
        row = session.ask(("SELECT @@global.gtid_slave_pos",), deadline)[0][0]
        return GtidSet.parse("mariadb", (row[0] or b"").decode())
    finally:
        session.close()


def binlog_state(snapshot: GtidSet, followers: Sequence[GtidSet], domain: int) -> str:
    """Where the new, empty binary log begins, so that every follower finds its position in it.

    A follower asks from its own position on; one that lies before the log's beginning, in any domain, ends its IO
    thread for good (1236). In foreign domains the log therefore begins where the follower stands that has least, though
    the copy has more: those transactions have come to it another way. In this node's own domain it must begin at the
    copy, or numbers would be given twice. Raises CouldNotDo where that cannot be.
    """
    begins: list[str] = []
    for source, server, intervals in snapshot.parts:
        last = (intervals[-1][1], server)
        stands = [_last(follower, source[0]) for follower in followers]
        if source[0] == domain:
            if any(at is None or at[0] != last[0] for at in stands):
                raise CouldNotDo(
                    f"a node that replicates from here stands elsewhere in domain {domain} than the writer: with its"
                    f" replication stopped, give its gtid_slave_pos {domain}-{server}-{last[0]} in that domain"
                )
            begins.append(f"{domain}-{server}-{last[0]}")
        elif all(at is not None for at in stands):
            sequence, by = min([last, *(at for at in stands if at is not None)])
            begins.append(f"{source[0]}-{by}-{sequence}")
    return ",".join(begins)


def _last(position: GtidSet, domain: int) -> tuple[int, int] | None:
    return next(
        ((spans[-1][1], server) for source, server, spans in position.parts if source[0] == domain), None
    )


def position_of(have: GtidSet) -> str:
    """A set as MariaDB's position: the last transaction of each domain."""
    return ",".join(f"{source[0]}-{server}-{spans[-1][1]}" for source, server, spans in have.parts)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"

