"""The writer lives and cannot do its work: its disk is full, its connections are all taken, nobody receives from it."""

from __future__ import annotations

import contextlib
from typing import Any

import pymysql
import pytest
from guarded import Guarded, ids_on
from lawful import nothing_lost, wait_nothing_lost

from vipguard.lab import Node, faults

LOW_MB = 50
CONNECTIONS = 20


# -- its disk is full


def healthy(guarded: Guarded) -> None:
    guarded.lab.wait(lambda: guarded.lab.trouble() == "", 30, "a healthy pair")


def check_disk(node: Node) -> int:
    return node.vipguard("check", "disk", check=False).returncode


def test_a_writer_whose_disk_gets_full_hands_over_before_a_commit_fails(small: Guarded) -> None:
    lab, writer, standby = small.lab, small.writer, small.standby
    with lab.client(rate=100) as client:
        with faults.full_data_disk(writer, left_mb=LOW_MB):
            small.wait_said(writer, "level=warning", "event=closing", "rule=holder-disk-unfit", within_s=10)
            small.wait_writer(standby)
            client.wait_acks(20)
            small.wait_said(writer, "event=verdict", "rule=disk-unfit")
            assert small.own(writer)["eligibility"] == "ineligible" and writer.eligible() == "0"
            assert check_disk(writer) == 2 and check_disk(standby) == 0
            small.wait_said(standby, "event=may-be-lost", "rule=lost-none")
        small.wait_track(writer, "1", within_s=10)
    codes = {code for _, code, _ in client.seen().errors}
    assert codes <= {1290, 1053, 1927, 2003, 2006, 2013}, "refused or ended, and never an error of the disk"
    nothing_lost(client, standby)
    healthy(small)


def test_a_full_disk_keeps_a_standby_out_and_the_writer_goes_on(small: Guarded) -> None:
    writer, standby = small.writer, small.standby
    with small.lab.client(rate=100) as client:
        with faults.full_data_disk(standby, left_mb=LOW_MB):
            small.wait_said(standby, "event=verdict", "rule=disk-unfit", within_s=10)
            small.wait_track(standby, "0")
            client.wait_acks(20)
        small.wait_track(standby, "1", within_s=10)
    nothing_lost(client, writer)
    assert not client.seen().errors and not small.dropped_vip(writer)
    healthy(small)


def test_two_disks_that_are_low_leave_the_writer_writing(small: Guarded) -> None:
    """They fill up together. Only its own agent knows of the standby's, and says so to the writer's."""
    writer, standby = small.writer, small.standby
    with faults.full_data_disk(standby, left_mb=LOW_MB):
        small.wait_track(standby, "0", within_s=10)
        with small.lab.client(rate=100) as client, faults.full_data_disk(writer, left_mb=LOW_MB + 10):
            small.wait_said(writer, "level=warning", "event=verdict", "rule=holder-disk-unfit-alone", within_s=10)
            client.wait_acks(200)
            assert writer.has_vip() and not small.was_closed(writer)
        # a look at a disk is a second old at most: the standby must not be fit again before the writer's is seen
        small.wait_said(writer, "event=verdict", "rule=holder-healthy", within_s=10)
    small.wait_track(standby, "1", within_s=10)
    assert not small.was_closed(writer)
    healthy(small)


def test_a_writer_whose_disk_fills_to_the_last_byte_at_once_is_killed_and_taken_over(small: Guarded) -> None:
    """A write waits for room, and what ends it leaves half of it in MariaDB's binary log: but for a kill."""
    lab, writer, standby = small.lab, small.writer, small.standby
    with lab.client(rate=200) as client:
        client.wait_acks(50)
        with faults.full_data_disk(writer):
            small.wait_writer(standby, within_s=15)
            client.wait_acks(50)
            assert small.said(writer, "event=kill") and not small.said(writer, "rule=read-only-verified")
        lab.restart_dead()
        healthy(small)
    nothing_lost(client, standby)


def test_a_writer_with_a_full_disk_that_nobody_could_replace_keeps_the_vip_and_says_so(
    small: Guarded,
) -> None:
    """The last test with these disks: a commit that waits for room is tried again after a minute only."""
    lab, writer, standby = small.lab, small.writer, small.standby
    with small.applier_stopped(standby), lab.client(rate=100, read_timeout_s=120) as client:
        small.wait_track(standby, "0")
        lab.wait(lambda: small.status(writer)["nodes"][1]["eligibility"] == "ineligible", 5, "it to be known")
        with faults.full_data_disk(writer, left_mb=LOW_MB):
            small.wait_said(writer, "event=verdict", "rule=holder-disk-unfit-alone", within_s=10)
            own = small.own(writer)
            assert own["eligibility"] == "undetermined" and own["rule"] == "holder-disk-unfit-alone"
            assert check_disk(writer) == 2
            doctor = writer.vipguard("doctor", check=False)
            assert doctor.returncode in (1, 2) and "rule holder-disk-unfit-alone" in doctor.stdout
            client.wait_acks(20)
        small.wait_said(writer, "event=verdict", "rule=holder-healthy", within_s=10)
        client.wait_acks(20)
        small.mark()
        with faults.full_data_disk(writer):
            small.wait_said(writer, "event=verdict", "rule=holder-disk-unfit-alone", within_s=10)
            assert writer.has_vip() and lab.writable() == [writer]
        small.wait_said(writer, "event=verdict", "rule=holder-healthy", within_s=10)
    assert {code for _, code, _ in client.seen().errors} <= {1026, 1114}, (
        "refused for lack of room, or waiting"
    )
    nothing_lost(client, writer)
    assert not small.dropped_vip(writer) and not small.was_closed(writer)


# -- nobody receives from it


def test_a_standby_that_received_nothing_for_six_seconds_refuses_and_the_old_writer_comes_back(
    guarded: Guarded,
) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.receiver_stopped(standby), lab.client(rate=200) as client:
        client.wait_acks(1200)
        writer.mysqld.kill9()
        guarded.wait_said(writer, "rule=holder-server-absent")
        client.stop()
        missing = len(client.lost(standby))
        assert missing >= 1000 and lab.writable() == [] and standby.eligible() == "0"
        assert guarded.own(standby)["rule"] == "replication-broken"
        assert standby.vipguard("status", "--json", check=False).returncode == 3
        writer.mysqld.start()
        guarded.wait_writer(writer, within_s=20)
        nothing_lost(client, writer)
        assert not guarded.said(standby, "event=takeover-complete")
    wait_nothing_lost(lab, client, standby, 15, "the standby to have all")
    healthy(guarded)


def test_a_standby_that_received_nothing_for_six_seconds_opens_by_the_operators_word_and_names_the_loss(
    guarded: Guarded,
) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.receiver_stopped(standby), lab.client(rate=200) as client:
        client.wait_acks(1200)
        writer.mysqld.kill9()
        guarded.wait_said(writer, "rule=holder-server-absent")
        client.stop()
        missing = client.lost(standby)
        told = standby.vipguard("promote", "--force", check=False)
        assert told.returncode != 0 and lab.writable() == [], "not without --yes"
        promoted = standby.vipguard("promote", "--force", "--yes", check=False)
        assert promoted.returncode == 0, promoted.stdout + promoted.stderr
        guarded.wait_writer(standby)
        guarded.wait_said(standby, "level=warning", "event=may-be-lost", "gtids=")
        after = guarded.write(10)
        # before the receiver is started by hand again: a hand that does that on a writer takes in whatever is there
        writer.mysqld.start()
        guarded.wait_said(writer, "level=error", "event=rejoin", "rule=diverged", "gtids=", within_s=15)
        assert set(missing) <= ids_on(writer) - ids_on(standby), "the old writer keeps what it has, apart"
        nothing_lost(after, standby)
        assert writer.mysqld.read_only() is True and lab.writer() is standby


# -- its connections are all taken


class Hoarder:
    """Clients that hold every connection of a node; with `spare` False the one kept for administrators too, and those
    that the guard had.
    """

    def __init__(self, node: Node, spare: bool) -> None:
        self.node, self.spare = node, spare
        self.held: list[pymysql.Connection[Any]] = []

    def __enter__(self) -> Hoarder:
        self.before = self.node.mysqld.value("@@global.max_connections")
        self.node.mysqld.sql(f"SET GLOBAL max_connections = {CONNECTIONS}")
        self.root = self.node.mysqld.connect(timeout_s=60)
        self._take(user="app", password="app")
        if not self.spare:
            self._take()
            self._end_the_guards()
            self._take(user="app", password="app")
            self._take()
        return self

    def _take(self, **account: str) -> None:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            while True:
                self.held.append(self.node.mysqld.connect(timeout_s=60, **account))

    def _end_the_guards(self) -> None:
        with self.root.cursor() as cursor:
            cursor.execute("SELECT id AS id FROM information_schema.processlist WHERE user = 'vipguard'")
            for row in cursor.fetchall():
                with contextlib.suppress(pymysql.MySQLError):
                    cursor.execute(f"KILL {row['id']}")

    def __exit__(self, *_: object) -> None:
        for connection in [self.root, *self.held]:
            with contextlib.suppress(Exception):
                connection._force_close()  # type: ignore[attr-defined]
        if self.node.mysqld.alive:
            self.node.mysqld.wait_ready(10)
            self.node.mysqld.sql(f"SET GLOBAL max_connections = {self.before}")


@pytest.mark.parametrize("spare", [True, False], ids=["clients", "clients-and-administrators"])
def test_a_writer_whose_connections_are_all_taken_is_closed_before_another_opens(
    guarded: Guarded, spare: bool
) -> None:
    """By read-only over the connection that is kept for administrators; by a kill past `close_s` where they hold that
    one, too."""
    lab, writer, standby, pid = guarded.lab, guarded.writer, guarded.standby, guarded.writer.mysqld.pid
    before = guarded.write_settled(30)
    with Hoarder(writer, spare):
        with pytest.raises(pymysql.MySQLError, match="1040"):
            writer.mysqld.connect(user="app", password="app")
        if not spare:
            guarded.wait_said(writer, "event=verdict", "rule=holder-server-blind")
        assert writer.has_vip() and not guarded.was_closed(writer), "no connection left is no reason to move"
        with faults.kill_keepalived(writer):
            guarded.wait_said(writer, "event=closing")  # keepalived is dead, or its child removed the VIP before
            guarded.wait_said(writer, "event=handed-back")
            guarded.wait_writer(standby)
            if spare:
                guarded.wait_said(writer, "event=closed", "rule=read-only-verified")
                assert writer.mysqld.pid == pid and writer.mysqld.read_only() is True
            else:
                guarded.wait_said(writer, "event=kill", "rule=not-closed-in-time")
                assert writer.mysqld.pid != pid
            guarded.write(10)
    nothing_lost(before, standby)
    lab.restart_dead()
    healthy(guarded)
    assert lab.writer() is standby
