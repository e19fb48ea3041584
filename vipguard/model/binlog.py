"""Which transactions does a stream of binary log events hold? Row events as values, and what cannot be replayed, named.

The layout of events: MySQL source, libs/mysql/binlog/event; MariaDB knowledge base, "Replication Protocol".
"""

from __future__ import annotations

import struct
import uuid
from collections import Counter
from dataclasses import dataclass, field

from .gtid import GtidSet
from .policy import Flavor
from .rows import Change, Table, read_changes, read_table

HEADER = 19
_FORMAT, _QUERY, _XID, _TABLE = 15, 2, 16, 19
_ROWS = {23: "insert", 24: "update", 25: "delete", 30: "insert", 31: "update", 32: "delete"}
_GTID = {33: "mysql", 162: "mariadb"}
_TAGGED = 42
_NOISE = {3, 4, 15, 27, 29, 34, 35, 160, 161, 163}  # stop, rotate, format, heartbeat, comments, GTID lists
_UNFIT = {
    5: "an INSERT_ID of a statement",
    13: "RAND() of a statement",
    14: "a variable of a statement",
    38: "a prepared XA transaction",
    39: "parts of JSON documents",
    40: "compressed events",
    **dict.fromkeys((6, 7, 8, 9, 10, 11, 12, 17, 18), "LOAD DATA by statement"),
    **dict.fromkeys(range(165, 172), "compressed events"),
}
_BEGINS, _COMMIT = ("BEGIN", "XA START"), "COMMIT"


@dataclass(frozen=True, slots=True)
class Statement:
    """The row events of one statement, their table maps first, as they must be replayed together."""

    events: tuple[bytes, ...]
    changes: tuple[Change, ...]

    @property
    def schemas(self) -> set[str]:
        return {change.table.schema for change in self.changes}


@dataclass(slots=True)
class Transaction:
    """`format`: the event that tells how to read the others. `unfit`: why it cannot be replayed; "" for nothing."""

    gtid: str
    format: bytes
    statements: list[Statement] = field(default_factory=list)
    unfit: str = ""


class Collector:
    """Feed it the events of a file in order; `found` are the wanted transactions, by GTID."""

    def __init__(self, flavor: Flavor, wanted: GtidSet) -> None:
        self._flavor, self._wanted = flavor, wanted
        self.found: dict[str, Transaction] = {}
        self._format, self._checksum = b"", 0
        self._open: Transaction | None = None
        self._tables: dict[int, Table] = {}
        self._events: list[bytes] = []
        self._changes: list[Change] = []

    def feed(self, event: bytes) -> None:
        """ValueError for an event that makes no sense."""
        kind = event[4]
        if kind == _FORMAT:
            self._format = event
            self._checksum = 4 if event[-5] == 1 else 0
            self._open = None
            return
        body = event[HEADER : len(event) - self._checksum]
        try:
            if kind in _GTID:
                self._begin(_gtid(kind, event, body))
            elif kind == _TAGGED:
                self._open = None  # numbers with a tag are never among the wanted
            elif self._open is not None:
                self._go_on(self._open, kind, event, body)
        except (IndexError, KeyError, struct.error) as exc:
            raise ValueError(f"an event of type {kind} cannot be understood") from exc

    def _begin(self, gtid: str) -> None:
        self._events, self._changes, self._open = [], [], None
        one = f"{gtid}..{gtid.rpartition('-')[2]}" if self._flavor == "mariadb" else gtid
        if self._wanted.contains(GtidSet.parse(self._flavor, one)):
            self._open = self.found.setdefault(gtid, Transaction(gtid, self._format))
            self._open.statements.clear()

    def _go_on(self, transaction: Transaction, kind: int, event: bytes, body: bytes) -> None:
        if kind == _TABLE:
            table = read_table(body)
            self._tables[table.id] = table
            self._events.append(event)
        elif kind in _ROWS:
            last = self._rows(kind, event, body)
            if last:
                transaction.statements.append(Statement(tuple(self._events), tuple(self._changes)))
                self._events, self._changes = [], []
        elif kind == _XID:
            self._open = None
        elif kind == _QUERY:
            text = _query(body)
            if text == _COMMIT:
                self._open = None
            elif not text.startswith(_BEGINS) and not transaction.unfit:
                transaction.unfit = f"a statement that is no row change: {text[:200]}"
        elif kind in _UNFIT:
            transaction.unfit = transaction.unfit or _UNFIT[kind]
        elif kind not in _NOISE:
            transaction.unfit = transaction.unfit or f"an event of the unknown type {kind}"

    def _rows(self, kind: int, event: bytes, body: bytes) -> bool:
        """True for the last event of its statement."""
        table_id, flags = int.from_bytes(body[:6], "little"), int.from_bytes(body[6:8], "little")
        start = 8 + (int.from_bytes(body[8:10], "little") if kind >= 30 else 0)
        table = self._tables.get(table_id)
        if table is None:
            raise ValueError("row changes of a table that was not named before")
        self._events.append(event)
        self._changes.extend(read_changes(table, _ROWS[kind], body, start))
        return bool(flags & 1)


def _gtid(kind: int, event: bytes, body: bytes) -> str:
    if kind == 33:
        return f"{uuid.UUID(bytes=body[1:17])}:{struct.unpack_from('<q', body, 17)[0]}"
    sequence, domain = struct.unpack_from("<QI", body)
    return f"{domain}-{int.from_bytes(event[5:9], 'little')}-{sequence}"


def _query(body: bytes) -> str:
    schema, status = body[8], int.from_bytes(body[11:13], "little")
    return body[13 + status + schema + 1 :].decode("utf-8", "replace").strip()


def summary(*transactions: Transaction) -> str:
    """What they change, in a few words: rows by table and kind, or why that cannot be told."""
    counts = Counter(
        (f"{change.table.schema}.{change.table.name}", change.kind)
        for transaction in transactions
        for statement in transaction.statements
        for change in statement.changes
    )
    words = [f"{table}: {count} {kind}{'s' if count != 1 else ''}" for (table, kind), count in counts.items()]
    unfit = dict.fromkeys(transaction.unfit for transaction in transactions if transaction.unfit)
    return "; ".join([*words, *unfit]) or "no rows"
