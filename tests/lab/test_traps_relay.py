"""A standby whose server dies with received transactions unapplied, its writer being dead: none of them is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from guarded import Guarded, received_all
from lawful import nothing_lost, wait_nothing_lost

from vipguard.lab import Node, faults
from vipguard.lab.client import Client


@contextlib.contextmanager
def writer_and_standby_dead(guarded: Guarded, count: int = 40) -> Iterator[Client]:
    """Both servers are killed, rows being received and not applied on the standby. At the exit both run again, and
    meanwhile nobody has the VIP."""
    writer, standby = guarded.writer, guarded.standby
    guarded.write_settled(10)
    with guarded.locked(standby):
        client = guarded.write(count)
        guarded.lab.wait(lambda: received_all(standby, writer), 5, "the standby to have received it")
        assert len(client.lost(standby)) >= count, "nothing of it is applied yet"
        standby.mysqld.kill9()
        guarded.wait_track(standby, "0")  # else it may have got the VIP before its own server was dead
        writer.mysqld.kill9()
    try:
        yield client
    finally:
        for node in (standby, writer):
            start(node)


def start(node: Node) -> None:
    node.mysqld.start()
    node.mysqld.wait_ready()


def follows_by_gtid(node: Node) -> bool:
    row = node.mysqld.replication()[0]
    return row.get("Using_Gtid", "Slave_Pos") == "Slave_Pos"


def all_applied(guarded: Guarded, client: Client) -> bool:
    standby = guarded.standby
    return client.lost(standby) == [] and follows_by_gtid(standby)


def test_a_standby_that_restarts_without_its_writer_applies_what_it_received_before_it_is_promoted(
    guarded: Guarded,
) -> None:
    standby = guarded.standby
    with writer_and_standby_dead(guarded) as client:
        start(standby)
        done = standby.vipguard("promote", "--force", "--yes", check=False, timeout_s=60)
        assert done.returncode == 0, done.stdout + done.stderr
        nothing_lost(client, standby)  # they were received: nothing of them may be lost
        assert guarded.said(standby, "event=rescued") and follows_by_gtid(standby)
    guarded.lab.wait(lambda: guarded.lab.writer() is standby, 10, "one writer")


def test_a_rescued_standby_waits_for_its_writer_and_follows_it_again(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with writer_and_standby_dead(guarded) as client:
        start(standby)
        guarded.wait_said(standby, "event=rejoin", "rule=join-rescue", within_s=10)
        lab.wait(lambda: all_applied(guarded, client), 10, "all that was received to be applied")
        assert standby.eligible() == "0" and standby.mysqld.read_only() is True
        start(writer)
        lab.wait(lambda: lab.writer() is not None, 15, "one writer")
        after = guarded.write(10)
        now = lab.writer()
        assert now is not None
        nothing_lost(client, now)
        wait_nothing_lost(lab, after, lab.others(now)[0], 15, "the other to follow")
        assert all(follows_by_gtid(node) for node in lab.nodes.values())


@pytest.mark.parametrize("victim", ["mysqld", "agent"])
def test_a_rescue_goes_on_after_its_server_or_its_agent_died_in_the_middle(
    guarded: Guarded, victim: str
) -> None:
    """A lock holds it up where it applies; until it is done the node is no candidate."""
    lab, standby = guarded.lab, guarded.standby
    # keepalived's hook would do the same once while no agent answers
    with writer_and_standby_dead(guarded) as client, faults.stop_keepalived(standby):
        standby.agent.kill9()
        start(standby)
        with guarded.locked(standby):
            standby.start_agent()
            lab.wait(lambda: applies(standby), 10, "the rescue to be under way")
            assert standby.eligible() == "0" and len(client.lost(standby)) >= 40
            if victim == "mysqld":
                standby.mysqld.kill9()
                start(standby)
            else:
                standby.agent.kill9()
                standby.start_agent()
        lab.wait(lambda: all_applied(guarded, client), 15, "all that was received to be applied")
        assert standby.eligible() == "0"
    lab.wait(lambda: lab.writer() is not None, 15, "one writer")


def applies(node: Node) -> bool:
    """Does its SQL thread run, with the IO thread stopped?"""
    row = node.mysqld.replication()[0]
    word = "Slave" if node.spec.flavor == "mariadb" else "Replica"
    return (row[f"{word}_IO_Running"], row[f"{word}_SQL_Running"]) == ("No", "Yes")


def test_with_a_living_writer_the_ordinary_join_brings_what_was_not_applied(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.locked(standby):
        client = guarded.write(30)
        lab.wait(lambda: received_all(standby, writer), 5, "the standby to have received it")
        standby.mysqld.kill9()
    start(standby)
    guarded.wait_track(standby, "1", within_s=10)
    wait_nothing_lost(lab, client, standby, 10, "the standby to have all")
    assert not guarded.said(standby, "rule=join-rescue") and lab.writer() is writer
