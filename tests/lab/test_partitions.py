"""The network splits in every way: who sees whom, over which protocol, and how many may write then."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pymysql
import pytest
from guarded import Guarded, ids_on, sets_equal
from lawful import closed_first, in_time, nothing_lost, one_writer, wait_nothing_lost

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE

ROUNDS = 5
#: A client's rows: at `RATE` these take longer than any wait after which a node could wrongly open.
RATE, MANY = 100, 200


@contextlib.contextmanager
def silent_peer(guarded: Guarded, choice: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for node in guarded.lab.nodes.values():
            text = f'silent_peer = "{choice}"\n{node.read(CONFIG_FILE)}'
            stack.enter_context(guarded.configured(node, text))
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
        yield


def insert_at_home(node: Node, number: int) -> None:
    connection = node.mysqld.connect(user="app", password="app", timeout_s=5)
    try:
        connection.cursor().execute(f"INSERT INTO app.t (id, node) VALUES ({number}, 0)")
    finally:
        connection.close()


def healthy(guarded: Guarded) -> None:
    guarded.lab.wait(lambda: guarded.lab.trouble() == "", 30, "a healthy pair")


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
        closed_ns, _ = closed_first(guarded, writer, standby, began_ns)
        in_time((closed_ns - began_ns) / 1e9, 2.0, "lease_s, and close_s")
        lab.wait(lambda: lab.trouble() == "", 20, "a healthy pair")
        guarded.writer, guarded.standby = standby, writer
        guarded.mark()
    one_writer(guarded.watcher)
    assert lab.writer() is guarded.writer
    for client in clients:
        nothing_lost(client, guarded.writer)
    for node in lab.nodes.values():
        assert not [number for number in ids_on(node) if number <= -100]


def test_a_cut_between_the_nodes_alone_gives_one_writer_under_wait(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with silent_peer(guarded, "wait"), guarded.lab.client(rate=100) as client:
        with faults.between_nodes(guarded.lab):
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=silent-peer-wait", within_s=10)
            guarded.wait_track(standby, "0")
            assert standby.mysqld.read_only() is True
            assert not guarded.was_closed(writer)
        guarded.wait_writer(writer)
        client.wait_acks(20)
    guarded.lab.wait(lambda: sets_equal(standby, writer), 20, "the standby to have all")
    nothing_lost(client, standby)


def test_a_cut_between_the_nodes_alone_is_the_documented_case_of_two_writers_under_open(
    guarded: Guarded,
) -> None:
    """docs/guarantees.md: both see the witness. When the nodes meet again the lower epoch closes at once."""
    writer, standby = guarded.writer, guarded.standby
    guarded.two_writers_ms_max = 5000.0
    with faults.between_nodes(guarded.lab):
        guarded.wait_said(standby, "event=takeover-complete", within_s=10)
        assert len(guarded.lab.writable()) == 2
    guarded.wait_said(writer, "event=closing")
    # an advert of the other's, where that one has the higher priority, may be faster than its epoch
    assert guarded.said(writer, "rule=higher-epoch") or guarded.said(writer, "event=closing", "rule=vip-gone")
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "one writer")
    guarded.wait_track(writer, "1", within_s=20)


def test_cut_from_its_peer_the_writer_that_sees_the_witness_goes_on(guarded: Guarded) -> None:
    """The standby sees nobody: it is the one that is cut off."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with lab.client(rate=RATE) as client, faults.cut_off(lab, standby):
        guarded.wait_said(standby, "rule=isolated")
        client.wait_acks(MANY)
        assert standby.mysqld.read_only() is True and not guarded.said(standby, "event=takeover-complete")
    assert not client.seen().errors and lab.writer() is writer
    guarded.wait_track(standby, "1", within_s=15)
    wait_nothing_lost(lab, client, standby, 10, "the standby to have all")


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
        closed_first(guarded, writer, standby, began_ns)
        nothing_lost(before, standby)
        assert writer.mysqld.read_only() is True
    guarded.wait_writer(standby)
    healthy(guarded)


def test_cut_from_its_peer_a_standby_without_its_witness_never_opens(guarded: Guarded) -> None:
    """Clients reach it and its VIP, too, so nothing is asked of them while the cut lasts."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with faults.between_nodes(lab), faults.no_witness(lab, standby):
        guarded.wait_said(standby, "rule=isolated")
        time.sleep(2.0)
        assert standby.mysqld.read_only() is True and writer.mysqld.read_only() is False
        assert not guarded.said(standby, "event=takeover-complete") and not guarded.was_closed(writer)
    guarded.wait_writer(writer)
    guarded.write(10)
    healthy(guarded)


def test_a_peer_that_answers_sql_and_sends_no_adverts_stays_the_writer_and_keeps_its_clients(
    guarded: Guarded,
) -> None:
    """keepalived gives both nodes the VIP. The newcomer sees an open server that holds its lock and answers for the
    VIP: it hands back, for longer each time, and the writer closes for nobody. Each time the newcomer's keepalived
    drew the clients along, and the writer's agent draws them back."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with lab.client(rate=RATE) as client, faults.between_nodes(lab, traffic="vrrp"):
        for _ in range(2):
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=peer-legit", within_s=15)
            guarded.wait_track(standby, "0")
            assert standby.mysqld.read_only() is True and not guarded.said(standby, "event=takeover-complete")
            assert not guarded.was_closed(writer)
            guarded.wait_said(writer, "event=announced", "rule=claim-ended")
            guarded.mark()
        client.wait_acks(MANY)
        assert writer.mysqld.read_only() is False and writer.has_vip()
    assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)
    guarded.wait_writer(writer, within_s=15)
    nothing_lost(client, writer)
    healthy(guarded)


@pytest.mark.parametrize("traffic", ["sql", "icmp"])
def test_a_peer_that_sends_adverts_and_is_otherwise_unseen_stays_the_writer(
    guarded: Guarded, traffic: str
) -> None:
    writer, standby, lab = guarded.writer, guarded.standby, guarded.lab
    with lab.client(rate=RATE) as client:
        with faults.between_nodes(lab, traffic=traffic):  # type: ignore[arg-type]
            if traffic == "sql":
                lab.wait(
                    lambda: guarded.status(writer)["nodes"][1]["server"] == "silent",
                    5,
                    "the peer to be unseen",
                )
            client.wait_acks(MANY)
        assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)
        assert lab.writer() is writer and standby.mysqld.read_only() is True
    assert not client.seen().errors
    wait_nothing_lost(lab, client, standby, 30, "the standby to have all")
    healthy(guarded)


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
    assert now is not None
    nothing_lost(before, now)
    healthy(guarded)


def test_a_node_that_is_heard_and_hears_nobody_does_not_take_over(guarded: Guarded) -> None:
    """What the writer sends does not reach the standby: its keepalived becomes MASTER beside the writer's."""
    writer, standby = guarded.writer, guarded.standby
    with silent_peer(guarded, "wait"):
        with faults.one_way(guarded.lab, writer, standby):
            guarded.wait_said(standby, "event=takeover-abandoned", within_s=10)
            assert standby.mysqld.read_only() is True
            # the writer hears a MASTER of higher priority and steps down, as VRRP has it; of a lower one it does not
            assert guarded.was_closed(writer) is (writer.name > standby.name)
        guarded.lab.wait(lambda: guarded.lab.writer() is not None, 20, "one writer")
