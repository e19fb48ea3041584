"""What MySQL does that one would not think."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pymysql
import pytest
from scratch import PASSWORD, Pair

from vipguard.lab.wait import wait_until

pytestmark = pytest.mark.behaviour


def test_stopping_the_sql_thread_waits_for_half_a_transaction(mysql: Pair) -> None:
    """Up to a minute; so it is never stopped on the way to opening. The status does not wait."""
    mysql.lose_source_in_the_middle_of_a_transaction()

    def stop() -> None:
        with suppress(pymysql.MySQLError):
            mysql.b.replica("STOP", "SQL_THREAD")

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(1.5)
    assert thread.is_alive()
    mysql.b.status()
    mysql.b.kill()
    thread.join(5)


def test_ending_the_appliers_session_rolls_half_a_transaction_back(mysql: Pair) -> None:
    """It takes SYSTEM_USER; the SQL thread stops with 1756 and starts again without complaint."""
    mysql.lose_source_in_the_middle_of_a_transaction()
    mysql.b.replica("STOP", "IO_THREAD")
    applier = mysql.b.value(
        "(SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 5)"
    )
    with mysql.b.connect(user="vipguard", password=PASSWORD).cursor() as cursor:
        cursor.execute(f"KILL {applier}")
    wait_until(lambda: mysql.b.status()["Replica_SQL_Running"] == "No", 5)
    assert mysql.b.status()["Last_SQL_Errno"] == 1756
    mysql.b.open()
    mysql.b.sql(
        "SET innodb_lock_wait_timeout=1", "SET sql_log_bin=0", "UPDATE test.big SET v='mine' WHERE id=1"
    )
    mysql.b.kill()


def test_with_half_a_transaction_the_lag_is_a_number_though_the_source_is_gone(mysql: Pair) -> None:
    """Another case where a lost source does not read NULL: a number counts only while the IO thread says Yes."""
    mysql.lose_source_in_the_middle_of_a_transaction()
    wait_until(lambda: mysql.b.status()["Replica_IO_Running"] == "Connecting", 10)
    assert mysql.b.status()["Seconds_Behind_Source"] is not None
    mysql.b.kill()


def test_super_read_only_binds_everybody_and_read_only_off_turns_it_off(mysql: Pair) -> None:
    assert mysql.b.value("@@global.super_read_only") == mysql.b.value("@@global.read_only") == 1
    with pytest.raises(pymysql.MySQLError, match="super-read-only"):
        mysql.b.sql("INSERT INTO test.t (n) VALUES (1)")
    mysql.b.sql("SET GLOBAL read_only=0")
    assert mysql.b.value("@@global.super_read_only") == mysql.b.value("@@global.read_only") == 0
    mysql.b.sql("SET GLOBAL super_read_only=1")
    assert mysql.b.value("@@global.read_only") == 1


def test_plain_read_only_does_not_bind_connection_admin(mysql: Pair) -> None:
    mysql.b.sql("SET GLOBAL super_read_only=0", "SET sql_log_bin=0", "INSERT INTO test.t (n) VALUES (1)")
    assert mysql.b.value("@@global.read_only") == 1


def test_a_system_users_session_is_ended_by_another_system_user_only(mysql: Pair) -> None:
    mysql.a.sql("SET sql_log_bin=0", "REVOKE SYSTEM_USER ON *.* FROM vipguard@localhost")
    root = mysql.a.connect()
    with mysql.a.connect(user="vipguard", password=PASSWORD).cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as raised:
            cursor.execute(f"KILL {root.thread_id()}")
        assert raised.value.args[0] == 1095


def test_super_read_only_reads_1_while_its_set_is_waiting_and_nothing_is_in_force(mysql: Pair) -> None:
    """Together with read_only it tells the truth."""
    blocker, setter = mysql.a.connect(), mysql.a.connect()
    blocker.cursor().execute("LOCK TABLES test.t WRITE")
    setter.cursor().execute("SET SESSION lock_wait_timeout=2")
    thread = threading.Thread(target=lambda: suppressed(setter, "SET GLOBAL super_read_only=1"))
    thread.start()
    wait_until(lambda: mysql.a.value("@@global.super_read_only") == 1, 1)
    assert mysql.a.value("@@global.read_only") == 0
    thread.join()
    assert (mysql.a.value("@@global.super_read_only"), mysql.a.value("@@global.read_only")) == (0, 0)
    blocker.close()
    mysql.a.close()
    assert (mysql.a.value("@@global.super_read_only"), mysql.a.value("@@global.read_only")) == (1, 1)


def suppressed(connection: pymysql.Connection[Any], statement: str) -> None:
    with suppress(pymysql.MySQLError):
        connection.cursor().execute(statement)


def test_the_words_of_old_are_gone(mysql: Pair) -> None:
    for statement in ("SHOW SLAVE STATUS", "SHOW MASTER STATUS"):
        with pytest.raises(pymysql.MySQLError) as raised:
            mysql.b.sql(statement)
        assert raised.value.args[0] == 1064


def test_what_was_received_survives_a_restart_and_is_told(mysql: Pair) -> None:
    """Without relay_log_recovery; the SQL thread applies it, though the source is dead."""
    blocker = mysql.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    mysql.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 100)
    target = mysql.a.value("@@global.gtid_executed")
    table = "performance_schema.replication_connection_status"
    received = f"(SELECT GTID_SUBSET('{{}}', RECEIVED_TRANSACTION_SET) FROM {table})"
    missing = f"GTID_SUBTRACT('{target}', @@global.gtid_executed)"
    wait_until(lambda: mysql.b.value(received.format(mysql.b.value(missing))) == 1, 10)
    mysql.a.kill()
    mysql.b.kill()
    mysql.b.start()
    assert mysql.b.value("@@global.relay_log_recovery") == 0
    assert mysql.b.value(missing) != "" and mysql.b.status()["Replica_SQL_Running"] == "No"
    assert mysql.b.value(received.format(mysql.b.value(missing))) == 1
    mysql.b.replica("START", "SQL_THREAD")
    wait_until(lambda: mysql.b.value("(SELECT COUNT(*) FROM test.t)") == 100, 10)
