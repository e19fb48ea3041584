"""keepalived, the cable and the VIP fail: who loses the VIP is closed first, and nobody writes beside another."""

from __future__ import annotations

import pytest
from guarded import Guarded
from lawful import closed_first, nothing_lost

from vipguard.lab import faults


def test_an_unplugged_writer_closes_itself_before_the_standby_opens(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.link_down(guarded.lab, writer):
        guarded.wait_writer(standby)
        nothing_lost(before, standby)
        closed_first(guarded, writer, standby)
        assert writer.mysqld.read_only() is True
    guarded.wait_track(writer, "1", within_s=10)
    assert guarded.lab.writer() is standby, "the cable's return changes nothing"


def test_a_writer_that_is_cut_off_behind_a_living_carrier_closes_itself_within_its_lease(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    guarded.write_settled()
    with guarded.lab.client(rate=200) as client:
        with faults.cut_off(guarded.lab, writer):
            guarded.lab.wait(lambda: guarded.said(standby, "event=takeover-complete"), 10, "the standby to open")
            guarded.wait_said(writer, "event=closing", "rule=isolated")
        client.wait_acks(20)
    nothing_lost(client, standby)  # no acknowledgement reached the client from the cut-off writer
    guarded.wait_writer(standby)


def test_an_unplugged_standby_is_no_candidate_and_harms_nobody(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client:
        with faults.link_down(guarded.lab, standby):
            guarded.wait_track(standby, "0")
            client.wait_acks(20)
        client.wait_acks(5)
    assert not client.seen().errors and guarded.lab.writer() is writer
    guarded.wait_track(standby, "1", within_s=10)


def test_the_vip_of_a_killed_keepalived_is_removed_only_after_the_server_is_closed(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.kill_keepalived(writer):
        guarded.wait_writer(standby)
        closed_ns, _ = closed_first(guarded, writer, standby)
        assert closed_ns < guarded.seen_ns(writer, "vip", False)
        guarded.wait_said(writer, "event=closing", "rule=keepalived-dead")
        guarded.wait_said(writer, "event=vip-removed", "rule=left-over-vip")
    nothing_lost(before, standby)


def test_a_killed_keepalived_of_the_standby_harms_nobody_and_is_told(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client, faults.kill_keepalived(standby):
        guarded.wait_said(standby, "event=verdict", "rule=keepalived-dead")
        client.wait_acks(20)
    assert not client.seen().errors and guarded.lab.writer() is writer and not guarded.dropped_vip(writer)


def test_a_stopped_keepalived_takes_the_writer_down_before_another_opens(guarded: Guarded) -> None:
    """Its adverts end while it lives and its VIP stays: the standby takes over, so this node must have closed."""
    writer, standby = guarded.writer, guarded.standby
    with faults.stop_keepalived(writer):
        guarded.lab.wait(lambda: guarded.said(standby, "event=takeover-complete"), 10, "the standby to open")
        guarded.wait_writer(standby)
        guarded.wait_said(writer, "event=closing", "rule=adverts-stopped")
        closed_first(guarded, writer, standby)
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "one writer after keepalived went on")


def test_a_vip_deleted_by_hand_closes_the_writer_until_it_took_over_anew(guarded: Guarded) -> None:
    writer = guarded.writer
    before = guarded.write_settled()
    writer.run(["ip", "addr", "del", f"{guarded.lab.spec.vip}/24", "dev", "eth0"])
    guarded.wait_said(writer, "event=closing", "rule=vip-gone")
    guarded.wait_said(writer, "event=handed-back")  # keepalived puts the address back at once, on a server still open
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 10, "one writer again")
    guarded.seen_ns(writer, "writable", False)
    now = guarded.lab.writer()
    assert now is not None
    nothing_lost(before, now)


def test_a_writer_whose_host_stood_still_closes_first_when_it_goes_on(guarded: Guarded) -> None:
    """As a virtual machine that was paused: nothing of it answers, not even to pings."""
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.paused(writer), faults.cut_off(guarded.lab, writer):
        guarded.lab.wait(lambda: guarded.said(standby, "event=takeover-complete"), 10, "the standby to open")
        nothing_lost(before, standby)
    guarded.wait_said(writer, "event=closing", "rule=paused")
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "one writer")
    # a server that goes on is open until its guard, going on too, has closed it: that long, and no longer
    guarded.two_writers_ms_max = 300.0


def test_a_standby_never_opens_beside_a_host_that_lives_and_whose_server_says_nothing(guarded: Guarded) -> None:
    """All of its processes stand still, its kernel answers pings: it is not cut off, so nothing proves it closed."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with faults.paused(writer):
        guarded.wait_said(standby, "event=takeover-abandoned", "rule=silent-peer-alive")
        assert not guarded.said(standby, "event=takeover-complete")
    lab.wait(lambda: lab.writer() is not None, 15, "one writer")


@pytest.mark.parametrize("keepalived_too", [False, True])
def test_both_keepaliveds_restarted_at_once_end_with_one_writer(guarded: Guarded, keepalived_too: bool) -> None:
    lab = guarded.lab
    before = guarded.write_settled()
    for node in lab.nodes.values():
        node.keepalived.terminate()
        if keepalived_too:
            node.agent.terminate()
    for node in lab.nodes.values():
        if keepalived_too:
            node.start_agent()
        node.start_keepalived()
    lab.wait(lambda: lab.writer() is not None, 15, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
