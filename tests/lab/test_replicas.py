"""A replica never becomes the writer, is never left behind on a dead source, and what only it received is not lost."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from guarded import SETTINGS, Guarded, gtids, ids_on, sets_equal
from lawful import laws_hold, nothing_lost, watched

from vipguard.lab import Lab, LabSpec, Node, faults
from vipguard.lab.spec import Flavor

STRAY = -11


def replica_of(guarded: Guarded) -> Node:
    return next(node for node in guarded.lab.nodes.values() if guarded.lab.spec.is_replica(node.name))


def wait_follows(guarded: Guarded, writer: Node, within_s: float = 15.0) -> None:
    """The replica follows `writer`, with both threads, and has all that it has."""
    replica = replica_of(guarded)

    def follows() -> bool:
        threads = replica.mysqld.replication_threads()
        return replica.mysqld.source() == writer.address and threads == ("Yes", "Yes") and sets_equal(writer, replica)

    guarded.lab.wait(follows, within_s, f"{replica.name} to follow {writer.name}")


def moved(standby: Node, writer: Node) -> bool:
    """False where a busy server could not be closed in time, and went back."""
    said = standby.vipguard("switchover", "--to", writer.name, check=False)
    assert said.returncode == 0 or "opened again" in said.stderr, said.stdout + said.stderr
    return said.returncode == 0


def test_a_replica_follows_whoever_writes_and_never_writes_itself(replicated: Guarded) -> None:
    lab, writer, standby, replica = replicated.lab, replicated.writer, replicated.standby, replica_of(replicated)
    kept = replicated.write_settled()
    replica.mysqld.kill9()
    with faults.kill_mysqld(writer):
        replicated.wait_writer(standby)
        kept_too = replicated.write()
        # pointed at a node that has died meanwhile, its replication stopped: its agent alone helps it
        replica.mysqld.start()
        replica.mysqld.wait_ready()
        wait_follows(replicated, standby)
    lab.wait_healthy()
    with lab.client(rate=200) as client:
        client.wait_acks(20)
        lab.wait(lambda: moved(standby, writer), 15, f"a move to {writer.name}")
        client.wait_acks(50)
    wait_follows(replicated, writer)
    for each in (kept, kept_too, client):
        nothing_lost(each, writer)
        nothing_lost(each, replica)
    assert replica.eligible() is None and replicated.own(replica)["rule"] == "replica"
    assert not replicated.said(replica, "event=takeover-begins")
    for words in (["switchover", "--to", replica.name], ["promote", "--force", "--yes"]):
        refused = replica.vipguard(*words, check=False)
        assert refused.returncode == 2 and "is a replica and never becomes the writer" in refused.stderr
    assert lab.writer() is writer


@contextmanager
def deaf(standby: Node, writer: Node) -> Iterator[None]:
    """What the writer sends to the standby's IO thread gets lost; everything else comes through."""
    rows = writer.mysqld.sql(
        "SELECT HOST FROM information_schema.PROCESSLIST"
        f" WHERE COMMAND LIKE 'Binlog Dump%' AND HOST LIKE '{standby.address}:%'"
    )
    port = re.sub(r".*:", "", str(next(iter(rows[0].values()))))
    rule = f"ip saddr {writer.address} tcp sport 3306 tcp dport {port} drop"
    standby.run(["nft", "add table inet deaf"])
    try:
        standby.run(["nft", "add chain inet deaf in { type filter hook input priority -10; }"])
        standby.run(["nft", f"add rule inet deaf in {rule}"])
        yield
    finally:
        standby.run(["nft", "delete table inet deaf"], check=False)


def test_what_only_a_replica_received_is_received_from_it_by_the_taker(replicated: Guarded) -> None:
    lab, writer, standby, replica = replicated.lab, replicated.writer, replicated.standby, replica_of(replicated)
    with lab.client(rate=200) as client:
        client.wait_acks(20)
        with deaf(standby, writer):
            client.wait_acks(40)
            client.stop()
            lab.wait(lambda: gtids(replica) == gtids(writer), 5, "the replica to have all")
            assert gtids(standby) != gtids(writer)
            writer.mysqld.kill9()
            replicated.wait_writer(standby)
    nothing_lost(client, standby)
    assert replicated.said(standby, "event=fetched", f"rule={replica.name}") == 1
    assert standby.mysqld.source() == writer.address, "it follows its own source again"
    wait_follows(replicated, standby)
    writer.mysqld.start()
    lab.wait_healthy()


def test_a_replica_with_transactions_of_its_own_is_not_pointed_at_who_lacks_them(replicated: Guarded) -> None:
    lab, writer, standby, replica = replicated.lab, replicated.writer, replicated.standby, replica_of(replicated)
    replicated.write_settled()
    replicated.two_writers_ms_max = 500.0
    replica.mysqld.kill9()
    replica.mysqld.start(again_s=0.3)  # as systemd does: MySQL's clone ends the server that it has filled
    wait_follows(replicated, writer)
    replica.mysqld.sql(
        f"SET GLOBAL {replica.mysqld.closing} = 0",
        "SET GLOBAL read_only = 0",
        f"INSERT INTO app.t (id, node) VALUES ({STRAY}, 0)",
        f"SET GLOBAL {replica.mysqld.closing} = 1",
    )
    replicated.wait_said(replica, "event=verdict", "rule=errant-transactions", "errant=1")
    with faults.kill_mysqld(writer):
        replicated.wait_writer(standby)
        replicated.wait_said(replica, "event=rejoin", "rule=diverged")
        assert replica.mysqld.source() == writer.address and STRAY not in ids_on(standby)
        assert replicated.own(replica)["diverged"]
        replica.vipguard("rejoin", "--discard", "--yes", timeout_s=90)
        wait_follows(replicated, standby)
    replica.mysqld.end_restarts()
    assert STRAY not in ids_on(replica)
    lab.wait_healthy()


@pytest.fixture(scope="module")
def _circle(flavor: Flavor) -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"c{os.getpid()}-{flavor}", flavor=flavor, nodes=3, settings=SETTINGS)) as lab:
        yield lab.up()


@pytest.fixture
def circle(_circle: Lab) -> Iterator[Lab]:
    with laws_hold(_circle), watched(_circle):
        yield _circle


def put(node: Node, source: Node) -> None:
    """To its place in the circle: a slow start of its source may have let it follow the writer."""
    if node.mysqld.source() == source.address:
        return
    if node.spec.flavor == "mariadb":
        change = f"CHANGE MASTER TO MASTER_HOST='{source.address}', MASTER_USE_GTID=slave_pos"
        node.mysqld.sql("STOP SLAVE", change, "START SLAVE")
    else:
        change = f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{source.address}', SOURCE_AUTO_POSITION=1"
        node.mysqld.sql("STOP REPLICA", change, "START REPLICA")


def test_in_a_circle_of_three_nobody_stands_still_behind_a_dead_standby(circle: Lab) -> None:
    lab = circle
    writer = lab.wait_healthy()
    names = list(lab.nodes)
    after = lab.nodes[names[(names.index(writer.name) + 1) % 3]]  # it follows the writer
    last = lab.nodes[names[(names.index(writer.name) + 2) % 3]]
    put(last, after)
    after.mysqld.kill9()
    with lab.client(rate=100) as client:
        client.wait_acks(20)
        lab.wait(lambda: last.mysqld.source() == writer.address, 10, f"{last.name} to follow {writer.name}")
        lab.wait(lambda: last.eligible() == "1", 10, f"{last.name} to be fit again")
    lab.wait(lambda: sets_equal(writer, last), 10, f"{last.name} to have all")
    writer.mysqld.kill9()
    lab.wait(lambda: lab.writer() is last, 10, f"{last.name} to be the writer")
    nothing_lost(client, last)
    writer.mysqld.start()
    after.mysqld.start()
    lab.wait_healthy()
