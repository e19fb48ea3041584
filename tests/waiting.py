"""A scratch pair whose commits wait for the replica, and a commit that is waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pymysql
from scratch import Pair, Server

from vipguard.lab.wait import wait_until

FOR_EVER_MS = 4294967295
PLUGINS = "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_NAME LIKE 'rpl_semi_sync%'"


def words(server: Server) -> tuple[str, str]:
    return ("source", "replica") if server.flavor == "mysql" else ("master", "slave")


def install(server: Server) -> None:
    """MySQL's plugins; MariaDB has it built in."""
    if server.flavor == "mysql" and not server.sql(PLUGINS):
        closed = server.closed
        if closed:
            server.open()
        for role in words(server):
            server.sql(
                "SET sql_log_bin=0", f"INSTALL PLUGIN rpl_semi_sync_{role} SONAME 'semisync_{role}.so'"
            )
        if closed:
            server.close()


def switch(server: Server, on: bool) -> None:
    server.sql(f"SET GLOBAL rpl_semi_sync_{words(server)[0]}_enabled={int(on)}")


def status(server: Server) -> dict[str, str]:
    """By the last words of their names: `source_clients`, `replica_status`, …"""
    source, replica = words(server)
    rows = server.sql("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%'")
    names = [str(row["Variable_name"]).removeprefix("Rpl_semi_sync_") for row in rows]
    names = [name.replace(source, "source").replace(replica, "replica") for name in names]
    return dict(zip(names, (str(row["Value"]) for row in rows), strict=True))


@contextmanager
def semi_sync(pair: Pair) -> Iterator[Pair]:
    """`a` waits for `b`, for ever."""
    source, replica = words(pair.a)
    for server in pair.servers:
        install(server)
        server.sql(
            f"SET GLOBAL rpl_semi_sync_{source}_timeout={FOR_EVER_MS}",
            f"SET GLOBAL rpl_semi_sync_{source}_wait_point=AFTER_SYNC",
            f"SET GLOBAL rpl_semi_sync_{replica}_enabled=1",
        )
    pair.b.replica("STOP", "IO_THREAD")
    pair.b.replica("START", "IO_THREAD")
    wait_until(lambda: status(pair.b)["replica_status"] == "ON", 10, lambda: f"{status(pair.b)}")
    wait_until(lambda: status(pair.a)["source_clients"] == "1", 10, lambda: f"{status(pair.a)}")
    switch(pair.a, True)
    try:
        yield pair
    finally:
        if not pair.a.alive:
            pair.a.start()
        switch(pair.a, False)
        for server in pair.servers:
            if server.alive:
                server.sql(f"SET GLOBAL rpl_semi_sync_{replica}_enabled=0")


class Waiting:
    """A client's commit on `a` that waits, because `b` receives nothing."""

    def __init__(self, pair: Pair, number: int = 77) -> None:
        self.pair, self.number = pair, number
        self.acknowledged: bool | None = None
        pair.a.sql(
            "SET sql_log_bin=0",
            "CREATE USER IF NOT EXISTS app@localhost IDENTIFIED BY 'app'",
            "GRANT ALL ON test.* TO app@localhost",
        )
        pair.b.replica("STOP", "IO_THREAD")
        self.connection = pair.a.connect(user="app", password="app", read_timeout=60)
        self.thread = threading.Thread(target=self._commit, daemon=True)
        self.thread.start()
        wait_until(lambda: self.waits, 10, lambda: f"{status(pair.a)}")

    def _commit(self) -> None:
        try:
            self.connection.cursor().execute(f"INSERT INTO test.t (n) VALUES ({self.number})")
            self.acknowledged = True
        except (pymysql.MySQLError, OSError):
            self.acknowledged = False

    @property
    def waits(self) -> bool:
        return any("semi-sync ACK" in (row["State"] or "") for row in self.pair.a.sql("SHOW PROCESSLIST"))

    @property
    def exposed(self) -> bool:
        return bool(self.pair.a.sql(f"SELECT 1 FROM test.t WHERE n = {self.number}"))

    def end(self) -> None:
        """The replica takes it, or the server is gone."""
        with suppress(pymysql.MySQLError, OSError):
            self.pair.b.replica("START", "IO_THREAD")
        self.thread.join(15)
        with suppress(pymysql.MySQLError, OSError):
            self.connection.close()
