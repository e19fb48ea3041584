"""In which words does a server tell of semi-sync, and in which is it told? Both flavours, and vipguard's own mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..model.evidence import Mark, SemiSync
from ..model.policy import MARIADB, Flavor
from .wire import Row

WAITING = "semi-sync ACK"  # in a session's state: its commit waits for a replica
FOR_EVER_MS = 4294967295  # the most that MySQL takes: 49 days
_ENABLED = ("source_enabled", "replica_enabled")
_STATUS = ("source_status", "source_clients", "source_wait_sessions", "source_yes_tx", "replica_status")


@dataclass(frozen=True, slots=True)
class Words:
    """One flavour's. `there` counts the variables: MySQL has them by plugins, and an error would end the session."""

    source: str
    replica: str
    status_table: str
    there: str | None

    def variable(self, role: str) -> str:
        return f"rpl_semi_sync_{role}_enabled"

    @property
    def status(self) -> str:
        """SELECT of (name, value); read its rows with `read`."""
        names = ", ".join(f"'Rpl_semi_sync_{self._own(name)}'" for name in _STATUS)
        enabled = "".join(
            f" UNION ALL SELECT 'rpl_semi_sync_{self._own(name)}', @@global.rpl_semi_sync_{self._own(name)}"
            for name in _ENABLED
        )
        columns = "SELECT VARIABLE_NAME, VARIABLE_VALUE"
        return f"{columns} FROM {self.status_table} WHERE VARIABLE_NAME IN ({names}){enabled}"

    def read(self, rows: Sequence[Row]) -> SemiSync | None:
        """None where something is missing, as while a plugin is being loaded."""
        said = {(row[0] or b"").decode().lower(): (row[1] or b"").decode() for row in rows}
        try:
            value = {name: said[f"rpl_semi_sync_{self._own(name)}"] for name in (*_ENABLED, *_STATUS)}
        except KeyError:
            return None
        return SemiSync(
            source_enabled=value["source_enabled"] in ("1", "ON"),
            source_on=value["source_enabled"] in ("1", "ON") and value["source_status"] == "ON",
            clients=int(value["source_clients"]),
            waiting=int(value["source_wait_sessions"]),
            acked=int(value["source_yes_tx"]),
            replica_enabled=value["replica_enabled"] in ("1", "ON"),
            replica_on=value["replica_status"] == "ON",
        )

    def set_source(self, on: bool) -> tuple[str, ...]:
        """With it, whatever the configuration says: no fallback, and nobody sees a commit that waits."""
        switch = f"SET GLOBAL {self.variable(self.source)} = {int(on)}"
        if not on:
            return (switch,)
        prefix = f"SET GLOBAL rpl_semi_sync_{self.source}"
        return (
            f"{prefix}_timeout = {FOR_EVER_MS}",
            f"{prefix}_wait_point = AFTER_SYNC",
            f"{prefix}_wait_no_{self.replica} = 1",
            switch,
        )

    @property
    def mute(self) -> str:
        """An IO thread that runs takes no notice of it until it begins anew."""
        return f"SET GLOBAL {self.variable(self.replica)} = 0"

    @property
    def source_enabled(self) -> str:
        return f"SELECT @@global.{self.variable(self.source)}"

    def _own(self, name: str) -> str:
        return name.replace("source", self.source).replace("replica", self.replica)


def words_of(flavor: Flavor) -> Words:
    return _MARIADB if flavor == MARIADB else _MYSQL


def mark(quote: Callable[[str], str], cluster: str) -> str:
    """SELECT of the mark's row; read it with `read_mark`."""
    return f"SELECT epoch, number, is_on FROM vipguard.mark WHERE cluster = {quote(cluster)}"


def read_mark(rows: Sequence[Row]) -> Mark | None:
    if not rows:
        return None
    epoch, number, is_on = rows[0]
    return Mark(int(epoch or 0), int(number or 0), is_on == b"1")


_MARIADB = Words("master", "slave", "information_schema.GLOBAL_STATUS", None)
_MYSQL = Words(
    "source",
    "replica",
    "performance_schema.global_status",
    "SELECT COUNT(*) FROM performance_schema.global_variables"
    " WHERE VARIABLE_NAME IN ('rpl_semi_sync_source_enabled', 'rpl_semi_sync_replica_enabled')",
)
