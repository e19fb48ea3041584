"""Under `durability = "lossless"`: is each server set to acknowledge, and to wait without an end?

The source's own settings are put right each time that vipguard switches it on; what counts here is what it cannot do.
"""

from __future__ import annotations

from collections.abc import Iterator

from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.doctor.survey import ServerSeen
from vipguard.model.policy import MARIADB, Policy

_ON = ("ON", "1", "YES")
_RENDER = "put what `vipguard render mysql` prints for node {node} into its my.cnf and restart it"


def judge(policy: Policy, seen: ServerSeen) -> Iterator[Diagnosis]:
    """Of one server that told its variables; nothing under async."""
    if not policy.lossless:
        return
    source, replica = ("master", "slave") if seen.flavor == MARIADB else ("source", "replica")
    name, remedy = seen.node.name, _RENDER.format(node=seen.node.name)
    acknowledges = seen.variables.get(f"rpl_semi_sync_{replica}_enabled")
    if acknowledges is None or f"rpl_semi_sync_{source}_enabled" not in seen.variables:
        yield error(
            "server", "semi-sync-missing", "it has no semi-sync: its plugins are not loaded", remedy, name
        )
    elif seen.node.is_replica:
        if acknowledges.upper() in _ON:
            text = f"rpl_semi_sync_{replica}_enabled = {acknowledges}: what only this replica has would count as safe"
            yield error("server", "semi-sync-of-a-replica", text, remedy, name)
    elif acknowledges.upper() not in _ON:
        text = f"rpl_semi_sync_{replica}_enabled = {acknowledges}: the writer would wait for it in vain"
        yield error("server", "semi-sync-deaf", text, remedy, name)
    timeout = seen.variables.get("rpl_semi_sync_slave_kill_conn_timeout")
    if timeout is not None and int(timeout) > 1:
        text = f"rpl_semi_sync_slave_kill_conn_timeout = {timeout}: a takeover may wait that long for a dead source"
        yield warning("server", "semi-sync-kill-timeout", text, remedy, name)
