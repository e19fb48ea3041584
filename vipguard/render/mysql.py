"""What must the database server be told, so that it boots closed and can be followed? The my.cnf part of this node."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from vipguard.model.policy import MARIADB, Flavor, Policy

NET_TIMEOUT_S = 5  # how long a hung source reads as fine; the servers' default is a minute
FOR_EVER_MS = 4294967295  # no fallback: the most that MySQL takes, 49 days
_GROUP = "[mysqld]"
LOGS = {"log_bin": "binlog", "relay_log": "relaylog"}
NO_LOGS_YET: Mapping[str, str] = {}


def my_cnf(policy: Policy, flavor: Flavor, logs: Mapping[str, str] = NO_LOGS_YET) -> str:
    """The options that this node's server needs, with the reason for each.

    `logs`: the names that its logs have already, by option; under others it would not find what it wrote and received.
    """
    position = policy.nodes.index(policy.me) + 1
    server_id = policy.me.server_id or position
    place = (
        "/etc/mysql/mariadb.conf.d/99-vipguard.cnf"
        if flavor == MARIADB
        else "/etc/mysql/conf.d/99-vipguard.cnf"
    )
    any_ipv6 = any(ip_address(node.address).version == 6 for node in policy.nodes) or policy.vip.version == 6
    options = {
        "This server's own number. Once it has replicated it must not change: set nodes.NAME.server_id\n"
        "# in the configuration before a new node's name sorts in front of this one.": [
            f"server_id = {server_id}"
        ],
        "It boots closed; vipguard alone opens it and starts replication.": _closed(flavor),
        "Every transaction has a GTID, is in the binary log, and so can be compared and followed.\n"
        "# Where the server has logs by other names already, keep those: it would start as one without a history.": [
            *(f"{option} = {logs.get(option, name)}" for option, name in LOGS.items()),
            *_gtid(policy, flavor),
        ],
        "A committed transaction survives the machine.": [
            "sync_binlog = 1",
            "innodb_flush_log_at_trx_commit = 1",
        ],
        **_clone(flavor),
        "Two writers, should there ever be two, would at least not choose the same keys.": [
            f"auto_increment_increment = {len(policy.candidates)}",
            f"auto_increment_offset = {_offset(policy)}",
        ],
        "A source that hangs is noticed after these seconds, not after a minute.": [
            f"{'slave' if flavor == MARIADB else 'replica'}_net_timeout = {NET_TIMEOUT_S}",
        ],
        "Peers and clients reach it: on its own address, and on the VIP, which comes later.": [
            f"bind_address = {'::' if any_ipv6 else '0.0.0.0'}",
            f"port = {policy.mysql.port}",
            f"report_host = {policy.me.address}",
        ],
        "No connection waits for DNS, and no peer is locked out for connections that it broke off.": [
            "skip_name_resolve = ON",
            "max_connect_errors = 1000000",
        ],
        "Where vipguard looks for it.": [f"socket = {policy.mysql.socket}"],
    }
    if policy.lossless:
        why = (
            "A replica acknowledges nothing: what it alone has received must not count as safe."
            if policy.me.is_replica
            else "A commit is acknowledged when a standby has received it, however long that takes. vipguard alone\n"
            "# switches the source's side on, and never on a standby."
        )
        options[why] = _semi_sync(flavor, acknowledges="OFF" if policy.me.is_replica else "ON")
    body = "\n".join(f"\n# {why}\n" + "\n".join(lines) for why, lines in options.items())
    head = (
        f"# {flavor} on node {policy.node} of cluster {policy.cluster}, printed by `vipguard render mysql`.\n"
        f"# Put it in {place}, restart the server,\n"
        "# and see with `vipguard doctor` that nothing read later overrides it"
    )
    persisted = (
        "." if flavor == MARIADB else ",\n# in particular no persisted super_read_only=OFF (mysqld-auto.cnf)."
    )
    return f"{head}{persisted}\n{_GROUP}{body}\n"


def _offset(policy: Policy) -> int:
    """A replica writes nothing, and its offset means nothing."""
    return 1 if policy.me.is_replica else policy.candidates.index(policy.me) + 1


def _clone(flavor: Flavor) -> dict[str, list[str]]:
    if flavor == MARIADB:
        return {}
    why = "A node that went apart is made a fresh copy of the writer by it (vipguard rejoin --discard)."
    return {why: ["plugin_load_add = mysql_clone.so"]}


def _semi_sync(flavor: Flavor, acknowledges: str) -> list[str]:
    if flavor == MARIADB:
        return [
            "rpl_semi_sync_master_enabled = OFF",
            "rpl_semi_sync_master_wait_point = AFTER_SYNC",
            f"rpl_semi_sync_master_timeout = {FOR_EVER_MS}",
            "rpl_semi_sync_master_wait_no_slave = ON",
            f"rpl_semi_sync_slave_enabled = {acknowledges}",
            # stopping the IO thread would wait that long for a source that is gone
            "rpl_semi_sync_slave_kill_conn_timeout = 1",
        ]
    return [
        "plugin_load_add = semisync_source.so",
        "plugin_load_add = semisync_replica.so",
        "rpl_semi_sync_source_enabled = OFF",
        "rpl_semi_sync_source_wait_point = AFTER_SYNC",
        f"rpl_semi_sync_source_timeout = {FOR_EVER_MS}",
        "rpl_semi_sync_source_wait_no_replica = ON",
        "rpl_semi_sync_source_wait_for_replica_count = 1",
        f"rpl_semi_sync_replica_enabled = {acknowledges}",
    ]


def _closed(flavor: Flavor) -> list[str]:
    if flavor == MARIADB:
        return ["read_only = ON", "skip_slave_start = ON"]
    return ["read_only = ON", "super_read_only = ON", "skip_replica_start = ON"]


def _gtid(policy: Policy, flavor: Flavor) -> list[str]:
    if flavor == MARIADB:
        return [
            "log_slave_updates = ON",
            "binlog_format = ROW",
            # the same on every node: two domains have no order, and parallel appliers keep none between them
            f"gtid_domain_id = {policy.mysql.gtid_domain_id}",
            "gtid_strict_mode = ON",
        ]
    return [
        "log_replica_updates = ON",
        "gtid_mode = ON",
        "enforce_gtid_consistency = ON",
        # ON throws away what was received and not applied yet, and the source may be dead
        "relay_log_recovery = OFF",
    ]
