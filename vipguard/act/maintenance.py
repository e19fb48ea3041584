"""How does the operator's word reach every node? A row on the writer, which replication takes to the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CouldNotDo
from ..model.maintenance import Maintenance
from ..model.policy import Node, Policy
from ..session import Deadline, Session, Tls
from .step import step


def begin(policy: Policy, writer: Node, row: Maintenance, deadline: Deadline) -> None:
    """Write the row, or replace it. Raises CouldNotDo (refused: the server is not open), Absent, Silent."""
    with step(f"write it on {writer.name}"), _open(policy, writer, deadline) as session:
        session.query(
            "REPLACE INTO vipguard.maintenance (cluster, node, since_s, until_s, reason) VALUES (%s, %s, %s, %s, %s)",
            (policy.cluster, row.node, row.since_s, row.until_s, row.reason),
            deadline=deadline,
        )


def end(policy: Policy, writer: Node, node: str, deadline: Deadline) -> None:
    """Delete the row, and those that have run out. Raises as `begin`."""
    with step(f"write it on {writer.name}"), _open(policy, writer, deadline) as session:
        session.query(
            "DELETE FROM vipguard.maintenance WHERE cluster = %s AND (node = %s OR until_s <= UNIX_TIMESTAMP())",
            (policy.cluster, node),
            deadline=deadline,
        )


@contextmanager
def _open(policy: Policy, writer: Node, deadline: Deadline) -> Iterator[Session]:
    """The account may write under read_only, so that nobody is asked to who is closed."""
    if writer == policy.me:
        session = Session.local(policy.mysql, deadline)
    else:
        session = Session.peer(writer.address, policy.mysql, Tls.of(policy.mysql), deadline)
    try:
        if session.query("SELECT @@global.read_only", deadline=deadline)[0][0]:
            raise CouldNotDo(f"{writer.name} is not open any more", refused=True)
        yield session
    finally:
        session.close()
