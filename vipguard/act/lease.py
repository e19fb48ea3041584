"""How does a server close itself at a moment to come? By a statement that waits there, in a session of its own.

The server keeps the time, so it makes no difference whether the guard that ordered it gets a processor then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..errors import CouldNotDo
from ..session import Deadline, Session, dialect_of
from .sessions import end_and_see_gone
from .step import step

Connect = Callable[[Deadline], Session]


class Lease:
    """At most one order at a time. Belongs to one thread."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._waiting: Session | None = None
        self._killer: Session | None = None

    def arm(self, left_s: Callable[[], float], deadline: Deadline) -> None:
        """The server closes `left_s()` seconds from when the order is sent, unless it is called off. What clients write
        in that moment is let through first, as in any close, and nobody is ended by it. Raises Absent, Silent,
        CouldNotDo (refused: it is too late).

        The session that may call it off is there before the order is: the order could take the last connection.
        """
        self.disarm(deadline)
        with step("order the close"), contextlib.ExitStack() as undo:
            killer = undo.enter_context(contextlib.closing(self._connect(deadline)))
            session = undo.enter_context(contextlib.closing(self._connect(deadline)))
            if (seconds := left_s()) <= 0:
                raise CouldNotDo("its moment has passed", refused=True)
            session.order(dialect_of(session.flavor).close_in(seconds), deadline)
            undo.pop_all()
        self._waiting, self._killer = session, killer

    def disarm(self, deadline: Deadline) -> None:
        """Nothing happens where nothing waits. Raises Absent, Silent, CouldNotDo: it may still come."""
        session, killer = self._waiting, self._killer
        self._waiting = self._killer = None
        if session is None or killer is None:
            return
        waiting = session.connection_id
        with step("call the close off"), contextlib.closing(session), contextlib.closing(killer):
            if end_and_see_gone(killer, {waiting}, deadline):
                raise CouldNotDo(f"session {waiting} is still there")
