"""Which accounts has the writer that this node lacks, or has otherwise? MariaDB's are outside of the copied databases.

Only what differs is touched, and never the superuser who does it, nor vipguard's own accounts: broken off anywhere,
it leaves somebody who can begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..model.policy import Policy
from ..session import Deadline, Session, SqlError

Connect = Callable[[], Session]

SYSTEM = ("", "PUBLIC", "mariadb.sys", "mysql")
ASK_S = 10.0
UNKNOWN = (1133, 1141, 1269)  # listed, and not in use: a host by name under skip_name_resolve


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A user, or a role (`host` is empty then)."""

    is_user: bool
    user: str
    host: str

    def name(self, quote: Callable[[str], str]) -> str:
        return quote(self.user) + (f"@{quote(self.host)}" if self.is_user else "")


Told = dict[Account, tuple[str, ...]]


def synchronize(writer: Connect, root: Connect, policy: Policy, deadline: Deadline) -> list[str]:
    """Makes this node's accounts and roles those of the writer; what could not be taken over, in sentences.

    `root`'s sessions do not log what they do. Raises CouldNotDo and what sessions raise.
    """
    ours = {*SYSTEM, policy.copy.user, policy.mysql.user}
    if policy.replication is not None:
        ours.add(policy.replication.user)
    wanted, skipped = read(writer, ours, deadline)
    present, _ = read(root, ours, deadline)
    session = root()
    try:
        for statement in changes(wanted, present, session.literal):
            session.ask((statement,), deadline.at_most(ASK_S))
    finally:
        session.close()
    return [f"account {one.user}@{one.host} of the writer is not in use there, and was left out" for one in skipped]


def changes(wanted: Told, present: Told, quote: Callable[[str], str]) -> Iterator[str]:
    """The statements, in order: what is gone, roles, users, grants of roles, grants of users."""
    for account in sorted(present.keys() - wanted.keys(), reverse=True):
        yield f"DROP {'USER' if account.is_user else 'ROLE'} {account.name(quote)}"
    differing = [account for account in sorted(wanted) if wanted[account] != present.get(account)]
    for account in differing:
        if account.is_user:
            yield wanted[account][0].replace("CREATE USER", "CREATE OR REPLACE USER", 1)
        else:
            yield f"CREATE OR REPLACE ROLE {account.name(quote)}"
    replaced = [f"GRANT `{account.user}` TO" for account in differing if not account.is_user]
    for account in sorted(wanted):
        # who replaces a role takes it away from everybody that had it
        lost = any(line.startswith(grant) for grant in replaced for line in wanted[account])
        if lost or account in differing:
            yield from wanted[account][1 if account.is_user else 0 :]


def read(connect: Connect, ours: set[str], deadline: Deadline) -> tuple[Told, list[Account]]:
    """The statements that make each account; those that the server lists and does not know."""
    told: Told = {}
    unknown: list[Account] = []
    session = connect()
    try:
        rows = session.query("SELECT User, Host, is_role FROM mysql.user", deadline=deadline.at_most(ASK_S))
        for account in (Account(row[2] != "Y", str(row[0]), str(row[1])) for row in rows):
            if account.user in ours:
                continue
            try:
                told[account] = _statements(session, account, deadline.at_most(ASK_S))
            except SqlError as exc:
                if exc.errno not in UNKNOWN:
                    raise
                unknown.append(account)
                session = connect()  # an error ended the other
    finally:
        session.close()
    return told, unknown


def _statements(session: Session, account: Account, deadline: Deadline) -> tuple[str, ...]:
    name = account.name(session.literal)
    asked = [*([f"SHOW CREATE USER {name}"] if account.is_user else []), f"SHOW GRANTS FOR {name}"]
    return tuple(str(row[0]) for text in asked for row in session.query(text, deadline=deadline))
