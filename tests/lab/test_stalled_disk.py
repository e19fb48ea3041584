"""A disk stands: SELECT answers, COMMIT never does. Who is killed for it, and who is not?"""

from __future__ import annotations

import contextlib
import signal
import time

from guarded import Guarded
from lawful import in_time, nothing_lost

from vipguard.lab import Node, faults

HANG_S = 1.0  # as in guarded.SETTINGS


def healthy(guarded: Guarded) -> None:
    guarded.lab.restart_dead()
    guarded.lab.wait(lambda: guarded.lab.trouble() == "", 30, "a healthy pair")


def disk_rule(guarded: Guarded, node: Node, rule: str, within_s: float = 8.0) -> None:
    guarded.wait_said(node, "event=verdict", f"rule={rule}", within_s=within_s)


def test_a_writer_whose_disk_stands_is_killed_and_taken_over_while_clients_write(stalling: Guarded) -> None:
    writer, standby = stalling.writer, stalling.standby
    with stalling.lab.client(rate=100) as client:
        client.wait_acks(50)
        began = time.monotonic()
        with faults.stalled_disk(writer):
            stalling.wait_writer(standby)
            took_s = time.monotonic() - began
            stalling.wait_said(writer, "event=kill", "rule=disk-stalled")
            assert not stalling.said(writer, "rule=read-only-verified"), "killed, never merely closed"
            client.wait_acks(50)
            assert took_s > HANG_S * 0.9
            in_time(took_s, HANG_S + 4.0, "from the standstill to the next writer")
    if not stalling.said(standby, "event=may-be-lost", "gtids="):
        nothing_lost(client, standby)
    healthy(stalling)
    print(f"from the standstill to the next writer: {took_s:.2f} s")


def test_an_idle_writer_whose_disk_stands_is_replaced_before_anybody_writes(stalling: Guarded) -> None:
    writer, standby = stalling.writer, stalling.standby
    with faults.stalled_disk(writer):
        stalling.wait_writer(standby)
        stalling.wait_said(writer, "event=kill", "rule=disk-stalled")
        stalling.write(5)
    healthy(stalling)
    assert not stalling.said(writer, "rule=diverged"), "nothing was written for it"


def test_a_writer_whose_disk_stands_keeps_the_vip_when_nobody_else_could_take_it(stalling: Guarded) -> None:
    lab, writer, standby = stalling.lab, stalling.writer, stalling.standby
    with stalling.applier_stopped(standby), lab.client(rate=50, read_timeout_s=60) as client:
        stalling.wait_track(standby, "0")
        lab.wait(lambda: stalling.status(writer)["nodes"][1]["eligibility"] == "ineligible", 5, "it to be known")
        client.wait_acks(10)
        with faults.stalled_disk(writer):
            disk_rule(stalling, writer, "holder-disk-stalled-alone")
            time.sleep(2 * HANG_S)
            assert writer.has_vip() and not stalling.said(writer, "event=kill")
            own = stalling.own(writer)
            assert (own["eligibility"], own["rule"]) == ("undetermined", "holder-disk-stalled-alone")
            assert writer.vipguard("check", "disk", check=False).returncode == 2
        disk_rule(stalling, writer, "holder-healthy")
        client.wait_acks(10)
    assert not client.seen().errors
    nothing_lost(client, writer)
    assert not stalling.dropped_vip(writer) and not stalling.was_closed(writer)
    healthy(stalling)


def test_a_standbys_disk_that_stands_makes_it_no_candidate_and_kills_nobody(stalling: Guarded) -> None:
    writer, standby = stalling.writer, stalling.standby
    with stalling.lab.client(rate=50) as client:
        client.wait_acks(10)
        with faults.stalled_disk(standby):
            disk_rule(stalling, standby, "disk-stalled")
            stalling.wait_track(standby, "0")
            time.sleep(2 * HANG_S)
            client.wait_acks(20)
        stalling.wait_track(standby, "1", within_s=15)
    assert not client.seen().errors
    nothing_lost(client, writer)
    assert not stalling.dropped_vip(writer) and not stalling.was_closed(writer)
    assert not stalling.said(writer, "event=kill") and not stalling.said(standby, "event=kill")


def test_disks_that_stand_together_kill_nobody(stalling: Guarded) -> None:
    lab, writer, standby = stalling.lab, stalling.writer, stalling.standby
    with lab.client(rate=50, read_timeout_s=60) as client:
        client.wait_acks(10)
        with faults.stalled_disk(standby), faults.stalled_disk(writer):
            disk_rule(stalling, standby, "disk-stalled")
            disk_rule(stalling, writer, "holder-disk-stalled-alone")
            time.sleep(2 * HANG_S)
        disk_rule(stalling, writer, "holder-healthy")
        client.wait_acks(10)
    assert not stalling.said(writer, "event=kill") and not stalling.dropped_vip(writer)
    assert not client.seen().errors
    nothing_lost(client, writer)
    healthy(stalling)


def test_a_disk_that_goes_on_within_hang_s_costs_nobody_anything(stalling: Guarded) -> None:
    """A snapshot that freezes the file system for a moment."""
    writer = stalling.writer
    with stalling.lab.client(rate=50, read_timeout_s=30) as client:
        client.wait_acks(10)
        for _ in range(3):
            with faults.stalled_disk(writer):
                time.sleep(0.5 * HANG_S)
            time.sleep(0.5)
        client.wait_acks(10)
    assert not stalling.said(writer, "event=kill") and not stalling.dropped_vip(writer)
    assert not client.seen().errors and not stalling.was_closed(writer)


def test_a_backups_lock_kills_nobody(stalling: Guarded) -> None:
    """Commits hang behind it, and the disk moves."""
    writer, pid = stalling.writer, stalling.writer.mysqld.pid
    with stalling.lab.client(rate=50, read_timeout_s=60) as client:
        client.wait_acks(10)
        with contextlib.closing(writer.mysqld.connect(timeout_s=30)) as backup:
            backup.cursor().execute("FLUSH TABLES WITH READ LOCK")
            time.sleep(3 * HANG_S)
        client.wait_acks(10)
    assert writer.mysqld.pid == pid and not stalling.said(writer, "event=kill")
    assert not stalling.dropped_vip(writer) and not client.seen().errors


def test_a_vip_that_leaves_a_writer_whose_disk_stands_leaves_no_open_server(stalling: Guarded) -> None:
    """Read-only would wait for the commit that hangs, and the commit may wake up later."""
    lab, writer, standby = stalling.lab, stalling.writer, stalling.standby
    with stalling.applier_stopped(standby), lab.client(rate=50, read_timeout_s=5) as client:
        stalling.wait_track(standby, "0")
        client.wait_acks(10)
        with faults.stalled_disk(writer):
            disk_rule(stalling, writer, "holder-disk-stalled-alone")
            with faults.kill_keepalived(writer):
                stalling.wait_said(writer, "event=kill", "rule=disk-stalled")
                stalling.wait_said(writer, "event=handed-back")
                lab.wait(lambda: not writer.has_vip(), 5, "the VIP to go")
    healthy(stalling)


def test_the_next_agent_of_a_node_whose_disk_stands_starts_and_knows_the_server(stalling: Guarded) -> None:
    """Its memory and its journal lie on that disk, too; what the one before had begun there does not hold it up."""
    lab, writer, standby = stalling.lab, stalling.writer, stalling.standby
    with stalling.applier_stopped(standby):
        stalling.wait_track(standby, "0")
        lab.wait(lambda: stalling.status(writer)["nodes"][1]["eligibility"] == "ineligible", 5, "it to be known")
        with faults.stalled_disk(writer):
            disk_rule(stalling, writer, "holder-disk-stalled-alone")
            stalling.mark()
            writer.agent.signal(signal.SIGKILL)  # not its writers: they end when the disk moves
            lab.wait(lambda: not writer.agent.alive, 5, "the agent to be gone")
            stalling.start_agent(writer)
            disk_rule(stalling, writer, "holder-disk-stalled-alone", within_s=15)
            assert writer.has_vip() and lab.writable() == [writer]
        disk_rule(stalling, writer, "holder-healthy")
    assert not stalling.dropped_vip(writer) and not stalling.was_closed(writer)
    healthy(stalling)


# -- lossless: the writer's commits wait for the standby's disk


def test_a_standbys_disk_that_stands_under_lossless_lets_commits_wait_and_kills_nobody(
    stalling_lossless: Guarded,
) -> None:
    guarded = stalling_lossless
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=50, read_timeout_s=60) as client:
        client.wait_acks(10)
        with faults.stalled_disk(standby):
            disk_rule(guarded, standby, "disk-stalled")
            guarded.wait_said(writer, "event=commits", "rule=commits-wait", within_s=10)
            time.sleep(3 * HANG_S)
            assert writer.has_vip() and not guarded.said(writer, "event=kill")
        client.wait_acks(20)
    assert not client.seen().errors
    nothing_lost(client, writer)
    assert not guarded.dropped_vip(writer) and not guarded.said(standby, "event=kill")
    healthy(guarded)


def test_a_lossless_writer_whose_disk_stands_is_taken_over_without_a_loss(stalling_lossless: Guarded) -> None:
    guarded = stalling_lossless
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=50) as client:
        client.wait_acks(20)
        with faults.stalled_disk(writer):
            guarded.wait_writer(standby)
            guarded.wait_said(writer, "event=kill", "rule=disk-stalled")
            client.wait_acks(10)
        nothing_lost(client, standby)
    healthy(guarded)
