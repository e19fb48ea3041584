"""How is replication stopped, started and waited for? Thread by thread: the wrong one loses or blocks what came.

MariaDB throws an unapplied relay log away when its IO thread stops while the SQL thread is stopped. MySQL's STOP of the
SQL thread waits a minute for a transaction that its dead source left half sent. So only IO threads are stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import CouldNotDo, Silent
from ..model.evidence import Channel
from ..model.gtid import GtidSet
from ..model.policy import MARIADB
from ..session import Deadline, Session, dialect_of
from .sessions import kill, list_sessions
from .step import step

SLICE_S = 0.1  # one wait inside the server: a lost session and a stopped thread are noticed after it
POLL_S = 0.005
WORKERS_ENDED = 1756  # MySQL's word for an applier whose session was ended


def look(session: Session, deadline: Deadline) -> tuple[GtidSet, tuple[Channel, ...]]:
    """What the server has, and its channels; the set was read first."""
    dialect = dialect_of(session.flavor)
    own, rows = session.ask((dialect.own_gtid(), dialect.channels), deadline)
    gtid = dialect.read_gtid(own[0])
    if not rows:
        return gtid, ()
    at = dialect.locate(session.columns(dialect.channels))
    return gtid, tuple(dialect.read_channel(row, at, gtid) for row in rows)


def stop_receiving(session: Session, deadline: Deadline) -> tuple[Channel, ...]:
    """Stop the IO threads of all channels, those only; the channels afterwards. Stopped ones are fine.

    Raises CouldNotDo (refused) where MariaDB would throw away what it received: the SQL thread has to run first.
    """
    with step("stop receiving"):
        _, channels = look(session, deadline)
        for channel in channels:
            if session.flavor == MARIADB and not channel.sql_running and not channel.applied:
                raise CouldNotDo(
                    f"{_name(channel)}: its SQL thread is stopped with received transactions unapplied, which would"
                    " be lost",
                    refused=True,
                )
        wanted = [channel for channel in channels if channel.io != "stopped"]
        _send(session, dialect_of(session.flavor).stop_io, wanted, deadline)
        return _until(session, lambda channel: channel.io == "stopped", deadline)


def start_receiving(session: Session, deadline: Deadline) -> tuple[Channel, ...]:
    """Start the IO threads of all channels; the channels afterwards. An IO thread may still be connecting.

    An SQL thread that `drop_half_received` ended is started first: on MariaDB what comes without one may be lost.
    """
    with step("start receiving"):
        channels = _configured(session, deadline)
        idle = [one for one in channels if not one.sql_running and one.sql_errno in (0, WORKERS_ENDED)]
        _send(session, dialect_of(session.flavor).start_sql, idle, deadline)
        wanted = [channel for channel in channels if channel.io == "stopped"]
        _send(session, dialect_of(session.flavor).start_io, wanted, deadline)
        return look(session, deadline)[1]


def start_applying(session: Session, deadline: Deadline) -> tuple[Channel, ...]:
    """Start the SQL threads of all channels; the channels afterwards."""
    with step("start applying"):
        channels = _configured(session, deadline)
        wanted = [channel for channel in channels if not channel.sql_running]
        _send(session, dialect_of(session.flavor).start_sql, wanted, deadline)
        return look(session, deadline)[1]


def start_replication(session: Session, deadline: Deadline) -> tuple[Channel, ...]:
    """Start both threads of all channels, the SQL threads first; the channels afterwards."""
    start_applying(session, deadline)
    return start_receiving(session, deadline)


def wait_applied(session: Session, deadline: Deadline) -> GtidSet:
    """Wait until all that was received is applied; what the server has then.

    Raises Silent at the deadline, CouldNotDo (refused) when an SQL thread is not running or GTIDs are not in use.
    """
    with step("apply what was received"):
        while True:
            own, channels = look(session, deadline)
            behind = [channel for channel in channels if channel.applied is not True]
            if not behind:
                dialect = dialect_of(session.flavor)
                return dialect.read_gtid(session.ask((dialect.own_gtid(),), deadline)[0][0])
            missing = GtidSet.empty(session.flavor)
            for channel in behind:
                missing = missing.union(_missing(channel, own))
            _wait_slice(session, missing, "not all that was received is applied", deadline)


def drop_half_received(session: Session, deadline: Deadline) -> bool:
    """Roll back a transaction that a dead source left half sent; True when there was one.

    Its applier waits for the rest with the row locks held: a client that touches these rows after the opening runs
    into its lock wait time-out. To be called when nothing is received any more and all is applied, else CouldNotDo
    (refused); so too where MySQL's account lacks SYSTEM_USER, without which the applier cannot be ended. Afterwards
    the applier is stopped: `start_replication` starts it again.
    """
    with step("drop what was half received"):
        _, channels = look(session, deadline)
        half = _applying(session, deadline)
        if not half:
            return False
        if any(channel.io != "stopped" or channel.applied is not True for channel in channels):
            raise CouldNotDo("it still receives or applies", refused=True)
        if session.flavor == MARIADB:
            _send(session, dialect_of(session.flavor).stop_sql, [one for one in channels if one.sql_running], deadline)
        elif kill(session, half, deadline):
            raise CouldNotDo("the account needs SYSTEM_USER to end an applier's session", refused=True)
        while half & _appliers(session, deadline):  # INNODB_TRX asked again so soon would answer as before
            if deadline.remaining() < POLL_S:
                raise Silent("drop what was half received: its locks are still held at the deadline")
            time.sleep(POLL_S)
        return True


def _applying(session: Session, deadline: Deadline) -> set[int]:
    """The sessions of appliers that have a transaction open."""
    rows = session.ask(("SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX",), deadline)[0]
    return _appliers(session, deadline) & {int(row[0] or 0) for row in rows}


def _appliers(session: Session, deadline: Deadline) -> set[int]:
    return {row.id for row in list_sessions(session, deadline) if row.user == "system user"}


def wait_received(session: Session, target: GtidSet, deadline: Deadline) -> GtidSet:
    """Wait until the server has received or has all of `target`; what it has or received then.

    Raises Silent at the deadline, CouldNotDo (refused) when no IO thread runs that could still bring it.
    """
    with step("receive"):
        while True:
            have, channels = look(session, deadline)
            for channel in channels:
                have = have.union(channel.received or GtidSet.empty(session.flavor))
            if have.contains(target):
                return have
            if not any(channel.io != "stopped" for channel in channels):
                text = "; ".join(f"{_name(channel)}: {channel.io_error or 'stopped'}" for channel in channels)
                raise CouldNotDo(
                    f"no IO thread runs ({text or 'replication is not configured'})", refused=True
                )
            if deadline.remaining() < POLL_S:
                raise Silent(f"receive: {_brief(target.minus(have))} did not come within the deadline")
            time.sleep(POLL_S)


def _missing(channel: Channel, own: GtidSet) -> GtidSet:
    if channel.received is None:
        raise CouldNotDo(
            f"{_name(channel)}: it does not replicate by GTID, so nothing can be told", refused=True
        )
    if not channel.sql_running:
        why = channel.sql_error or "it was stopped"
        raise CouldNotDo(f"{_name(channel)}: its SQL thread does not run ({why})", refused=True)
    return channel.received.minus(own)


def _wait_slice(session: Session, missing: GtidSet, what: str, deadline: Deadline) -> None:
    left_s = deadline.remaining()
    if left_s < POLL_S:
        raise Silent(f"{what} within the deadline: {_brief(missing)} is missing")
    if missing.is_empty:
        return
    # half of what is left, so that the answer comes before the deadline
    session.ask((dialect_of(session.flavor).wait(missing, min(SLICE_S, left_s / 2)),), deadline)


def _configured(session: Session, deadline: Deadline) -> tuple[Channel, ...]:
    channels = look(session, deadline)[1]
    if not channels:
        raise CouldNotDo("replication is not configured", refused=True)
    return channels


def _send(session: Session, statement: str, channels: list[Channel], deadline: Deadline) -> None:
    texts = [statement.format(session.literal(channel.name)) for channel in channels]
    for channel, errno in zip(channels, session.attempt_all(texts, deadline) if texts else [], strict=True):
        if errno:
            raise CouldNotDo(f"{_name(channel)}: the server refused with error {errno}", refused=True)


def _until(session: Session, done: Callable[[Channel], bool], deadline: Deadline) -> tuple[Channel, ...]:
    while True:
        channels = look(session, deadline)[1]
        if all(done(channel) for channel in channels):
            return channels
        if deadline.remaining() < POLL_S:
            raise Silent("stop receiving: an IO thread still runs at the deadline")
        time.sleep(POLL_S)


def _name(channel: Channel) -> str:
    return (
        f"channel {channel.name!r} from {channel.source_host}"
        if channel.name
        else f"replication from {channel.source_host}"
    )


def _brief(missing: GtidSet) -> str:
    text = str(missing)
    return text if len(text) <= 200 else f"{text[:200]}…"
