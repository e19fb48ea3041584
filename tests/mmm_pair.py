"""Two real servers as MMM guards them: circular replication by file and position, /32 addresses, read_only by agents.

MMM itself is not installed: `Mmm` does to servers and addresses what its agents do, in their order.
"""

from __future__ import annotations

import contextlib

import pymysql

from vipguard.lab import Lab, Node, faults
from vipguard.lab.cluster import SCHEMA
from vipguard.lab.servers import COMMON, DEFAULTS_FILE, MARIADB, MYSQL
from vipguard.lab.spec import PORT

REPLICATION_PASSWORD = "RepPassword"
COMMON_CONF = f"""\
active_master_role      writer

<host default>
    cluster_interface       eth0
    pid_path                /var/run/mysql-mmm/mmm_agentd.pid
    bin_path                /usr/lib/mysql-mmm/
    replication_user        replication
    replication_password    {REPLICATION_PASSWORD}
    agent_user              mmm_agent
    agent_password          AgentPassword
</host>

<host db1>
    ip      10.73.0.11
    mode    master
    peer    db2
</host>

<host db2>
    ip      10.73.0.12
    mode    master
    peer    db1
</host>

<role writer>
    hosts   db1, db2
    ips     10.73.0.100
    mode    exclusive
</role>

<role reader>
    hosts   db1, db2
    ips     10.73.0.101, 10.73.0.102
    mode    balanced
</role>
"""
MONITOR_CONF = """\
include mmm_common.conf

<monitor>
    ip                  127.0.0.1
    pid_path            /var/run/mysql-mmm/mmm_mond.pid
    bin_path            /usr/lib/mysql-mmm
    status_path         /var/lib/mysql-mmm/mmm_mond.status
    ping_ips            10.73.0.1, 10.73.0.11, 10.73.0.12
    auto_set_online     60
</monitor>

<host default>
    monitor_user        mmm_monitor
    monitor_password    RepMonitor
</host>

debug 0
"""
FILES = {"mmm_common.conf": COMMON_CONF, "mmm_mon.conf": MONITOR_CONF}
DISK_MB = 500
AGAIN_S = 0.3  # as systemd does
WRITER_VIP, READER_VIPS = "10.73.0.100", ("10.73.0.101", "10.73.0.102")
SERVER_IDS = {"db1": 101, "db2": 102}
#: The accounts of MMM's guide, and the application's.
ACCOUNTS = (
    "CREATE USER mmm_monitor@'10.73.0.%' IDENTIFIED BY 'RepMonitor'",
    "GRANT REPLICATION CLIENT ON *.* TO mmm_monitor@'10.73.0.%'",
    "CREATE USER mmm_agent@'10.73.0.%' IDENTIFIED BY 'AgentPassword'",
    "GRANT SUPER, REPLICATION CLIENT, PROCESS ON *.* TO mmm_agent@'10.73.0.%'",
    f"CREATE USER replication@'10.73.0.%' IDENTIFIED BY '{REPLICATION_PASSWORD}'",
    "GRANT REPLICATION SLAVE ON *.* TO replication@'10.73.0.%'",
)  # fmt: skip


def own_cnf(node: Node) -> str:
    """What the guide puts into my.cnf, and nothing of GTIDs."""
    mysql = node.mysqld.flavor == "mysql"
    return (
        f"{COMMON}{MYSQL if mysql else MARIADB}"
        f"server_id={SERVER_IDS[node.name]}\nlog_bin=mysql-bin\nrelay_log=mysql-relay-bin\nlog_slave_updates=1\n"
        f"{'gtid_mode=OFF' + chr(10) if mysql else ''}read_only=1\n"
        f"auto_increment_increment=2\nauto_increment_offset={SERVER_IDS[node.name] - 100}\n"
        "!includedir /etc/mysql/conf.d\n"
    )


class Mmm:
    """Its monitor and its agents, for the lab's two nodes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.db1, self.db2 = lab.nodes["db1"], lab.nodes["db2"]
        self.mysql = lab.spec.flavor == "mysql"

    def restart(self, node: Node) -> None:
        """set_offline, the operator's restart, set_online."""
        self.offline(node)
        node.mysqld.terminate()
        self.start(node)
        self.online(node)

    def build(self) -> None:
        """As the guide says: both with the same accounts and data, each at the other's file and position."""
        for node in (self.db1, self.db2):
            node.path("/etc/mysql/conf.d").mkdir()
            node.path("/etc/mysql-mmm").mkdir()
            for name, text in FILES.items():
                node.write(f"/etc/mysql-mmm/{name}", text)
            node.write("/etc/mysql-mmm/mmm_agent.conf", f"include mmm_common.conf\nthis {node.name}\n")
            node.write(DEFAULTS_FILE, own_cnf(node))
            faults.small_data_disk(node, DISK_MB)  # in memory: each is shut down, and a host's disk takes long for it
            node.mysqld.create_datadir(lambda _: None)
            node.mysqld.start(again_s=AGAIN_S)
        for node in (self.db1, self.db2):
            node.mysqld.wait_ready()
            copied = "SET SESSION sql_log_bin = 0"
            node.mysqld.sql("SET GLOBAL read_only = 0", copied, *ACCOUNTS, *SCHEMA, "INSERT INTO app.t VALUES (1, 101)")
            node.mysqld.sql("SET GLOBAL read_only = 1")
        for node, source in ((self.db1, self.db2), (self.db2, self.db1)):
            self._follow(node, source)
            self.online(node)
        for node, address in ((self.db1, READER_VIPS[0]), (self.db2, READER_VIPS[1])):
            self.ip("add", node, address)
        self.ip("add", self.db1, WRITER_VIP)
        self.db1.mysqld.sql("SET GLOBAL read_only = 0")

    def start(self, node: Node) -> None:
        node.mysqld.start(again_s=AGAIN_S)
        node.mysqld.wait_ready()

    def _follow(self, node: Node, source: Node) -> None:
        at = source.mysqld.sql("SHOW BINARY LOG STATUS" if self.mysql else "SHOW MASTER STATUS")[0]
        to, word = ("REPLICATION SOURCE TO", "SOURCE") if self.mysql else ("MASTER TO", "MASTER")
        told = {
            "HOST": f"'{source.address}'", "PORT": PORT,
            "USER": "'replication'", "PASSWORD": f"'{REPLICATION_PASSWORD}'",
            "LOG_FILE": f"'{at['File']}'", "LOG_POS": at["Position"],
        }  # fmt: skip
        more = ", GET_SOURCE_PUBLIC_KEY = 1" if self.mysql else ""
        node.mysqld.sql(
            f"CHANGE {to} {', '.join(f'{word}_{name} = {value}' for name, value in told.items())}{more}"
        )

    def online(self, node: Node) -> None:
        node.mysqld.start_replication()
        self.lab.wait(
            lambda: node.mysqld.replication_threads() == ("Yes", "Yes"), 15, f"replication of {node.name}"
        )

    def offline(self, node: Node) -> None:
        node.mysqld.sql("STOP REPLICA" if self.mysql else "STOP SLAVE")

    @property
    def writer(self) -> Node:
        return next(node for node in (self.db1, self.db2) if node.has_vip())

    def move_role(self, to: Node) -> None:
        """Write off, sessions killed, address gone; caught up; address there, announced, write on."""
        old = self.writer
        old.mysqld.sql("SET GLOBAL read_only = 1")
        self.kill_sessions(old)
        self.ip("del", old, WRITER_VIP)
        self.caught_up(to, old)
        self.ip("add", to, WRITER_VIP)
        to.mysqld.sql("SET GLOBAL read_only = 0")

    def caught_up(self, node: Node, source: Node) -> None:
        """`source` is closed."""
        rows = "SELECT COUNT(*) AS n FROM app.t"
        what = f"{node.name} to have what {source.name} has"
        self.lab.wait(lambda: node.mysqld.sql(rows) == source.mysqld.sql(rows), 15, what)

    @staticmethod
    def kill_sessions(node: Node) -> None:
        for row in node.mysqld.sql("SHOW PROCESSLIST"):
            if row["User"] == "app":
                with contextlib.suppress(pymysql.MySQLError):  # it has gone by itself
                    node.mysqld.sql(f"KILL {row['Id']}")

    def ip(self, word: str, node: Node, address: str) -> None:
        node.run(["ip", "address", word, f"{address}/32", "dev", "eth0"])
        # its announcement; a kernel does not believe a second one within a second
        self.lab.client_space.run(["ip", "neigh", "flush", "all"], check=False)
