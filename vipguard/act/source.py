"""How is a server given another source, with nothing lost? By GTID; user, password and TLS stay as they are.

Both flavours throw away what was received and not applied when the source changes, so it has to be applied before, or
to be somewhere where it is received again: that the caller knows.
"""

from __future__ import annotations

from ..errors import CouldNotDo
from ..model.evidence import Channel
from ..model.gtid import GtidSet
from ..model.policy import MARIADB
from ..session import Deadline, Session, dialect_of
from .replication import (
    drop_half_received,
    look,
    start_applying,
    start_receiving,
    stop_receiving,
    wait_applied,
    wait_received,
)
from .step import step


def point_at(session: Session, address: str, port: int, deadline: Deadline) -> None:
    """Make the server at `address` the source of the only channel, whose IO thread must stand; it stays so.

    A running SQL thread applies what it has first, and runs afterwards; a stopped one stays stopped. Raises CouldNotDo
    (refused) where there is another number of channels than one, Silent at the deadline; both leave it as it was, or
    with its SQL thread stopped.
    """
    with step(f"follow {address}"):
        channel = _only(session, deadline)
        if channel.io != "stopped":
            raise CouldNotDo("its IO thread runs", refused=True)
        if channel.sql_running:
            wait_applied(session, deadline)
            drop_half_received(session, deadline)
        for statement in _statements(session, channel, address, port):
            session.ask((statement,), deadline)
        if channel.sql_running:
            start_applying(session, deadline)


def fetch(
    session: Session, replica: str, home: str, port: int, target: GtidSet, deadline: Deadline
) -> GtidSet:
    """Receive `target` from the server at `replica`, apply it, and follow `home` again, the IO thread being stopped.

    What the server has then. Raises Silent at the deadline: called again, it goes on. Raises CouldNotDo (refused)
    where the replica does not send it.
    """
    with step(f"receive from {replica}"):
        if _only(session, deadline).source_host != replica:
            stop_receiving(session, deadline)
            point_at(session, replica, port, deadline)
        start_receiving(session, deadline)
        wait_received(session, target, deadline)
        stop_receiving(session, deadline)
        have = wait_applied(session, deadline)
        point_at(session, home, port, deadline)
        return have


def set_aside(session: Session, errant: GtidSet, deadline: Deadline) -> bool:
    """Throw away what was received, where a channel's SQL thread stands and nothing but `errant` is unapplied; True
    where that was so. Its IO thread stands then; its SQL thread runs, unless it stood without an error.

    Each flavour does it when its source is set anew; MariaDB tells another position only once a thread was started.
    """
    with step("set aside what is no history"):
        done, dialect = False, dialect_of(session.flavor)
        own, channels = look(session, deadline)
        for channel in channels:
            if channel.io != "stopped" and _stands_at(channel, own, errant):
                session.ask((dialect.stop_io.format(session.literal(channel.name)),), deadline)
        own, channels = look(session, deadline)  # more may have come until it stood
        for channel in channels:
            if channel.io != "stopped" or not _stands_at(channel, own, errant):
                continue
            again = _statements(session, channel, channel.source_host, channel.source_port)
            start, stop = (text.format(session.literal(channel.name)) for text in (dialect.start_sql, dialect.stop_sql))
            for statement in (*again, start, *(() if channel.sql_errno else (stop,))):
                session.ask((statement,), deadline)
            done = True
        return done


def _stands_at(channel: Channel, own: GtidSet, errant: GtidSet) -> bool:
    left = (channel.received or GtidSet.empty(own.flavor)).minus(own)
    return not channel.sql_running and not left.is_empty and left.minus(errant).is_empty


def _only(session: Session, deadline: Deadline) -> Channel:
    channels = look(session, deadline)[1]
    if len(channels) != 1:
        raise CouldNotDo(f"it has {len(channels)} replication channels, and one is needed", refused=True)
    return channels[0]


def _statements(session: Session, channel: Channel, address: str, port: int) -> tuple[str, ...]:
    name, host = session.literal(channel.name), session.literal(address)
    if session.flavor == MARIADB:
        return (
            f"STOP SLAVE {name}",
            f"CHANGE MASTER {name} TO MASTER_HOST={host}, MASTER_PORT={port}, MASTER_USE_GTID=slave_pos",
        )
    place = f"SOURCE_HOST={host}, SOURCE_PORT={port}, SOURCE_AUTO_POSITION=1"
    return (
        f"STOP REPLICA FOR CHANNEL {name}",
        f"CHANGE REPLICATION SOURCE TO {place} FOR CHANNEL {name}",
    )
