"""In which words is it asked or told? All that differs between MariaDB's SQL and MySQL's, and reading their answers.

Rows come as `Session.ask` gives them: bytes, None for NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..model.evidence import Channel, EpochRow, IoState, Order
from ..model.gtid import GtidSet
from ..model.heartbeat import Beats
from ..model.maintenance import Maintenance
from ..model.policy import MARIADB, MYSQL, Flavor, Policy
from . import heartbeat, ledger
from .wire import Row

NO_SUCH_THREAD = 1094
KILL_DENIED = 1095


@dataclass(frozen=True, slots=True)
class Facts:
    """The first statement's row, read: what `ServerFacts` needs besides the channels."""

    closed: bool
    gtid: GtidSet
    server_id: int
    datadir: str
    uuid: str
    open_lock: int | None
    claim_lock: int | None
    epoch: EpochRow | None
    other_cluster: str | None
    maintenance: tuple[Maintenance, ...]
    moving_to: str | None
    fit_lock: int | None
    reads: frozenset[str]
    beats: Beats | None
    gone: frozenset[str]
    openings: str  # the ledger's fingerprint
    io_beats: int | None
    half_closed: bool
    order: Order | None


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of the replication status are in a row."""

    name: int
    host: int
    port: int
    io: int
    sql: int
    lag: int
    received: int
    executed: int  # MariaDB: Gtid_Slave_Pos
    io_errno: int
    io_error: int
    sql_errno: int
    sql_error: int
    uses_gtid: int
    io_beats: int | None = None  # MySQL's status does not tell


@dataclass(frozen=True, slots=True)
class Dialect:
    """One flavour's words. `{}` in a statement is the quoted name of a channel."""

    flavor: Flavor
    closed: str
    half_closed: str
    gtid: tuple[str, ...]  # the set is the union of these
    uuid: str
    io_beats: str  # where the channels do not tell
    order: str
    channels: str
    channel_columns: tuple[str, ...]
    close: str
    stop_io: str
    start_io: str
    start_sql: str
    stop_sql: str
    start_both: str
    wait_function: str

    sessions = "SHOW PROCESSLIST"

    def close_in(self, seconds: float) -> str:
        """Closes after `seconds`, in one statement, which ends without an effect when its session is ended before."""
        name, _, one = self.close.removeprefix("SET GLOBAL ").partition(" = ")
        return f"SET GLOBAL {name} = IF(SLEEP({seconds:.3f}) = 0, {one}, NULL)"

    def open(self, until_s: float) -> str:
        """Opens, unless the server comes to it after `until_s` (seconds since 1970): then it stays closed.

        MySQL turns super_read_only off together with read_only.
        """
        return f"SET GLOBAL read_only = IF(UNIX_TIMESTAMP(NOW(6)) < {until_s:.6f}, 0, 1)"

    def facts(self, quote: Callable[[str], str], policy: Policy, beats: bool, openings: bool) -> str:
        """One SELECT for everything but the channels; read its row with `read_facts`. `beats`: the heartbeat too, whose
        table must be there. `openings`: and the ledger's fingerprint, likewise."""
        cluster, claim_lock, open_lock = policy.cluster, policy.claim_lock, policy.open_lock
        moves = " ".join(
            f"WHEN IS_USED_LOCK({quote(policy.move_lock(node.name))}) IS NOT NULL THEN {quote(node.name)}"
            for node in policy.nodes
        )
        reads = "".join(
            f", IF(IS_USED_LOCK({quote(policy.read_lock(reader.name))}) IS NULL, NULL, {quote(reader.name)})"
            for reader in policy.readers
        )
        told = f"CONCAT_WS(','{reads})" if reads else "''"
        gone = ", ".join(
            f"IF(IS_USED_LOCK({quote(policy.gone_lock(node.name))}) IS NULL, NULL, {quote(node.name)})"
            for node in policy.nodes
        )
        gtid = self.gtid[0] if len(self.gtid) == 1 else f"CONCAT_WS(',', {', '.join(self.gtid)})"
        name = quote(cluster)
        return (
            f"SELECT {self.closed}, {gtid}, @@global.server_id, @@global.datadir, {self.uuid},"
            f" IS_USED_LOCK({quote(open_lock)}), IS_USED_LOCK({quote(claim_lock)}), e.epoch, e.node, e.boot_id,"
            f" (SELECT MIN(o.cluster) FROM vipguard.epoch o WHERE o.cluster <> {name}),"
            f" (SELECT GROUP_CONCAT(CONCAT_WS(CHAR(31), m.node, m.since_s, IFNULL(m.until_s, ''), m.reason)"
            f" ORDER BY m.node SEPARATOR 0x1e) FROM vipguard.maintenance m WHERE m.cluster = {name}"
            f" AND (m.until_s IS NULL OR m.until_s > UNIX_TIMESTAMP())), CASE {moves} END,"
            f" IS_USED_LOCK({quote(policy.fit_lock)}), {told}, {heartbeat.COLUMNS if beats else heartbeat.NONE},"
            f" {ledger.fingerprint(quote, cluster) if openings else 'NULL'}, {self.io_beats}, {self.half_closed},"
            f" {self.order}, CONCAT_WS(',', {gone})"
            f" FROM (SELECT 1 AS one) AS d LEFT JOIN vipguard.epoch e ON e.cluster = {name}"
        )

    def read_facts(self, row: Row) -> Facts:
        epoch = None
        if row[7] is not None:
            epoch = EpochRow(int(row[7]), _text(row[8]), _text(row[9]))
        return Facts(
            closed=row[0] == b"1",
            gtid=GtidSet.parse(self.flavor, _text(row[1])),
            server_id=_int(row[2]),
            datadir=_text(row[3]),
            uuid=_text(row[4]),
            open_lock=None if row[5] is None else int(row[5]),
            claim_lock=None if row[6] is None else int(row[6]),
            epoch=epoch,
            other_cluster=_text(row[10]) if epoch is None and row[10] is not None else None,
            maintenance=_maintenance(_text(row[11])),
            moving_to=None if row[12] is None else _text(row[12]),
            fit_lock=None if row[13] is None else int(row[13]),
            reads=frozenset(_text(row[14]).split(",")) if row[14] else frozenset(),
            beats=heartbeat.read(row[15], row[16]),
            openings=_text(row[17]),
            io_beats=None if row[18] is None else int(float(row[18])),
            half_closed=row[19] == b"1",
            order=_order(_text(row[20])) if row[20] else None,
            gone=frozenset(_text(row[21]).split(",")) if row[21] else frozenset(),
        )

    def own_gtid(self) -> str:
        """SELECT of what the server has, applied or written there; `read_gtid` reads its row."""
        return f"SELECT {self.closed}, {','.join(self.gtid)}"

    def read_gtid(self, row: Row) -> GtidSet:
        return GtidSet.parse(self.flavor, ",".join(_text(cell) for cell in row[1:]))

    def read_closed(self, row: Row) -> bool:
        """Of a row that `own_gtid` asked for."""
        return row[0] == b"1"

    def wait(self, target: GtidSet, seconds: float) -> str:
        """SELECT that returns as soon as the replica has applied up to the end of `target`, or after `seconds`."""
        text = target.position() if self.flavor == MARIADB else str(target)  # its function knows positions only
        return f"SELECT {self.wait_function}('{text}', {seconds:.3f})"

    def locate(self, names: Sequence[str]) -> Columns:
        """Raises ValueError when the server lacks a column."""
        beats = names.index("Slave_received_heartbeats") if "Slave_received_heartbeats" in names else None
        return Columns(*[*(names.index(name) for name in self.channel_columns), beats])  # type: ignore[arg-type]

    def read_channel(self, row: Row, at: Columns, own: GtidSet) -> Channel:
        """`own` was read before the row: so `applied` may be late, and is never early."""
        io = _IO.get(row[at.io] or b"", "connecting")
        lag = row[at.lag]
        received, applied = None, None
        if row[at.uses_gtid] not in (b"No", b"0"):
            received = GtidSet.parse(self.flavor, _text(row[at.received]))
            applied = own.contains(received)
            if not applied:
                applied = own.union(GtidSet.parse(self.flavor, _text(row[at.executed]))).contains(received)
        return Channel(
            name=_text(row[at.name]),
            source_host=_text(row[at.host]),
            source_port=_int(row[at.port]),
            io=io,
            sql_running=row[at.sql] == b"Yes",
            lag_s=float(lag) if lag is not None and io == "running" else None,
            received=received,
            applied=applied,
            io_errno=_int(row[at.io_errno]),
            io_error=_text(row[at.io_error]),
            sql_errno=_int(row[at.sql_errno]),
            sql_error=_text(row[at.sql_error]),
            io_beats=None if at.io_beats is None else _int(row[at.io_beats]),
        )


def dialect_of(flavor: Flavor) -> Dialect:
    return _DIALECTS[flavor]


_IO: dict[bytes, IoState] = {b"Yes": "running", b"No": "stopped", b"Connecting": "connecting"}


def _text(cell: bytes | None) -> str:
    return "" if cell is None else cell.decode("utf-8", "replace")


def _maintenance(text: str) -> tuple[Maintenance, ...]:
    """A list that the server cut off (group_concat_max_len) loses words of its last reason, not more."""
    rows = []
    for line in text.split("\x1e") if text else ():
        node, since_s, until_s, reason = (*line.split("\x1f"), "", "", "")[:4]
        rows.append(Maintenance(node, int(since_s or 0), int(until_s) if until_s else None, reason))
    return tuple(rows)


def _order(text: str) -> Order:
    domain, strict, threads, mode = text.split()
    return Order(int(domain), strict in ("ON", "1"), int(threads) > 0 and mode not in ("none", "minimal"))


def _int(cell: bytes | None) -> int:
    return int(cell) if cell else 0


_DIALECTS: dict[str, Dialect] = {
    MARIADB: Dialect(
        flavor="mariadb",
        closed="@@global.read_only",
        half_closed="0",
        io_beats="NULL",
        # the last of every server that ever wrote, in each domain; what was applied and not logged; the domain's end
        # stands last, so in this order
        gtid=("@@global.gtid_binlog_state", "@@global.gtid_slave_pos"),
        uuid="''",
        order="CONCAT_WS(' ', @@global.gtid_domain_id, @@global.gtid_strict_mode, @@global.slave_parallel_threads,"
        " @@global.slave_parallel_mode)",
        channels="SHOW ALL SLAVES STATUS",
        channel_columns=(
            "Connection_name", "Master_Host", "Master_Port", "Slave_IO_Running", "Slave_SQL_Running",
            "Seconds_Behind_Master", "Gtid_IO_Pos", "Gtid_Slave_Pos", "Last_IO_Errno", "Last_IO_Error",
            "Last_SQL_Errno", "Last_SQL_Error", "Using_Gtid",
        ),
        close="SET GLOBAL read_only = 1",
        stop_io="STOP SLAVE {} IO_THREAD",
        start_io="START SLAVE {} IO_THREAD",
        start_sql="START SLAVE {} SQL_THREAD",
        stop_sql="STOP SLAVE {} SQL_THREAD",
        start_both="START SLAVE {}",
        wait_function="MASTER_GTID_WAIT",
    ),
    MYSQL: Dialect(
        flavor="mysql",
        # while a SET of super_read_only waits for its turn, it reads 1 alone, and nothing is in force
        closed="(@@global.read_only AND @@global.super_read_only)",
        half_closed="(@@global.read_only AND NOT @@global.super_read_only)",
        gtid=("@@global.gtid_executed",),
        uuid="@@global.server_uuid",
        io_beats="(SELECT SUM(COUNT_RECEIVED_HEARTBEATS) FROM performance_schema.replication_connection_status)",
        order="NULL",
        channels="SHOW REPLICA STATUS",
        channel_columns=(
            "Channel_Name", "Source_Host", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running",
            "Seconds_Behind_Source", "Retrieved_Gtid_Set", "Executed_Gtid_Set", "Last_IO_Errno", "Last_IO_Error",
            "Last_SQL_Errno", "Last_SQL_Error", "Auto_Position",
        ),
        close="SET GLOBAL super_read_only = 1",
        stop_io="STOP REPLICA IO_THREAD FOR CHANNEL {}",
        start_io="START REPLICA IO_THREAD FOR CHANNEL {}",
        start_sql="START REPLICA SQL_THREAD FOR CHANNEL {}",
        stop_sql="STOP REPLICA SQL_THREAD FOR CHANNEL {}",
        start_both="START REPLICA FOR CHANNEL {}",
        wait_function="WAIT_FOR_EXECUTED_GTID_SET",
    ),
}  # fmt: skip
