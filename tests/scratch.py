"""A pair of real servers of one flavour on loopback, replicating from each other, for tests that need no network.

Node `a` listens on 127.0.0.1 and node `b` on 127.0.0.2, on the same port; their accounts are those that
`vipguard render accounts` prints, so that what the tests do is done with the least privileges.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from vipguard.lab import templates
from vipguard.lab.wait import wait_until
from vipguard.model.policy import Flavor, Mysql, Node, Policy, Replication, Vip
from vipguard.render.accounts import accounts_sql
from vipguard.session import Connector, Deadline, Session, Tls

TRX_POLL_S = 0.15  # asked again within 0.1 s, INNODB_TRX answers as before
PASSWORD = "scratch % 'quoted'"
COMMON = """[mysqld]
user=root
skip_name_resolve=ON
innodb_buffer_pool_size=32M
innodb_flush_log_at_trx_commit=2
sync_binlog=0
key_buffer_size=1M
max_connections=60
log_bin=binlog
binlog_format=ROW
auto_increment_increment=2
"""
FLAVORED = {
    "mariadb": "innodb_log_file_size=16M\nperformance_schema=OFF\naria_pagecache_buffer_size=8M\ngtid_strict_mode=ON\n"
    "log_slave_updates=ON\nslave_net_timeout=5\nskip_slave_start=ON\n",
    "mysql": "innodb_redo_log_capacity=32M\nmysqlx=OFF\nsecure_file_priv=\ngtid_mode=ON\nenforce_gtid_consistency=ON\n"
    "replica_net_timeout=5\nskip_replica_start=ON\nperformance_schema_max_digest_length=0\n",
}


class Server:
    """One server process. `sql` speaks to it as root over its socket."""

    def __init__(self, flavor: Flavor, directory: Path, number: int, port: int) -> None:
        self.flavor, self.directory, self.number, self.port = flavor, directory, number, port
        self.address = f"127.0.0.{number}"
        self.socket = str(directory / "s")
        self.process: subprocess.Popen[bytes] | None = None
        template = templates.mariadb_template if flavor == "mariadb" else templates.mysql_template
        templates.copy_tree(template(print), directory / "data")
        domain = f"gtid_domain_id={number}\n" if flavor == "mariadb" else ""
        (directory / "my.cnf").write_text(
            f"{COMMON}{FLAVORED[flavor]}{domain}server_id={number}\nauto_increment_offset={number}\n"
            f"datadir={directory}/data\nsocket={self.socket}\npid_file={directory}/pid\nport={port}\n"
            f"bind_address={self.address}\ntmpdir={directory}\nlog_error={directory}/log\n"
        )

    def start(self) -> None:
        file = f"--defaults-file={self.directory}/my.cnf"
        if self.flavor == "mariadb":
            argv = ["mariadbd", file]
        else:
            argv = [*templates.mysql_argv(), file, *templates.mysql_places()]
        argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            *argv,
        ]  # no test run leaves a server behind, however it ends
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        wait_until(lambda: self.value("1") == 1, 60, self.log)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(20)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It hangs: it has its sockets and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            tasks = Path(f"/proc/{self.pid}/task")
            wait_until(lambda: all(") T" in (task / "stat").read_text() for task in tasks.iterdir()), 5)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def connect(self, **more: Any) -> pymysql.Connection[Any]:
        return pymysql.connect(
            **{
                "unix_socket": self.socket, "user": "root", "autocommit": True, "ssl_disabled": True,
                "connect_timeout": 5, "read_timeout": 20, "write_timeout": 20,
                "cursorclass": pymysql.cursors.DictCursor, **more,
            }
        )  # fmt: skip

    def sql(self, *statements: str) -> list[dict[str, Any]]:
        """The rows of the last one."""
        with self.connect() as connection, connection.cursor() as cursor:
            rows: Any = ()
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall()
            return list(rows)

    def value(self, expression: str) -> Any:
        return next(iter(self.sql(f"SELECT {expression} AS v")[0].values()))

    def log(self) -> str:
        with suppress(OSError):
            return (self.directory / "log").read_text(errors="replace")[-3000:]
        return "(no log)"

    def mysql(self, **more: Any) -> Mysql:
        return Mysql(**{"socket": self.socket, "port": self.port, "password": PASSWORD, **more})

    def session(self, within_s: float = 5.0, **more: Any) -> Session:
        """vipguard's own, over the unix socket."""
        return Session.local(self.mysql(**more), Deadline(within_s))

    def peer_session(self, within_s: float = 5.0, **more: Any) -> Session:
        mysql = self.mysql(**more)
        return Session.peer(self.address, mysql, Tls.of(mysql), Deadline(within_s))

    def connector(self, **more: Any) -> Connector:
        return Connector.local(self.mysql(**more))

    @property
    def closed_variable(self) -> str:
        return "read_only" if self.flavor == "mariadb" else "super_read_only"

    @property
    def closed(self) -> bool:
        return bool(self.value(f"@@global.{self.closed_variable}"))

    def close(self) -> None:
        self.sql(f"SET GLOBAL {self.closed_variable}=1")

    def open(self) -> None:
        self.sql("SET GLOBAL read_only=0")

    def status(self) -> dict[str, Any]:
        """The first channel's status, with MariaDB's names turned into MySQL's."""
        rows = self.sql("SHOW ALL SLAVES STATUS" if self.flavor == "mariadb" else "SHOW REPLICA STATUS")
        return {
            name.replace("Slave_", "Replica_").replace("Master", "Source"): value
            for name, value in (rows[0] if rows else {}).items()
        }  # fmt: skip

    def replica(self, action: str, thread: str = "") -> None:
        """START or STOP of the replica's threads."""
        self.sql(f"{action} {'SLAVE' if self.flavor == 'mariadb' else 'REPLICA'} {thread}")


class Pair:
    """Two servers. After `heal` both run, replicate in a ring, `a` is open, `b` closed, and test.t is empty."""

    def __init__(self, flavor: Flavor) -> None:
        self.flavor: Flavor = flavor
        self.directory = Path(tempfile.mkdtemp(prefix=f"vipguard-{flavor}-"))
        port = free_port()
        nodes = (Node("a", "127.0.0.1", 200), Node("b", "127.0.0.2", 180))
        self.policy = Policy(
            cluster="scratch", node="a", vip=Vip(ip_interface("127.0.0.100/32"), "lo", 51), nodes=nodes,
            mysql=Mysql(password=PASSWORD, port=port), replication=Replication(password="repl"),
        )  # fmt: skip
        try:
            self.a, self.b = (self._server(number, port) for number in (1, 2))
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def _server(self, number: int, port: int) -> Server:
        directory = self.directory / str(number)
        directory.mkdir()
        return Server(self.flavor, directory, number, port)

    @property
    def servers(self) -> tuple[Server, Server]:
        return self.a, self.b

    def end(self) -> None:
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def heal(self) -> None:
        """The named healthy state, whatever the test before did."""
        for server in self.servers:
            if not server.alive:
                server.start()
            self._kill_sessions(server)
        for server in self.servers:
            server.replica("STOP")
            self._forget(server)
        for server, source in ((self.a, self.b), (self.b, self.a)):
            self._point(server, source)
            server.replica("START")
        for server in self.servers:
            wait_until(
                lambda server=server: self._runs(server), 20, lambda s=server: f"{s.status()}\n{s.log()}"
            )
        self.b.close()
        self.a.sql("CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, n INT) ENGINE=InnoDB")
        self.wait_same()

    def wait_same(self, within_s: float = 20.0) -> None:
        """Until b has what a has."""
        rows = "SELECT COUNT(*) AS n FROM test.t"
        wait_until(lambda: self.b.sql(rows) == self.a.sql(rows), within_s, lambda: f"{self.b.status()}")

    @staticmethod
    def _kill_sessions(server: Server) -> None:
        for row in server.sql("SHOW PROCESSLIST"):
            if row["User"] not in ("system user", "event_scheduler") and row["Command"] not in (
                "Binlog Dump",
                "Daemon",
            ):
                with suppress(pymysql.MySQLError):
                    server.sql(f"KILL {row['Id']}")

    def _forget(self, server: Server) -> None:
        server.open()
        if self.flavor == "mariadb":
            server.sql(
                "SET sql_log_bin=0",
                *self._clean(),
                "RESET SLAVE ALL",
                "RESET MASTER",
                "SET GLOBAL gtid_slave_pos=''",
            )
        else:
            server.sql(
                "SET sql_log_bin=0", *self._clean(), "RESET REPLICA ALL", "RESET BINARY LOGS AND GTIDS"
            )
        script = accounts_sql(self.policy, self.flavor, with_passwords=True)
        lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
        statements = [part.strip() for part in "\n".join(lines).split(";\n")]
        server.sql("SET sql_log_bin=0", *(part.rstrip(";") for part in statements if part.rstrip(";")))

    @staticmethod
    def _clean() -> list[str]:
        return [
            *(f"DROP USER IF EXISTS vipguard@'{host}'" for host in ("localhost", "127.0.0.1", "127.0.0.2")),
            "DROP DATABASE IF EXISTS vipguard",
            "DROP DATABASE IF EXISTS test",
            "CREATE DATABASE test",
        ]

    def _point(self, server: Server, source: Server) -> None:
        if self.flavor == "mariadb":
            server.sql(
                f"CHANGE MASTER TO MASTER_HOST='{source.address}', MASTER_PORT={source.port}, MASTER_CONNECT_RETRY=1,"
                " MASTER_USER='vipguard_repl', MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos"
            )
        else:
            server.sql(
                f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{source.address}', SOURCE_PORT={source.port},"
                " SOURCE_USER='vipguard_repl', SOURCE_PASSWORD='repl', SOURCE_AUTO_POSITION=1,"
                " GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=86400"
            )

    def lose_source_in_the_middle_of_a_transaction(self) -> None:
        """b has row 1 of test.big locked by half a transaction of a's, and its source is gone."""
        self.a.sql(
            "CREATE TABLE test.big (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB",
            "INSERT INTO test.big VALUES (1, 'old')",
            "INSERT INTO test.t (n) VALUES (1)",
        )
        self.wait_same()
        hop = Relay(self.a.address, self.a.port)
        self.b.replica("STOP")
        if self.flavor == "mariadb":
            self.b.sql(f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={hop.port}")
        else:
            self.b.sql(f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={hop.port}")
        self.b.replica("START")
        wait_until(lambda: self._runs(self.b), 10)
        hop.bytes_left = 300_000
        rows = [f"INSERT INTO test.big VALUES ({n}, REPEAT('x', 20000))" for n in range(10, 60)]
        self.a.sql("BEGIN", "UPDATE test.big SET v='new' WHERE id=1", *rows, "COMMIT")
        trx = "(SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 5)"
        wait_until(
            lambda: hop.is_cut and self.b.value(trx) == 1, 10, lambda: f"{self.b.status()}", every_s=TRX_POLL_S
        )

    @staticmethod
    def _runs(server: Server) -> bool:
        status = server.status()
        return status["Replica_IO_Running"] == status["Replica_SQL_Running"] == "Yes"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def took_s(started: float) -> float:
    return time.monotonic() - started


def pair_for_session(flavor: Flavor) -> Iterator[Pair]:
    """The body of a session-scoped fixture."""
    pair = Pair(flavor)
    try:
        pair.heal()
        yield pair
    finally:
        pair.end()


class Relay:
    """A TCP hop in front of a server that can be cut in the middle of what it carries."""

    def __init__(self, address: str, port: int) -> None:
        self._target = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self.bytes_left: int | None = None  # carried towards the client before the cut; None: no cut
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                if counted and self.bytes_left is not None:
                    self.bytes_left -= len(data)
                    if self.bytes_left < 0:
                        self.cut()
                        return
                target.sendall(data)

    def cut(self) -> None:
        """End every connection and take no new one."""
        for sock in (self._listener, *self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.is_cut = True
