"""What replication says of itself, and what stopping its threads does, on either flavour."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest
from lawful import in_time
from scratch import TRX_POLL_S, Pair, took_s

from vipguard.lab.wait import wait_until

pytestmark = pytest.mark.behaviour


def states(pair: Pair) -> tuple[str, str, int | None]:
    status = pair.b.status()
    return status["Replica_IO_Running"], status["Replica_SQL_Running"], status["Seconds_Behind_Source"]


def test_idle_it_is_yes_yes_and_a_small_number(pair: Pair) -> None:
    io, sql, lag_s = states(pair)
    assert (io, sql) == ("Yes", "Yes")
    assert lag_s is not None
    assert lag_s <= 2


@pytest.mark.parametrize(
    ("thread", "io", "sql"), [("", "No", "No"), ("IO_THREAD", "No", "Yes"), ("SQL_THREAD", "Yes", "No")]
)
def test_with_a_thread_stopped_the_lag_becomes_null(pair: Pair, thread: str, io: str, sql: str) -> None:
    """MySQL says 0 for a moment after its IO thread stopped, so the state has to be read beside the number."""
    pair.b.replica("STOP", thread)
    wait_until(lambda: states(pair) == (io, sql, None), 5, lambda: f"{states(pair)}")


def test_a_source_that_never_answered_reads_zero_on_mysql_and_null_on_mariadb(pair: Pair) -> None:
    """So a number counts only while the IO thread says Yes."""
    pair.b.replica("STOP")
    if pair.flavor == "mariadb":
        pair.b.sql("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1")
    else:
        pair.b.sql("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1")
    pair.b.replica("START")
    wait_until(lambda: pair.b.status()["Last_IO_Errno"] == 2003, 10)
    assert states(pair) == ("Connecting", "Yes", 0 if pair.flavor == "mysql" else None)


def test_a_dead_source_is_connecting_at_once_with_error_2003(pair: Pair) -> None:
    pair.a.kill()
    wait_until(lambda: pair.b.status()["Last_IO_Errno"] == 2003, 10, lambda: str(pair.b.status()))
    io, sql, lag_s = states(pair)
    assert (io, sql) == ("Connecting", "Yes")
    assert lag_s is None or (pair.flavor == "mysql" and lag_s == 0)


def test_a_hung_source_reads_as_healthy(pair: Pair) -> None:
    """Until slave_net_timeout: Yes, Yes and 0. So the peer itself has to be asked."""
    with pair.a.stopped():
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            io, sql, lag_s = states(pair)
            assert (io, sql) == ("Yes", "Yes")
            assert lag_s in (0, 1)
            time.sleep(0.1)


def test_stopping_only_the_io_thread_keeps_what_was_received(pair: Pair) -> None:
    blocker = pair.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 100)
    received = "Gtid_IO_Pos" if pair.flavor == "mariadb" else "Retrieved_Gtid_Set"
    executed = "@@global.gtid_binlog_pos" if pair.flavor == "mariadb" else "@@global.gtid_executed"
    target = pair.a.value(executed)
    last = str(target).replace(":", "-").rsplit("-", 1)[1]
    wait_until(
        lambda: str(pair.b.status()[received]).rstrip().endswith(f"-{last}"), 10, lambda: str(pair.b.status())
    )
    pair.b.replica("STOP", "IO_THREAD")
    pair.a.kill()
    blocker.close()
    wait_until(lambda: pair.b.value("(SELECT COUNT(*) FROM test.t)") == 100, 10)


def test_half_a_transaction_keeps_its_locks_after_the_source_is_gone(pair: Pair) -> None:
    """Everything received is applied, the IO thread stops at once, opening works: and row 1 is locked all the same."""
    pair.lose_source_in_the_middle_of_a_transaction()
    started = time.monotonic()
    pair.b.replica("STOP", "IO_THREAD")
    in_time(took_s(started), 2, "nothing waits for the half transaction, as stopping the SQL thread would")
    pair.b.open()
    with pytest.raises(Exception, match="Lock wait timeout"):
        pair.b.sql(
            "SET innodb_lock_wait_timeout=1", "SET sql_log_bin=0", "UPDATE test.big SET v='mine' WHERE id=1"
        )
    pair.b.kill()


def test_a_transaction_list_asked_ten_times_a_second_never_changes(pair: Pair) -> None:
    """INNODB_TRX is a copy, made anew only when nobody has read it for 0.1 s: who polls faster sees the past."""
    listed = "(SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0)"
    with pair.a.connect() as connection, connection.cursor() as cursor:
        assert pair.a.value(listed) == 0
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO test.t (n) VALUES (1)")
        for _ in range(20):
            time.sleep(0.02)
            assert pair.a.value(listed) == 0
        time.sleep(TRX_POLL_S)
        assert pair.a.value(listed) == 1


def test_own_transactions_come_back_round_the_ring_and_are_left_out(pair: Pair) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    pair.b.open()
    pair.b.sql("INSERT INTO test.t (n) VALUES (2)")
    wait_until(lambda: pair.a.value("(SELECT COUNT(*) FROM test.t)") == 2, 10)
    assert states(pair)[:2] == ("Yes", "Yes")
    status = pair.a.status()
    assert (status["Replica_IO_Running"], status["Replica_SQL_Running"]) == ("Yes", "Yes")


def test_stopping_the_io_thread_while_its_source_swallows_packets(pair: Pair) -> None:
    """MariaDB: at once. MySQL: its first signal does not end the connecting thread, the second after 2 s does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):  # fill the backlog: from then on SYNs are dropped
            client = stack.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        pair.b.replica("STOP")
        if pair.flavor == "mariadb":
            pair.b.sql(f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}")
        else:
            pair.b.sql(f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}")
        pair.b.replica("START")
        wait_until(lambda: states(pair)[0] == "Connecting", 5)
        started = time.monotonic()
        pair.b.replica("STOP", "IO_THREAD")
        in_time(took_s(started), 1.0 if pair.flavor == "mariadb" else 4.0)
        assert states(pair)[0] == "No"


def test_a_pair_pulls_a_dead_writers_unreplicated_transactions_by_itself(pair: Pair) -> None:
    """Hence the IO thread stays stopped until the sets were compared."""
    pair.b.replica("STOP", "IO_THREAD")
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.a.kill()
    pair.b.replica("START", "IO_THREAD")
    pair.a.start()
    wait_until(lambda: pair.b.value("(SELECT COUNT(*) FROM test.t)") == 1, 20)


def test_a_server_put_back_to_an_older_state_never_gets_what_it_wrote_itself(pair: Pair) -> None:
    """Its threads run, its lag is 0, and it lacks for ever what the other has of it."""
    mariadb = pair.flavor == "mariadb"
    before = pair.a.value("@@global.gtid_binlog_state" if mariadb else "@@global.gtid_executed")
    received = pair.a.value("@@global.gtid_slave_pos") if mariadb else None
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    pair.a.replica("STOP")
    forget = (
        ("RESET MASTER", f"SET GLOBAL gtid_binlog_state='{before}'", f"SET GLOBAL gtid_slave_pos='{received}'")
        if mariadb
        else ("RESET BINARY LOGS AND GTIDS", f"SET GLOBAL gtid_purged='{before}'")
    )
    pair.a.sql("SET sql_log_bin=0", "DELETE FROM test.t", *forget)
    pair.a.replica("START")
    pair.b.open()
    pair.b.sql("INSERT INTO test.t (n) VALUES (2)")
    rows = lambda: [row["n"] for row in pair.a.sql("SELECT n FROM test.t ORDER BY n")]  # noqa: E731
    wait_until(lambda: 2 in rows(), 10, lambda: f"{pair.a.status()}")
    assert rows() == [2]
    status = pair.a.status()
    assert (status["Replica_IO_Running"], status["Replica_SQL_Running"]) == ("Yes", "Yes")
    wait_until(lambda: pair.a.status()["Seconds_Behind_Source"] == 0, 10, lambda: f"{pair.a.status()}")
