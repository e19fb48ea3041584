"""Both nodes go down and come up again, in any order: one writer, on the whole history, and nobody opens by himself."""

from __future__ import annotations

import pytest
from guarded import Guarded
from lawful import nothing_lost, wait_nothing_lost
from power import power_off, power_on


@pytest.mark.parametrize("order", ["writer-first", "standby-first"])
def test_after_a_power_cut_of_both_there_is_one_writer_with_everything(guarded: Guarded, order: str) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled(50)
    for node in (standby, writer):
        power_off(node)
    first, second = (writer, standby) if order == "writer-first" else (standby, writer)
    power_on(first)
    power_on(second)
    lab.wait(lambda: lab.writer() is not None, 20, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
    after = guarded.write(10)
    other = lab.others(now)[0]
    for client in (after, before):
        wait_nothing_lost(lab, client, other, 15, "the other to have all")


def test_after_a_power_cut_the_node_with_more_is_the_one_that_opens(guarded: Guarded) -> None:
    """The standby had not received the last row when both went down: it must get it before anybody writes."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.receiver_stopped(standby):
        before = guarded.write(10)
        assert len(before.lost(standby)) >= 10
        power_off(standby)
        power_off(writer)
    power_on(standby)
    power_on(writer)
    lab.wait(lambda: lab.writer() is not None, 20, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
    wait_nothing_lost(lab, before, lab.others(now)[0], 15, "the other to have all")


def test_one_node_booting_alone_beside_a_living_writer_joins_it(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client:
        power_off(standby)
        client.wait_acks(30)
        power_on(standby)
        guarded.wait_track(standby, "1", within_s=10)
        client.wait_acks(10)
    assert not client.seen().errors and guarded.lab.writer() is writer
    wait_nothing_lost(guarded.lab, client, standby, 10, "it to have all")


def test_a_writer_whose_host_rebooted_finds_the_other_one_writing_and_follows(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    power_off(writer)
    guarded.wait_writer(standby)
    after = guarded.write(10)
    power_on(writer)
    guarded.wait_track(writer, "1", within_s=10)
    nothing_lost(before, standby)
    assert guarded.lab.writer() is standby
    wait_nothing_lost(guarded.lab, after, writer, 10, "it to have all")


def test_agents_that_come_before_their_servers_wait_for_them(guarded: Guarded) -> None:
    lab = guarded.lab
    before = guarded.write_settled()
    for node in (guarded.standby, guarded.writer):
        power_off(node)
    for node in lab.nodes.values():
        node.start_agent()
        node.start_keepalived()
    for node in lab.nodes.values():
        guarded.wait_said(node, "event=verdict", "rule=server-absent")
        node.mysqld.start()
    lab.wait(lambda: lab.writer() is not None, 20, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
