"""Which accounts does vipguard need, with which privileges? The SQL that root runs on every node by itself.

It is not written to the binary log: each node runs it, and no node's set of GTIDs grows. The statements stand alone,
may run twice, and work on a server that booted closed. Without passwords the placeholders are no SQL, so that the
text fails at its first account when somebody forgets to fill them in, instead of giving out a known password.
"""

from __future__ import annotations

from vipguard.model.policy import MARIADB, Flavor, Policy, Replication

OPERATOR = {
    MARIADB: (
        "SLAVE MONITOR, BINLOG MONITOR, PROCESS, READ ONLY ADMIN, CONNECTION ADMIN, REPLICATION SLAVE ADMIN, "
        "REPLICATION MASTER ADMIN, RELOAD"
    ),
    # without SYSTEM_USER, half a transaction of a dead writer keeps its rows locked on the new one, and a close ends
    # no session of root's
    "mysql": (
        "REPLICATION CLIENT, PROCESS, RELOAD, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, REPLICATION_SLAVE_ADMIN, "
        "SYSTEM_USER"
    ),
}
COPIED = {
    MARIADB: "SELECT, SHOW VIEW, TRIGGER, EVENT",
    "mysql": "BACKUP_ADMIN",
}
"""What a node needs on the writer to make itself a fresh copy of it."""
COPIES = {"mysql": "CLONE_ADMIN"}
"""What it needs at home for that; MariaDB's copy is loaded by the local superuser."""
SEES = "EVENT, REFERENCES"
"""By what `doctor` sees which tables and events there are, at the least that makes both flavours list them."""
EPOCH_TABLE = """\
CREATE TABLE IF NOT EXISTS vipguard.epoch (
    cluster VARCHAR(64) NOT NULL PRIMARY KEY,
    epoch BIGINT UNSIGNED NOT NULL,
    node VARCHAR(64) NOT NULL,
    boot_id VARCHAR(36) NOT NULL,
    opened_at DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii;
"""
MARK_TABLE = """\
CREATE TABLE IF NOT EXISTS vipguard.mark (
    cluster VARCHAR(64) NOT NULL PRIMARY KEY,
    epoch BIGINT UNSIGNED NOT NULL,
    number BIGINT UNSIGNED NOT NULL,
    is_on BOOLEAN NOT NULL,
    written_at DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii;
"""

MAINTENANCE_TABLE = """\
CREATE TABLE IF NOT EXISTS vipguard.maintenance (
    cluster VARCHAR(64) CHARACTER SET ascii NOT NULL,
    node VARCHAR(64) CHARACTER SET ascii NOT NULL,
    since_s BIGINT NOT NULL,
    until_s BIGINT NULL,
    reason VARCHAR(100) NOT NULL,
    PRIMARY KEY (cluster, node)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
"""
HEARTBEAT_TABLE = """\
CREATE TABLE IF NOT EXISTS vipguard.heartbeat (
    server_id INT UNSIGNED NOT NULL PRIMARY KEY,
    node VARCHAR(64) NOT NULL,
    beat_at DATETIME(6) NOT NULL,
    since_at DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii;
"""
LEDGER_TABLE = """\
CREATE TABLE IF NOT EXISTS vipguard.opening (
    cluster VARCHAR(64) NOT NULL,
    epoch BIGINT UNSIGNED NOT NULL,
    node VARCHAR(64) NOT NULL,
    boot_id VARCHAR(36) NOT NULL,
    opened_at DATETIME(6) NOT NULL,
    overrules TEXT NOT NULL,
    PRIMARY KEY (cluster, epoch, node, boot_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii;
"""


def accounts_sql(policy: Policy, flavor: Flavor, *, with_passwords: bool) -> str:
    """Plain statements, each ending in `;`. `policy` holds the passwords when `with_passwords`."""
    addresses = [node.address for node in policy.nodes]
    user = policy.mysql.user
    password = policy.mysql.password if with_passwords else None
    operator = "".join(
        _account(user, host, password)
        + f"GRANT {OPERATOR[flavor]} ON *.* TO {_name(user, host)};\n"
        + (f"GRANT SELECT ON performance_schema.* TO {_name(user, host)};\n" if flavor != MARIADB else "")
        + f"GRANT SELECT, INSERT, UPDATE, DELETE ON vipguard.* TO {_name(user, host)};\n"
        + f"GRANT {SEES} ON *.* TO {_name(user, host)};\n"
        + _copy(flavor, user, host)
        for host in ("localhost", *addresses)
    )
    parts = [
        _head(policy, flavor),
        _before(flavor),
        f"-- what survives of a takeover: who opened last\nCREATE DATABASE IF NOT EXISTS vipguard;\n{EPOCH_TABLE}",
        f"-- every opening, and what it overrules: whose history goes on from whose\n{LEDGER_TABLE}",
        f"-- under lossless: since when the writer waits for its standby\n{MARK_TABLE}",
        f"-- the operator's word: who is out of the election, until when and why\n{MAINTENANCE_TABLE}",
        f"-- the writer's clock, for the replicas' lag\n{HEARTBEAT_TABLE}",
        f"-- vipguard itself, on this host and from its peers\n{operator}",
        _replication(policy.replication, addresses, with_passwords),
        _after(flavor),
    ]
    return "\n".join(part for part in parts if part)


def _head(policy: Policy, flavor: Flavor) -> str:
    client = "mariadb" if flavor == MARIADB else "mysql"
    return (
        f"-- Accounts of cluster {policy.cluster} on {flavor}, printed by `vipguard render accounts`.\n"
        f"-- Run it as root on every node: {client} --socket={policy.mysql.socket} -u root\n"
    )


def _before(flavor: Flavor) -> str:
    lines = [
        "SET SESSION sql_log_bin = 0;",
        "SET SESSION sql_mode = '';",
        "SET NAMES utf8mb4;",
    ]
    if flavor != MARIADB:
        lines += [
            "-- super_read_only stops root too; read_only stays, so no application can write meanwhile",
            "SET @vipguard_super_read_only = @@GLOBAL.super_read_only;",
            "SET GLOBAL super_read_only = OFF;",
        ]
    return "\n".join(lines) + "\n"


def _after(flavor: Flavor) -> str:
    if flavor == MARIADB:
        return ""
    return (
        "-- as it was; where the text stopped before this line: SET GLOBAL super_read_only = ON\n"
        "SET GLOBAL super_read_only = @vipguard_super_read_only;\n"
    )


def _copy(flavor: Flavor, user: str, host: str) -> str:
    """Grants for `vipguard rejoin --discard`: from the nodes' addresses a copy is read, at home it is written."""
    granted = COPIES.get(flavor) if host == "localhost" else COPIED[flavor]
    return f"GRANT {granted} ON *.* TO {_name(user, host)};\n" if granted else ""


def _replication(replication: Replication | None, addresses: list[str], with_passwords: bool) -> str:
    if replication is None:
        return "-- no replication account: the configuration has no [replication]\n"
    password = replication.password if with_passwords else None
    return "-- what a replica connects with\n" + "".join(
        _account(replication.user, host, password)
        + f"GRANT REPLICATION SLAVE ON *.* TO {_name(replication.user, host)};\n"
        for host in addresses
    )


def _account(user: str, host: str, password: str | None) -> str:
    secret = f"<PASSWORD OF {user}>" if password is None else _quoted(password)
    name = _name(user, host)
    return f"CREATE USER IF NOT EXISTS {name} IDENTIFIED BY {secret};\nALTER USER {name} IDENTIFIED BY {secret};\n"


def _name(user: str, host: str) -> str:
    return f"{_quoted(user)}@{_quoted(host)}"


def _quoted(text: str) -> str:
    """A string literal; the text has set sql_mode so that a backslash escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
