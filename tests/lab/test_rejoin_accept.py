"""The operator accepts what only the old writer had: it is in the history then, or the writer is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from guarded import Guarded, gtids, ids_on
from lawful import nothing_lost
from runbook import do

from vipguard.act.accept import NEEDED
from vipguard.lab import Node, faults
from vipguard.lab.cluster import Lab

PASSWORD_FILE = "/etc/vipguard/admin-password"
KEPT = (-7, -8)


def may_accept(lab: Lab) -> None:
    """An account for accepting, as the manual has it."""
    privileges, _, where = NEEDED[lab.spec.flavor].partition(" ON ")
    for node in lab.nodes.values():
        closed = node.mysqld.read_only() is True
        node.mysqld.sql(
            *(["SET GLOBAL super_read_only = 0"] if lab.spec.flavor == "mysql" else []),
            "SET SESSION sql_log_bin = 0",
            "CREATE USER IF NOT EXISTS admin@'10.73.0.%' IDENTIFIED BY 'secret'",
            f"GRANT {privileges} ON {where} TO admin@'10.73.0.%'",
        )
        if closed:
            node.mysqld.sql(f"SET GLOBAL {node.mysqld.closing} = 1")
        node.write(PASSWORD_FILE, "secret\n", 0o600)


@pytest.fixture
def stray(guarded: Guarded) -> Iterator[Guarded]:
    """The old writer came back with two transactions that nobody received, and the new writer went on without them."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    writer.mysqld.sql("DELETE FROM app.t WHERE id < 0", "INSERT INTO app.t (id, node) VALUES (-1, 1)")
    may_accept(lab)
    guarded.write_settled()
    with faults.cut_off(lab, writer):  # it notices only after lease_s
        writer.mysqld.sql(
            f"INSERT INTO app.t (id, node) VALUES ({KEPT[0]}, 0), ({KEPT[1]}, 0)",
            "UPDATE app.t SET node = 77 WHERE id = -1",
        )
        writer.mysqld.kill9()
        guarded.wait_writer(standby)
    guarded.write(10)
    writer.mysqld.start(again_s=0.3)
    guarded.wait_said(writer, "rule=diverged", "event=rejoin", within_s=20)
    yield guarded
    writer.mysqld.end_restarts()


def node_of(node: Node, row: int) -> int:
    return int(node.mysqld.sql(f"SELECT node FROM app.t WHERE id = {row}")[0]["node"])


def test_accepted_transactions_are_on_both_nodes_and_the_writer_never_stopped(stray: Guarded) -> None:
    lab, node, writer = stray.lab, stray.writer, stray.standby
    told = node.vipguard("rejoin", check=False)
    assert told.returncode == 1 and "app.t: 2 inserts" in told.stdout and "app.t: 1 update" in told.stdout
    with lab.client(rate=200) as client:
        client.wait_acks(20)
        more = ("--yes", "--as", "admin", "--password-file", PASSWORD_FILE)
        done = do(node, "VipguardDiverged", "vipguard rejoin --accept", *more)
        client.wait_acks(50)
    assert "can take over" in done
    nothing_lost(client, writer)
    assert not client.seen().errors
    lab.wait(lambda: gtids(node) == gtids(writer), 10, "the same history on both")
    for one in (node, writer):
        assert set(KEPT) <= ids_on(one) and node_of(one, -1) == 77
    assert writer.mysqld.sql("CHECKSUM TABLE app.t") == node.mysqld.sql("CHECKSUM TABLE app.t")
    assert node.mysqld.replication_threads() == writer.mysqld.replication_threads() == ("Yes", "Yes")
    stray.wait_track(node, "1")
    assert json.loads(node.vipguard("rejoin", "--json").stdout)["to_decide"] is False
    with faults.kill_mysqld(writer):
        stray.wait_writer(node)
        stray.write(10)
    lab.wait(lambda: not lab.trouble(), 20, "a healthy pair")


def test_a_contradiction_is_refused_and_the_writer_unharmed(stray: Guarded) -> None:
    lab, node, writer = stray.lab, stray.writer, stray.standby
    with lab.client(rate=100) as client:
        client.wait_acks(10)
        writer.mysqld.sql("UPDATE app.t SET node = 5 WHERE id = -1")
        arguments = ("rejoin", "--accept", "--yes", "--as", "admin", "--password-file", PASSWORD_FILE)
        refused = node.vipguard(*arguments, timeout_s=60, check=False)
        client.wait_acks(20)
    assert refused.returncode == 3 and "app.t has no row any more" in refused.stderr
    nothing_lost(client, writer)
    assert not client.seen().errors
    assert not set(KEPT) & ids_on(writer) and node_of(writer, -1) == 5
    assert writer.mysqld.replication_threads() == ("No", "Yes"), "it does not listen to this node, and applies"
    assert stray.own(node)["diverged"] and lab.writer() is writer

    unnamed = node.vipguard("rejoin", "--accept", "--yes", check=False)
    assert unnamed.returncode == 2 and "lacks " in unnamed.stderr and "with --as USER" in unnamed.stderr
    nothing = writer.vipguard("rejoin", "--accept", "--yes", check=False)
    assert nothing.returncode == 2
