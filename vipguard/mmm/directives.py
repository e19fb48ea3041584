"""Which directives does MMM know, and what has vipguard in the place of each?

The table is MMM 2.2.1's own (RULESET in lib/Common/Config.pm), with `<ip>` of a fork that is in use. A sentence: no
counterpart, and what to do instead. None: it is translated, or says nothing that vipguard would have to know.
"""

from __future__ import annotations

Table = dict[str, str | None]

_PATH = "not needed: vipguard's paths are [paths] in its configuration, and the units know its program"
_OLD_ACCOUNT = "not taken over: `vipguard render accounts` makes accounts with fewer privileges; drop it at the end"
_PASSWORD = "not copied: write the password into the file that replication.password_file names"
_BACKUP = "vipguard makes no backups: keep your own; a node gets a fresh copy by `vipguard rejoin --discard`"
_SSH = "not needed: vipguard speaks the database's protocol alone, and needs no shell on another node"
_NO_DAEMON = "not needed: no daemon listens for the others; nodes speak the database's protocol"
_SOCKET = "MMM's own connections are gone; for TLS between the databases there is mysql.tls"
_RHYTHM = "not translated: vipguard looks ten times a second (limits.probe_s); see limits.hang_s and .lease_s"
_SERVER = "not needed: vipguard finds the server by mysql.socket and never starts one"

TOP: Table = {
    "this": None,
    "debug": "not needed: each decision is logged once with its numbers, and `vipguard status` shows them",
    "active_master_role": None,
    "max_kill_retries": "no counterpart: a closing server's sessions are ended at once, and limits.close_s bounds it",
    "default_copy_method": _BACKUP,
    "clone_dirs": _BACKUP,
}

BLOCKS: dict[str, Table] = {
    "host": {
        "ip": None,
        "mode": None,
        "peer": "not needed: each server knows its source (CHANGE MASTER), and vipguard reads it there",
        "pid_path": _PATH,
        "bin_path": _PATH,
        "agent_port": _NO_DAEMON,
        "cluster_interface": None,
        "mysql_port": None,
        "mysql_pidfile": _SERVER,
        "mysql_rcscript": _SERVER,
        "mysql_cnf": "not needed: `vipguard render mysql` prints what has to be in the server's option files",
        "agent_user": _OLD_ACCOUNT,
        "agent_password": None,
        "monitor_user": _OLD_ACCOUNT,
        "monitor_password": None,
        "replication_user": None,
        "replication_password": _PASSWORD,
        "ssh_user": _SSH,
        "ssh_port": _SSH,
        "ssh_parameters": _SSH,
        "tools_user": _OLD_ACCOUNT,
        "tools_password": None,
        "backup_dir": _BACKUP,
        "restore_dir": _BACKUP,
        "lvm_bin_lvcreate": _BACKUP,
        "lvm_bin_lvremove": _BACKUP,
        "lvm_snapshot_size": _BACKUP,
        "lvm_logical_volume": _BACKUP,
        "lvm_volume_group": _BACKUP,
        "lvm_mount_dir": _BACKUP,
        "lvm_mount_opts": _BACKUP,
    },
    "role": {"mode": None, "hosts": None, "ips": None, "prefer": None},
    "ip": {
        "cidr": None,
        "default_gateway": "no counterpart: let a user hook in hooks.d/after-open set the route",
    },
    "monitor": {
        "ip": "the monitor goes: the nodes decide among themselves, so that host is free",
        "port": _NO_DAEMON,
        "pid_path": _PATH,
        "bin_path": _PATH,
        "status_path": "not needed: each node remembers in paths.state what it must",
        "ping_interval": _RHYTHM,
        "ping_ips": None,
        "flap_duration": None,
        "flap_count": None,
        "auto_set_online": "not needed: a node that returns is compared and joins; one that diverged waits for you",
        "kill_host_bin": "MMM gave it arguments; a fence.command is a fence agent and reads options (docs/fencing.md)",
        "careful_startup": "not needed: after a boot nothing opens before the nodes' GTID sets are compared",
        "mode": None,
        "wait_for_other_master": "no counterpart: after a boot of all nodes they wait for each other, without end;"
        " `vipguard promote --force` ends it",
    },
    "socket": {"type": _SOCKET, "cert_file": _SOCKET, "key_file": _SOCKET, "ca_file": _SOCKET},
    "copy_method": {
        "backup_command": _BACKUP,
        "restore_command": _BACKUP,
        "incremental_command": _BACKUP,
        "incremental": _BACKUP,
        "single_run": _BACKUP,
        "true_copy": _BACKUP,
    },
    "check": {
        "check_period": _RHYTHM,
        "trap_period": _RHYTHM,
        "timeout": _RHYTHM,
        "restart_after": "not needed: vipguard's probes are no processes of their own",
        "max_backlog": None,
    },
}

NAMED = frozenset({"host", "role", "ip", "copy_method", "check"})

# a # in them is no comment
VERBATIM = frozenset(
    {
        *(name for name in BLOCKS["host"] if name.endswith("_password")),
        *(name for name in BLOCKS["copy_method"] if name.endswith("_command")),
        "ssh_parameters",
        "lvm_mount_opts",
    }
)
