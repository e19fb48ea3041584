"""Will the server's settings still hold after its next start? What works now, and stands in no file.

Compared is what `vipguard render mysql` prints for the node. The rules of database.py judge the values at run time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vipguard.doctor.diagnosis import Diagnosis, warning
from vipguard.doctor.survey import ServerSeen
from vipguard.model.policy import MARIADB, Policy
from vipguard.render.mysql import my_cnf

# Judged by rules of their own, the operator's own choice, or what the server learns where it is started.
_NOT_HERE = """
    read_only super_read_only skip_slave_start skip_replica_start port socket bind_address relay_log report_host
    plugin_load_add rpl_semi_sync_master_enabled rpl_semi_sync_source_enabled max_connect_errors
"""
# MySQL does not tell its defaults; these are what is wanted
_USUAL = {
    "log_bin": "ON", "log_replica_updates": "ON", "relay_log_recovery": "OFF", "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1",
}  # fmt: skip
_WORDS = {"1": "ON", "TRUE": "ON", "YES": "ON", "0": "OFF", "FALSE": "OFF", "NO": "OFF"}
_RENDER = "put what `vipguard render mysql` prints for node {node} into its my.cnf"


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """Files of this host's server alone; persisted variables of all."""
    for seen in servers:
        if seen.failure or not seen.variables:
            continue
        wanted = _wanted(policy, seen)
        yield from _persisted(seen, wanted)
        if seen.boot is not None:
            yield from _gone(seen, wanted)


def _wanted(policy: Policy, seen: ServerSeen) -> dict[str, str]:
    text = my_cnf(replace(policy, node=seen.node.name), seen.flavor)
    lines = (
        line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith(("#", "["))
    )
    found = {name.strip(): value.strip() for name, _, value in lines}
    return {name: value for name, value in found.items() if name not in _NOT_HERE.split()}


def _persisted(seen: ServerSeen, wanted: dict[str, str]) -> Iterator[Diagnosis]:
    for name, value in (seen.persisted or {}).items():
        if name in wanted and not _same(name, value, wanted[name]):
            text = f"persisted {name} = {value} beats my.cnf at the next start; rendered is {wanted[name]}"
            yield warning(
                "server", "persisted-differs", text, f"run there: RESET PERSIST {name}", seen.node.name
            )


def _gone(seen: ServerSeen, wanted: dict[str, str]) -> Iterator[Diagnosis]:
    """Right now, and not after a restart."""
    for name, value in wanted.items():
        running = seen.variables.get(name)
        if running is None or not _same(name, running, value):
            continue
        next_time, place = _at_next_start(seen, name)
        if next_time is not None and not _same(name, next_time, value):
            text = f"{name} = {running} now, and {next_time or 'not set'} after a restart ({place})"
            yield warning(
                "server", "gone-after-restart", text, _RENDER.format(node=seen.node.name), seen.node.name
            )


def _at_next_start(seen: ServerSeen, name: str) -> tuple[str | None, str]:
    """The value, and where it would be from; None: cannot be told."""
    if seen.persisted and name in seen.persisted:
        return seen.persisted[name], "mysqld-auto.cnf"
    option = (seen.boot or {}).get(name)
    if option is not None:
        return ("ON" if option.value is None else option.value.strip("'\"")), option.place
    origin = seen.inside.origins.get(name)
    if origin is None or origin.origin in ("COMPILED", "COMPILE-TIME"):
        # MariaDB calls log_bin so even where a file sets it, and has no default for it
        return ("OFF", "in no file") if name == "log_bin" and seen.flavor == MARIADB else (None, "")
    usual = origin.usual if seen.flavor == MARIADB else _USUAL.get(name, "the server's default")
    return usual, "in no file"


def _same(name: str, one: str, other: str) -> bool:
    if name == "log_bin":  # written as a base name, read as ON
        return (_word(one) == "OFF") == (_word(other) == "OFF")
    return _word(one) == _word(other)


def _word(value: str) -> str:
    upper = value.strip().upper()
    return _WORDS.get(upper, upper)
