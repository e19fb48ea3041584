"""MariaDB: what two writers wrote one after the other is applied in that order, also by parallel appliers."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pymysql
import pytest
from guarded import SETTINGS, Guarded, make_ready, sets_equal
from lawful import laws_hold, taken_up, watched

from vipguard.lab import Lab, LabSpec, Node

HERE = "SELECT v FROM app.h WHERE id = 1"


@pytest.fixture(scope="module")
def _three() -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"o{os.getpid()}", flavor="mariadb", nodes=3, settings=SETTINGS)) as lab:
        yield lab.up()


@pytest.fixture
def three(_three: Lab) -> Iterator[Guarded]:
    """A circle of three, whose writer has the row 1 of app.h. Replication settings are as rendered."""
    lab = _three
    make_ready(lab)
    with laws_hold(lab), watched(lab) as guarded:
        guarded.writer.mysqld.sql(
            "CREATE OR REPLACE TABLE app.h (id INT PRIMARY KEY, v INT)", "INSERT INTO app.h VALUES (1, 0)"
        )
        wait_alike(lab)
        yield guarded
        for node in lab.nodes.values():
            with contextlib.suppress(pymysql.MySQLError, OSError):
                apply_with(node, 0)
                node.mysqld.sql("SET GLOBAL gtid_domain_id = 0, GLOBAL gtid_strict_mode = 1")


def wait_alike(lab: Lab) -> None:
    nodes = list(lab.nodes.values())
    lab.wait(lambda: all(sets_equal(nodes[0], node) for node in nodes), 20, "all to have the same GTIDs")


def apply_with(node: Node, threads: int, mode: str = "optimistic") -> None:
    settings = f"SET GLOBAL slave_parallel_threads = {threads}, GLOBAL slave_parallel_mode = '{mode}'"
    node.mysqld.sql("STOP SLAVE", settings, "START SLAVE", timeout_s=20)


@contextlib.contextmanager
def held_back(node: Node) -> Iterator[None]:
    """Its applier waits for a row."""
    with contextlib.closing(node.mysqld.connect(timeout_s=60)) as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        cursor.execute(f"{HERE} FOR UPDATE")
        yield
        cursor.execute("ROLLBACK")


def values(lab: Lab) -> list[int]:
    return [int(node.mysqld.sql(HERE)[0]["v"]) for node in lab.nodes.values()]


def received_up_to(node: Node) -> int:
    return int(str(node.mysqld.replication()[0]["Gtid_IO_Pos"]).rpartition("-")[2])


def position_of(node: Node) -> str:
    return str(node.mysqld.value("@@global.gtid_binlog_pos"))


def wait_check(three: Guarded, node: Node, rule: str) -> None:
    told = lambda: three.status(node)["checks"]["replication"]["rule"] == rule  # noqa: E731
    three.lab.wait(told, 5, f"the status of {node.name} to say {rule}")


def move(lab: Lab, target: Node) -> None:
    said = target.vipguard("switchover", "--to", target.name, check=False, timeout_s=30)
    taken_up(said.stderr)
    assert said.returncode == 0, said.stdout + said.stderr
    lab.wait(lambda: lab.writer() is target, 10, f"{target.name} to write")


def test_a_node_that_lags_behind_a_planned_move_ends_with_the_new_writers_value(three: Guarded) -> None:
    lab, writer = three.lab, three.writer
    target, behind = lab.others(writer)
    apply_with(behind, 8)
    with held_back(behind):
        for number in range(1, 51):
            writer.mysqld.sql(f"UPDATE app.h SET v = {number} WHERE id = 1")
        move(lab, target)
        target.mysqld.sql("UPDATE app.h SET v = 999 WHERE id = 1")
        end = position_of(target).rpartition("-")[2]
        lab.wait(lambda: received_up_to(behind) >= int(end), 10, f"{behind.name} to receive both writers' rows")
        assert behind.mysqld.sql(HERE)[0]["v"] == 0
    wait_alike(lab)
    assert values(lab) == [999, 999, 999]
    lab.wait(lambda: behind.eligible() == "1", 10, f"{behind.name} to be a candidate")


def test_a_node_that_lags_behind_a_killed_writer_ends_with_the_new_writers_value(three: Guarded) -> None:
    lab, writer = three.lab, three.writer
    third, standby = lab.others(writer)
    apply_with(third, 8)
    apply_with(standby, 8)
    with held_back(third):
        for number in range(1, 51):
            writer.mysqld.sql(f"UPDATE app.h SET v = {number} WHERE id = 1")
        lab.wait(lambda: standby.mysqld.sql(HERE)[0]["v"] == 50, 10, f"{standby.name} to have all")
        writer.mysqld.kill9()
        lab.wait(lambda: lab.writer() not in (None, writer), 15, "another writer")
        taker = lab.writer()
        assert taker is not None
        with contextlib.closing(taker.mysqld.connect(timeout_s=60)) as connection:
            statement = "UPDATE app.h SET v = 999 WHERE id = 1"
            thread = threading.Thread(target=connection.cursor().execute, args=(statement,))
            thread.start()
            if taker is not third:
                thread.join()
    thread.join()
    writer.mysqld.start()
    lab.wait_healthy()
    wait_alike(lab)
    assert values(lab) == [999, 999, 999]


def test_a_cluster_with_a_domain_for_each_node_moves_over_without_a_stop(three: Guarded) -> None:
    lab, writer = three.lab, three.writer
    target, behind = lab.others(writer)
    for number, node in enumerate(lab.nodes.values(), 1):
        node.mysqld.sql(f"SET GLOBAL gtid_domain_id = {number}")
    old = int(writer.mysqld.value("@@global.gtid_domain_id"))
    writer.mysqld.sql("UPDATE app.h SET v = 1 WHERE id = 1")
    wait_alike(lab)
    said = target.vipguard("doctor", check=False, timeout_s=30)
    assert f"gtid_domain_id = {old}, the cluster's is 0" in said.stdout and said.returncode == 1
    apply_with(behind, 8)
    said = target.vipguard("doctor", check=False, timeout_s=30)
    assert f"{behind.name} may apply its writes and the next writer's in either order" in said.stdout
    assert said.returncode == 2
    wait_check(three, behind, "order-at-risk")
    with held_back(behind):  # it goes on in the old writer's domain
        for number in range(2, 51):
            writer.mysqld.sql(f"UPDATE app.h SET v = {number} WHERE id = 1")
        move(lab, target)
        target.mysqld.sql("UPDATE app.h SET v = 999 WHERE id = 1")
    wait_alike(lab)
    assert values(lab) == [999, 999, 999] and int(target.mysqld.value("@@global.gtid_domain_id")) == old
    apply_with(behind, 8, mode="none")
    writer, target = target, writer
    reader = target.mysqld.connect(timeout_s=20)  # connected before: it would go on in the old domain
    move(lab, target)
    with pytest.raises(pymysql.MySQLError):
        reader.cursor().execute("UPDATE app.h SET v = 7 WHERE id = 1")
    target.mysqld.sql("UPDATE app.h SET v = 1000 WHERE id = 1")
    wait_alike(lab)
    assert values(lab) == [1000, 1000, 1000]
    position = position_of(target)
    assert target.mysqld.value("@@global.gtid_domain_id") == 0
    assert f"{old}-" in position  # it stays, and is no stop to anybody
    move(lab, writer)
    writer.mysqld.sql("UPDATE app.h SET v = 1001 WHERE id = 1")
    wait_alike(lab)
    before, after = (dict(part.split("-", 1) for part in text.split(",")) for text in (position, position_of(writer)))
    assert {domain for domain in after if before.get(domain) != after[domain]} == {"0"}
    lab.wait_healthy()


def test_a_write_by_hand_on_a_standby_is_told_and_a_loose_mode_does_not_hide_it(three: Guarded) -> None:
    """In one domain its replication stops at the next row (1950). Whoever gets over that by switching the strict mode
    off has a node whose GTIDs look like the writer's, and whose rows do not."""
    lab, writer = three.lab, three.writer
    standby = next(node for node in lab.others(writer) if node.address == writer.mysqld.source())
    for statement in ("STOP SLAVE IO_THREAD", "INSERT INTO app.h VALUES (@@server_id + 1, 0)", "START SLAVE IO_THREAD"):
        for node in (standby, writer):  # so that each writes before it hears of the other's
            node.mysqld.sql(statement)
    mine, theirs = (int(node.mysqld.value("@@server_id")) + 1 for node in (standby, writer))
    lab.wait(lambda: standby.mysqld.replication()[0]["Last_SQL_Errno"] == 1950, 10, "replication to stop")
    lab.wait(lambda: three.own(standby)["errant"], 5, "the errant write to be named")
    wait_check(three, standby, "sql-thread-failed")
    assert "wrote by itself" in three.status(standby)["checks"]["replication"]["text"]
    assert standby.eligible() == "0"
    standby.mysqld.sql("SET GLOBAL gtid_strict_mode = 0", "START SLAVE SQL_THREAD")
    lab.wait(lambda: standby.mysqld.sql(f"SELECT 1 FROM app.h WHERE id = {theirs}"), 10, "its rows to come")
    wait_check(three, standby, "strict-mode-off")
    assert standby.eligible() == "0"
    standby.mysqld.sql("SET GLOBAL gtid_strict_mode = 1")
    lab.wait(lambda: three.status(standby)["checks"]["replication"]["rule"] != "strict-mode-off", 5, "the strict mode")
    lab.wait(lambda: f"-{mine - 1}-" in str(three.own(standby)["errant"]), 5, "its own write to be named still")
    assert standby.eligible() == "0"
    standby.vipguard("rejoin", "--discard", "--yes", timeout_s=90)
    lab.wait_healthy()
    wait_alike(lab)
    assert not standby.mysqld.sql(f"SELECT 1 FROM app.h WHERE id = {mine}")
    move(lab, standby)
    standby.mysqld.sql("UPDATE app.h SET v = 5 WHERE id = 1")
    wait_alike(lab)
    assert values(lab) == [5, 5, 5]
