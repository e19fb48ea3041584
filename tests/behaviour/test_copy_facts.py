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
