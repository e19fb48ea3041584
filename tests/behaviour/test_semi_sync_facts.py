"""What semi-sync does, AFTER_SYNC and without a fallback, as the rules of lossless rest on it."""

from __future__ import annotations

import os
import signal
import time

import pymysql
import pytest
from lawful import in_time
from scratch import Pair
from waiting import Waiting, semi_sync, status, switch

from vipguard.lab.wait import wait_until

pytestmark = pytest.mark.behaviour


def test_a_commit_that_waits_is_in_the_binary_log_and_nobody_sees_it(pair: Pair) -> None:
    with semi_sync(pair):
        before = pair.a.sql("SHOW BINARY LOGS")[-1]["File_size"]
        commit = Waiting(pair)
        time.sleep(0.3)
        assert commit.acknowledged is None and not commit.exposed
        assert pair.a.sql("SHOW BINARY LOGS")[-1]["File_size"] > before
        assert status(pair.a)["source_wait_sessions"] == "1"
        commit.end()
        assert commit.acknowledged is True and commit.exposed


def test_closing_the_server_waits_for_it(pair: Pair) -> None:
    with semi_sync(pair):
        commit = Waiting(pair)
        with pytest.raises(pymysql.MySQLError, match="1205"):
            pair.a.sql("SET SESSION lock_wait_timeout=1", f"SET GLOBAL {pair.a.closed_variable}=1")
        assert not pair.a.value("@@global.read_only") and commit.acknowledged is None
        commit.end()


def test_switching_the_source_off_acknowledges_it(pair: Pair) -> None:
    with semi_sync(pair):
        commit = Waiting(pair)
        switch(pair.a, False)
        wait_until(lambda: commit.acknowledged, 5)
        assert commit.exposed
        commit.end()


def kill_it(commit: Waiting) -> None:
    commit.pair.a.sql(f"KILL {commit.connection.thread_id()}")
    wait_until(lambda: commit.acknowledged is False, 5)
    time.sleep(0.3)


def test_on_mariadb_ending_its_session_shows_it_to_everybody(mariadb: Pair) -> None:
    with semi_sync(mariadb):
        commit = Waiting(mariadb)
        kill_it(commit)
        assert commit.exposed
        commit.end()


def test_on_mysql_ending_its_session_does_not(mysql: Pair) -> None:
    with semi_sync(mysql):
        commit = Waiting(mysql)
        kill_it(commit)
        assert not commit.exposed and commit.waits
        commit.end()


def shut_down(commit: Waiting) -> None:
    os.kill(commit.pair.a.pid, signal.SIGTERM)
    wait_until(lambda: not commit.pair.a.alive and commit.acknowledged is not None, 20)


def test_on_mysql_a_clean_shutdown_acknowledges_it(mysql: Pair) -> None:
    with semi_sync(mysql):
        commit = Waiting(mysql)
        shut_down(commit)
        assert commit.acknowledged is True
        mysql.a.start()
        commit.end()


def test_on_mariadb_a_clean_shutdown_does_not(mariadb: Pair) -> None:
    with semi_sync(mariadb):
        commit = Waiting(mariadb)
        shut_down(commit)
        assert commit.acknowledged is False
        mariadb.a.start()
        commit.end()


def test_a_killed_server_comes_back_with_it(pair: Pair) -> None:
    """It was in the binary log: the old writer has a transaction that nobody acknowledged."""
    with semi_sync(pair):
        pair.a.sql("SET GLOBAL sync_binlog=1", "SET GLOBAL innodb_flush_log_at_trx_commit=1")
        commit = Waiting(pair)
        pair.a.kill()
        wait_until(lambda: commit.acknowledged is False, 5)
        pair.a.start()
        assert commit.exposed
        commit.end()


def test_a_replica_counts_while_the_source_is_off_and_acknowledges_as_soon_as_it_is_on(pair: Pair) -> None:
    with semi_sync(pair):
        switch(pair.a, False)
        pair.b.replica("STOP", "IO_THREAD")
        pair.b.replica("START", "IO_THREAD")
        wait_until(lambda: status(pair.b)["replica_status"] == "ON", 10)
        time.sleep(2.0)  # MySQL counts the connection that ended for that long
        assert status(pair.a)["source_clients"] == "1"
        switch(pair.a, True)
        started = time.monotonic()
        pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
        in_time(time.monotonic() - started, 1)
        assert status(pair.a)["source_status"] == "ON"


def test_on_mariadb_a_dead_replica_counts_until_the_next_commit(mariadb: Pair) -> None:
    """So the source's count alone never says that a standby is there."""
    with semi_sync(mariadb):
        mariadb.b.kill()
        time.sleep(2.0)
        assert status(mariadb.a)["source_clients"] == "1"
        mariadb.b.start()
        mariadb.b.replica("START")
