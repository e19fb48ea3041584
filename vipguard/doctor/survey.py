"""What do the servers say of themselves? Each is asked once, for what the doctor judges; nothing is set.

A failing question ends a session, so each question that may fail has one of its own if it must.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vipguard.doctor import inside
from vipguard.doctor.inside import Inside
from vipguard.doctor.option_file import Options, boot_options
from vipguard.errors import Absent, CouldNotDo, CouldNotLook, Silent, VipguardError
from vipguard.model.evidence import ProcessId
from vipguard.model.policy import MARIADB, Flavor, Node, Policy
from vipguard.session import Deadline, Lost, Session, Tls

CONNECT_S = 2.0
QUESTION_S = 3.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a server could not be asked at all."""

    kind: Literal["absent", "silent", "denied"]
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """How a replica is told to follow its source. None: this flavour does not tell."""

    channel: str
    host: str
    port: int
    by_gtid: bool
    retry_s: int
    retry_count: int | None
    heartbeat_s: float | None = None


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """One server. None throughout: not looked at; `unseen` says of what, and why.

    `process_known`: of this host's server, whether its process was proven to be it.
    """

    node: Node
    here: bool
    failure: Failure | None = None
    flavor: Flavor = "mariadb"
    version: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    persisted: Mapping[str, str] | None = None
    grants: tuple[str, ...] | None = None
    sources: tuple[Source, ...] | None = None
    boot: Options | None = None
    process_known: bool | None = None
    epoch_problem: str = ""
    other_cluster: bool = False
    replica_problem: str = ""
    replica_grants: tuple[str, ...] | None = None
    inside: Inside = Inside()
    unseen: tuple[tuple[str, str], ...] = ()

    @property
    def closed(self) -> bool | None:
        """Whether its server takes no writes now; None where it did not tell."""
        value = self.variables.get("read_only" if self.flavor == MARIADB else "super_read_only")
        return None if value is None else value.upper() in ("ON", "1")


def survey(policy: Policy, everywhere: bool = False) -> list[ServerSeen]:
    """Every node's server: this host's over its socket, the peers over TCP. Raises nothing for what the world does.

    What is in the peers, their tables and events, only with `everywhere`.
    """
    return [_ask(policy, node, everywhere or node == policy.me) for node in (policy.me, *policy.peers)]


class Asker:
    """Asks one server, over a new session where the last question ended the one before."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self.session = connect()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows by column, in lower case. Raises VipguardError."""
        if not self.session.is_open:
            self.session = self._connect()
        found = self.session.rows_as_dicts(sql, deadline=Deadline(QUESTION_S))
        return [{str(name).lower(): value for name, value in row.items()} for row in found]


def _connector(policy: Policy, node: Node) -> Callable[[], Session]:
    if node.name == policy.node:
        return lambda: Session.local(policy.mysql, Deadline(CONNECT_S))
    return lambda: Session.peer(node.address, policy.mysql, Tls.of(policy.mysql), Deadline(CONNECT_S))


def _ask(policy: Policy, node: Node, contents: bool) -> ServerSeen:
    seen = ServerSeen(node, here=node.name == policy.node)
    try:
        asker = Asker(_connector(policy, node))
    except VipguardError as exc:
        return replace(seen, failure=Failure(_kind(exc), str(exc)))
    seen = replace(seen, flavor=asker.session.flavor, version=asker.session.version)
    process = _process(asker.session)
    unseen: list[tuple[str, str]] = []

    def ask(what: str, sql: str) -> list[dict[str, Any]] | None:
        try:
            return asker.rows(sql)
        except VipguardError as exc:
            unseen.append((what, str(exc)))
            return None

    variables = ask("its variables", "SHOW GLOBAL VARIABLES") or []
    seen = replace(seen, variables={str(row["variable_name"]): str(row["value"]) for row in variables})
    grants = ask("its grants", "SHOW GRANTS")
    if grants is not None:
        seen = replace(seen, grants=tuple(str(next(iter(row.values()))) for row in grants))
    seen = replace(seen, sources=_sources(seen.flavor, ask))
    if seen.flavor != MARIADB:
        rows = ask("its persisted variables", "SELECT * FROM performance_schema.persisted_variables")
        if rows is not None:
            persisted = {str(row["variable_name"]): str(row["variable_value"]) for row in rows}
            seen = replace(seen, persisted=persisted)
    if seen.here:
        seen = replace(seen, boot=_boot(seen, process, unseen), process_known=process is not None)
    seen = _epoch(policy, asker, seen, unseen)
    seen = replace(seen, inside=inside.look(policy, seen.flavor, ask, contents))
    asker.session.close()
    return replace(_as_replica(policy, seen), unseen=tuple(unseen))


def _process(session: Session) -> ProcessId | None:
    try:
        return session.server_process(Deadline(QUESTION_S))
    except VipguardError:
        return None


def _kind(exc: VipguardError) -> Literal["absent", "silent", "denied"]:
    if isinstance(exc, Absent):
        return "absent"
    return "silent" if isinstance(exc, Silent | Lost) else "denied"


def _sources(
    flavor: Flavor, ask: Callable[[str, str], list[dict[str, Any]] | None]
) -> tuple[Source, ...] | None:
    if flavor == MARIADB:
        rows = ask("its replication", "SHOW ALL SLAVES STATUS")
        if rows is None:
            return None
        return tuple(
            Source(str(row["connection_name"]), str(row["master_host"]), int(row["master_port"]),
                   row["using_gtid"] == "Slave_Pos", int(row["connect_retry"]), None,
                   float(row["slave_heartbeat_period"]))
            for row in rows
        )  # fmt: skip
    table = "performance_schema.replication_connection_configuration"
    rows = ask("its replication", f"SELECT * FROM {table} WHERE host <> ''")
    if rows is None:
        return None
    return tuple(
        Source(str(row["channel_name"]), str(row["host"]), int(row["port"]), str(row["auto_position"]) == "1",
               int(row["connection_retry_interval"]), int(row["connection_retry_count"]),
               float(row["heartbeat_interval"]))
        for row in rows
    )  # fmt: skip


def _boot(seen: ServerSeen, process: ProcessId | None, unseen: list[tuple[str, str]]) -> Options | None:
    """What the server will read when it starts next, by the arguments it was started with."""
    what = "how the server will start"
    if process is None:
        unseen.append((what, "its process is not known"))
        return None
    try:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        return boot_options(command, seen.flavor, seen.version)
    except OSError as exc:
        unseen.append((what, f"cannot read its command line: {exc.strerror}"))
    except CouldNotLook as exc:
        unseen.append((what, str(exc)))
    return None


def _epoch(policy: Policy, asker: Asker, seen: ServerSeen, unseen: list[tuple[str, str]]) -> ServerSeen:
    try:
        rows = asker.rows("SELECT cluster, epoch, node FROM vipguard.epoch")
    except (CouldNotLook, CouldNotDo) as exc:
        return replace(seen, epoch_problem=f"the table vipguard.epoch cannot be read: {exc}")
    except VipguardError as exc:
        unseen.append(("vipguard.epoch", str(exc)))
        return seen
    names = sorted(str(row["cluster"]) for row in rows)
    if names and policy.cluster not in names:
        problem = f"vipguard.epoch holds cluster {', '.join(names)} and not {policy.cluster}"
        return replace(seen, epoch_problem=problem, other_cluster=True)
    return seen


def _as_replica(policy: Policy, seen: ServerSeen) -> ServerSeen:
    """Logs in to a peer as a replica on this host would."""
    account = policy.replication
    if account is None or not account.password or seen.here:
        return seen
    mysql = replace(policy.mysql, user=account.user, password=account.password)
    try:
        session = Session.peer(seen.node.address, mysql, Tls.of(mysql), Deadline(CONNECT_S))
        grants = tuple(str(row[0]) for row in session.query("SHOW GRANTS", deadline=Deadline(QUESTION_S)))
        session.close()
    except VipguardError as exc:
        return replace(seen, replica_problem=str(exc))
    return replace(seen, replica_grants=grants)
