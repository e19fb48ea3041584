"""What a fresh copy rests on: where a new binary log begins, and what the servers do with one that begins elsewhere."""

from __future__ import annotations

import pytest
from scratch import Pair

from vipguard.lab.wait import wait_until


def apart(pair: Pair) -> tuple[str, str]:
    """a went apart, b went on writing: b's position, and where b stands as a replica of a."""
    a, b = pair.servers
    a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    a.close()
    b.open()
    b.sql("INSERT INTO test.t (n) VALUES (2)")
    wait_until(lambda: "2-2-1" in str(b.value("@@gtid_slave_pos")), 10)  # its own transaction came round
    b.replica("STOP", "IO_THREAD")
    a.replica("STOP")
    b.sql("INSERT INTO test.t (n) VALUES (3)")
    return str(b.value("@@gtid_binlog_pos")), str(b.value("@@gtid_slave_pos"))


@pytest.mark.parametrize("begins", ["at the copy", "where its reader stands"])
def test_mariadb_a_reader_in_front_of_the_logs_beginning_stops_for_good(mariadb: Pair, begins: str) -> None:
    a, b = mariadb.servers
    position, stands = apart(mariadb)
    state = position if begins == "at the copy" else stands
    a.sql(
        "SET GLOBAL gtid_slave_pos = CONCAT(@@gtid_binlog_pos, ',4294967295-1-1')",
        "RESET MASTER",
        f"SET GLOBAL gtid_binlog_state = '{state}'",
        f"SET GLOBAL gtid_slave_pos = '{position}'",
    )
    b.replica("START", "IO_THREAD")
    if begins == "at the copy":
        wait_until(lambda: b.status()["Last_IO_Errno"] == 1236, 10, lambda: str(b.status()))
        assert b.status()["Replica_IO_Running"] == "No"
    else:
        wait_until(lambda: b.status()["Replica_IO_Running"] == "Yes", 10, lambda: str(b.status()))
        assert b.status()["Last_IO_Errno"] == 0


def test_mariadb_takes_no_position_behind_its_own_log_in_strict_mode(mariadb: Pair) -> None:
    position, stands = apart(mariadb)
    assert position != stands
    with pytest.raises(Exception, match="conflicts with the binary log"):
        mariadb.b.sql("STOP SLAVE", f"SET GLOBAL gtid_slave_pos = '{stands}'")


@pytest.mark.parametrize("reader", ["who wrote it", "another"])
def test_mariadb_a_transaction_under_the_readers_own_number_is_read_over_by_it_alone(
    mariadb: Pair, reader: str
) -> None:
    """Its log begins where the writer stands as its reader, and has the end of the copy as the next transaction: one
    that the writer takes for its own, and at which the applier of anybody else stops, who lacks what is in between."""
    a, b = mariadb.servers
    position, stands = apart(mariadb)
    end = next(at for at in position.split(",") if at.startswith("2-2-"))
    state = ",".join("2-2-1" if at == end else at for at in position.split(","))
    assert "2-2-1" in stands
    a.sql(
        f"SET GLOBAL gtid_slave_pos = '{position},4294967295-1-1'",
        "RESET MASTER",
        f"SET GLOBAL gtid_binlog_state = '{state}'",
        "SET SESSION sql_log_bin = 0",
        "CREATE TABLE test.in_no_log (n INT)",
        "SET SESSION sql_log_bin = 1",
        "SET SESSION gtid_domain_id = 2",
        "SET SESSION server_id = 2",
        f"SET SESSION gtid_seq_no = {end.rpartition('-')[2]}",
        "INSERT INTO test.in_no_log VALUES (1)",
        "SET SESSION sql_log_bin = 0",
        "DROP TABLE test.in_no_log",
    )
    a.sql(f"SET GLOBAL gtid_slave_pos = '{position}'")
    assert end in str(a.value("@@gtid_binlog_state")) and end in str(a.value("@@gtid_binlog_pos"))
    if reader == "another":
        b.sql(
            "STOP SLAVE",
            "RESET MASTER",
            f"SET GLOBAL gtid_binlog_state = '{stands}'",
            f"SET GLOBAL gtid_slave_pos = '{stands}'",
            "SET GLOBAL server_id = 9",
        )
    try:
        b.replica("START")
        if reader == "another":
            wait_until(lambda: b.status()["Last_SQL_Errno"] == 1146, 10, lambda: str(b.status()))
        else:
            wait_until(lambda: end in str(b.value("@@gtid_slave_pos")), 10, lambda: str(b.status()))
            assert (b.status()["Last_IO_Errno"], b.status()["Last_SQL_Errno"]) == (0, 0)
    finally:
        b.sql("SET GLOBAL server_id = 2")
