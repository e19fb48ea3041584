"""The operator's word on real nodes: who stays out of the election, until when, and what a pause holds still."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator

from guarded import Guarded
from lawful import nothing_lost, taken_up, wait_nothing_lost
from power import power_off, power_on

from vipguard.lab import Node, faults


@contextlib.contextmanager
def maintenance(ordered_on: Node, *whom: str, reason: str = "") -> Iterator[None]:
    done = ordered_on.vipguard("maintenance", "on", *whom, "--reason", reason)
    assert done.stderr == "", done.stderr
    try:
        yield
    finally:
        done = ordered_on.vipguard("maintenance", "off", *whom, check=False, timeout_s=40)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_a_standby_in_maintenance_does_not_take_over_until_it_ends(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with maintenance(standby, reason="neue Platte für db2"):
        guarded.wait_said(standby, "event=verdict", "rule=maintenance")
        guarded.wait_track(standby, "0")
        for node in (writer, standby):
            text = node.vipguard("status", check=False).stdout
            assert f"{standby.name} IS IN MAINTENANCE since" in text and "neue Platte für db2" in text
        with faults.kill_mysqld(writer):
            time.sleep(2.0)
            assert guarded.lab.writable() == [] and not standby.has_vip()
        guarded.wait_writer(writer, within_s=15)
    guarded.wait_track(standby, "1")
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
        nothing_lost(before, standby)


def test_maintenance_is_ordered_from_another_node_survives_a_reboot_and_ends_by_itself(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    done = writer.vipguard("maintenance", "on", "--node", standby.name, "--for", "15s")
    assert done.stdout.startswith(f"{standby.name} IS IN MAINTENANCE since ") and done.stderr == ""
    guarded.wait_track(standby, "0")
    power_off(standby)
    power_on(standby)
    guarded.wait_said(standby, "event=verdict", "rule=maintenance", within_s=10)
    row = json.loads(standby.vipguard("maintenance", "--json").stdout)[0]
    assert (row["node"], row["until_s"] - row["since_s"]) == (standby.name, 15)
    guarded.wait_track(standby, "1", within_s=30)
    assert time.time() >= row["until_s"]
    assert "no node is in maintenance" in writer.vipguard("maintenance").stdout


def test_a_paused_cluster_keeps_the_vip_where_it_is_whatever_dies(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with maintenance(writer, "--cluster", reason="upgrade"):
        guarded.wait_said(writer, "event=verdict", "rule=holder-paused")
        guarded.wait_track(standby, "0")
        with faults.kill_mysqld(writer):
            time.sleep(4.0)  # keepalived's own check runs every two seconds
            assert writer.has_vip() and not standby.has_vip() and standby.mysqld.read_only() is True
            assert "THE CLUSTER IS PAUSED" in standby.vipguard("status", check=False).stdout
        time.sleep(1.0)
        assert guarded.lab.writable() == [] and writer.has_vip(), "what comes back stays closed"
    guarded.wait_writer(writer)
    nothing_lost(before, writer)


def test_a_standby_in_maintenance_whose_writer_died_opens_at_the_operators_word(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with maintenance(standby):
        guarded.wait_track(standby, "0")
        writer.mysqld.kill9()
        guarded.lab.wait(lambda: not writer.has_vip(), 5, "the VIP to leave")
        done = writer.vipguard("maintenance", "off", "--node", standby.name, check=False)
        assert done.returncode == 3 and "no writer to write it down on: nothing was done" in done.stderr
        assert f"run it on {standby.name}" in done.stderr
    nothing_lost(before, standby)
    assert guarded.lab.writer() is standby
    writer.mysqld.start()


def on_a_terminal(node: Node, said: bytes, *argv: str) -> tuple[int, str]:
    """The exit code and the output of a command whose operator types `said` when he is asked."""
    ours, theirs = pty.openpty()
    process = node.popen([*node.vipguard_argv, *argv], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.close(theirs)
    try:
        os.write(ours, said)
        return process.wait(40), str(process.communicate()[0])
    finally:
        os.close(ours)


def test_the_writer_is_moved_away_before_its_maintenance_begins(guarded: Guarded) -> None:
    """Asked on a terminal, told by the option, and not at all where the move is refused or goes back."""
    writer, standby = guarded.writer, guarded.standby
    on, off = ("maintenance", "on", "--reason", "new disk"), ("maintenance", "off", "--node", writer.name)
    code, text = on_a_terminal(writer, b"\n", *on)
    assert code == 2 and f"{writer.name} is the writer. Move it to another node first? [y/N]" in text, text
    with faults.kill_agent(standby):
        done = writer.vipguard(*on, "--switchover", check=False, timeout_s=40)
        assert done.returncode == 2 and f"{writer.name} was not moved away (not-fit)" in done.stderr, done.stderr
    guarded.wait_track(standby, "1")
    with guarded.applier_stopped(standby):
        done = standby.vipguard(*on, "--node", writer.name, "--switchover", check=False)
        assert done.returncode == 2 and f"{writer.name} was not moved away (replication)" in done.stderr, done.stderr
    guarded.wait_track(standby, "1")
    assert guarded.lab.writer() is writer and "no node is in maintenance" in writer.vipguard("maintenance").stdout
    code, text = on_a_terminal(writer, b"y\n", *on)
    taken_up(text)
    assert code == 0 and f"{standby.name} is the writer: " in text and f"{writer.name} IS IN MAINTENANCE" in text, text
    guarded.wait_track(writer, "0")
    assert guarded.lab.writer() is standby and standby.vipguard(*off).returncode == 0
    guarded.wait_track(writer, "1")
    done = standby.vipguard("maintenance", "on", "--switchover", check=False, timeout_s=40)
    taken_up(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert guarded.lab.writer() is writer and f"{standby.name} IS IN MAINTENANCE" in done.stdout
    assert writer.vipguard("maintenance", "off", "--node", standby.name).returncode == 0


def test_the_writer_is_not_put_into_maintenance_and_mistakes_are_named(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    for argv, code, words in (
        (["--node", writer.name], 2, "`vipguard switchover` moves it away first, or --switchover here"),
        (["--node", "db9"], 2, "there is no node 'db9'"),
        (["--cluster", "--node", standby.name], 2, "not both"),
        (["--for", "soon"], 2, "is no duration"),
        (["--reason", "x" * 101], 2, "up to 100"),
    ):
        done = standby.vipguard("maintenance", "on", *argv, check=False)
        assert done.returncode == code and words in done.stderr, done.stderr
    assert "no node is in maintenance" in standby.vipguard("maintenance").stdout
    assert guarded.lab.writer() is writer and standby.eligible() == "1"


def semi_sync(guarded: Guarded, node: Node, what: str) -> object:
    return guarded.own(node)["semi_sync"][what]


def test_a_lossless_writer_goes_on_without_a_standby_that_was_stopped_in_maintenance(lossless: Guarded) -> None:
    writer, standby = lossless.writer, lossless.standby
    with lossless.lab.client(rate=0, read_timeout_s=60) as client:
        client.wait_acks(50)
        with maintenance(writer, "--node", standby.name):
            lossless.wait_track(standby, "0")
            assert semi_sync(lossless, writer, "source"), "it still receives"
            with faults.kill_mysqld(standby):
                lossless.wait_said(writer, "event=semi-sync", "rule=every-standby-is-out")
                client.wait_acks(50)
                assert semi_sync(lossless, writer, "source") is False and semi_sync(lossless, writer, "solo") is True
            lossless.wait_said(writer, "event=semi-sync", "rule=replica-is-back", within_s=20)
        lossless.wait_track(standby, "1", within_s=20)
        client.wait_acks(50)
    assert semi_sync(lossless, writer, "source") and semi_sync(lossless, standby, "marked")
    assert not client.seen().errors
    wait_nothing_lost(lossless.lab, client, standby, 10, "the standby to have caught up")
