"""Would this server be safe to fail over from and to? Its settings at run time, and what it will start with.

Why each setting is needed stands with it in what `vipguard render mysql` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from vipguard.doctor import semi_sync
from vipguard.doctor.diagnosis import Diagnosis, Severity, error, warning
from vipguard.doctor.survey import ServerSeen, Source
from vipguard.model.policy import MARIADB, MYSQL, Policy, Replication
from vipguard.model.witness import endpoint

NET_TIMEOUT_S_MAX = 10
RETRY_S_MAX = 10
RETRY_FOR_S_MIN = 86400
_RENDER = "put what `vipguard render mysql` prints for node {node} into its my.cnf and restart it"
_ON = ("ON", "1", "YES")

# variable, flavour ("" both), severity, rule, why it matters
_MUST_BE_ON: tuple[tuple[str, str, Severity, str, str], ...] = (
    ("log_bin", "", "error", "binary-log-off", "nobody can follow this server"),
    (
        "log_slave_updates",
        MARIADB,
        "error",
        "log-updates-off",
        "what it applied is missing from its binary log",
    ),
    (
        "log_replica_updates",
        MYSQL,
        "error",
        "log-updates-off",
        "what it applied is missing from its binary log",
    ),
    ("gtid_strict_mode", MARIADB, "error", "gtid-strict-off", "diverged histories can pass for one"),
    ("gtid_mode", MYSQL, "error", "gtid-off", "histories cannot be compared"),
    (
        "enforce_gtid_consistency",
        MYSQL,
        "error",
        "gtid-consistency-off",
        "statements without a GTID are allowed",
    ),
    (
        "skip_replica_start",
        MYSQL,
        "error",
        "replication-starts-at-boot",
        "it would join before its set was compared",
    ),
)


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """What is set otherwise than it must be, on each server that told and among them."""
    asked = [seen for seen in servers if not seen.failure and seen.variables]
    for seen in asked:
        yield from _switches(seen)
        yield from _numbers(policy, seen)
        yield from process(seen)
        yield from _domain(policy, seen, asked)
        yield from _boot(seen)
        yield from _sources(policy, seen)
        yield from semi_sync.judge(policy, seen)
    yield from _among(asked)


def process(seen: ServerSeen) -> Iterator[Diagnosis]:
    """Of this host's server: which process is it?"""
    if seen.process_known is not False:
        return
    told = ", ".join(f"{name} = {seen.variables.get(name) or 'not set'}" for name in ("socket", "pid_file", "datadir"))
    text = f"no process here is proven to be the server ({told}): it could not be killed, so this is no candidate"
    remedy = "let it make its own socket, set pid_file, and run the agent where it sees the server's processes"
    yield error("server", "process-unknown", text, remedy, seen.node.name)


def _render(seen: ServerSeen) -> str:
    return _RENDER.format(node=seen.node.name)


def _switches(seen: ServerSeen) -> Iterator[Diagnosis]:
    for name, flavor, severity, rule, why in _MUST_BE_ON:
        value = seen.variables.get(name)
        if flavor in ("", seen.flavor) and value is not None and value.upper() not in _ON:
            yield Diagnosis(
                severity, "server", rule, f"{name} = {value}: {why}", _render(seen), seen.node.name
            )
    if seen.variables.get("binlog_format", "ROW") != "ROW":
        text = f"binlog_format = {seen.variables['binlog_format']}: replicas may compute other rows"
        yield warning("server", "binlog-format", text, _render(seen), seen.node.name)
    if seen.flavor == MYSQL and seen.variables.get("relay_log_recovery", "OFF").upper() in _ON:
        text = "relay_log_recovery = ON: a restart throws away what was received and not applied"
        yield warning("server", "relay-log-recovery", text, _render(seen), seen.node.name)
    lax = [
        name
        for name in ("sync_binlog", "innodb_flush_log_at_trx_commit")
        if seen.variables.get(name, "1") != "1"
    ]
    if lax:
        said = ", ".join(f"{name} = {seen.variables[name]}" for name in lax)
        text = f"{said}: a crash of the host loses committed transactions"
        yield warning("server", "not-durable", text, _render(seen), seen.node.name)


def _numbers(policy: Policy, seen: ServerSeen) -> Iterator[Diagnosis]:
    name, node = seen.node.name, seen.node
    expected = node.server_id or policy.nodes.index(node) + 1
    server_id = seen.variables.get("server_id", "")
    if server_id != str(expected):
        text = f"server_id = {server_id}, the configuration says {expected}"
        remedy = f"set nodes.{name}.server_id = {server_id} in the configuration, or correct the server's"
        yield warning("server", "server-id-differs", text, remedy, name)
    for variable in ("slave_net_timeout", "replica_net_timeout"):
        value = seen.variables.get(variable)
        if value is not None and int(value) > NET_TIMEOUT_S_MAX:
            text = f"{variable} = {value}: a hung source reads as fine for that many seconds"
            yield warning("server", "net-timeout", text, _render(seen), name)
            break
    if seen.variables.get("thread_handling") == "pool-of-threads" and seen.variables.get("extra_port", "0") == "0":
        text = "thread_handling = pool-of-threads without extra_port: with none left nobody is told from a hung server"
        yield warning("server", "no-extra-port", text, "set extra_port and extra_max_connections", name)
    increment = int(seen.variables.get("auto_increment_increment", "1"))
    if increment < len(policy.candidates):
        text = f"auto_increment_increment = {increment} with {len(policy.candidates)} nodes that may write"
        yield warning("server", "auto-increment", text, _render(seen), name)
    if seen.here and seen.variables.get("port", "") not in ("", str(policy.mysql.port)):
        text = f"the server at {policy.mysql.socket} listens on port {seen.variables['port']}"
        yield error("server", "port-differs", text, f"mysql.port is {policy.mysql.port}: make them one", name)


def _domain(policy: Policy, seen: ServerSeen, asked: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """Does what it writes, or will write, have one order with what the others write?"""
    domain, wanted = seen.variables.get("gtid_domain_id"), str(policy.mysql.gtid_domain_id)
    if seen.flavor != MARIADB or domain is None:
        return
    parallel = [other.node.name for other in asked if _in_parallel(other)]
    if domain != wanted:
        text = f"gtid_domain_id = {domain}, the cluster's is {wanted}"
        remedy = f"put what `vipguard render mysql` prints for {seen.node.name} into its my.cnf; then, without a stop,"
        if seen.variables.get("read_only", "ON").upper() in _ON:
            remedy += f" run there: SET GLOBAL gtid_domain_id = {wanted}"
        else:
            remedy += " move the writer once (vipguard switchover): the next one takes the domain up as it opens"
        if parallel:
            names = ", ".join(parallel)
            text += f": {names} may apply its writes and the next writer's in either order"
            stop = "STOP SLAVE; SET GLOBAL slave_parallel_mode = 'none'; START SLAVE"
            remedy = f"until all are alike, on {names}: {stop}; {remedy}"
            yield error("server", "gtid-domain-differs", text, remedy, seen.node.name)
        else:
            yield warning("server", "gtid-domain-differs", text, remedy, seen.node.name)
    threads = seen.variables.get("slave_domain_parallel_threads", "0")
    if _in_parallel(seen) and threads != "0":
        text = f"slave_domain_parallel_threads = {threads}: it is set up for domains whose order does not matter"
        remedy = "let no session set gtid_domain_id by itself; run there: SET GLOBAL slave_domain_parallel_threads = 0"
        yield warning("server", "parallel-by-domain", text, remedy, seen.node.name)


def _in_parallel(seen: ServerSeen) -> bool:
    """Would it apply what lies in two domains in either order?"""
    mode = seen.variables.get("slave_parallel_mode", "none")
    return seen.variables.get("slave_parallel_threads", "0") != "0" and mode not in ("none", "minimal")


def _boot(seen: ServerSeen) -> Iterator[Diagnosis]:
    """What a restart would find. The run-time value says nothing: vipguard sets it."""
    persisted = seen.persisted or {}
    if persisted.get("super_read_only", "ON").upper() not in _ON:
        text = "a persisted super_read_only = OFF beats my.cnf and the command line: it starts writable"
        yield error(
            "server", "persisted-writable", text, "run there: RESET PERSIST super_read_only", seen.node.name
        )
    if seen.boot is None:
        return
    for variable, rule, why in _STARTS_CLOSED[seen.flavor]:
        names = [variable, *_ALSO.get(variable, ())]
        option = next((seen.boot[name] for name in names if name in seen.boot), None)
        if (option is not None and option.is_on) or persisted.get(variable, "").upper() in _ON:
            continue
        said = (
            f"{variable} is not set in its option files"
            if option is None
            else f"{variable} is off ({option.place})"
        )
        yield error("server", rule, f"{said}: {why}", _render(seen), seen.node.name)


_STARTS_CLOSED = {
    MARIADB: (
        ("read_only", "boots-writable", "it starts writable"),
        ("skip_slave_start", "replication-starts-at-boot", "it would join before its set was compared"),
    ),
    MYSQL: (("super_read_only", "boots-writable", "it starts writable for accounts with SUPER"),),
}
_ALSO = {"skip_slave_start": ("skip_replica_start",)}


def _point(policy: Policy, seen: ServerSeen) -> str:
    """The statement that makes this server follow the node that it is set up to follow."""
    source = policy.source_of(seen.node)
    word = "MASTER" if seen.flavor == MARIADB else "SOURCE"
    told = [
        f"{word}_HOST='{source.address}'",
        f"{word}_PORT={policy.mysql.port}",
        f"{word}_USER='{(policy.replication or Replication()).user}'",
        f"{word}_PASSWORD='…'",
        f"{word}_CONNECT_RETRY=1",
    ]
    if seen.flavor == MARIADB:
        return f"run there: CHANGE MASTER TO {', '.join(told)}, MASTER_USE_GTID=slave_pos"
    told += ["SOURCE_RETRY_COUNT=86400", "SOURCE_AUTO_POSITION=1", "GET_SOURCE_PUBLIC_KEY=1"]
    return f"run there: CHANGE REPLICATION SOURCE TO {', '.join(told)}"


def _sources(policy: Policy, seen: ServerSeen) -> Iterator[Diagnosis]:
    if seen.sources is None:
        return
    if not seen.sources:
        remedy = f"{_point(policy, seen)}; then restart vipguard-agent there, which starts it when it may"
        yield error(
            "server", "replication-not-configured", "it replicates from nobody", remedy, seen.node.name
        )
    for source in seen.sources:
        yield from _source(policy, seen, source)


def _source(policy: Policy, seen: ServerSeen, source: Source) -> Iterator[Diagnosis]:
    name = seen.node.name
    where = endpoint(source.host, source.port)
    change = "CHANGE MASTER TO MASTER_" if seen.flavor == MARIADB else "CHANGE REPLICATION SOURCE TO SOURCE_"
    if not source.by_gtid:
        remedy = f"{change}{'USE_GTID = slave_pos' if seen.flavor == MARIADB else 'AUTO_POSITION = 1'}"
        yield error("server", "source-without-gtid", f"it follows {where} by file and position", remedy, name)
    others = {(node.address, policy.mysql.port) for node in policy.nodes if node != seen.node}
    if (source.host, source.port) not in others:
        text = f"it follows {where}, which is no other node of the configuration"
        remedy = "point it at another node, by the address and the port that the configuration has"
        yield error("server", "source-unknown", text, remedy, name)
    if source.retry_s > RETRY_S_MAX:
        text = f"it tries a lost source every {source.retry_s} s"
        yield warning("server", "connect-retry", text, f"{change}CONNECT_RETRY = 1", name)
    if source.retry_count is not None and 0 < source.retry_count * max(source.retry_s, 1) < RETRY_FOR_S_MIN:
        text = f"it gives a lost source up after {source.retry_count} tries, and then can't take over"
        yield error("server", "retry-count", text, f"{change}RETRY_COUNT = 86400", name)
    yield from _heartbeat(seen, source, change)


def _heartbeat(seen: ServerSeen, source: Source, change: str) -> Iterator[Diagnosis]:
    """It keeps the period that it had when it was pointed, whatever happens to the time-out later."""
    word = "SLAVE" if seen.flavor == MARIADB else "REPLICA"
    timeout = seen.variables.get(f"{word.lower()}_net_timeout", "")
    period_s = source.heartbeat_s
    if period_s is None or not timeout.isdigit() or period_s < int(timeout):
        return
    text = f"an idle source says that it lives every {period_s:g} s, and this server hangs up after {timeout} s"
    remedy = f"run there: STOP {word}; {change}HEARTBEAT_PERIOD = {int(timeout) / 2:g}; START {word}"
    yield warning("server", "heartbeat-late", text, remedy, seen.node.name)


def _among(asked: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """What must differ from server to server, and what must not."""
    for one, other in combinations(asked, 2):
        names = f"{one.node.name} and {other.node.name}"
        if one.flavor != other.flavor:
            text = f"{names} are {one.flavor} and {other.flavor}: their GTIDs cannot be compared"
            yield error("server", "mixed-flavors", text, "run one kind of server in a cluster")
            continue
        number = one.variables.get("server_id")
        if number is not None and number == other.variables.get("server_id"):
            text = f"{names} have the same server_id = {number}"
            yield error("server", "server-id-shared", text, _RENDER.format(node=names.replace(" and ", ", ")))
        if one.node.is_replica or other.node.is_replica:
            continue
        offset = one.variables.get("auto_increment_offset")
        if offset is not None and offset == other.variables.get("auto_increment_offset"):
            text = f"{names} have the same auto_increment_offset = {offset}"
            yield warning("server", "auto-increment", text, _RENDER.format(node=names.replace(" and ", ", ")))
