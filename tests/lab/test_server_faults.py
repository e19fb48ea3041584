"""The database server is killed, stopped, restarted: the other node writes, and what was acknowledged is there."""

from __future__ import annotations

import contextlib
import time

from guarded import Guarded, gtids, ids_on
from lawful import nothing_lost, wait_nothing_lost

from vipguard.lab import Lab, faults


def test_a_killed_writer_is_taken_over_with_all_that_was_acknowledged_before_a_pause(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled(50)
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
        after = guarded.write(20)
        nothing_lost(before, standby)
        nothing_lost(after, standby)
    guarded.lab.wait(lambda: writer.mysqld.replication_threads() == ("Yes", "Yes"), 10, "the old writer to rejoin")
    wait_nothing_lost(guarded.lab, after, writer, 10, "the old writer to have the new rows")
    assert guarded.lab.writer() is standby and writer.mysqld.read_only() is True
    guarded.wait_said(writer, "event=rejoin", "rule=joined")


def test_under_full_load_only_what_was_not_yet_sent_is_lost_and_the_old_writer_says_so(guarded: Guarded) -> None:
    """Asynchronous replication loses what the killed server had not sent: rows at the very end, and they are named."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with lab.client(rate=500) as client:
        client.wait_acks(300)
        writer.mysqld.kill9()
        killed_ns = time.monotonic_ns()
        guarded.wait_writer(standby)
        client.wait_acks(50)
    seen, lost = client.seen(), client.lost(standby)
    acked_before = [number for ns, number in seen.acks if ns < killed_ns]
    assert lost == acked_before[len(acked_before) - len(lost) :], "a missing row is older than one that is there"
    assert len(lost) < 25, "more than was under way within 50 ms"
    unreplicated = set(ids_on_after_start(guarded)) - ids_on(standby)
    assert set(lost) <= unreplicated
    if unreplicated:
        guarded.wait_said(writer, "event=rejoin", "rule=diverged", f"has {len(unreplicated)} transactions")
        assert guarded.own(writer)["diverged"]
    else:
        wait_nothing_lost(lab, client, writer, 10, "the old writer to rejoin")
    assert writer.mysqld.read_only() is True and lab.writer() is standby


def ids_on_after_start(guarded: Guarded) -> set[int]:
    guarded.writer.mysqld.start()
    guarded.writer.mysqld.wait_ready()
    return ids_on(guarded.writer)


def test_an_old_writer_with_a_transaction_of_its_own_stays_apart_and_is_named(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_and_rest()
    with contextlib.closing(writer.mysqld.connect()) as session, faults.cut_off(lab, writer):
        session.cursor().execute("INSERT INTO app.t (id, node) VALUES (-7, 0)")  # it notices only after lease_s
        writer.mysqld.kill9()
        guarded.wait_writer(standby)
    after = guarded.write(10)
    kept = gtids(standby)
    writer.mysqld.start()
    guarded.wait_said(writer, "level=error", "event=rejoin", "rule=diverged", "gtids=")
    guarded.wait_said(writer, "event=verdict", "rule=parked", "parked_by=diverged")
    own = guarded.own(writer)
    assert own["eligibility"] == "ineligible" and own["rule"] == "parked" and "1 transactions" in own["diverged"]
    time.sleep(0.5)
    assert writer.mysqld.read_only() is True and writer.eligible() == "0"
    assert "Yes" not in (writer.mysqld.replication_threads() or ()), "it must not follow with a history of its own"
    assert lab.writer() is standby and gtids(standby) == kept, "the live writer must not take the stray transaction"
    nothing_lost(after, standby)
    assert -7 not in ids_on(standby)
    assert guarded.said(writer, "rule=diverged", "event=rejoin") == 1, "said once, not each tick"


def test_a_hung_writer_is_killed_after_hang_s_and_taken_over(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    pid = writer.mysqld.pid
    with faults.stop_mysqld(writer):
        guarded.wait_writer(standby)
        guarded.wait_said(writer, "event=kill", "rule=hung-server")
        assert writer.mysqld.pid != pid
    nothing_lost(before, standby)


def test_a_hung_writer_keeps_the_vip_when_nobody_else_could_take_it(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.applier_stopped(standby):
        guarded.wait_track(standby, "0")
        # the writer asks a peer's replication only each second
        lab.wait(lambda: guarded.status(writer)["nodes"][1]["eligibility"] == "ineligible", 5, "it to be known")
        with faults.stop_mysqld(writer):
            guarded.wait_said(writer, "rule=holder-hung-alone")
            time.sleep(1.0)
            assert writer.has_vip() and not standby.has_vip()
            assert guarded.own(writer)["eligibility"] == "undetermined"
        lab.wait(lambda: lab.writer() is writer, 5, "the writer to go on")
        guarded.write(5)
    assert not guarded.dropped_vip(writer) and not guarded.said(writer, "event=kill")


def test_a_server_that_hangs_for_less_than_hang_s_is_left_alone(guarded: Guarded) -> None:
    writer, pid = guarded.writer, guarded.writer.mysqld.pid
    with faults.stop_mysqld(writer):
        time.sleep(0.6)
    guarded.write(5)
    assert writer.mysqld.pid == pid and guarded.lab.writer() is writer and not guarded.dropped_vip(writer)
    assert not guarded.was_closed(writer)


def test_a_restarted_standby_comes_back_closed_and_follows_again(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client:
        standby.mysqld.terminate()
        guarded.wait_track(standby, "0")
        client.wait_acks(30)
        standby.mysqld.start()
        standby.mysqld.wait_ready()
        assert standby.mysqld.read_only() is True
        guarded.wait_track(standby, "1", within_s=10)
        client.wait_acks(30)
    assert not client.seen().errors, "a standby's restart is nothing to a client"
    wait_nothing_lost(guarded.lab, client, standby, 10, "the standby to have caught up")
    assert guarded.lab.writer() is writer and not guarded.dropped_vip(writer)


def test_a_cleanly_restarted_writer_hands_over_without_a_lost_row(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    writer.mysqld.terminate()
    guarded.wait_writer(standby)
    writer.mysqld.start()
    writer.mysqld.wait_ready()
    assert writer.mysqld.read_only() is True
    after = guarded.write(10)
    guarded.wait_track(writer, "1", within_s=10)
    nothing_lost(before, standby)
    nothing_lost(after, standby)
    assert guarded.lab.writer() is standby


def test_failing_over_there_and_back_again_loses_nothing(guarded: Guarded) -> None:
    clients = []
    lab: Lab = guarded.lab
    for source, target in ((guarded.writer, guarded.standby), (guarded.standby, guarded.writer)):
        clients.append(guarded.write_settled(20))
        with faults.kill_mysqld(source):
            guarded.wait_writer(target)
        lab.wait(lambda: not lab.trouble(), 10, "a healthy pair")
        guarded.writer, guarded.standby = target, source
    for client in clients:
        nothing_lost(client, guarded.writer)
