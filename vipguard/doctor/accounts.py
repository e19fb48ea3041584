"""Has each account what it needs, and no hole? Grants as the server lists them, compared with what is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.doctor.survey import ServerSeen
from vipguard.model.policy import MARIADB, Policy
from vipguard.render.accounts import (
    EPOCH_TABLE,
    HEARTBEAT_TABLE,
    LEDGER_TABLE,
    MAINTENANCE_TABLE,
    MARK_TABLE,
    OPERATOR,
)

_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>\S+) TO ", re.IGNORECASE | re.DOTALL)
_SYNONYMS = {
    "REPLICATION CLIENT": "BINLOG MONITOR",
    "REPLICA MONITOR": "SLAVE MONITOR",
    "REPLICATION REPLICA": "REPLICATION SLAVE",
    "REPLICATION REPLICA ADMIN": "REPLICATION SLAVE ADMIN",
}
_ON_TABLES = ("SELECT", "INSERT", "UPDATE", "DELETE")
_TEXTS = EPOCH_TABLE + LEDGER_TABLE + MARK_TABLE + MAINTENANCE_TABLE + HEARTBEAT_TABLE
_TABLES = frozenset(re.findall(r"vipguard\.(\w+) \(", _TEXTS))
_APPLY = "run what `vipguard render accounts --with-passwords` prints, as root, on node {node}"


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """What is missing for the accounts on every server that let us in, and who did not."""
    for seen in servers:
        name = seen.node.name
        apply = _APPLY.format(node=name)
        if seen.failure:
            yield error(
                "accounts", f"server-{seen.failure.kind}", seen.failure.text, _way_in(seen, apply), name
            )
            continue
        if seen.grants is not None:
            yield from _operator(policy, seen, apply)
        if seen.epoch_problem:
            rule = "foreign-cluster" if seen.other_cluster else "epoch-table"
            remedy = "this server belongs to another cluster: correct `cluster`, or its row in vipguard.epoch"
            yield error("accounts", rule, seen.epoch_problem, remedy if seen.other_cluster else apply, name)
        missing = _TABLES - (seen.inside.own_tables or _TABLES)
        if missing and not seen.epoch_problem:
            text = (
                f"the database vipguard lacks {', '.join(sorted(missing))}: it was made by an older version"
            )
            yield error("accounts", "own-table-missing", text, apply, name)
        if policy.replication is not None:
            yield from _replica(policy.replication.user, seen, apply)
        for what, why in seen.unseen:
            text = f"{what} could not be looked at: {why}"
            yield warning("server", "not-looked-at", text, "see why, then run doctor again", name)
    if policy.replication is None:
        seen_text = "the configuration has no [replication]"
        yield warning("accounts", "replication-account-unknown", seen_text, "name its user and password_file")


def _way_in(seen: ServerSeen, apply: str) -> str:
    kind = seen.failure.kind if seen.failure else ""
    if kind == "absent":
        return "start the server; look at mysql.socket, mysql.port and its bind_address"
    if kind == "silent":
        return "see whether the server hangs, and whether a firewall drops packets to its port"
    return apply


def _operator(policy: Policy, seen: ServerSeen, apply: str) -> Iterator[Diagnosis]:
    wanted = {privilege.strip() for privilege in OPERATOR[seen.flavor].split(",")}
    lacking = sorted(wanted - held(seen.grants or (), "*.*", wanted))
    schemas = {"vipguard.*": _ON_TABLES} | (
        {} if seen.flavor == MARIADB else {"performance_schema.*": ("SELECT",)}
    )
    for where, privileges in schemas.items():
        missing = [p for p in privileges if p not in held(seen.grants or (), where, privileges)]
        lacking += [f"{', '.join(missing)} ON {where}"] if missing else []
    if lacking:
        text = f"account {policy.mysql.user!r} lacks {', '.join(lacking)}"
        yield error("accounts", "grant-missing", text, apply, seen.node.name)


def _replica(user: str, seen: ServerSeen, apply: str) -> Iterator[Diagnosis]:
    """The account that a replica connects with, as this host could use it."""
    problem = seen.replica_problem
    if seen.replica_grants is not None and not held(seen.replica_grants, "*.*", ("REPLICATION SLAVE",)):
        problem = "it lacks REPLICATION SLAVE ON *.*"
    if problem:
        text = f"account {user!r} cannot be used by a replica on this host: {problem}"
        yield error("accounts", "replication-account", text, apply, seen.node.name)


def held(grants: Iterable[str], where: str, wanted: Iterable[str]) -> set[str]:
    """Which of `wanted` the rows of SHOW GRANTS give on `where`: there, on everything, or by ALL PRIVILEGES."""
    given: set[str] = set()
    for row in grants:
        match = _GRANT.match(row)
        if match and _plain(match["where"]) in (where, "*.*"):
            given |= {_privilege(word) for word in match["what"].split(",")}
    everything = bool(given & {"ALL PRIVILEGES", "ALL"})
    return {privilege for privilege in wanted if everything or _privilege(privilege) in given}


def _privilege(word: str) -> str:
    name = " ".join(word.replace("_", " ").upper().split())
    return _SYNONYMS.get(name, name)


def _plain(where: str) -> str:
    return where.replace("`", "").replace("\\_", "_")
