"""What MariaDB does that one would not think."""

from __future__ import annotations

import pymysql
import pytest
from scratch import Pair

from vipguard.lab.wait import wait_until

pytestmark = pytest.mark.behaviour


def receive_100_unapplied(pair: Pair) -> None:
    pair.b.replica("STOP", "SQL_THREAD")
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 100)
    target = pair.a.value("@@global.gtid_binlog_pos")
    wait_until(lambda: pair.b.status()["Gtid_IO_Pos"] == target, 10, lambda: str(pair.b.status()))


def rows(pair: Pair) -> int:
    found: int = pair.b.value("(SELECT COUNT(*) FROM test.t)")
    return found


@pytest.mark.parametrize("thread", ["IO_THREAD", ""])
def test_what_was_received_and_not_applied_is_lost_when_both_threads_are_stopped(
    mariadb: Pair, thread: str
) -> None:
    receive_100_unapplied(mariadb)
    mariadb.b.replica("STOP", thread)
    mariadb.a.kill()
    mariadb.b.replica("START")
    wait_until(lambda: mariadb.b.status()["Last_IO_Errno"] == 2003, 10)
    assert mariadb.b.status()["Replica_SQL_Running"] == "Yes"
    assert rows(mariadb) == 0


def test_it_can_be_rescued_from_the_relay_log_by_file_and_position(mariadb: Pair) -> None:
    receive_100_unapplied(mariadb)
    mariadb.a.kill()
    status = mariadb.b.status()
    mariadb.b.sql(
        "STOP SLAVE",
        f"CHANGE MASTER TO MASTER_USE_GTID=no, RELAY_LOG_FILE='{status['Relay_Log_File']}',"
        f" RELAY_LOG_POS={status['Relay_Log_Pos']}",
        "START SLAVE SQL_THREAD",
    )
    wait_until(lambda: rows(mariadb) == 100, 10)
    mariadb.b.sql("STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID=slave_pos")


def test_half_a_transaction_is_rolled_back_by_stopping_the_sql_thread(mariadb: Pair) -> None:
    mariadb.lose_source_in_the_middle_of_a_transaction()
    mariadb.b.replica("STOP", "IO_THREAD")
    mariadb.b.replica("STOP", "SQL_THREAD")
    mariadb.b.open()
    mariadb.b.sql(
        "SET innodb_lock_wait_timeout=1", "SET sql_log_bin=0", "UPDATE test.big SET v='mine' WHERE id=1"
    )


def test_read_only_does_not_bind_whoever_has_read_only_admin(mariadb: Pair) -> None:
    """SUPER alone is bound; root has both."""
    mariadb.b.sql("INSERT INTO test.t (n) VALUES (1)")
    mariadb.b.sql(
        "SET sql_log_bin=0",
        "CREATE USER IF NOT EXISTS super@localhost",
        "GRANT SUPER, INSERT ON *.* TO super@localhost",
    )
    with (
        mariadb.b.connect(user="super").cursor() as cursor,
        pytest.raises(pymysql.MySQLError, match="read-only"),
    ):
        cursor.execute("INSERT INTO test.t (n) VALUES (2)")


def test_its_positions_come_in_any_order_of_domains(mariadb: Pair) -> None:
    mariadb.a.sql("INSERT INTO test.t (n) VALUES (1)")
    mariadb.wait_same()
    mariadb.b.open()
    mariadb.b.sql("INSERT INTO test.t (n) VALUES (2)")
    wait_until(lambda: mariadb.a.value("(SELECT COUNT(*) FROM test.t)") == 2, 10)
    for server in mariadb.servers:
        domains = {piece.split("-")[0] for piece in str(server.value("@@global.gtid_binlog_pos")).split(",")}
        assert domains == {"1", "2"}


def test_the_name_of_a_channel_stands_before_the_thread(mariadb: Pair) -> None:
    mariadb.b.sql("STOP SLAVE '' IO_THREAD")
    assert mariadb.b.status()["Replica_IO_Running"] == "No"
    mariadb.b.sql("START SLAVE '' IO_THREAD")
