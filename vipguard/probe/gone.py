"""Who says on this server that his own server's process is gone? By locks that other nodes' agents hold here."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.policy import Policy
from ..model.silence import word_s
from ..session import Deadline, Dialect, Session


def ask(session: Session, policy: Policy, peers: Iterable[str], deadline: Deadline) -> frozenset[str]:
    """Those of `peers` whose lock is held by a session of vipguard's account that was asked something just now.

    An agent asks its peers all the time. One that is gone, or cut off, may leave its session and its lock behind for
    as long as the server keeps an idle session; so may anybody else hold a lock of that name.
    """
    names = list(peers)
    if not names:
        return frozenset()
    locks = ", ".join(f"IS_USED_LOCK({session.literal(policy.gone_lock(name))})" for name in names)
    held = session.ask((f"SELECT {locks}",), deadline)[0][0]
    by_id = {int(cell): name for name, cell in zip(names, held, strict=True) if cell is not None}
    if not by_id:
        return frozenset()
    user = policy.mysql.user.encode()
    return frozenset(
        by_id[int(row[0])]
        for row in session.ask((Dialect.sessions,), deadline)[0]
        if row[0] is not None
        and int(row[0]) in by_id
        and row[1] == user
        and row[5] is not None
        and int(row[5]) <= word_s(policy)
    )
