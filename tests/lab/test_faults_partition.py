"""The network is cut in parts: nobody writes beside another, and who is cut off writes nothing."""

from __future__ import annotations

import time

import pymysql
import pytest
from guarded import Guarded, ids_on

from vipguard.lab import Node, faults

ROUNDS = 5


def first_ns(guarded: Guarded, node: Node, now: bool, since_ns: int) -> int:
    """When the node was first seen writable, or not, since then."""
    return next(
        change.ns
        for change in guarded.watcher.changes
        if change.node == node.name
        and change.what == "writable"
        and bool(change.now) is now
        and change.ns > since_ns
    )


def test_a_writer_that_is_cut_off_five_times_is_never_open_beside_another(guarded: Guarded) -> None:
    """And takes no row once it has closed: an application on its own host tries all the time."""
    lab, clients = guarded.lab, []
    for _ in range(ROUNDS):
        writer, standby = guarded.writer, guarded.standby
        clients.append(guarded.write_settled(20))
        began_ns = time.monotonic_ns()
        with faults.cut_off(lab, writer):
            guarded.wait_said(writer, "event=closed", "rule=read-only-verified")
            guarded.wait_said(standby, "event=takeover-complete", within_s=10)
            for number in range(20):
                with pytest.raises(pymysql.MySQLError, match="read-only"):
                    insert_at_home(writer, -100 - number)
        closed_ns = first_ns(guarded, writer, False, began_ns)
        assert closed_ns < first_ns(guarded, standby, True, began_ns)
        assert (closed_ns - began_ns) / 1e9 < 2.0, "lease_s, and close_s"
        lab.wait(lambda: lab.trouble() == "", 20, "a healthy pair")
        guarded.writer, guarded.standby = standby, writer
        guarded.mark()
    assert lab.writer() is guarded.writer and guarded.watcher.two_writers_ms() == 0
    for client in clients:
        assert client.lost(guarded.writer) == []
    for node in lab.nodes.values():
        assert not [number for number in ids_on(node) if number <= -100]


def insert_at_home(node: Node, number: int) -> None:
    connection = node.mysqld.connect(user="app", password="app", timeout_s=5)
    try:
        connection.cursor().execute(f"INSERT INTO app.t (id, node) VALUES ({number}, 0)")
    finally:
        connection.close()


def test_cut_from_its_peer_the_writer_that_sees_the_witness_goes_on(guarded: Guarded) -> None:
    """The standby sees nobody: it is the one that is cut off."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with lab.client(rate=100) as client, faults.cut_off(lab, standby):
        guarded.wait_said(standby, "rule=isolated")
        time.sleep(2.0)
        client.wait_acks(20)
        assert standby.mysqld.read_only() is True and not guarded.said(standby, "event=takeover-complete")
    assert not client.seen().errors and lab.writer() is writer
    guarded.wait_track(standby, "1", within_s=15)
    lab.wait(lambda: client.lost(standby) == [], 10, "the standby to have all")


def test_cut_from_its_peer_and_its_witness_the_writer_closes_and_the_other_side_opens(
    guarded: Guarded,
) -> None:
    """Clients reach both sides, and so may see both VIPs; only one of them takes their rows."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    began_ns = time.monotonic_ns()
    with faults.between_nodes(lab), faults.no_witness(lab, writer):
        guarded.wait_said(writer, "event=closing", "rule=isolated")
        lab.wait(lambda: guarded.said(standby, "event=takeover-complete"), 10, "the other side to open")
        assert first_ns(guarded, writer, False, began_ns) < first_ns(guarded, standby, True, began_ns)
        assert writer.mysqld.read_only() is True and before.lost(standby) == []
    guarded.wait_writer(standby)
    lab.wait(lambda: lab.trouble() == "", 20, "a healthy pair")


def test_cut_from_its_peer_a_standby_without_its_witness_never_opens(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with faults.between_nodes(lab), faults.no_witness(lab, standby):
        guarded.wait_said(standby, "rule=isolated")
        time.sleep(2.0)
        assert standby.mysqld.read_only() is True and writer.mysqld.read_only() is False
        assert not guarded.said(standby, "event=takeover-complete") and not guarded.was_closed(writer)
    guarded.wait_writer(writer)
    guarded.write(10)
    lab.wait(lambda: lab.trouble() == "", 20, "a healthy pair")


def test_with_vrrp_cut_and_sql_open_the_second_master_leaves_the_writer_alone(guarded: Guarded) -> None:
    """keepalived gives both nodes the VIP. The newcomer sees an open server that holds its lock and answers for the
    VIP: it hands back, and the writer closes for nobody."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.between_nodes(lab, traffic="vrrp"):
        guarded.wait_said(standby, "event=takeover-abandoned", "rule=peer-legit", within_s=10)
        time.sleep(1.5)
        assert standby.mysqld.read_only() is True and not guarded.said(standby, "event=takeover-complete")
        assert writer.mysqld.read_only() is False and not guarded.was_closed(writer)
    lab.wait(lambda: lab.writer() is writer, 15, "one VIP again")
    after = guarded.write(10)
    assert before.lost(writer) == [] and after.lost(writer) == []
    lab.wait(lambda: lab.trouble() == "", 20, "a healthy pair")


def test_with_sql_cut_and_vrrp_open_nothing_happens_to_the_writer(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with lab.client(rate=100) as client, faults.between_nodes(lab, traffic="sql"):
        time.sleep(2.0)
        client.wait_acks(20)
        assert lab.writer() is writer and not guarded.dropped_vip(writer)
    assert not client.seen().errors
    lab.wait(lambda: client.lost(standby) == [], 30, "the standby to have all")
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")


def test_with_sql_cut_a_standby_does_not_open_beside_a_server_that_it_cannot_ask(guarded: Guarded) -> None:
    """The writer's keepalived dies, its host answers pings: it may be open. It closes itself, which nobody sees."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.between_nodes(lab, traffic="sql"), faults.kill_keepalived(writer):
        guarded.wait_said(writer, "event=closing", "rule=keepalived-dead")
        guarded.wait_said(standby, "rule=silent-peer-alive")
        assert not guarded.said(standby, "event=takeover-complete") and lab.writable() == []
    lab.wait(lambda: lab.writer() is not None, 20, "one writer")
    now = lab.writer()
    assert now is not None and before.lost(now) == []
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")
