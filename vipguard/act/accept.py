"""How do transactions that only this node has become part of the writer's history, without harm to the writer?

They are read from this node's binary log and replayed on the writer by one client session, never by its replication.
Before a row is changed it is seen to be what it was when this node changed it, and locked; the first contradiction
ends the session, and all of it is rolled back. MySQL takes them with their GTIDs, after a rehearsal of all that is
rolled back; the node then joins by itself. A MariaDB writer cannot take a foreign GTID from a client without its own
replication meeting it again (1950 under gtid_strict_mode): there they become one transaction of the writer's, and the
node must be made a fresh copy.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

from ..errors import CouldNotDo, CouldNotLook
from ..model.binlog import Collector, Statement, Transaction
from ..model.gtid import GtidSet
from ..model.policy import Flavor, Mysql, Node, Policy
from ..model.rows import Change, Column, Table, Unfit, condition
from ..session import Deadline, Denied, Session, SqlError, Tls
from ..session.binlog import read_events
from .step import step

ASK_S = 10.0
STATEMENT_BYTES_MAX = 10_000_000
OURS = "vipguard"  # the epoch's table: the writer's own is newer
NEEDED = {
    "mariadb": "BINLOG REPLAY, SELECT ON *.*",
    "mysql": "REPLICATION_APPLIER, SELECT, INSERT, UPDATE, DELETE ON *.*",
}
LOCK_WAIT = 1205
_COLUMNS = (
    "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, EXTRA FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"
)
_PRIMARY = (
    "SELECT 1 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    " AND INDEX_NAME = 'PRIMARY' LIMIT 1"
)


def lacking_privileges(writer: Node, account: Mysql, deadline: Deadline) -> str:
    """Which of those that are needed `account` has nowhere on the writer; "" where it has all, or a role may have them.

    Raises CouldNotDo, Absent, Silent.
    """
    with step(f"see what {account.user!r} may do on {writer.name}"):
        session = Session.peer(writer.address, account, Tls.of(account), deadline.at_most(ASK_S))
        try:
            grants = [str(row[0]) for row in session.query("SHOW GRANTS", deadline=deadline.at_most(ASK_S))]
        finally:
            session.close()
    if any(" ON " not in grant for grant in grants):
        return ""
    held = {word.strip() for one in grants for word in one.removeprefix("GRANT ").partition(" ON ")[0].split(",")}
    needed = NEEDED[session.flavor].removesuffix(" ON *.*").split(", ")
    return "" if "ALL PRIVILEGES" in held else ", ".join(word for word in needed if word not in held)


def export(policy: Policy, wanted: GtidSet, deadline: Deadline) -> list[Transaction]:
    """The wanted transactions out of this node's binary log, in its order, newest file first until all are found.

    Raises CouldNotDo when one is missing there, and Absent, Silent.
    """
    with step("read the binary log"):
        if policy.replication is None or not policy.replication.password:
            raise CouldNotDo("the configuration has no [replication] with a password_file", refused=True)
        session = Session.local(policy.mysql, deadline.at_most(ASK_S))
        try:
            files = [str(row[0]) for row in session.query("SHOW BINARY LOGS", deadline=deadline.at_most(ASK_S))]
        finally:
            session.close()
        found: list[Transaction] = []
        had = GtidSet.empty(wanted.flavor)
        for file in reversed(files):
            collector = Collector(wanted.flavor, wanted)
            try:
                for event in read_events(_reader(policy, deadline), file, deadline):
                    collector.feed(event)
            except ValueError as exc:
                raise CouldNotDo(f"{file}: {exc}") from exc
            found = [*collector.found.values(), *found]
            for one in collector.found:
                had = had.union(_single(wanted.flavor, one))
            if wanted.minus_numbers(had).is_empty:
                return found
        raise CouldNotDo(f"its files no longer have {wanted.minus_numbers(had)}", refused=True)


def _reader(policy: Policy, deadline: Deadline) -> Session:
    """A session to this host's own server with the replication account, which is let in from its own address."""
    assert policy.replication is not None
    account = replace(policy.mysql, user=policy.replication.user, password=policy.replication.password)
    return Session.peer(policy.me.address, account, Tls.of(account), deadline.at_most(ASK_S))


def _single(flavor: Flavor, gtid: str) -> GtidSet:
    return GtidSet.parse(flavor, f"{gtid}..{gtid.rpartition('-')[2]}" if flavor == "mariadb" else gtid)


def apply(
    policy: Policy, writer: Node, account: Mysql, transactions: Sequence[Transaction], deadline: Deadline
) -> None:
    """All of them on the writer, or none; MySQL: all, or those before the first that a client got in the way of.

    `account` says as whom. Raises CouldNotDo (refused: nothing was changed), Absent, Silent.
    """
    with step(f"apply on {writer.name}"):
        for one in transactions:
            if one.unfit:
                raise CouldNotDo(f"{one.gtid} has {one.unfit}: that cannot be tried out first", refused=True)
            if one.format[-5:-4] != transactions[0].format[-5:-4]:
                raise CouldNotDo("the binary log's checksums were changed in between", refused=True)
        session = Session.peer(writer.address, account, Tls.of(account), deadline.at_most(ASK_S))
        try:
            replay = _Replay(session, deadline)
            replay.prepare(transactions[0])
            if session.flavor == "mysql":
                _with_their_gtids(replay, transactions)
            else:
                replay.run(["BEGIN"])
                for one in transactions:
                    replay.transaction(one)
                replay.run(["COMMIT"])
        except (Denied, CouldNotLook) as exc:
            needed = NEEDED[session.flavor]
            raise CouldNotDo(
                f"{exc}; the account {account.user!r} needs {needed} there: name one with --as", refused=True
            ) from exc
        finally:
            session.close()


def _with_their_gtids(replay: _Replay, transactions: Sequence[Transaction]) -> None:
    replay.run(["SET SESSION gtid_next = 'AUTOMATIC'", "BEGIN"])
    for one in transactions:
        replay.transaction(one)
    replay.run(["ROLLBACK"])
    for one in transactions:
        replay.prepare(one)
        replay.run([f"SET SESSION gtid_next = '{one.gtid}'", "BEGIN"])
        replay.transaction(one)
        replay.run(["COMMIT", "SET SESSION gtid_next = 'AUTOMATIC'"])


class _Replay:
    """Row events on one session of the writer's, each row looked at before it is changed."""

    def __init__(self, session: Session, deadline: Deadline) -> None:
        self._session, self._deadline = session, deadline
        self._columns: dict[tuple[str, str], list[Column]] = {}

    def run(self, statements: Sequence[str]) -> None:
        self._session.ask(statements, self._deadline)

    def prepare(self, transaction: Transaction) -> None:
        """How the events are to be read; outside of a transaction."""
        mode = "rbr_exec_mode" if self._session.flavor == "mysql" else "slave_exec_mode"
        found = self._session.query(f"SELECT @@{mode}", deadline=self._deadline)[0][0]
        if found != "STRICT":
            raise CouldNotDo(f"{mode} is {found}: contradictions would go unnoticed", refused=True)
        self.run(["SET SESSION foreign_key_checks=1, unique_checks=1", _binlog([transaction.format])])

    def transaction(self, transaction: Transaction) -> None:
        """Its statements in order; those of vipguard's own table are left out."""
        for statement in transaction.statements:
            if statement.schemas == {OURS}:
                continue
            try:
                for change in statement.changes:
                    self._see(change)
                self._replay(statement)
            except SqlError as exc:
                if exc.errno == LOCK_WAIT:
                    text = f"{transaction.gtid}: a client holds a lock there; try again"
                    raise CouldNotDo(text, refused=True) from exc
                raise CouldNotDo(f"{transaction.gtid} contradicts what is there: {exc}", refused=True) from exc
            except Unfit as exc:
                raise CouldNotDo(f"{transaction.gtid}: {exc} cannot be compared", refused=True) from exc
            except _Contradiction as exc:
                raise CouldNotDo(f"{transaction.gtid} contradicts what is there: {exc}", refused=True) from exc

    def _replay(self, statement: Statement) -> None:
        text = _binlog(statement.events)
        if len(text) > STATEMENT_BYTES_MAX:
            raise Unfit(f"a statement of {len(text)} bytes")
        self.run([text])

    def _see(self, change: Change) -> None:
        """The row is what it was; an insert needs no look, since a key that exists refuses it."""
        table, columns = change.table, self._of(change.table)
        if not change.whole:
            raise Unfit(f"a row of {table.schema}.{table.name} without all of its columns (binlog_row_image)")
        if change.before is None:
            return
        wanted = [
            condition(table, at, cell, column)
            for at, (cell, column) in enumerate(zip(change.before, columns, strict=True))
            if not column.generated
        ]
        where = " AND ".join(wanted)
        name = f"{_quoted(table.schema)}.{_quoted(table.name)}"
        if not self._session.query(f"SELECT 1 FROM {name} WHERE {where} FOR UPDATE", deadline=self._deadline):
            raise _Contradiction(f"{table.schema}.{table.name} has no row any more with {where[:300]}")

    def _of(self, table: Table) -> list[Column]:
        key = table.schema, table.name
        if key not in self._columns:
            rows = self._session.query(_COLUMNS, key, deadline=self._deadline)
            columns = [
                Column(str(name), str(kind), str(full), charset and str(charset), str(extra).endswith(" GENERATED"))
                for name, kind, full, charset, extra in rows
            ]
            if len(columns) != len(table.types):
                there = f"{len(columns)} columns" if columns else "not there"
                raise _Contradiction(f"{table.schema}.{table.name} is {there}, and had {len(table.types)} columns")
            if not self._session.query(_PRIMARY, key, deadline=self._deadline):
                raise Unfit(f"a row of {table.schema}.{table.name}, which has no primary key,")
            self._columns[key] = columns
        return self._columns[key]


class _Contradiction(Exception):
    """The writer's data are not what this node's change began with."""


def _binlog(events: Sequence[bytes]) -> str:
    lines = "\n".join(base64.b64encode(event).decode() for event in events)
    return f"BINLOG '\n{lines}\n'"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
