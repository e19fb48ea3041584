"""How is a database server of a node configured, started and asked? One class for both flavours, with what
differs in tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pymysql
import pymysql.cursors

from vipguard.lab import templates
from vipguard.lab.process import Daemon
from vipguard.lab.spec import PORT, Flavor
from vipguard.lab.wait import Ended, LabError, wait_until

if TYPE_CHECKING:
    from vipguard.lab.node import Node

DEFAULTS_FILE = "/etc/mysql/lab.cnf"
SOCKET = "/run/mysqld/mysqld.sock"
# Small, but as honest as production: an acknowledged transaction is on the disk.
COMMON = f"""\
# the lab's own part: places and sizes
[mysqld]
user=root
datadir=/var/lib/mysql
socket={SOCKET}
pid_file=/run/mysqld/mysqld.pid
port={PORT}
bind_address=*
skip_name_resolve=ON
tmpdir=/tmp
innodb_buffer_pool_size=32M
innodb_flush_log_at_trx_commit=1
sync_binlog=1
"""
MARIADB = (
    "innodb_log_file_size=16M\nperformance_schema=OFF\naria_pagecache_buffer_size=8M\nkey_buffer_size=1M\n"
)
# 9.7's event scheduler keeps the first shutdown of a fresh server waiting for ten seconds of processor time
MYSQL = "innodb_redo_log_capacity=32M\nmysqlx=OFF\nsecure_file_priv=\nkey_buffer_size=1M\nevent_scheduler=OFF\n"


class MysqlServer(Daemon):
    """MariaDB or MySQL of one node, without systemd: what kills it is not undone by anybody."""

    kind = "mysqld"

    def __init__(self, node: Node, flavor: Flavor) -> None:
        super().__init__(node)
        self.flavor = flavor
        self.datadir = node.directory / "mysql"

    def argv(self) -> list[str]:
        if self.flavor == "mariadb":
            return ["mariadbd", f"--defaults-file={DEFAULTS_FILE}"]
        return [*templates.mysql_argv(), f"--defaults-file={DEFAULTS_FILE}", *templates.mysql_places()]

    def client_argv(self) -> list[str]:
        """The flavour's client program, for shell scripts in the node."""
        if self.flavor == "mariadb":
            return ["mariadb", "--no-defaults"]
        return [*templates.mysql_argv("usr/bin/mysql"), "--no-defaults"]

    def configure(self, production: str, server_id: int, extra: str = "") -> None:
        """Write its defaults file: the lab's part first, so that `production` (the rendered part) has the
        last word.
        """
        flavored = MARIADB if self.flavor == "mariadb" else MYSQL
        text = f"{COMMON}{flavored}server_id={server_id}\n\n{production}\n{extra}"
        self.node.write(DEFAULTS_FILE, text)

    def create_datadir(self, progress: templates.Progress) -> None:
        """A fresh data directory, in the place of whatever is there; the server must be dead."""
        if self.alive:
            raise LabError(f"{self} is running on the data directory that was to be replaced")
        make = templates.mariadb_template if self.flavor == "mariadb" else templates.mysql_template
        template = make(progress)
        for entry in self.datadir.iterdir():
            templates.command(["rm", "-rf", str(entry)], 60)
        templates.copy_tree(template, self.datadir)

    def connect(
        self, *, user: str = "root", password: str = "", timeout_s: float = 5.0, **more: Any
    ) -> pymysql.Connection[Any]:
        """A session over the node's socket, from outside: no namespace is entered for it."""
        return pymysql.connect(
            unix_socket=str(self.node.space.root / SOCKET.lstrip("/")),
            user=user, password=password, autocommit=True, ssl_disabled=True,
            connect_timeout=max(1, int(timeout_s)), read_timeout=timeout_s, write_timeout=timeout_s,
            cursorclass=pymysql.cursors.DictCursor, **more,
        )  # fmt: skip

    def sql(self, *statements: str, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """The rows of the last of the statements, run as root in one session of its own."""
        connection = self.connect(timeout_s=timeout_s)
        try:
            with connection.cursor() as cursor:
                rows: Any = ()
                for statement in statements:
                    cursor.execute(statement)
                    rows = cursor.fetchall()
                return list(rows)
        finally:
            connection.close()

    def value(self, expression: str) -> Any:
        """`SELECT expression`, one value."""
        return next(iter(self.sql(f"SELECT {expression} AS v")[0].values()))

    def script(self, text: str) -> None:
        """Run plain statements ending in `;` at a line's end (no other delimiters), in one session."""
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
        statements = [part.strip() for part in "\n".join(lines).split(";\n")]
        self.sql(*(part.rstrip(";") for part in statements if part.rstrip(";").strip()), timeout_s=20)

    def wait_ready(self, within_s: float = 60.0) -> None:
        def ready() -> bool:
            if self.ended:
                raise Ended(f"{self} ended: {self.log_tail(5)}")
            return bool(self.value("1"))

        wait_until(ready, within_s, lambda: f"{self} to answer\n{self.log_tail()}")

    def read_only(self) -> bool | None:
        """None: it could not be asked."""
        try:
            return bool(self.sql("SELECT @@global.read_only AS v", timeout_s=1.0)[0]["v"])
        except (pymysql.MySQLError, OSError):
            return None

    def replication(self) -> list[Mapping[str, Any]]:
        """Each channel's status with the flavour's column names as they are."""
        statement = "SHOW ALL SLAVES STATUS" if self.flavor == "mariadb" else "SHOW REPLICA STATUS"
        return [*self.sql(statement)]

    def replication_threads(self) -> tuple[str, str] | None:
        """(IO, SQL) of the first channel as Yes, No or Connecting; None without a channel."""
        channels = self.replication()
        if not channels:
            return None
        word = "Slave" if self.flavor == "mariadb" else "Replica"
        return str(channels[0][f"{word}_IO_Running"]), str(channels[0][f"{word}_SQL_Running"])

    def source(self) -> str | None:
        """The address that it replicates from; None without a channel."""
        channels = self.replication()
        word = "Master" if self.flavor == "mariadb" else "Source"
        return str(channels[0][f"{word}_Host"]) if channels else None

    def point_to(self, host: str, user: str, password: str) -> None:
        """Make `host` its source; replication stays stopped."""
        if self.flavor == "mariadb":
            self.sql(
                f"CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={PORT}, MASTER_USER='{user}',"
                f" MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1"
            )
        else:
            self.sql(
                f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{host}', SOURCE_PORT={PORT}, SOURCE_USER='{user}',"
                f" SOURCE_PASSWORD='{password}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1,"
                " SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=86400"
            )

    def start_replication(self) -> None:
        self.sql("START SLAVE" if self.flavor == "mariadb" else "START REPLICA")

    def gtid_executed(self) -> str:
        return str(
            self.value("@@global.gtid_current_pos" if self.flavor == "mariadb" else "@@global.gtid_executed")
        )

    @property
    def closing(self) -> str:
        return "read_only" if self.flavor == "mariadb" else "super_read_only"
