"""How is a planned move ordered, and withdrawn? A lock on the writer's server, that lives and dies with its session."""

from __future__ import annotations

from ..checks.move import Transaction
from ..errors import CouldNotDo
from ..model.policy import Node, Policy
from ..session import Deadline, Session, Tls
from .step import step

LONG_S = 1
_LONG = (
    "SELECT trx_mysql_thread_id, IFNULL(p.user, ''), TIMESTAMPDIFF(MICROSECOND, trx_started, NOW(6)) / 1e6,"
    " trx_rows_modified FROM information_schema.INNODB_TRX t LEFT JOIN {processes} p ON p.id = t.trx_mysql_thread_id"
    " WHERE IFNULL(p.user, '') NOT IN ('system user', 'event_scheduler')"
    f" AND trx_started < NOW() - INTERVAL {LONG_S} SECOND ORDER BY trx_started"
)


class Order:
    """The operator's order that the writer move from `writer` to `target`; it ends with `close`.

    Its session is one over TCP, also to this host's own server: a close ends vipguard's other local sessions.
    """

    def __init__(self, policy: Policy, writer: Node, deadline: Deadline) -> None:
        """Raises CouldNotDo, Absent, Silent."""
        self._policy = policy
        self._session = Session.peer(writer.address, policy.mysql, Tls.of(policy.mysql), deadline)

    def long_transactions(self, deadline: Deadline) -> list[Transaction]:
        """The writer's transactions that have been open for over `LONG_S`. Not to be asked faster than each 0.1 s."""
        mysql = self._session.flavor == "mysql"
        processes = "performance_schema.processlist" if mysql else "information_schema.processlist"
        rows = self._session.query(_LONG.format(processes=processes), deadline=deadline)
        return [Transaction(int(row[0]), str(row[1]), float(row[2]), int(row[3])) for row in rows]

    def give(self, target: str, deadline: Deadline) -> None:
        """Raises CouldNotDo (refused) when somebody else moves the writer just now."""
        with step("order the move"):
            for node in self._policy.nodes:
                name = self._session.literal(self._policy.move_lock(node.name))
                if self._session.ask((f"SELECT IS_USED_LOCK({name})",), deadline)[0][0][0] is not None:
                    raise CouldNotDo(f"somebody else moves the writer to {node.name} just now", refused=True)
            name = self._session.literal(self._policy.move_lock(target))
            if self._session.ask((f"SELECT GET_LOCK({name}, 0)",), deadline)[0][0][0] != b"1":
                raise CouldNotDo("somebody else orders the same just now", refused=True)

    def close(self) -> None:
        """Withdraw it, if it was given and not carried out yet."""
        self._session.close()
