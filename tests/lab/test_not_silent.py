"""What keeps a healthy server from answering, and kills nobody."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from guarded import Guarded

from vipguard.lab import Node

HANG_S = 1.0  # as in guarded.SETTINGS
LONG = "SELECT BENCHMARK(100000000, MD5('x'))"


@contextlib.contextmanager
def own_tables_locked(node: Node, how: str) -> Iterator[None]:
    """By LOCK TABLES, or by DDL that waits behind a transaction."""
    with contextlib.closing(node.mysqld.connect(timeout_s=60)) as holder:
        ddl = node.mysqld.connect(timeout_s=60)
        cursor = holder.cursor()
        try:
            if how == "LOCK TABLES":
                cursor.execute("LOCK TABLES vipguard.epoch WRITE")
            else:
                cursor.execute("BEGIN")
                cursor.execute("SELECT * FROM vipguard.epoch")
                ddl.cursor().execute("SET SESSION sql_log_bin = 0")
                ddl._execute_command(3, "ALTER TABLE vipguard.epoch COMMENT 'x'")  # type: ignore[attr-defined]
            yield
        finally:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                cursor.execute("UNLOCK TABLES" if how == "LOCK TABLES" else "ROLLBACK")
            with contextlib.suppress(Exception):
                ddl._force_close()  # type: ignore[attr-defined]


@contextlib.contextmanager
def clients(node: Node, count: int) -> Iterator[None]:
    """So many, each in a statement that takes a processor for long."""
    node.mysqld.sql(f"SET GLOBAL max_connections = {count + 100}")
    held: list[pymysql.Connection[Any]] = [node.mysqld.connect(timeout_s=60) for _ in range(count)]
    try:
        for client in held:
            client._execute_command(3, LONG)  # type: ignore[attr-defined]
        yield
    finally:
        ids = [client.thread_id() for client in held]
        for client in held:
            with contextlib.suppress(Exception):
                client._force_close()  # type: ignore[attr-defined]
        _end(node, ids)


def _end(node: Node, ids: list[int]) -> None:
    until = time.monotonic() + 30
    while ids and time.monotonic() < until:
        with contextlib.suppress(pymysql.MySQLError, OSError), contextlib.closing(node.mysqld.connect()) as session:
            for one in list(ids):
                with contextlib.suppress(pymysql.err.OperationalError):
                    session.cursor().execute(f"KILL {one}")
                ids.remove(one)


def unharmed(guarded: Guarded, node: Node, pid: int | None) -> None:
    assert not guarded.said(node, "event=kill"), guarded.log(node)
    assert node.mysqld.pid == pid and not guarded.dropped_vip(guarded.writer)
    assert not guarded.was_closed(guarded.writer)


@pytest.mark.parametrize("how", ["LOCK TABLES", "ALTER"])
def test_a_lock_on_vipguards_tables_blinds_its_guards_and_kills_nobody(guarded: Guarded, how: str) -> None:
    writer, standby, pid = guarded.writer, guarded.standby, guarded.writer.mysqld.pid
    with guarded.lab.client(rate=50) as client:
        client.wait_acks(10)
        with own_tables_locked(writer, how):
            guarded.wait_said(writer, "level=warning", "event=verdict", "rule=holder-server-blind")
            time.sleep(3 * HANG_S)
            client.wait_acks(20)
            assert guarded.own(writer)["eligibility"] == "undetermined" and writer.has_vip()
        guarded.wait_said(writer, "event=verdict", "rule=holder-healthy")
    assert not client.seen().errors
    unharmed(guarded, writer, pid)
    guarded.wait_track(standby, "1", within_s=10)


def test_a_lock_on_vipguards_tables_makes_a_standby_undetermined_by_name(guarded: Guarded) -> None:
    standby, pid = guarded.standby, guarded.standby.mysqld.pid
    with contextlib.closing(standby.mysqld.connect(timeout_s=60)) as reader:
        reader.cursor().execute("BEGIN")
        reader.cursor().execute("SELECT * FROM vipguard.epoch")
        # the applier waits for the reader, and everybody else for the applier
        guarded.writer.mysqld.sql("ALTER TABLE vipguard.epoch COMMENT 'x'", timeout_s=20)
        guarded.wait_said(standby, "event=verdict", "rule=server-blind")
        guarded.wait_track(standby, "0")
        time.sleep(2 * HANG_S)
        own = guarded.own(standby)
        assert (own["rule"], own["eligibility"]) == ("server-blind", "undetermined")
    guarded.wait_track(standby, "1", within_s=10)
    unharmed(guarded, standby, pid)


def test_three_hundred_busy_clients_on_two_processors_are_no_hung_server(guarded: Guarded) -> None:
    writer, pid = guarded.writer, guarded.writer.mysqld.pid
    with clients(writer, 300):
        time.sleep(4 * HANG_S)
        assert writer.has_vip()
    guarded.lab.wait(lambda: guarded.lab.trouble() == "", 60, "a healthy pair")
    assert not guarded.said(writer, "event=kill") and writer.mysqld.pid == pid


def test_a_pool_of_threads_that_has_none_left_is_no_hung_server(guarded: Guarded) -> None:
    """Without an extra port: only that its threads are at work shows that it lives."""
    if guarded.lab.spec.flavor != "mariadb":  # MySQL's community edition has no pool of threads
        assert guarded.writer.mysqld.value("@@global.thread_handling") == "one-thread-per-connection"
        return
    lab, old, writer = guarded.lab, guarded.writer, guarded.standby
    pool = "[mysqld]\nthread_handling=pool-of-threads\nthread_pool_size=2\nthread_pool_max_threads=8\n"
    writer.configure_server(pool)
    writer.mysqld.terminate()
    writer.mysqld.start()
    writer.mysqld.wait_ready()
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")
    old.mysqld.kill9()
    guarded.wait_writer(writer, within_s=20)
    lab.restart_dead()
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")
    guarded.mark()
    pid = writer.mysqld.pid
    try:
        with clients(writer, 100):
            guarded.wait_said(writer, "event=verdict", "rule=holder-server-blind", within_s=10)
            time.sleep(4 * HANG_S)
            assert writer.has_vip() and not guarded.said(writer, "event=kill") and writer.mysqld.pid == pid
    finally:
        writer.configure_server()
        writer.mysqld.kill9()
        writer.mysqld.start()
        writer.mysqld.wait_ready()
    lab.wait(lambda: lab.trouble() == "", 60, "a healthy pair")
