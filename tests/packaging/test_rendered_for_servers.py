"""The my.cnf part and the accounts, on real servers: they boot closed, and root can run the SQL there, twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest
from scratch import free_port
from stand_in import until

from vipguard.lab import templates

pytestmark = [pytest.mark.packaging, pytest.mark.lab]

Vipguard = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = 'it\'s \\ a % "secret"'


class Rendered:
    """A server that runs on the rendered my.cnf part, and the client program that root pipes SQL into."""

    def __init__(self, flavor: str, config_file: Path, vipguard: Vipguard) -> None:
        self.flavor, self.folder = flavor, config_file.parent
        self.socket = f"{self.folder}/mysqld.sock"
        self.port = free_port()
        (self.folder / "password").write_text(PASSWORD + "\n")
        repl = self.folder / "replication-password"
        repl.write_text("repl'secret")
        repl.chmod(0o600)
        text = config_file.read_text().replace("mysql = {", f"mysql = {{ port = {self.port}, ")
        text = text.replace("10.73.0.11", "127.0.0.1").replace("10.73.0.12", "127.0.0.2")
        config_file.write_text(f'{text}\nreplication = {{ password_file = "{repl}" }}\n')
        self.render = lambda *argv: (
            vipguard("--config", str(config_file), "render", *argv, "--flavor", flavor).stdout
        )
        template = templates.mariadb_template if flavor == "mariadb" else templates.mysql_template
        templates.copy_tree(template(print), self.folder / "data")
        small = "innodb_log_file_size=16M" if flavor == "mariadb" else "mysqlx=OFF\nsecure_file_priv="
        self.defaults = self.folder / "my.cnf"
        self.defaults.write_text(
            f"[mysqld]\nuser=root\ndatadir={self.folder}/data\npid_file={self.folder}/pid\ntmpdir={self.folder}\n"
            f"innodb_buffer_pool_size=32M\n{small}\n\n{self.render('mysql')}"
        )
        self.start()

    def start(self) -> None:
        program = ["mariadbd"] if self.flavor == "mariadb" else templates.mysql_argv()
        places = [] if self.flavor == "mariadb" else templates.mysql_places()
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [*program, f"--defaults-file={self.defaults}", *places],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self.answers, f"the server; log: {(self.folder / 'server.log').read_text()}", within_s=60)

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            self.connect("root", "").close()
        except pymysql.MySQLError:
            return False
        return True

    def connect(self, user: str, password: str, **where: object) -> pymysql.Connection:  # type: ignore[type-arg]
        where = where or {"unix_socket": self.socket}
        return pymysql.connect(
            user=user, password=password, autocommit=True, connect_timeout=5, read_timeout=10, **where
        )  # type: ignore[call-overload,no-any-return]

    def ask(
        self, statement: str, user: str = "root", password: str = "", **where: object
    ) -> list[tuple[object, ...]]:
        with self.connect(user, password, **where) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def pipe(self, sql: str) -> subprocess.CompletedProcess[str]:
        client = ["mariadb"] if self.flavor == "mariadb" else templates.mysql_argv("usr/bin/mysql")
        argv = [*client, "--no-defaults", f"--socket={self.socket}", "-u", "root"]
        return subprocess.run(argv, input=sql, capture_output=True, text=True, check=False, timeout=60)

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)


@pytest.fixture(params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest, config_file: Path, vipguard: Vipguard) -> Iterator[Rendered]:
    server = Rendered(request.param, config_file, vipguard)
    try:
        yield server
    finally:
        server.end()


def gtids(server: Rendered) -> object:
    return server.ask(
        f"SELECT @@GLOBAL.{'gtid_binlog_pos' if server.flavor == 'mariadb' else 'gtid_executed'}"
    )


def test_the_server_boots_closed_and_the_accounts_can_be_made_twice(server: Rendered) -> None:
    closed = "@@GLOBAL.read_only" if server.flavor == "mariadb" else "@@GLOBAL.super_read_only"
    assert server.ask(f"SELECT {closed}, @@GLOBAL.read_only, @@GLOBAL.server_id") == [(1, 1, 1)]
    before = gtids(server)
    sql = server.render("accounts", "--with-passwords")
    for _ in range(2):
        done = server.pipe(sql)
        assert (done.returncode, done.stderr) == (0, "")
    assert server.ask(f"SELECT {closed}, @@GLOBAL.read_only") == [(1, 1)]
    assert gtids(server) == before

    # what vipguard does with its account, over the socket and over TCP as a peer does
    tcp = {"host": "127.0.0.1", "port": server.port}
    for where in ({}, tcp):
        ask = lambda text, where=where: server.ask(text, "vipguard", PASSWORD, **where)  # noqa: E731
        assert ask("SELECT GET_LOCK('vipguard.claim.orders', 0)") == [(1,)]
        assert ask("SELECT COUNT(*) FROM vipguard.epoch") == [(0,)]
        ask("SHOW ALL SLAVES STATUS" if server.flavor == "mariadb" else "SHOW REPLICA STATUS")
        ask("SHOW MASTER STATUS" if server.flavor == "mariadb" else "SHOW BINARY LOG STATUS")
        ask("STOP SLAVE IO_THREAD" if server.flavor == "mariadb" else "STOP REPLICA IO_THREAD")
        ask("SET GLOBAL read_only = 0")
        ask("REPLACE INTO vipguard.epoch VALUES ('orders', 1, 'db1', 'boot', NOW(6))")
        ask("DELETE FROM vipguard.epoch")
        with pytest.raises(pymysql.MySQLError, match="denied"):
            ask("CREATE DATABASE not_allowed")
        server.ask("CREATE USER IF NOT EXISTS application@localhost IDENTIFIED BY 'x'")
        with server.connect("application", "x") as client:
            ask(f"KILL {client.thread_id()}")
            with pytest.raises(pymysql.MySQLError):
                client.ping(reconnect=False)
        ask(f"SET GLOBAL {'read_only' if server.flavor == 'mariadb' else 'super_read_only'} = 1")


def test_without_passwords_nothing_is_made(server: Rendered) -> None:
    done = server.pipe(server.render("accounts"))
    assert done.returncode != 0
    assert server.ask("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'vipguard%'") == [(0,)]


def test_the_replication_account_can_replicate_and_no_more(server: Rendered) -> None:
    assert server.pipe(server.render("accounts", "--with-passwords")).returncode == 0
    tcp = {"host": "127.0.0.1", "port": server.port}
    grants = server.ask("SHOW GRANTS", "vipguard_repl", "repl'secret", **tcp)
    assert len(grants) == 1
    assert re.match(r"GRANT REPLICATION SLAVE ON \*\.\* TO", str(grants[0][0]))
    with pytest.raises(pymysql.MySQLError):
        server.connect("vipguard_repl", "repl'secret")
