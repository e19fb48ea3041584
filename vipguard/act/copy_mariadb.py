"""How does a MariaDB node become a copy of the writer? mariadb-dump reads the writer, the local superuser loads it.

Not logged here, so that the node's own history ends where the writer's stood in the dump. A GTID that no server has
ever written keeps this node's set from looking contained, to every peer too, until the very last statement.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
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
IN_NO_LOG = "vipguard.copied_and_in_no_log"
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
    if plan.policy.lossless:  # else their agents point them at the writer as soon as this node stands still
        for node, _ in _followers(plan):
            if node != plan.writer:
                raise CouldNotDo(_point_first(plan, node), refused=True)


def make(plan: Plan, tell: Tell) -> None:
    """Empty, load, accounts, position. Raises CouldNotDo, Silent, Absent."""
    dump, total = _survey(plan, tell)
    before = writers_set(plan)
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
    settle(plan, position, before)


def writers_set(plan: Plan) -> GtidSet:
    """What the writer has; to be asked for before the copy is begun."""
    session = plan.ask_writer()
    try:
        return look(session, plan.deadline.at_most(ASK_S))[0]
    finally:
        session.close()


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
    have = look(root, deadline)[0].union(GtidSet.parse("mariadb", NOT_WHOLE))
    root.ask((f"SET GLOBAL gtid_slave_pos = '{have.position()}'",), deadline)


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


def settle(plan: Plan, position: str, before: GtidSet) -> None:
    """The binary log begins anew where the copy stands; replication is configured and stopped.

    `before`: what the writer had before the copy was begun.
    """
    try:
        snapshot = GtidSet.parse("mariadb", position)
    except ValueError as exc:
        raise CouldNotDo(f"the copy names no GTID position: {exc}") from exc
    if snapshot.is_empty:
        raise CouldNotDo("the copy names no GTID position")
    root = ask_root(plan)
    try:
        deadline = plan.deadline.at_most(6 * ASK_S)
        state = _beginning(plan, snapshot, before)
        ends = ends_of_copy(snapshot, GtidSet.parse("mariadb", state), _writers_number(plan))
        root.ask(("STOP ALL SLAVES", *_forget(root, plan)), deadline)
        dumps = {row.id for row in list_sessions(root, deadline) if row.command.startswith("Binlog Dump")}
        end_and_see_gone(root, dumps, deadline)
        # together: whoever connected in between would be told that its position is unknown here, and give up
        root.ask(
            ("RESET MASTER", f"SET GLOBAL gtid_binlog_state = '{state}'", *_ended(ends, root.literal)), deadline
        )
        root.ask((change_source(plan, root.literal),), deadline)
        # last: it makes the server count on from there, also where the log begins before it, and after a restart
        root.ask((f"SET GLOBAL gtid_slave_pos = '{snapshot.position()}'",), deadline)
    finally:
        root.close()


def _beginning(plan: Plan, snapshot: GtidSet, before: GtidSet) -> str:
    """Whoever else follows this node has until then to be pointed at the writer, by its agent or by hand."""
    until = plan.deadline.at_most(APPLY_S)
    while True:
        followers = _followers(plan)
        others = [node for node, at in followers if node != plan.writer and at.position() != snapshot.position()]
        if not others:
            return binlog_state(snapshot, before, [at for _, at in followers])
        if until.expired:
            raise CouldNotDo(_point_first(plan, others[0]))
        time.sleep(AGAIN_S)


def ends_of_copy(snapshot: GtidSet, begins: GtidSet, writer: int | None) -> list[tuple[int, int, int]]:
    """The ends of the snapshot that the log does not begin with, because the writer stands before them, as domain,
    server and number; of those that it wrote itself."""
    there = {(source[0], server): spans[-1][1] for source, server, spans in begins.parts}
    found = {source[0]: (spans[-1][1], server) for source, server, spans in snapshot.parts}
    return [
        (domain, server, number)
        for domain, (number, server) in found.items()
        if server == writer and there.get((domain, server), 0) < number
    ]


def _ended(ends: Sequence[tuple[int, int, int]], quote: Callable[[str], str]) -> list[str]:
    """Each end of the copy as a transaction of the log, under the writer's number, so that this node's log tells what
    it has: once it wrote itself, its position would not tell it any more, and its peers would look diverged.

    The writer reads over it as its own. Whoever else asks from before it lacks what was copied and is in no log: its
    applier stops there, at a table that nobody has.
    """
    if not ends:
        return []
    words = ["SET SESSION sql_log_bin = 0", f"CREATE OR REPLACE TABLE {IN_NO_LOG} (why VARCHAR(200)) ENGINE=InnoDB"]
    why = quote("what is between this log's beginning and here was copied: make a fresh copy of this node, too")
    for domain, server, number in ends:  # each in a statement of its own: together they do not take effect
        words += [
            "SET SESSION sql_log_bin = 1",
            f"SET SESSION gtid_domain_id = {domain}",
            f"SET SESSION server_id = {server}",
            f"SET SESSION gtid_seq_no = {number}",
            f"INSERT INTO {IN_NO_LOG} VALUES ({why})",
            "SET SESSION sql_log_bin = 0",
        ]
    return [*words, f"DROP TABLE {IN_NO_LOG}"]


def _writers_number(plan: Plan) -> int | None:
    session = plan.ask_writer()
    try:
        return int(session.query("SELECT @@global.server_id", deadline=plan.deadline.at_most(ASK_S))[0][0])
    finally:
        session.close()


def _point_first(plan: Plan, node: Node) -> str:
    return (
        f"{node.name} replicates from this node, and the log of a fresh copy would not have what it lacks:"
        f" on {node.name} STOP SLAVE; CHANGE MASTER TO MASTER_HOST='{plan.writer.address}'; START SLAVE"
    )


def _forget(root: Session, plan: Plan) -> list[str]:
    names = [row[0] for row in root.query("SHOW ALL SLAVES STATUS", deadline=plan.deadline.at_most(ASK_S))]
    return [f"RESET SLAVE {root.literal(str(name))} ALL" for name in names]


def _followers(plan: Plan) -> list[tuple[Node, GtidSet]]:
    """The nodes that replicate from this one, with their positions, as far as they can be asked; the writer must
    answer."""
    found: list[tuple[Node, GtidSet]] = []
    for node in plan.policy.peers:
        try:
            position = _position_if_follower(plan, node)
        except VipguardError:
            if node == plan.writer:
                raise
            continue
        if position is not None:
            found.append((node, position))
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


def binlog_state(snapshot: GtidSet, before: GtidSet, followers: Sequence[GtidSet]) -> str:
    """What the new, empty binary log is said to have had already: what the source has, server by server, so that this
    node's set compares as the source's does.

    A follower asks from its own position on: one that is not the last of what the log had, in any domain, ends its IO
    thread for good (1236). Where the writer follows this node and stands before the copy, the log therefore begins
    there; those transactions are its own, or have come to it another way. `before` is of another moment than the
    snapshot: of it counts what lies before the snapshot's end.
    """
    begins: list[str] = []
    for source, server, intervals in snapshot.parts:
        domain, end = source[0], (intervals[-1][1], server)
        stands = [_last(follower, domain) for follower in followers]
        if any(at is None for at in stands):
            continue
        number, by = min([end, *(at for at in stands if at is not None)])
        known = {by: number} | {
            wrote: spans[-1][1]
            for its, wrote, spans in before.parts
            if its[0] == domain and wrote != by and spans[-1][1] < number
        }
        last_at_the_end = sorted(known.items(), key=lambda one: one[1])
        begins += [f"{domain}-{wrote}-{last}" for wrote, last in last_at_the_end]
    return ",".join(begins)


def _last(position: GtidSet, domain: int) -> tuple[int, int] | None:
    return next(
        ((spans[-1][1], server) for source, server, spans in position.parts if source[0] == domain), None
    )


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"

