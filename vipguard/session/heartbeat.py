"""In which words is the heartbeat written and read? The same on both flavours."""

from __future__ import annotations

from collections.abc import Callable

from ..model.heartbeat import STALE, Beats, Row

THERE = (
    "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'vipguard' AND TABLE_NAME = 'heartbeat'"
)


def _us(time: str) -> str:
    return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {time})"


#: Two columns of a SELECT, for `read`; without the table: `NONE`.
COLUMNS = (
    f"{_us('UTC_TIMESTAMP(6)')}, (SELECT GROUP_CONCAT(CONCAT_WS(':', h.server_id, {_us('h.beat_at')},"
    f" {_us('h.since_at')}) SEPARATOR ' ') FROM vipguard.heartbeat h)"
)
NONE = "NULL, NULL"


def read(clock: bytes | None, rows: bytes | None) -> Beats | None:
    """A row that the server cut off (group_concat_max_len) is left out. None without the table."""
    if clock is None:
        return None
    found = []
    for text in (rows or b"").decode("ascii", "replace").split():
        parts = text.split(":")
        if len(parts) == 3 and all(part.isdigit() for part in parts) and len(parts[2]) == len(parts[1]):
            found.append(Row(*map(int, parts)))
    return Beats(int(clock), tuple(found))


def write(
    quote: Callable[[str], str], node: str, open_lock: str, opener: int, heartbeat_s: float, until_s: float
) -> str:
    """INSERT of the server's own row, which itself sees to it that nothing is written where nobody may write: it has
    no effect on a closed server, without the open lock in the session `opener`, or after `until_s` (since 1970).

    It begins a new series where the beat before is too old, or is of a clock that was set back.
    """
    oldest = f"UTC_TIMESTAMP(6) - INTERVAL {round(STALE * heartbeat_s * 1e6)} MICROSECOND"
    new = f"beat_at > UTC_TIMESTAMP(6) OR beat_at < {oldest}"
    return (
        "INSERT INTO vipguard.heartbeat (server_id, node, beat_at, since_at)"
        f" SELECT @@global.server_id, {quote(node)}, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM DUAL"
        f" WHERE @@global.read_only = 0 AND IS_USED_LOCK({quote(open_lock)}) = {opener}"
        f" AND UNIX_TIMESTAMP(NOW(6)) < {until_s:.6f}"
        f" ON DUPLICATE KEY UPDATE since_at = IF({new}, UTC_TIMESTAMP(6), since_at),"
        " beat_at = UTC_TIMESTAMP(6), node = VALUES(node)"
    )
