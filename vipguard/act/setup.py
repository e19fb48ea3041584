"""What does a server lack to become a node, and how is it given that? The SQL of `vipguard setup`.

Nothing here reaches the binary log, with one exception that `begin_history` names; nothing opens or closes a server,
and no replication is started: that is the agent's, once it has compared what the nodes have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import CouldNotDo, VipguardError
from ..model.evidence import Channel, ProcessId
from ..model.gtid import GtidSet
from ..model.policy import MARIADB, Flavor, Mysql, Node, Policy
from ..render.accounts import accounts_sql
from ..session import Deadline, Lost, Session, SqlError, Tls
from .replication import look
from .sessions import list_sessions

ASK_S = 5.0
SCRIPT_S = 20.0
ATTEMPTS_MAX = 3
SUPER_READ_ONLY = 1290
_SYSTEM = ("mysql", "sys", "performance_schema", "information_schema", "vipguard")
_GRANT = re.compile(r"GRANT (?P<what>.+) ON (?P<where>\S+) TO (?P<account>'.+'@'.+')")
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (?P<name>\S+) \(")


@dataclass(frozen=True, slots=True)
class Server:
    """One node's server. `tables`: of InnoDB, without the servers' own and vipguard's. `guarded`: an agent has it open.

    `clients`: sessions of others than root, vipguard and replicas. `process`: of this host's only.
    """

    node: Node
    flavor: Flavor
    version: str
    variables: Mapping[str, str]
    plugins: frozenset[str]
    gtid: GtidSet
    channels: tuple[Channel, ...]
    tables: frozenset[str]
    guarded: bool
    clients: int
    process: ProcessId | None = None

    @property
    def closed(self) -> bool:
        names = ("read_only",) if self.flavor == MARIADB else ("read_only", "super_read_only")
        return all(self.variables.get(name, "").upper() in ("ON", "1") for name in names)

    @property
    def series(self) -> str:
        return ".".join(self.version.split("-", maxsplit=1)[0].split(".")[:2])

    @property
    def databases(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self.tables})

    @property
    def purged(self) -> GtidSet:
        """What its binary log no longer has, so that nobody can receive it from here. MariaDB does not tell."""
        if self.flavor == MARIADB:
            return GtidSet.empty(self.flavor)
        return GtidSet.parse(self.flavor, self.variables.get("gtid_purged", "").replace("\n", ""))


def root_of(policy: Policy) -> Mysql:
    """The local superuser, as `copy.user` names him."""
    return replace(policy.mysql, user=policy.copy.user, password=policy.copy.password)


def root_session(policy: Policy) -> Session:
    """Raises as Session.local."""
    return Session.local(root_of(policy), Deadline(ASK_S))


def look_here(policy: Policy) -> Server:
    """This host's server, by the eyes of its superuser. Raises VipguardError."""
    session = root_session(policy)
    try:
        return _look(session, policy, policy.me)
    finally:
        session.close()


def look_at_peer(policy: Policy, node: Node) -> Server:
    """A peer's server, with vipguard's own account. Raises VipguardError."""
    session = Session.peer(node.address, policy.mysql, Tls.of(policy.mysql), Deadline(ASK_S))
    try:
        return _look(session, policy, node)
    finally:
        session.close()


def _look(session: Session, policy: Policy, node: Node) -> Server:
    deadline = Deadline(ASK_S)
    innodb = "INNODB_SYS_TABLES" if session.flavor == MARIADB else "INNODB_TABLES"
    variables = {str(row[0]): str(row[1]) for row in session.query("SHOW GLOBAL VARIABLES", deadline=deadline)}
    plugins = session.query(
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'", deadline=deadline
    )
    names = session.query(f"SELECT NAME FROM information_schema.{innodb}", deadline=deadline)
    lock = session.query("SELECT IS_USED_LOCK(%s)", (policy.open_lock,), deadline=deadline)[0][0]
    ours = {policy.mysql.user, policy.copy.user, policy.replication.user if policy.replication else ""}
    clients = [row for row in list_sessions(session, deadline) if row.is_client and row.user not in ours]
    gtid, channels = look(session, deadline)
    return Server(
        node=node,
        flavor=session.flavor,
        version=session.version,
        variables=variables,
        plugins=frozenset(str(row[0]) for row in plugins),
        gtid=gtid,
        channels=channels,
        tables=frozenset(name for (name,) in names if _is_theirs(str(name))),
        guarded=lock is not None,
        clients=len(clients),
        process=session.server_process(deadline),
    )


def _is_theirs(name: str) -> bool:
    database, slash, _ = name.partition("/")
    return bool(slash) and database not in _SYSTEM


# -- accounts


def statements_of(text: str) -> list[str]:
    """The statements of what `vipguard render accounts` prints."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = (part.strip().rstrip(";") for part in "\n".join(lines).split(";\n"))
    return [part for part in parts if part]


def lacking_accounts(policy: Policy, flavor: Flavor) -> list[str]:
    """What of the accounts, their grants, passwords and tables is missing here, in words. Raises VipguardError."""
    text = accounts_sql(policy, flavor, with_passwords=False)
    session = root_session(policy)
    try:
        deadline = Deadline(ASK_S)
        present = {
            f"'{user}'@'{host}'" for user, host in session.query("SELECT User, Host FROM mysql.user", deadline=deadline)
        }
        wanted = [found for found in map(_GRANT.match, statements_of(text)) if found]
        accounts = list(dict.fromkeys(found["account"] for found in wanted))
        lacking = [f"account {account}" for account in accounts if account not in present]
        for account in accounts:
            if account in present:
                grants = session.query(f"SHOW GRANTS FOR {account}", deadline=deadline)
                rows = [str(row[0]) for row in grants]
                lacking += _lacking_grants(account, rows, [one for one in wanted if one["account"] == account])
        there = session.query(
            "SELECT CONCAT('vipguard.', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'vipguard'",
            deadline=deadline,
        )
        lacking += [f"table {name}" for name in _TABLE.findall(text) if (name,) not in there]
    finally:
        session.close()
    return lacking or _closed_doors(policy)


def _lacking_grants(account: str, rows: Sequence[str], wanted: Sequence[re.Match[str]]) -> list[str]:
    lacking: list[str] = []
    for grant in wanted:
        given = {word for row in rows for word in _given(row, grant["where"])}
        names = [word.strip() for word in grant["what"].split(",")]
        missing = [name for name in names if not given & {_word(name), "ALL PRIVILEGES"}]
        if missing:
            lacking.append(f"{', '.join(missing)} ON {grant['where']} for {account}")
    return lacking


def _given(row: str, where: str) -> set[str]:
    """The privileges that a row of SHOW GRANTS gives on `where`."""
    found = re.match(r"GRANT (.+?) ON (\S+) TO ", row)
    if found is None or found[2].replace("`", "").replace("\\_", "_") not in (where, "*.*"):
        return set()
    return {_word(name) for name in found[1].split(",")}


def _word(name: str) -> str:
    plain = " ".join(name.replace("_", " ").upper().split())
    # MariaDB's newer words for the old ones
    return {"REPLICATION CLIENT": "BINLOG MONITOR", "REPLICA MONITOR": "SLAVE MONITOR",
            "REPLICATION REPLICA": "REPLICATION SLAVE",
            "REPLICATION REPLICA ADMIN": "REPLICATION SLAVE ADMIN"}.get(plain, plain)  # fmt: skip


def _closed_doors(policy: Policy) -> list[str]:
    """Passwords are tried, not read: over the socket, and from this node's own address."""
    lacking: list[str] = []
    try:
        Session.local(policy.mysql, Deadline(ASK_S)).close()
    except VipguardError as exc:
        lacking.append(f"the password of {policy.mysql.user} ({exc})")
    accounts = [policy.mysql]
    if policy.replication is not None:
        accounts.append(replace(policy.mysql, user=policy.replication.user, password=policy.replication.password))
    for account in accounts:
        try:
            Session.peer(policy.me.address, account, Tls.of(account), Deadline(ASK_S)).close()
        except VipguardError as exc:
            lacking.append(f"the way in for {account.user} from {policy.me.address} ({exc})")
    return lacking


def create_accounts(policy: Policy, flavor: Flavor) -> None:
    """What `vipguard render accounts` prints, not logged. Raises VipguardError.

    MySQL's super_read_only is off for some milliseconds meanwhile; a guarding agent may close it again in between,
    and then it is done once more.
    """
    statements = statements_of(accounts_sql(policy, flavor, with_passwords=True))
    for attempt in range(1, ATTEMPTS_MAX + 1):
        session = root_session(policy)
        was_on = flavor != MARIADB and _super_read_only(session)
        try:
            session.ask(statements, Deadline(SCRIPT_S))
            return
        except (SqlError, Lost) as exc:
            refused = isinstance(exc, SqlError) and exc.errno != SUPER_READ_ONLY
            if refused or attempt == ATTEMPTS_MAX:
                raise CouldNotDo(f"the accounts were not made: {exc}") from exc
        finally:
            session.close()
            if was_on:
                _close_again(policy)


def _super_read_only(session: Session) -> bool:
    return bool(session.query("SELECT @@global.super_read_only", deadline=Deadline(ASK_S))[0][0])


def _close_again(policy: Policy) -> None:
    session = root_session(policy)
    try:
        session.ask(("SET GLOBAL super_read_only = 1",), Deadline(ASK_S))
    finally:
        session.close()


# -- replication


def point(policy: Policy, statement: Callable[[Callable[[str], str]], str]) -> None:
    """Send a CHANGE … TO as the superuser; replication stays stopped. `statement` gets the quoting. Raises
    VipguardError.
    """
    session = root_session(policy)
    try:
        session.ask((statement(session.literal),), Deadline(SCRIPT_S))
    finally:
        session.close()


BEGIN = "FLUSH TABLES vipguard.epoch"


def begin_history(policy: Policy, node: Node) -> GtidSet:
    """MariaDB with data and no GTID yet: one logged statement on it, so that a copy has a position. What it has then.

    To be called only for the node that the others are to be copies of: it does nothing, and makes no node errant.
    """
    session = Session.peer(node.address, policy.mysql, Tls.of(policy.mysql), Deadline(ASK_S))
    try:
        session.ask((BEGIN,), Deadline(SCRIPT_S))
        return look(session, Deadline(ASK_S))[0]
    finally:
        session.close()
