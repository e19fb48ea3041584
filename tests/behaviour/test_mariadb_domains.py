"""What MariaDB keeps in order, and what it does not: domains, parallel appliers, numbers, and the strict mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from scratch import Pair, Server

from vipguard.lab.wait import wait_until
from vipguard.session import Deadline

pytestmark = pytest.mark.behaviour
MODES = ("conservative", "optimistic", "aggressive", "minimal", "none")


@pytest.fixture
def one(mariadb: Pair) -> Iterator[Pair]:
    """Both write in domain 0."""
    for server in mariadb.servers:
        server.sql("SET GLOBAL gtid_domain_id = 0")
    yield mariadb
    for number, server in enumerate(mariadb.servers, 1):
        if not server.alive:
            server.start()
        server.sql(f"SET GLOBAL gtid_domain_id = {number}, GLOBAL gtid_strict_mode = 1")
        server.sql("STOP SLAVE", "SET GLOBAL slave_parallel_threads = 0, GLOBAL slave_parallel_mode = 'optimistic'")


def state(server: Server) -> str:
    return str(server.value("@@gtid_binlog_state"))


def stops_with(server: Server, column: str, errno: int) -> None:
    wait_until(lambda: server.status()[column] == errno, 10, lambda: str(server.status()))


@pytest.mark.parametrize("domains", [(1, 2), (0, 0)], ids=["two domains", "one domain"])
@pytest.mark.parametrize("mode", MODES)
def test_parallel_appliers_keep_the_order_of_one_domain_and_not_that_of_two(
    one: Pair, mode: str, domains: tuple[int, int]
) -> None:
    """An old writer's tail and a new writer's head, behind a row lock."""
    a, b = one.servers
    a.sql("INSERT INTO test.t VALUES (1, 0)")
    one.wait_same()
    b.sql("STOP SLAVE", f"SET GLOBAL slave_parallel_threads = 8, GLOBAL slave_parallel_mode = '{mode}'", "START SLAVE")
    with contextlib.closing(b.connect()) as blocker:
        blocker.cursor().execute("BEGIN")
        blocker.cursor().execute("SELECT n FROM test.t WHERE id = 1 FOR UPDATE")
        for number in range(1, 21):
            a.sql(f"SET gtid_domain_id = {domains[0]}", f"UPDATE test.t SET n = {number} WHERE id = 1")
        a.sql(f"SET gtid_domain_id = {domains[1]}", "SET server_id = 7", "UPDATE test.t SET n = 999 WHERE id = 1")
        ends = set(str(a.value("@@gtid_binlog_pos")).split(","))
        wait_until(lambda: set(b.status()["Gtid_IO_Pos"].split(",")) >= ends, 10, lambda: str(b.status()))
        blocker.cursor().execute("ROLLBACK")
    wait_until(lambda: set(str(b.value("@@gtid_slave_pos")).split(",")) >= ends, 20, lambda: str(b.status()))
    mixed = domains == (1, 2) and mode in ("conservative", "optimistic", "aggressive")
    assert b.value("(SELECT n FROM test.t WHERE id = 1)") == (20 if mixed else 999)


def test_the_state_of_the_log_tells_every_server_and_the_position_the_last_one(one: Pair) -> None:
    a, b = one.servers
    one.wait_same()
    b.open()
    b.sql("INSERT INTO test.t (n) VALUES (1)")
    wait_until(lambda: "0-2-1" in state(a), 10)
    a.sql("INSERT INTO test.t (n) VALUES (2)")
    wait_until(lambda: "0-1-2" in state(b), 10, lambda: f"{state(a)} {state(b)}")
    for server in one.servers:
        assert state(server).startswith("0-2-1,0-1-2,")
        assert str(server.value("@@gtid_binlog_pos")).startswith("0-1-2,")
    assert str(b.value("@@gtid_slave_pos")).startswith("0-1-2,")


def test_a_changed_domain_is_that_of_new_sessions_only(one: Pair) -> None:
    with contextlib.closing(one.a.connect()) as before:
        one.a.sql("SET GLOBAL gtid_domain_id = 5")
        before.cursor().execute("INSERT INTO test.t (n) VALUES (1)")
        assert "5-1-1" not in state(one.a)
        one.a.sql("INSERT INTO test.t (n) VALUES (2)")
        assert "5-1-1" in state(one.a)


def test_the_accounts_privileges_suffice_for_the_domain_of_all_and_not_for_its_own(one: Pair) -> None:
    statements = ["SET GLOBAL gtid_domain_id = 0", "SET SESSION gtid_domain_id = 0"]
    with contextlib.closing(one.a.session()) as session:
        assert session.attempt_all(statements, Deadline(5)) == [0, 1227]


@pytest.mark.parametrize("log", ["0-2-50,0-1-80", "0-2-50", ""])
def test_it_counts_on_from_its_position_also_where_the_log_begins_before_it_and_after_a_restart(
    one: Pair, log: str
) -> None:
    b = one.b
    b.sql("STOP SLAVE", "RESET SLAVE ALL")
    b.open()
    begin = [f"SET GLOBAL gtid_binlog_state = '{log}'"] if log else []
    b.sql("SET GLOBAL gtid_slave_pos = ''", "RESET MASTER", *begin, "SET GLOBAL gtid_slave_pos = '0-1-100'")
    b.kill()
    b.start()
    b.sql("SET gtid_domain_id = 0", "INSERT INTO test.t (n) VALUES (1)")
    assert b.value("@@gtid_binlog_pos") == "0-2-101"


BEGINS = [("0-2-50,0-1-100", "0-1-100", 0), ("0-2-50,0-1-100", "0-1-90", 1236), ("0-2-50,0-1-100", "0-2-50", 1236),
          ("0-3-40,0-2-50", "0-2-50", 0), ("0-2-50,0-1-100", "0-1-105", 1236), ("", "0-1-100", 0)]  # fmt: skip


@pytest.mark.parametrize(("log", "reader", "errno"), BEGINS)
def test_a_reader_finds_itself_where_the_log_begins_or_where_its_source_stands(
    one: Pair, log: str, reader: str, errno: int
) -> None:
    """The source is a copy that stands at 0-1-100; its log begins somewhere else."""
    a, b = one.servers
    for server in one.servers:
        server.sql("STOP SLAVE", "RESET MASTER", "SET GLOBAL gtid_slave_pos = ''")
    begin = [f"SET GLOBAL gtid_binlog_state = '{log}'"] if log else []
    a.sql(*begin, "SET GLOBAL gtid_slave_pos = '0-1-100'")
    b.sql(f"SET GLOBAL gtid_slave_pos = '{reader}'", "START SLAVE")
    if errno:
        stops_with(b, "Last_IO_Errno", errno)
    else:
        a.sql("SET gtid_domain_id = 0", "INSERT INTO test.t (n) VALUES (5)")
        wait_until(lambda: "0-1-101" in str(b.value("@@gtid_slave_pos")), 10, lambda: str(b.status()))


def test_two_writes_under_one_number_stop_replication_and_the_loose_mode_hides_them(one: Pair) -> None:
    a, b = one.servers
    one.wait_same()
    b.replica("STOP", "IO_THREAD")
    a.replica("STOP")
    b.open()
    b.sql("INSERT INTO test.t VALUES (1000, 1)")
    a.sql("INSERT INTO test.t VALUES (2000, 1)", "INSERT INTO test.t VALUES (3000, 1)")
    b.replica("START", "IO_THREAD")
    stops_with(b, "Last_SQL_Errno", 1950)
    b.sql("SET GLOBAL gtid_strict_mode = 0", "START SLAVE SQL_THREAD")
    wait_until(lambda: b.value("@@gtid_slave_pos") == a.value("@@gtid_binlog_pos"), 10, lambda: str(b.status()))
    assert b.value("@@gtid_binlog_pos") == a.value("@@gtid_binlog_pos")
    assert any(part.startswith("0-2-") for part in state(b).split(","))  # the state alone knows
