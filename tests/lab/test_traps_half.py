"""The writer dies while it sends a large transaction: the standby opens in time, and the half it has holds no lock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from guarded import Guarded, ids_on, received_all, sets_equal
from lawful import in_time, nothing_lost
from scratch import TRX_POLL_S

from vipguard.lab import Node, WaitTimeout, wait_until

ROW = -41
OPENS_S_MAX = 3.0  # of the default drain_s_max none is used: nothing whole is left to apply


@contextlib.contextmanager
def slow_sending(node: Node) -> Iterator[None]:
    """What the node sends goes out at two megabytes a second, nothing longer than 0.1 s late."""
    limit = ["rate", "16mbit", "burst", "64kb", "latency", "100ms"]
    node.run(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *limit])
    try:
        yield
    finally:
        node.run(["tc", "qdisc", "del", "dev", "eth0", "root"])


def received_bytes(node: Node) -> int:
    """How far its IO thread is in its source's log; its own relay logs shrink when they are applied."""
    row = node.mysqld.replication()[0]
    return int(row.get("Read_Master_Log_Pos") or row.get("Read_Source_Log_Pos") or 0)


def holds_rows(node: Node) -> bool:
    """Has an applier changed rows in a transaction that is not at its end?"""
    return bool(
        node.mysqld.value("(SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0)")
    )


def send_large_transaction(guarded: Guarded, value: int) -> None:
    """Commit twelve megabytes on the writer, ROW first, and return when the standby has one of them."""
    writer, standby = guarded.writer, guarded.standby
    before = received_bytes(standby)
    rows = [f"REPLACE INTO app.big VALUES ({n}, REPEAT('x', 200000))" for n in range(60)]
    writer.mysqld.sql(
        "BEGIN", f"UPDATE app.t SET node = {value} WHERE id = {ROW}", *rows, "COMMIT", timeout_s=20
    )
    guarded.lab.wait(lambda: received_bytes(standby) > before + 1_000_000, 10, "the beginning to be there")
    with contextlib.suppress(WaitTimeout):  # MySQL may not have begun with it
        wait_until(lambda: holds_rows(standby), 0.5, "its rows to be held", every_s=TRX_POLL_S)
    assert not received_all(standby, writer), "it went too fast"


@contextlib.contextmanager
def killed_in_the_middle(guarded: Guarded) -> Iterator[None]:
    """The writer is dead, and its standby has ROW locked by the beginning of a transaction without an end."""
    writer = guarded.writer
    writer.mysqld.sql(
        "CREATE TABLE IF NOT EXISTS app.big (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB",
        f"REPLACE INTO app.t (id, node) VALUES ({ROW}, 0)",
    )
    guarded.write_settled(10)
    with slow_sending(writer):
        send_large_transaction(guarded, 77)
        writer.mysqld.kill9()
    yield


def test_a_writer_that_dies_in_the_middle_of_a_large_transaction_is_taken_over_in_time(
    guarded: Guarded,
) -> None:
    standby = guarded.standby
    with killed_in_the_middle(guarded):
        began = time.monotonic()
        guarded.wait_writer(standby, within_s=OPENS_S_MAX)
        in_time(time.monotonic() - began, OPENS_S_MAX)
        assert not guarded.said(standby, "rule=half-received-kept")
        assert standby.mysqld.sql(f"SELECT node FROM app.t WHERE id = {ROW}") == [{"node": 0}]
        standby.mysqld.sql("SET innodb_lock_wait_timeout = 1", f"UPDATE app.t SET node = 5 WHERE id = {ROW}")
        guarded.wait_said(standby, "event=may-be-lost", "rule=lost-unknown", "unseen_ms=")
        guarded.write(10)


def test_the_old_writer_has_the_whole_of_it_and_stays_apart(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with killed_in_the_middle(guarded):
        guarded.wait_writer(standby, within_s=OPENS_S_MAX)
        after = guarded.write(5)
        writer.mysqld.start()
        guarded.wait_said(writer, "event=rejoin", "rule=diverged", within_s=15)
        assert writer.mysqld.read_only() is True and guarded.lab.writer() is standby
        nothing_lost(after, standby)
        assert ROW in ids_on(standby)
        threads = standby.mysqld.replication_threads()
        assert threads is not None and threads[0] == "No", "the living writer must not listen to it"


def test_a_connection_that_breaks_in_the_middle_is_nothing_to_a_living_pair(guarded: Guarded) -> None:
    """Only the cable, and only for a moment: the transaction comes again from its beginning."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    writer.mysqld.sql(
        "CREATE TABLE IF NOT EXISTS app.big (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB",
        f"REPLACE INTO app.t (id, node) VALUES ({ROW}, 0)",
    )
    guarded.write_settled(10)
    with slow_sending(writer):
        send_large_transaction(guarded, 78)
        for row in writer.mysqld.sql("SHOW PROCESSLIST"):
            if str(row["Command"]).startswith("Binlog Dump"):
                writer.mysqld.sql(f"KILL {row['Id']}")
    row = f"SELECT node FROM app.t WHERE id = {ROW}"
    lab.wait(lambda: standby.mysqld.sql(row) == [{"node": 78}], 20, "the standby to have all of it")
    lab.wait(lambda: sets_equal(standby, writer), 5, "the last beat to be there too")
    assert lab.writer() is writer and not guarded.dropped_vip(writer)
