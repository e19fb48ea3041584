"""A node with transactions of its own becomes a fresh copy of the writer, under load; a copy that dies is no copy."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from guarded import Guarded, gtids, ids_on, nobody_beats
from lawful import nothing_lost, wait_nothing_lost
from runbook import do

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE

STRAY = -7
MARK = "/var/lib/vipguard/copy-unfinished"


@pytest.fixture
def supervised(guarded: Guarded) -> Iterator[Guarded]:
    """During the test somebody starts a server again that was started with `again_s`, and nobody afterwards."""
    yield guarded
    for node in guarded.lab.nodes.values():
        node.mysqld.end_restarts()


@pytest.fixture
def stray(supervised: Guarded) -> Guarded:
    """The old writer came back with a transaction that nobody received, and the new writer went on without it."""
    guarded = supervised
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    writer.mysqld.sql(
        f"DELETE FROM app.t WHERE id = {STRAY}",
        "CREATE DATABASE IF NOT EXISTS other",
        "CREATE TABLE IF NOT EXISTS other.pad (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB",
        *(f"REPLACE INTO other.pad VALUES ({n}, REPEAT('{n % 10}', 20000))" for n in range(20)),
        "CREATE DATABASE IF NOT EXISTS rest",  # comes after it in a copy
        "CREATE TABLE IF NOT EXISTS rest.t (id INT PRIMARY KEY) ENGINE=InnoDB",
        "CREATE USER IF NOT EXISTS joe@'%' IDENTIFIED BY 'pw'",
        "GRANT SELECT ON app.* TO joe@'%'",
    )
    guarded.write_settled()
    with faults.cut_off(lab, writer):  # it notices only after lease_s
        writer.mysqld.sql(f"INSERT INTO app.t (id, node) VALUES ({STRAY}, 0)")
        writer.mysqld.kill9()
        guarded.wait_writer(standby)
    standby.mysqld.sql("CREATE USER IF NOT EXISTS amy@'%' IDENTIFIED BY 'pw'", "DROP USER IF EXISTS joe@'%'")
    guarded.write(10)
    writer.mysqld.start(again_s=0.3)
    guarded.wait_said(writer, "rule=diverged", "event=rejoin", within_s=20)
    return guarded


@contextmanager
def slowly(node: Node, mb_s: float) -> Iterator[None]:
    """Copies made on the node take their time."""
    before = node.read(CONFIG_FILE)
    node.write(CONFIG_FILE, f"{before}\n[copy]\nmb_s_max = {mb_s}\n")
    try:
        yield
    finally:
        node.write(CONFIG_FILE, before)


def threads(node: Node) -> list[Any]:
    """What replication says of itself, without what changes with every row."""
    rows = node.mysqld.replication()
    return [[v for k, v in row.items() if "Error" in k or "Errno" in k or k.endswith("Running")] for row in rows]


def differing(one: Node, other: Node) -> list[str]:
    """The tables whose rows are not the same on both."""
    tables = ("app.t", "other.pad", "vipguard.epoch")
    return [t for t in tables if one.mysqld.sql(f"CHECKSUM TABLE {t}") != other.mysqld.sql(f"CHECKSUM TABLE {t}")]


def whole_again(guarded: Guarded) -> None:
    """The node is a copy of the writer, follows it, and could take over."""
    lab, node, writer = guarded.lab, guarded.writer, guarded.standby
    lab.wait(lambda: gtids(node) == gtids(writer), 10, "the copy to have caught up")
    # a transaction is in MariaDB's position a moment before its rows can be seen
    lab.wait(lambda: not differing(node, writer), 5, f"the same rows, not other {differing(node, writer)}")
    assert STRAY not in ids_on(node)
    assert not node.path(MARK).exists() and node.mysqld.read_only() is True
    guarded.wait_track(node, "1")
    assert node.mysqld.replication_threads() == writer.mysqld.replication_threads() == ("Yes", "Yes")
    accounts = node.mysqld.sql("SELECT user FROM mysql.user WHERE user IN ('amy', 'joe')")
    assert [list(row.values()) for row in accounts] == [["amy"]]


def test_a_diverged_node_becomes_a_fresh_copy_while_the_writer_goes_on(stray: Guarded) -> None:
    lab, node, writer = stray.lab, stray.writer, stray.standby
    told = node.vipguard("rejoin", "--json", check=False)
    assert told.returncode == 1
    assert json.loads(told.stdout)["transactions"] == 1 and json.loads(told.stdout)["discard_refused"] is None
    before = threads(writer)
    with lab.client(rate=200) as client:
        client.wait_acks(20)
        done = do(node, "VipguardDiverged", "vipguard rejoin --discard", "--yes")
        client.wait_acks(50)
    assert "can take over" in done and "Lost for good: 1 transaction" in done
    nothing_lost(client, writer)
    assert not client.seen().errors
    whole_again(stray)
    assert [row[2:] for row in threads(writer)] == [row[2:] for row in before], "the writer's replication never broke"
    assert not stray.said(writer, "rule=peer-diverged", "gtids=4294967295") or lab.spec.flavor == "mariadb"
    assert node.vipguard("rejoin", check=False).returncode == 0
    assert stray.said(node, "rule=copy-unfinished")

    # it is a full member: it takes over with all that was written, and the other comes back by itself
    with faults.kill_mysqld(writer):
        stray.wait_writer(node)
        nothing_lost(client, node)
        after = stray.write(10)
    lab.wait(lambda: not lab.trouble(), 20, "a healthy pair")
    wait_nothing_lost(lab, after, writer, 10, "the rows of the copy on the other node")


def test_a_copy_that_dies_leaves_the_node_apart_and_a_second_one_is_whole(stray: Guarded) -> None:
    lab, node, writer = stray.lab, stray.writer, stray.standby
    mysql = lab.spec.flavor == "mysql"
    with lab.client(rate=100) as client:
        with slowly(node, 3 if mysql else 0.05):
            copying = node.popen([*node.vipguard_argv, "rejoin", "--discard", "--yes"])
            try:
                lab.wait(lambda: data_gone(node), 20, "the copy to have removed the old data")
            finally:
                by = json.loads(node.read(MARK))["by"]["pid"]
                node.space.processes()[by].signal(signal.SIGKILL)
                copying.wait(5)
        assert node.path(MARK).exists()
        time.sleep(1.0)
        own = stray.own(node)
        assert own["eligibility"] != "eligible" and "broken off" in own["copying"] and node.eligible() == "0"
        node.mysqld.wait_ready()
        assert "Yes" not in (node.mysqld.replication_threads() or ())
        assert node.mysqld.read_only() is True

        with faults.kill_agent(node):
            pass
        stray.wait_track(node, "0")
        lab.wait(lambda: "broken off" in stray.own(node)["copying"], 5, "a new agent to honour the mark")
        node.mysqld.wait_ready()
        assert "Yes" not in (node.mysqld.replication_threads() or ())

        said = node.vipguard("rejoin", check=False)
        assert said.returncode == 1 and "no whole copy" in said.stdout
        node.mysqld.wait_ready()  # the agent may have had to kill it: half a clone does not let it be closed
        done = node.vipguard("rejoin", "--discard", "--yes", timeout_s=150)
        assert "can take over" in done.stdout
        client.wait_acks(20)
    nothing_lost(client, writer)
    assert not client.seen().errors
    whole_again(stray)
    assert lab.writer() is writer


def data_gone(node: Node) -> bool:
    """By a table that is the last to come back: for as long as the larger one before it takes."""
    return not node.mysqld.sql("SELECT 1 FROM information_schema.tables WHERE table_schema = 'rest'")


def test_no_copy_is_made_of_a_holder_nor_without_a_writer(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with nobody_beats(lab):
        kept = gtids(writer), gtids(standby)
        refused = writer.vipguard("rejoin", "--discard", "--yes", check=False)
        assert refused.returncode == 2 and "is on this node" in refused.stderr
        with faults.cut_off(lab, standby, traffic="sql"):
            refused = standby.vipguard("rejoin", "--discard", "--yes", check=False)
            assert refused.returncode == 2 and "no writer answers" in refused.stderr
        # a writer stops listening to a standby that it does not see, and compares before it listens again
        lab.wait(lambda: writer.mysqld.replication_threads() == ("Yes", "Yes"), 10, "the writer to listen again")
        asked = standby.vipguard("rejoin", "--discard", check=False, input="n\n")
        assert asked.returncode == 2 and "will be destroyed" in asked.stdout
        assert f"{writer.name} does not replicate from this node meanwhile" in asked.stdout
        assert (gtids(writer), gtids(standby)) == kept and not standby.path(MARK).exists()
    assert lab.writer() is writer and not lab.trouble()


def test_a_healthy_standby_can_be_copied_too_and_its_reader_is_none_the_worse(supervised: Guarded) -> None:
    guarded = supervised
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_settled()
    standby.mysqld.terminate()
    standby.mysqld.start(again_s=0.3)  # somebody starts it again, as MySQL's clone wants
    lab.wait(lambda: not lab.trouble(), 20, "a healthy pair")
    with lab.client(rate=200) as client:
        done = standby.vipguard("rejoin", "--discard", "--yes", timeout_s=120)
        client.wait_acks(50)
    assert "can take over" in done.stdout and not client.seen().errors
    lab.wait(lambda: gtids(writer) == gtids(standby), 10, "the copy to have caught up")
    assert threads(writer) == threads(standby)
    lab.wait(lambda: not lab.trouble(), 10, "a healthy pair")
    assert lab.writer() is writer
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
        after = guarded.write(10)
    lab.wait(lambda: not lab.trouble(), 20, "a healthy pair")
    wait_nothing_lost(lab, after, writer, 10, "the rows of the copy on the other node")


COMMAND = r"""#!/bin/sh
# the writer's data by other means: what a script around mariadb-backup does, with a dump
set -e
[ "$VIPGUARD_WRITER" ] && [ "$VIPGUARD_FLAVOR" = mariadb ] && [ -d "$VIPGUARD_DATADIR" ]
password=$(cat /etc/vipguard/password)
for database in app other; do
    mariadb --no-defaults -S "$VIPGUARD_SOCKET" -u root -e "SET sql_log_bin=0; DROP DATABASE IF EXISTS $database"
done
MYSQL_PWD=$password mariadb-dump --no-defaults -h "$VIPGUARD_WRITER_ADDRESS" -P "$VIPGUARD_PORT" -u vipguard \
    --single-transaction --master-data=2 --gtid --databases app other vipguard > /tmp/dump
{ echo "SET sql_log_bin=0;"; cat /tmp/dump; } | mariadb --no-defaults -S "$VIPGUARD_SOCKET" -u root
echo "something by the way"
sed -n "s/^-- SET GLOBAL gtid_slave_pos='\(.*\)';/\1/p" /tmp/dump
"""


def test_a_command_of_the_operators_makes_the_copy(stray: Guarded) -> None:
    lab, node, writer = stray.lab, stray.writer, stray.standby
    if lab.spec.flavor == "mysql":
        return  # xtrabackup, which it is for, is not at hand
    node.write("/etc/vipguard/copy", COMMAND, 0o700)
    before = node.read(CONFIG_FILE)
    try:
        node.write(CONFIG_FILE, f'{before}\n[copy]\ncommand = "/bin/false"\n')
        failed = node.vipguard("rejoin", "--discard", "--yes", check=False)
        assert failed.returncode == 3 and "exit code 1" in failed.stderr and node.path(MARK).exists()
        node.write(CONFIG_FILE, f'{before}\n[copy]\ncommand = "/etc/vipguard/copy"\n')
        with lab.client(rate=100) as client:
            done = node.vipguard("rejoin", "--discard", "--yes", timeout_s=60)
            client.wait_acks(20)
    finally:
        node.write(CONFIG_FILE, before)
    assert "can take over" in done.stdout and not client.seen().errors
    lab.wait(lambda: gtids(node) == gtids(writer), 10, "the copy to have caught up")
    assert not differing(node, writer) and STRAY not in ids_on(node)
    assert node.mysqld.replication_threads() == writer.mysqld.replication_threads() == ("Yes", "Yes")
