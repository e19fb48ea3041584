"""Who may take over now? The claim on a node's server: a named lock that lives and dies with the taker's session.

A peer is closed with `server.close_server` and a `Connector.peer`, as this host's own server is.
"""

from __future__ import annotations

from ..session import Deadline, Session
from .step import step


def take_claim(session: Session, lock: str, deadline: Deadline) -> bool:
    """True when `session` holds the claim now, also if it held it before; False when another session has it."""
    with step("claim"):
        name = session.literal(lock)
        mine = f"IS_USED_LOCK({name}) = CONNECTION_ID()"
        return session.ask((f"SELECT IF({mine}, 1, GET_LOCK({name}, 0))",), deadline)[0][0][0] == b"1"


def holds_claim(session: Session, lock: str, deadline: Deadline) -> bool:
    """Asking also keeps the server from ending the session for idleness."""
    with step("look at the claim"):
        name = session.literal(lock)
        return session.ask((f"SELECT IS_USED_LOCK({name}) = CONNECTION_ID()",), deadline)[0][0][0] == b"1"


def release_claim(session: Session, lock: str, deadline: Deadline) -> bool:
    """True when `session` held it. Closing the session releases it too."""
    with step("release the claim"):
        return session.ask((f"SELECT RELEASE_LOCK({session.literal(lock)})",), deadline)[0][0][0] == b"1"
