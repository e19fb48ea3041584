"""Which whole transactions are in MariaDB's relay log files, and where? Read from their bytes, event by event.

The format is the binary log's (MariaDB Server documentation, "Binary Log Format": event header, GTID event). Of each
event only the header is looked at, so that a gigabyte takes seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .gtid import GtidSet

MAGIC = b"\xfebin"
QUERY, XID, XA_PREPARE, GTID, START_ENCRYPTION, QUERY_COMPRESSED = 2, 16, 38, 162, 164, 165
STANDALONE, COMPLETED_XA = 1, 128  # flags of a GTID event: one statement follows, and no COMMIT
_HEADER = struct.Struct("<IBIIIH")  # time, type, server id, size, position at the source, flags
_GTID = struct.Struct("<QIB")  # number, domain, flags
_ENDS = (b"\0COMMIT", b"\0ROLLBACK")
_CHECKSUM = 4


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a relay log file."""

    file: str
    at: int


@dataclass(frozen=True, slots=True)
class Group:
    """A transaction that is there from its first event to its last."""

    gtid: GtidSet
    start: Place
    end: Place


@dataclass(frozen=True, slots=True)
class Run:
    """Transactions that follow one another, with nothing between them that the server has already."""

    gtids: GtidSet
    start: Place
    end: Place


def groups(files: Iterable[tuple[str, bytes | memoryview]]) -> Iterator[Group | None]:
    """The whole transactions of these files in their order; None now and then, so that the caller may look at the time.

    What ends in the middle is left out: half an event, and a transaction without its end. Raises ValueError for what
    is no relay log, or an encrypted one.
    """
    start: Place | None = None
    gtid, alone = GtidSet.empty("mariadb"), False
    for name, data in files:
        for count, (at, kind, server, size) in enumerate(_events(name, data)):
            if count % 4096 == 4095:
                yield None
            if kind == GTID:
                number, domain, flags = _GTID.unpack_from(data, at + _HEADER.size)
                gtid = GtidSet.parse("mariadb", f"{domain}-{server}-{number}..{number}")
                start, alone = Place(name, at), bool(flags & (STANDALONE | COMPLETED_XA))
            elif start is not None and _ends(kind, alone, data, at, size):
                yield Group(gtid, start, Place(name, at + size))
                start = None


def missing(found: Iterable[Group | None], own: GtidSet) -> list[Run]:
    """The runs of transactions that a server with `own` lacks. What it has stands between them where its applier
    worked on several domains side by side."""
    runs: list[Run] = []
    adjacent = False
    for group in found:
        if group is None:
            continue
        if own.contains(group.gtid):
            adjacent = False
            continue
        if adjacent:
            last = runs.pop()
            runs.append(Run(last.gtids.union(group.gtid), last.start, group.end))
        else:
            runs.append(Run(group.gtid, group.start, group.end))
        adjacent = True
    return runs


def _events(name: str, data: bytes | memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(offset, type, server id, size) of each whole event."""
    if len(data) < len(MAGIC):
        return
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ValueError(f"{name} is no relay log")
    at, length = len(MAGIC), len(data)
    while at + _HEADER.size <= length:
        _, kind, server, size, _, _ = _HEADER.unpack_from(data, at)
        if kind == START_ENCRYPTION:
            raise ValueError(f"{name} is encrypted")
        if size < _HEADER.size or at + size > length:
            return
        yield at, kind, server, size
        at += size


def _ends(kind: int, alone: bool, data: bytes | memoryview, at: int, size: int) -> bool:
    if kind in (XID, XA_PREPARE):
        return True
    if kind not in (QUERY, QUERY_COMPRESSED):
        return False
    tail = bytes(data[max(at, at + size - 32) : at + size])
    return alone or tail.endswith(_ENDS) or tail[:-_CHECKSUM].endswith(_ENDS)
