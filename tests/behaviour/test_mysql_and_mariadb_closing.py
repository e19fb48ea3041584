"""What read_only stops and what stops it, on either flavour; and named locks, killed sessions, dying processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

import pymysql
import pytest
from lawful import in_time
from scratch import Pair, Server, took_s

from vipguard.errors import Silent
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import ProcessId
from vipguard.session.process import is_exiting, stat_fields

pytestmark = pytest.mark.behaviour


def application(server: Server) -> pymysql.Connection:
    server.sql(
        "SET sql_log_bin=0",
        "CREATE USER IF NOT EXISTS app@localhost IDENTIFIED BY 'app'",
        "GRANT ALL ON test.* TO app@localhost",
    )
    return server.connect(user="app", password="app")


def closing(server: Server) -> threading.Thread:
    """SET … read_only=1, under way in a thread."""

    def run() -> None:
        with suppress(pymysql.MySQLError):
            server.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_read_only_waits_for_a_table_lock_until_its_session_is_killed(pair: Pair) -> None:
    locker = application(pair.a)
    locker.cursor().execute("LOCK TABLES test.t WRITE")
    thread = closing(pair.a)
    thread.join(0.5)
    assert thread.is_alive()
    pair.a.sql(f"KILL {locker.thread_id()}")
    thread.join(5)
    assert not thread.is_alive()
    assert pair.a.closed


def test_read_only_waits_for_a_long_update_until_its_session_is_killed(pair: Pair) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    client = application(pair.a)

    def update() -> None:
        with suppress(pymysql.MySQLError):
            client.cursor().execute("UPDATE test.t SET n = n + 1 WHERE SLEEP(15) = 0")

    updating = threading.Thread(target=update, daemon=True)
    updating.start()
    wait_until(
        lambda: any("SLEEP(15)" in (row["Info"] or "") for row in pair.a.sql("SHOW FULL PROCESSLIST")), 5
    )
    thread = closing(pair.a)
    thread.join(0.5)
    assert thread.is_alive()
    pair.a.sql(f"KILL {client.thread_id()}")
    thread.join(5)
    updating.join(5)
    assert pair.a.closed
    assert pair.a.sql("SELECT n FROM test.t") == [{"n": 1}]


def test_read_only_does_not_wait_for_an_open_transaction_whose_commit_then_fails(pair: Pair) -> None:
    client = application(pair.a).cursor()
    client.execute("BEGIN")
    client.execute("INSERT INTO test.t (n) VALUES (1)")
    pair.a.close()
    for statement in ("INSERT INTO test.t (n) VALUES (2)", "COMMIT"):
        with pytest.raises(pymysql.MySQLError, match="read-only"):
            client.execute(statement)
    pair.a.open()
    assert pair.a.sql("SELECT * FROM test.t") == []


def test_a_killed_session_opens_nothing(pair: Pair) -> None:
    session = pair.b.connect()
    pair.b.sql(f"KILL {session.thread_id()}")
    with pytest.raises(pymysql.MySQLError) as raised:
        session.cursor().execute("SET GLOBAL read_only=0")
    assert raised.value.args[0] in (2006, 2013, 1927)
    assert pair.b.closed


def test_a_condition_in_set_global_is_reckoned_when_the_server_comes_to_it(pair: Pair) -> None:
    statement = "SET GLOBAL read_only = IF(UNIX_TIMESTAMP(NOW(6)) < {:.6f}, 0, 1)"
    pair.b.sql("SET time_zone='+00:00'", statement.format(time.time() - 1))
    assert pair.b.closed
    pair.b.sql("SET time_zone='+00:00'", statement.format(time.time() + 5))
    assert not pair.b.closed
    assert not pair.b.value("@@global.read_only")


def test_a_named_lock_works_read_only_is_not_replicated_and_dies_with_its_session(pair: Pair) -> None:
    assert pair.b.closed
    holder = pair.b.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('vipguard.claim.x', 0) AS got")
        assert cursor.fetchone() == {"got": 1}
    used = "IS_USED_LOCK('vipguard.claim.x')"
    assert pair.b.value("GET_LOCK('vipguard.claim.x', 0)") == 0
    assert pair.b.value(used) == holder.thread_id()
    assert pair.a.value(used) is None
    pair.b.sql(f"KILL {holder.thread_id()}")
    wait_until(lambda: pair.b.value(used) is None, 5)


def test_a_lock_name_may_have_64_characters(pair: Pair) -> None:
    """MySQL allows no more: so the names of clusters are bounded."""
    assert pair.a.value(f"GET_LOCK('{'x' * 64}', 0)") == 1


def test_pymysql_hangs_on_a_hung_server_and_our_deadline_does_not(pair: Pair) -> None:
    with pair.b.stopped():
        plain = threading.Thread(
            target=lambda: pair.b.connect(connect_timeout=1, read_timeout=30), daemon=True
        )
        plain.start()
        started = time.monotonic()
        with pytest.raises(Silent):
            pair.b.session(0.2)
        in_time(took_s(started), 1.0)
        plain.join(1.5)
        assert plain.is_alive(), "connect_timeout does not bound the greeting"
    plain.join(10)


def test_a_killed_process_shows_that_it_exits_before_anything_else(pair: Pair) -> None:
    """/proc/PID/stat, field 9: PF_EXITING; a zombie still has it."""
    process = pair.b.pid
    fields = stat_fields(process)
    assert fields is not None
    found = ProcessId(process, int(fields[19]))
    assert not int(fields[6]) & 0x4
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: is_exiting(found), 5, every_s=0.001)
    pair.b.kill()


def test_show_processlist_without_the_privilege_is_silently_partial(pair: Pair) -> None:
    client = application(pair.a)
    pair.a.connect()
    with client.cursor() as cursor:
        cursor.execute("SHOW PROCESSLIST")
        assert {row["User"] for row in cursor.fetchall()} == {"app"}
