"""What the lab measures is what was: outages, lost rows, and the time with two writable nodes."""

from __future__ import annotations

import time

import pytest

from vipguard.lab import Lab, WaitTimeout, faults, wait_until
from vipguard.lab.client import Seen
from vipguard.lab.watch import Sample, intervals_of, overlaps

MS = 1_000_000


def test_two_writers_are_counted_and_one_is_not(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with bare.watch() as watcher:
        one.mysqld.sql("SET GLOBAL read_only = 0")
        time.sleep(0.2)
        one.mysqld.sql("SET GLOBAL read_only = 1")
        other.mysqld.sql("SET GLOBAL read_only = 0")
        time.sleep(0.2)
    assert watcher.two_writers_ms() == 0
    with bare.watch() as watcher:
        one.mysqld.sql("SET GLOBAL read_only = 0")
        time.sleep(0.3)
        other.mysqld.sql("SET GLOBAL read_only = 1")
        time.sleep(0.1)
    assert 250 < watcher.two_writers_ms() < 400
    assert watcher.two_writers_ms(with_vip=True) == 0
    assert [(c.node, c.now) for c in watcher.changes if c.what == "writable"] == [
        ("db1", False), ("db2", True), ("db1", True), ("db2", False),
    ] or len(watcher.changes) >= 5  # fmt: skip


def test_a_server_that_stood_still_is_not_counted_for_that_time(bare: Lab) -> None:
    one, other = bare.nodes.values()
    one.mysqld.sql("SET GLOBAL read_only = 0")
    with bare.watch() as watcher:
        with faults.stop_mysqld(one):
            time.sleep(0.1)
            other.mysqld.sql("SET GLOBAL read_only = 0")
            time.sleep(0.7)
            assert [change.now for change in watcher.changes if change.node == "db1"][-1] is None
            other.mysqld.sql("SET GLOBAL read_only = 1")
        time.sleep(0.1)
    assert watcher.two_writers_ms() < 5


def test_samples_prove_what_lies_between_them_and_a_late_answer_only_its_moment() -> None:
    samples = [
        Sample(0, 1 * MS, True),
        Sample(5 * MS, 6 * MS, True),
        Sample(10 * MS, 3000 * MS, True),
        Sample(3003 * MS, 3004 * MS, False),
    ]
    first, second = intervals_of(samples)
    assert first == (1 * MS - 100_000, 10 * MS)
    assert second == (3000 * MS - 100_000, 3000 * MS)
    assert intervals_of([Sample(0, 1, None), Sample(2, 3, False)]) == []
    assert overlaps([(0, 10), (20, 30)], [(5, 25)]) == [(5, 10), (20, 25)]


def test_an_outage_is_the_longest_gap_and_counts_to_the_end() -> None:
    seen = Seen([(0, 1), (10 * MS, 2), (50 * MS, 3)], [], [])
    assert seen.outage_ms() == 40
    assert seen.outage_ms(since_ns=12 * MS) == 40
    assert seen.outage_ms(until_ns=150 * MS) == 100
    assert Seen([], [], []).outage_ms() == 0


def test_a_client_counts_acknowledged_rows_that_are_missing(bare: Lab) -> None:
    one, other = bare.nodes.values()
    one.mysqld.sql("SET GLOBAL read_only = 0")
    with bare.client(rate=200, host=one.address) as client:
        client.wait_acks(50)
    seen = client.seen()
    assert len(seen.acks) > 50 and not seen.errors and [server for _, server in seen.connections] == [1]
    assert client.lost(one) == []
    gone = seen.acks[7][1]
    one.mysqld.sql("SET SESSION sql_log_bin = 0", f"DELETE FROM app.t WHERE id = {gone}")
    assert client.lost(one) == [gone]
    wait_until(lambda: client.lost(other) == [], 5, "the other node to have all rows")


def test_a_client_goes_on_after_an_error_without_a_busy_loop(bare: Lab) -> None:
    one = bare.nodes["db1"]
    one.mysqld.sql("SET GLOBAL read_only = 0")
    with bare.client(rate=200, host=one.address) as client:
        with faults.kill_mysqld(one):
            time.sleep(0.5)
        one.mysqld.sql("SET GLOBAL read_only = 0")
        client.wait_acks(10)
    seen = client.seen()
    assert 50 < len(seen.errors) < 1500 and seen.outage_ms() > 500


def test_what_is_waited_for_in_vain_is_told_with_the_whole_lab(bare: Lab) -> None:
    with pytest.raises(
        WaitTimeout, match=r"(?s)within 0.1 s: a miracle.*db1: vip=no closed.*db2.*mysqld.log"
    ):
        bare.wait(lambda: False, 0.1, "a miracle")
