"""Garbage, foreign hands, full disks, lost rights: a clear message once, the laws hold, nothing is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pymysql
import pytest
from guarded import FIFO, TRACK, Guarded, say_in_fifo, vrrp_state
from lawful import nothing_lost

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE

PASSWORD = "/etc/vipguard/password"


def fails_over(guarded: Guarded) -> None:
    """Whatever was done to the pair: the writer's death is still followed by the other node's writes."""
    with faults.kill_mysqld(guarded.writer):
        guarded.wait_writer(guarded.standby)


# -- keepalived's FIFO


def test_garbage_in_the_fifo_is_told_once_and_obeyed_never(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    lines = (b"\x00\xff\xfe garbage", b"", b'INSTANCE "nosuch" MASTER 200', b'GROUP "writer" FAULT 0')
    for node in (writer, standby):
        for line in lines * 3:
            say_in_fifo(node, line + b"\n")
        say_in_fifo(node, b'INSTANCE "writer" MAS')
    guarded.wait_said(writer, "event=fifo", "rule=line-ignored")
    guarded.wait_said(standby, "event=fifo", "rule=line-ignored", "nosuch")
    time.sleep(0.3)
    assert guarded.said(standby, "rule=line-ignored", "nosuch") == 1
    assert guarded.lab.writer() is writer and not guarded.dropped_vip(writer)
    fails_over(guarded)
    nothing_lost(before, standby)


def test_a_line_that_lies_moves_nothing(guarded: Guarded) -> None:
    """Levels, not edges: the VIP on the interface decides, not what somebody wrote."""
    writer, standby = guarded.writer, guarded.standby
    say_in_fifo(standby, b'INSTANCE "writer" MASTER 180\n')
    say_in_fifo(writer, b'INSTANCE "writer" FAULT 200\n')
    time.sleep(0.5)
    assert guarded.lab.writer() is writer and standby.mysqld.read_only() is True
    assert not guarded.was_closed(writer) and not guarded.said(standby, "event=takeover-begins")


def test_a_full_fifo_loses_lines_and_no_failover(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.stop_agent(standby):
        while say_in_fifo(standby, b"x" * 1023 + b"\n"):
            pass
        while say_in_fifo(standby, b"\n"):
            pass
        writer.mysqld.kill9()
        guarded.lab.wait(lambda: vrrp_state(standby) == "MASTER", 5, "keepalived to have said so in vain")
    guarded.wait_writer(standby)
    nothing_lost(before, standby)


def test_a_fifo_that_was_deleted_is_made_again(guarded: Guarded) -> None:
    standby = guarded.standby
    before = guarded.write_settled()
    standby.path(FIFO).unlink()
    guarded.wait_said(standby, "event=fifo", "rule=fifo-replaced")
    assert oct(standby.path(FIFO).stat().st_mode & 0o777) == "0o600"
    fails_over(guarded)
    nothing_lost(before, standby)


# -- the track file


def test_a_track_file_overwritten_on_the_standby_is_corrected_both_ways(guarded: Guarded) -> None:
    lab, standby = guarded.lab, guarded.standby
    for wrong in ("0\n", "", "garbage\n"):
        standby.write(TRACK, wrong)
        guarded.wait_track(standby, "1")
    standby.path(TRACK).unlink()
    guarded.wait_track(standby, "1")
    with guarded.applier_stopped(standby):
        guarded.wait_track(standby, "0")
        lab.wait(lambda: vrrp_state(standby) == "FAULT", 5, "keepalived to follow")
        standby.write(TRACK, "1\n")
        guarded.wait_track(standby, "0")
    guarded.wait_track(standby, "1", within_s=10)
    assert lab.writer() is guarded.writer and not guarded.dropped_vip(guarded.writer)


@pytest.mark.parametrize("wrong", ["0\n", None])
def test_a_track_file_spoilt_on_the_writer_ends_with_one_writer_and_all_rows(
    guarded: Guarded, wrong: str | None
) -> None:
    """keepalived obeys the file at once, whoever wrote it: the VIP goes, so the server closes."""
    lab, writer = guarded.lab, guarded.writer
    before = guarded.write_settled()
    if wrong is None:
        writer.path(TRACK).unlink()
    else:
        writer.write(TRACK, wrong)
    guarded.wait_said(writer, "event=closing", "rule=vip-gone")
    lab.wait(lambda: lab.writer() is not None, 10, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
    guarded.wait_track(writer, "1", within_s=10)


# -- a full /run


def test_a_full_run_takes_the_standby_out_rather_than_leave_an_old_verdict(guarded: Guarded) -> None:
    standby = guarded.standby
    with faults.full_run(standby), guarded.applier_stopped(standby):
        guarded.wait_said(standby, "level=error", "rule=track-file-unwritable")
        # deleting the old one may have made room enough for the new one
        assert standby.eligible() in (None, "0")
        time.sleep(0.5)
        assert guarded.said(standby, "rule=track-file-unwritable") == 1, "said once, not each tick"
    guarded.wait_track(standby, "1", within_s=10)
    assert guarded.lab.writer() is guarded.writer


def test_a_full_run_on_the_writer_keeps_vip_and_writes_and_does_not_stop_a_failover(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with faults.full_run(writer):
        client = guarded.write_settled()
        time.sleep(0.5)
        assert guarded.lab.writer() is writer and not guarded.dropped_vip(writer)
        writer.mysqld.kill9()
        guarded.wait_writer(standby)
        assert writer.eligible() in (None, "0")
    nothing_lost(client, standby)


# -- what the agent may not do any more


@contextlib.contextmanager
def wrong_password(node: Node) -> Iterator[None]:
    """A password file that is wrong, and an agent that has only just read it."""
    right = node.read(PASSWORD)
    node.agent.terminate()
    node.write(PASSWORD, "wrong\n", 0o600)
    node.start_agent()
    try:
        yield
    finally:
        node.agent.terminate()
        node.write(PASSWORD, right, 0o600)
        node.start_agent()


def test_with_a_wrong_password_the_writer_keeps_the_vip(guarded: Guarded) -> None:
    writer = guarded.writer
    with guarded.lab.client(rate=50) as client:
        with wrong_password(writer):
            guarded.wait_said(writer, "event=verdict", "blind", "1045")
            time.sleep(2.5)  # keepalived's own check comes by as well
            client.wait_acks(10)
            assert writer.has_vip() and guarded.own(writer)["eligibility"] == "undetermined"
        client.wait_acks(10)
    assert not client.seen().errors and not guarded.dropped_vip(writer)
    assert guarded.said(writer, "event=verdict", "1045") == 1, "said once, not each tick"
    guarded.lab.wait(lambda: guarded.own(writer)["writer"], 5, "the writer to be guarded again")


def test_with_a_wrong_password_a_standby_is_no_candidate(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with wrong_password(standby):
        guarded.wait_said(standby, "event=verdict", "rule=server-blind", "1045")
        guarded.wait_track(standby, "0")
        assert guarded.own(standby)["eligibility"] == "undetermined"
    guarded.wait_track(standby, "1", within_s=10)
    assert guarded.lab.writer() is writer


@contextlib.contextmanager
def revoked(node: Node) -> Iterator[None]:
    """Without the right to see replication; sessions that have it from before are ended."""
    privilege = "SLAVE MONITOR" if node.spec.flavor == "mariadb" else "REPLICATION CLIENT"
    node.mysqld.sql("SET SESSION sql_log_bin = 0", f"REVOKE {privilege} ON *.* FROM 'vipguard'@'localhost'")
    end_sessions(node)
    try:
        yield
    finally:
        node.mysqld.sql("SET SESSION sql_log_bin = 0", f"GRANT {privilege} ON *.* TO 'vipguard'@'localhost'")
        end_sessions(node)


def end_sessions(node: Node) -> None:
    for row in node.mysqld.sql("SELECT id AS id FROM information_schema.processlist WHERE user = 'vipguard'"):
        with contextlib.suppress(pymysql.MySQLError):
            node.mysqld.sql(f"KILL {row['id']}")


def test_a_revoked_grant_makes_the_writers_guard_blind_and_takes_nothing(guarded: Guarded) -> None:
    writer = guarded.writer
    with guarded.lab.client(rate=50) as client:
        with revoked(writer):
            guarded.wait_said(writer, "event=verdict", "rule=holder-server-blind")
            time.sleep(1.0)
            client.wait_acks(5)
            assert guarded.lab.writer() is writer
        guarded.wait_said(writer, "event=verdict", "rule=holder-healthy")
        client.wait_acks(5)
    assert not client.seen().errors and not guarded.dropped_vip(writer) and not guarded.was_closed(writer)


def test_killed_sessions_of_the_guard_are_made_again_and_cost_nothing(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=50) as client:
        for _ in range(3):
            for node in (writer, standby):
                end_sessions(node)
            time.sleep(0.3)
        client.wait_acks(5)
    assert not client.seen().errors and guarded.lab.writer() is writer and not guarded.was_closed(writer)
    lock = f"IS_USED_LOCK('vipguard.open.{guarded.lab.spec.name}')"
    guarded.lab.wait(lambda: writer.mysqld.value(lock) is not None, 5, "the open lock to be held again")


def test_a_node_of_another_cluster_never_takes_over(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = standby.read(CONFIG_FILE)
    standby.agent.terminate()
    standby.write(CONFIG_FILE, before.replace(f'cluster = "{lab.spec.name}"', 'cluster = "another"'))
    try:
        standby.start_agent()
        guarded.wait_said(standby, "event=verdict", "rule=other-cluster", lab.spec.name)
        guarded.wait_track(standby, "0")
        writer.mysqld.kill9()
        time.sleep(1.0)
        assert lab.writable() == [] and not standby.has_vip()
    finally:
        standby.agent.terminate()
        standby.write(CONFIG_FILE, before)
        guarded.start_agent(standby)


def test_a_client_that_takes_all_connections_does_not_take_the_vip(guarded: Guarded) -> None:
    """max_connections exhausted: error 1040 is blindness, and no reason to move."""
    writer = guarded.writer
    before = writer.mysqld.value("@@global.max_connections")
    held: list[pymysql.Connection[pymysql.cursors.DictCursor]] = []
    try:
        writer.mysqld.sql("SET GLOBAL max_connections = 20")
        with contextlib.suppress(pymysql.MySQLError):
            while len(held) < 40:
                held.append(writer.mysqld.connect(user="app", password="app", timeout_s=5))
        end = next((c for c in held), None)
        assert end is not None
        time.sleep(1.5)
        assert writer.has_vip() and not guarded.dropped_vip(writer) and not guarded.was_closed(writer)
    finally:
        for connection in held:
            connection.close()
        writer.mysqld.sql(f"SET GLOBAL max_connections = {before}")
    guarded.write(5)
