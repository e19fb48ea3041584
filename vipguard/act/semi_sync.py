"""How is semi-sync switched, and its mark written? Each within a total deadline."""

from __future__ import annotations

from ..errors import CouldNotDo
from ..model.evidence import Mark
from ..session import Deadline, Session, dialect_of
from ..session.semi_sync import WAITING, words_of
from .replication import look, start_receiving, stop_receiving
from .sessions import list_sessions
from .step import step


def set_source(session: Session, on: bool, deadline: Deadline) -> None:
    """Switch the source's side on or off, and see it so.

    Off lets the commits that wait go on. On a closed server no client's commit can be waiting, unless it came by an
    account that read_only does not bind: then nothing is switched. Raises Silent, CouldNotDo.
    """
    with step(f"switch semi-sync {'on' if on else 'off'}"):
        words, dialect = words_of(session.flavor), dialect_of(session.flavor)
        if not on and dialect.read_closed(session.ask((dialect.own_gtid(),), deadline)[0][0]):
            waiting = [
                row.id for row in list_sessions(session, deadline) if row.is_client and WAITING in row.state
            ]
            if waiting:
                raise CouldNotDo(f"commits wait on the closed server (sessions {waiting})", refused=True)
        row = session.ask((*words.set_source(on), words.source_enabled), deadline)[-1][0]
        if row[0] not in ((b"1", b"ON") if on else (b"0", b"OFF")):
            raise CouldNotDo("the server did not take it")


def mute(session: Session, deadline: Deadline) -> None:
    """Acknowledge nothing from now on; an IO thread that runs is stopped and started. Raises as `set_source`."""
    with step("acknowledge nothing"):
        session.ask((words_of(session.flavor).mute,), deadline)
        if any(channel.io != "stopped" for channel in look(session, deadline)[1]):
            stop_receiving(session, deadline)
            start_receiving(session, deadline)


def write_mark(session: Session, cluster: str, mark: Mark, deadline: Deadline) -> None:
    """With semi-sync on it returns when a replica has it. Past the deadline it may still be written."""
    with step("write the mark"):
        session.query(
            "REPLACE INTO vipguard.mark (cluster, epoch, number, is_on, written_at)"
            " VALUES (%s, %s, %s, %s, UTC_TIMESTAMP(6))",
            (cluster, mark.epoch, mark.number, int(mark.on)),
            deadline=deadline,
        )
