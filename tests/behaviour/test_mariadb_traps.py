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


def restart_with_100_received_and_unapplied(pair: Pair) -> None:
    """b's SQL thread ran, and waited for a lock, when both servers were killed; b is back."""
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 20)
    pair.wait_same()
    blocker = pair.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 100)
    target = pair.a.value("@@global.gtid_binlog_pos")
    wait_until(lambda: pair.b.status()["Gtid_IO_Pos"] == target, 10, lambda: str(pair.b.status()))
    pair.a.kill()
    pair.b.kill()
    pair.b.start()


def test_after_a_restart_it_tells_nothing_of_what_it_received(mariadb: Pair) -> None:
    """No received position, and its place in the relay log as of the last rotation: only the files know."""
    restart_with_100_received_and_unapplied(mariadb)
    status = mariadb.b.status()
    assert (status["Gtid_IO_Pos"], status["Source_Log_File"], status["Using_Gtid"]) == ("", "", "Slave_Pos")
    assert mariadb.b.value("@@global.gtid_slave_pos") == "1-1-21"
    events = mariadb.b.sql(
        f"SHOW RELAYLOG EVENTS IN '{status['Relay_Log_File']}' FROM {status['Relay_Log_Pos']}"
    )
    gtids = [event["Info"].split()[-1] for event in events if event["Event_type"] == "Gtid"]
    assert gtids[0] == "1-1-1" and gtids[-1] == "1-1-121"


def test_by_the_position_that_it_shows_after_a_restart_the_rescue_fails(mariadb: Pair) -> None:
    """It would apply again what it has: the place of the first missing transaction has to be found."""
    restart_with_100_received_and_unapplied(mariadb)
    status = mariadb.b.status()
    mariadb.b.sql(
        f"CHANGE MASTER TO MASTER_USE_GTID=no, RELAY_LOG_FILE='{status['Relay_Log_File']}',"
        f" RELAY_LOG_POS={status['Relay_Log_Pos']}",
        "START SLAVE SQL_THREAD",
    )
    wait_until(lambda: mariadb.b.status()["Last_SQL_Errno"] == 1950, 10, lambda: str(mariadb.b.status()))
    assert rows(mariadb) == 20
    mariadb.b.sql("STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID=slave_pos")


def test_after_a_restart_its_sql_thread_alone_throws_the_relay_log_away(mariadb: Pair) -> None:
    restart_with_100_received_and_unapplied(mariadb)
    mariadb.b.replica("START", "SQL_THREAD")
    wait_until(lambda: "read all relay log" in mariadb.b.status()["Replica_SQL_Running_State"], 10)
    assert rows(mariadb) == 20
    assert not list((mariadb.b.directory / "data").glob("*relay-bin.000002"))
