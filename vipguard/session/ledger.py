"""In which words are the openings written and read? The same on both flavours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..model.evidence import EpochRow
from ..model.ledger import Ledger, Opening
from .wire import Row

Quote = Callable[[str], str]
THERE = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'vipguard' AND TABLE_NAME = 'opening'"
_COLUMNS = "cluster, epoch, node, boot_id, opened_at"
_MORE = "overrules"


def fingerprint(quote: Quote, cluster: str) -> str:
    """A column that changes whenever a row comes: rows are only added."""
    return (
        "(SELECT CONCAT(COUNT(*), ' ', IFNULL(MAX(o.epoch), 0), ' ', IFNULL(MAX(o.opened_at), ''))"
        f" FROM vipguard.opening o WHERE o.cluster = {quote(cluster)})"
    )


def read(quote: Quote, cluster: str) -> str:
    """SELECT of all rows, for `read_rows`."""
    at_s = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', opened_at)"
    return f"SELECT epoch, node, boot_id, {at_s}, {_MORE} FROM vipguard.opening WHERE cluster = {quote(cluster)}"


def read_rows(rows: Sequence[Row]) -> Ledger:
    found = []
    for epoch, node, boot_id, at_us, overrules in rows:
        row = EpochRow(int(epoch or 0), _text(node), _text(boot_id))
        found.append(Opening(row, int(at_us or 0) / 1e6, _rows(_text(overrules))))
    return Ledger.of(found)


def write(quote: Quote, cluster: str, opening: Opening, ledger: bool) -> tuple[str, ...]:
    """One transaction: the row of the epoch, and that of the ledger where the server has one."""
    row = _row(quote, cluster, opening)
    epoch = f"REPLACE INTO vipguard.epoch ({_COLUMNS}) VALUES ({row}, UTC_TIMESTAMP(6))"
    if not ledger:
        return (epoch,)
    values = f"({row}, UTC_TIMESTAMP(6), {quote(_told(opening.overrules))})"
    return "BEGIN", epoch, f"INSERT INTO vipguard.opening ({_COLUMNS}, {_MORE}) VALUES {values}", "COMMIT"


def write_if_open(quote: Quote, cluster: str, opening: Opening, open_lock: str, opener: int) -> tuple[str, ...]:
    """The same of a sitting writer; the server itself sees to it that nothing is written once it is closed, or where
    session `opener` does not hold the open lock. The last statement counts the row: 1 or 0."""
    row, more = _row(quote, cluster, opening), quote(_told(opening.overrules))
    still = f"@@global.read_only = 0 AND IS_USED_LOCK({quote(open_lock)}) = {opener}"
    ours = f"cluster = {quote(cluster)} AND epoch = {opening.row.epoch} AND node = {quote(opening.row.node)}"
    ours += f" AND boot_id = {quote(opening.row.boot_id)}"
    insert = f"INSERT INTO vipguard.opening ({_COLUMNS}, {_MORE})"
    return (
        "BEGIN",
        f"{insert} SELECT {row}, UTC_TIMESTAMP(6), {more} FROM DUAL WHERE {still}",
        f"REPLACE INTO vipguard.epoch ({_COLUMNS}) SELECT {_COLUMNS} FROM vipguard.opening WHERE {ours}",
        "COMMIT",
        f"SELECT COUNT(*) FROM vipguard.opening WHERE {ours}",
    )


def _row(quote: Quote, cluster: str, opening: Opening) -> str:
    return f"{quote(cluster)}, {opening.row.epoch}, {quote(opening.row.node)}, {quote(opening.row.boot_id)}"


def _told(rows: frozenset[EpochRow]) -> str:
    return " ".join(f"{row.epoch}:{row.node}:{row.boot_id}" for row in sorted(rows))


def _rows(text: str) -> frozenset[EpochRow]:
    """What cannot be read overrules nothing."""
    found = set()
    for word in text.split():
        epoch, _, rest = word.partition(":")
        node, _, boot_id = rest.partition(":")
        if epoch.isdigit() and node:
            found.add(EpochRow(int(epoch), node, boot_id))
    return frozenset(found)


def _text(cell: bytes | None) -> str:
    return "" if cell is None else cell.decode("utf-8", "replace")
