"""Whose sessions are on this server, and how are they ended?"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..errors import CouldNotDo
from ..session import Deadline, Session, semi_sync
from ..session.dialect import KILL_DENIED, NO_SUCH_THREAD, Dialect

POLL_S = 0.002
_SYSTEM_USERS = {"system user", "event_scheduler", "mysql.session", "mysql.sys", "unauthenticated user", ""}
_SYSTEM_COMMANDS = ("Daemon", "Binlog Dump", "Slave_", "Group ")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list of sessions."""

    id: int
    user: str
    host: str
    command: str
    state: str = ""

    @property
    def waits_for_ack(self) -> bool:
        """Its commit is in the binary log and waits for a replica: ending it may show it to others."""
        return semi_sync.WAITING in self.state

    @property
    def is_client(self) -> bool:
        """Not the server's own, nor a replica's."""
        return self.user not in _SYSTEM_USERS and not self.command.startswith(_SYSTEM_COMMANDS)

    @property
    def is_local(self) -> bool:
        """Over the unix socket: a session over TCP has a port in its host."""
        return self.host == "localhost"


def list_sessions(session: Session, deadline: Deadline) -> list[Row]:
    """Every session of the server; without the PROCESS privilege the server would list its own user's only."""
    rows = session.ask((Dialect.sessions,), deadline)[0]
    return [
        Row(int(row[0] or 0), *((row[at] or b"").decode("utf-8", "replace") for at in (1, 2, 4, 6)))
        for row in rows
    ]


def kill(session: Session, ids: Iterable[int], deadline: Deadline) -> set[int]:
    """End these sessions, all in one packet; the ids that the server refuses to end. It does not wait for their end.

    The last come go first: who waits for another's locks came after it, and would go on when they are free.
    """
    wanted = sorted(ids, reverse=True)
    errnos = session.attempt_all([f"KILL {one}" for one in wanted], deadline) if wanted else []
    for one, errno in zip(wanted, errnos, strict=True):
        if errno not in (0, NO_SUCH_THREAD, KILL_DENIED):
            raise CouldNotDo(f"KILL {one} failed with error {errno}", refused=True)
    return {one for one, errno in zip(wanted, errnos, strict=True) if errno == KILL_DENIED}


def end_and_see_gone(session: Session, ids: Collection[int], deadline: Deadline) -> set[int]:
    """End these sessions and wait until they left the list; those that are still there at the deadline."""
    kill(session, ids, deadline)
    left = set(ids)
    while left:
        left &= {row.id for row in list_sessions(session, deadline)}
        if left and deadline.remaining() < POLL_S:
            return left
        if left:
            time.sleep(POLL_S)
    return left
