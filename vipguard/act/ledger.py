"""How does the sitting writer raise its epoch? The rows of an opening, written while it is open."""

from __future__ import annotations

from ..errors import CouldNotDo
from ..model.ledger import Opening
from ..model.policy import Policy
from ..session import Deadline, Session, ledger
from .step import step


def write_opening(session: Session, policy: Policy, opening: Opening, opener: int, deadline: Deadline) -> None:
    """With semi-sync on it returns when a replica has it. Past the deadline it may still be written.

    Raises CouldNotDo: `refused` where nothing was written, because the server is not open any more; Silent.
    """
    with step("write the opening"):
        if session.ask(("SELECT @@session.binlog_format",), deadline)[0][0][0] == b"STATEMENT":
            text = "binlog_format = STATEMENT would not replicate it: put ROW in force"
            raise CouldNotDo(text, refused=True)
        words = ledger.write_if_open(session.literal, policy.cluster, opening, policy.open_lock, opener)
        if session.ask(words, deadline)[-1][0][0] != b"1":
            raise CouldNotDo("the server is not open any more", refused=True)
