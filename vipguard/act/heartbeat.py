"""How is the heartbeat written? Over a session of its own, which every close ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import CouldNotDo
from ..model.policy import Policy
from ..session import Deadline, Session, heartbeat
from .step import step


class Beater:
    """Belongs to one thread, but for `close`; `connect` makes a session to this host's server."""

    def __init__(self, connect: Callable[[Deadline], Session]) -> None:
        self._connect = connect
        self._session: Session | None = None

    def beat(self, policy: Policy, opener: int, within_s: float, deadline: Deadline) -> None:
        """Write the row, unless the server comes to it later than `within_s` from now, or `opener` does not hold the
        open lock, or the server is closed: then nothing is written.

        Raises Absent, Silent, CouldNotDo; past the deadline it may still be written, if it was begun in time.
        """
        until_s = time.time() + within_s
        with step("beat"):
            session = self._session
            if session is None or not session.is_open:
                session = self._session = self._begin(deadline)
            words = heartbeat.write(
                session.literal, policy.node, policy.open_lock, opener, policy.limits.heartbeat_s, until_s
            )
            session.ask((words,), deadline)

    def _begin(self, deadline: Deadline) -> Session:
        """By statement, replicas would compute the row by themselves, and write none."""
        session = self._connect(deadline)
        if session.ask(("SELECT @@session.binlog_format",), deadline)[0][0][0] == b"STATEMENT":
            session.close()
            raise CouldNotDo("binlog_format = STATEMENT would not replicate it: put ROW in force", refused=True)
        return session

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
