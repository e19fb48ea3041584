"""How is what a server received, and has not applied, brought in before replication starts anew?

MariaDB forgets its relay log as soon as both threads were stopped and one starts by GTID, and after a restart it says
nothing of it: no received position, and a relay position that may lie far behind what was applied. So its files are
read, and what is whole there and missing here is applied by file and position, up to the last whole transaction; then
the channel follows by GTID again. Each step may be repeated: what is found decides what is next. MySQL keeps its
relay log and tells what it holds; it only has to be let apply that. Half a transaction is not begun on either.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..errors import CouldNotDo, Silent
from ..model.evidence import Channel
from ..model.gtid import GtidSet
from ..model.policy import MARIADB
from ..model.relay_log import Group, Run, groups, missing
from ..session import Deadline, Session
from .replication import look
from .step import step

POLL_S = 0.02
_STATUS = "SHOW ALL SLAVES STATUS"
_COLUMNS = (
    "Connection_name", "Slave_IO_Running", "Slave_SQL_Running", "Using_Gtid", "Relay_Log_File", "Last_SQL_Errno",
    "Last_SQL_Error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Relay:
    """One channel of MariaDB, as far as its relay log goes."""

    name: str
    receives: bool
    applies: bool
    by_gtid: bool
    file: str
    errno: int
    error: str


def examine(session: Session, deadline: Deadline) -> GtidSet:
    """The transactions that were received whole and are not applied. Nothing is changed.

    Raises CouldNotDo (refused) where that can't be told: its files can't be read, or are encrypted.
    """
    with step("look into the relay log"):
        own, channels = look(session, deadline)
        found = GtidSet.empty(session.flavor)
        if session.flavor != MARIADB:
            for channel in channels:
                found = found.union(_told(channel, own))
            return found
        for relay in _relays(session, deadline):
            for run in _standing(session, relay, deadline):
                found = found.union(run.gtids)
        return found


def rescue(session: Session, deadline: Deadline) -> GtidSet:
    """Apply what was received whole, with no IO thread running; what the server has then. Done again after a failure
    or an interruption, it goes on where it ended.

    Raises Silent at the deadline, CouldNotDo: `refused` where the server, or a file, does not let it go on.
    """
    with step("apply what the relay log holds"):
        if session.flavor != MARIADB:
            for channel in look(session, deadline)[1]:
                _let_apply(session, channel, deadline)
        else:
            for relay in _relays(session, deadline):
                _rescue(session, relay, deadline)
        return look(session, deadline)[0]


def restore_gtid(session: Session, deadline: Deadline) -> bool:
    """Let every channel of MariaDB that an interrupted rescue left without GTID follow by GTID again, both its threads
    being stopped then; True when there was one. What its relay log holds is gone."""
    if session.flavor != MARIADB:
        return False
    with step("follow by GTID again"):
        left = [relay for relay in _relays(session, deadline) if not relay.by_gtid and not relay.receives]
        for relay in left:
            _by_gtid(session, relay, deadline)
        return bool(left)


def _let_apply(session: Session, channel: Channel, deadline: Deadline) -> None:
    """MySQL: up to the last transaction that it received whole, where the SQL thread ends by itself."""
    name, what, begun = session.literal(channel.name), f"channel {channel.name!r}", False
    while True:
        own, channels = look(session, deadline)
        now = next((one for one in channels if one.name == channel.name), None)
        if now is None:
            raise CouldNotDo(f"the {what} is gone", refused=True)
        left = _told(now, own)
        if now.sql_running and (now.io == "stopped" or not left.is_empty):
            _pause(deadline)
        elif left.is_empty:
            return
        elif begun and now.sql_errno:
            raise CouldNotDo(f"{left} could not be applied: {now.sql_errno} {now.sql_error}", refused=True)
        else:
            until = f"UNTIL SQL_AFTER_GTIDS = {session.literal(str(left))}"
            session.query(f"START REPLICA SQL_THREAD {until} FOR CHANNEL {name}", deadline=deadline)
            begun = True


def _told(channel: Channel, own: GtidSet) -> GtidSet:
    return (channel.received or GtidSet.empty(own.flavor)).minus(own)


def _rescue(session: Session, relay: _Relay, deadline: Deadline) -> None:
    """One step of each round, by what is found: wait for the applier, start it on the next run, or finish."""
    name = session.literal(relay.name)
    begun: Run | None = None
    while True:
        relay = _again(session, relay, deadline)
        if relay.receives or (relay.applies and relay.by_gtid):
            _apply_beside(session, relay, deadline)
            return
        own = look(session, deadline)[0]
        applied = begun is not None and own.contains(begun.gtids)
        if relay.applies and begun is not None and not applied:
            _pause(deadline)
            continue
        if relay.applies:  # the files are read while they stand still
            session.query(f"STOP SLAVE {name}", deadline=deadline)
            continue
        if begun is not None and not applied:
            why = f"{relay.errno} {relay.error}" if relay.errno else "its SQL thread stopped"
            raise CouldNotDo(f"{begun.gtids.minus(own)} could not be applied: {why}", refused=True)
        runs = _missing(session, relay, deadline)
        if not runs:
            if not relay.by_gtid:
                _by_gtid(session, relay, deadline)
            return
        begun = runs[0]
        _begin(session, name, begun, deadline)


def _apply_beside(session: Session, relay: _Relay, deadline: Deadline) -> None:
    """Its IO thread was not stopped, so it knows what it received, and its SQL thread only has to run."""
    if not relay.applies:
        session.query(f"START SLAVE {session.literal(relay.name)} SQL_THREAD", deadline=deadline)
    while True:
        channel = next((one for one in look(session, deadline)[1] if one.name == relay.name), None)
        if channel is None or channel.applied is True:
            return
        if not channel.sql_running:
            why = (
                f"{channel.sql_errno} {channel.sql_error}" if channel.sql_errno else "its SQL thread stopped"
            )
            raise CouldNotDo(f"what was received could not be applied: {why}", refused=True)
        _pause(deadline)


def _begin(session: Session, name: str, run: Run, deadline: Deadline) -> None:
    """By position, from exactly there to exactly there: the applier checks nothing else, and half a transaction behind
    the end is not touched."""
    start, end = run.start, run.end
    session.query(
        f"CHANGE MASTER {name} TO MASTER_USE_GTID=no, RELAY_LOG_FILE={session.literal(start.file)},"
        f" RELAY_LOG_POS={start.at}",
        deadline=deadline,
    )
    session.query(
        f"START SLAVE {name} SQL_THREAD UNTIL RELAY_LOG_FILE={session.literal(end.file)}, RELAY_LOG_POS={end.at}",
        deadline=deadline,
    )


def _by_gtid(session: Session, relay: _Relay, deadline: Deadline) -> None:
    name = session.literal(relay.name)
    session.query(f"STOP SLAVE {name}", deadline=deadline)
    session.query(f"CHANGE MASTER {name} TO MASTER_USE_GTID=slave_pos", deadline=deadline)


def _pause(deadline: Deadline) -> None:
    if deadline.remaining() < POLL_S:
        raise Silent("apply what the relay log holds: not all of it is applied within the deadline")
    time.sleep(POLL_S)


def _relays(session: Session, deadline: Deadline) -> list[_Relay]:
    rows = session.rows_as_dicts(_STATUS, deadline=deadline)
    cells = [[row[column] for column in _COLUMNS] for row in rows]
    return [
        _Relay(
            str(name),
            io != "No",
            sql != "No",
            str(by) != "No",
            str(file or ""),
            int(errno or 0),
            str(error or ""),
        )
        for name, io, sql, by, file, errno, error in cells
    ]


def _again(session: Session, relay: _Relay, deadline: Deadline) -> _Relay:
    now = next((one for one in _relays(session, deadline) if one.name == relay.name), None)
    if now is None:
        raise CouldNotDo(f"the channel {relay.name!r} is gone", refused=True)
    return now


def _standing(session: Session, relay: _Relay, deadline: Deadline) -> list[Run]:
    """What is missing; a file that went away because its applier still works is no failure."""
    while True:
        try:
            return _missing(session, relay, deadline)
        except CouldNotDo:
            before, relay = relay, _again(session, relay, deadline)
            if relay.file == before.file or deadline.expired:
                raise


def _missing(session: Session, relay: _Relay, deadline: Deadline) -> list[Run]:
    """What the files of the channel hold and the server lacks."""
    if not relay.file:
        return []
    own = look(session, deadline)[0]
    row = session.ask(("SELECT @@global.datadir, @@global.relay_log_index",), deadline)[0][0]
    datadir, index = ((cell or b"").decode("utf-8", "surrogateescape") for cell in row)
    directory = Path(datadir, index).parent if index else Path(datadir)
    try:
        with ExitStack() as opened:
            files = [(path.name, _mapped(path, opened)) for path in _files(directory, relay.file)]
            return missing(_bounded(groups(files), deadline), own)
    except (OSError, ValueError) as exc:
        raise CouldNotDo(f"its relay log can't be read: {exc}", refused=True) from exc


def _files(directory: Path, first: str) -> list[Path]:
    """The file that the applier stands in, and all that follow: their names end in numbers."""
    base, _, number = first.rpartition(".")
    if not number.isdigit():
        raise ValueError(f"{first!r} is no name of a relay log file")
    found: list[Path] = []
    while (path := directory / f"{base}.{int(number) + len(found):0{len(number)}d}").exists():
        found.append(path)
    if not found:
        raise ValueError(f"{directory / first} does not exist")
    return found


def _mapped(path: Path, opened: ExitStack) -> memoryview:
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return memoryview(b"")
        view = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    opened.callback(view.release)
    return view


def _bounded(found: Iterator[Group | None], deadline: Deadline) -> Iterator[Group]:
    for group in found:
        if group is not None:
            yield group
        elif deadline.expired:
            raise Silent("look into the relay log: it is not read to its end within the deadline")
