"""Under `durability = "lossless"` no acknowledged write is lost by one fault; what that costs is seen here too."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pymysql
import pytest
from guarded import Guarded, ids_on, make_ready
from lawful import nothing_lost, wait_nothing_lost
from runbook import do

from vipguard.lab import Node, faults


class Commit:
    """One insert by an application on the node's own host: what became of it, and whether anybody there saw its row."""

    def __init__(self, node: Node, number: int) -> None:
        self.node, self.number = node, number
        self.result: str | None = None
        self.exposed = False
        self._end = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._insert, self._read)]

    def __enter__(self) -> Commit:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(10)

    def _insert(self) -> None:
        try:
            with contextlib.closing(
                self.node.mysqld.connect(user="app", password="app", timeout_s=60)
            ) as connection:
                connection.cursor().execute(f"INSERT INTO app.t (id, node) VALUES ({self.number}, 0)")
            self.result = "acknowledged"
        except (pymysql.MySQLError, OSError) as exc:
            self.result = repr(exc)

    def _read(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(pymysql.MySQLError, OSError):
                rows = self.node.mysqld.sql(f"SELECT 1 FROM app.t WHERE id = {self.number}", timeout_s=1)
                self.exposed = self.exposed or bool(rows)
            time.sleep(0.01)


def source(node: Node) -> str:
    return "rpl_semi_sync_source_enabled" if node.spec.flavor == "mysql" else "rpl_semi_sync_master_enabled"


def is_on(node: Node) -> bool:
    return bool(node.mysqld.value(f"@@global.{source(node)}"))


def semi_sync(guarded: Guarded, node: Node) -> dict[str, object]:
    return dict(guarded.own(node)["semi_sync"])


def plugin(node: Node) -> tuple[int, str]:
    done = node.vipguard("check", "semi_sync", check=False)
    return done.returncode, done.stdout


def wait_pair(guarded: Guarded, within_s: float = 15.0) -> None:
    guarded.lab.wait(lambda: not guarded.lab.trouble(), within_s, "a healthy pair")


@contextlib.contextmanager
def silent(guarded: Guarded) -> Iterator[None]:
    """The standby's cable is cut in the switch: nobody hears of it."""
    with faults.cut_off(guarded.lab, guarded.standby):
        yield


def test_the_writer_waits_for_its_standby_and_the_standby_has_the_mark(lossless: Guarded) -> None:
    writer, standby = lossless.writer, lossless.standby
    assert is_on(writer) and not is_on(standby), "only the writer's source is on"
    assert plugin(writer)[0] == 0 and "waits" not in plugin(standby)[1] and plugin(standby)[0] == 0
    assert semi_sync(lossless, standby)["marked"] is True and semi_sync(lossless, writer)["solo"] is False
    assert "fell" not in plugin(writer)[1]
    client = lossless.write_settled(50)
    nothing_lost(client, standby)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_writer_killed_under_full_load_loses_no_acknowledged_write(lossless: Guarded, attempt: int) -> None:
    """The old writer may have a transaction that nobody acknowledged: then it stays apart, and says so."""
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    with lab.client(rate=0) as client, lab.client(rate=0) as other:
        client.wait_acks(300)
        writer.mysqld.kill9()
        lossless.wait_writer(standby)
        client.wait_acks(100)
    nothing_lost(client, standby)
    nothing_lost(other, standby)
    assert not is_on(standby) and semi_sync(lossless, standby)["solo"] is True
    writer.mysqld.start()
    lab.wait(
        lambda: (
            lossless.said(writer, "event=rejoin", "rule=joined")
            or lossless.said(writer, "event=rejoin", "rule=diverged")
        ),
        15,
        "the old writer to rejoin or to stay apart",
    )
    if lossless.said(writer, "event=rejoin", "rule=diverged"):
        assert lab.writer() is standby and writer.eligible() == "0" and lossless.own(writer)["diverged"]
        return
    wait_pair(lossless)
    assert is_on(standby) and semi_sync(lossless, standby)["solo"] is False
    wait_nothing_lost(lab, client, writer, 10, "the old writer to have caught up")


def test_a_writer_stopped_cleanly_under_full_load_loses_no_acknowledged_write(lossless: Guarded) -> None:
    writer, standby = lossless.writer, lossless.standby
    with lossless.lab.client(rate=0) as client, lossless.lab.client(rate=0) as other:
        client.wait_acks(200)
        writer.mysqld.terminate()
        lossless.wait_writer(standby)
        client.wait_acks(50)
    nothing_lost(client, standby)
    nothing_lost(other, standby)
    writer.mysqld.start()


def test_a_handover_under_full_load_never_writes_without_a_standby(lossless: Guarded) -> None:
    """The old writer is closed and follows: the new one waits for it from its first write on."""
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    with lab.client(rate=0) as client, faults.kill_keepalived(writer):
        lossless.wait_writer(standby)
        client.wait_acks(100)
        assert is_on(standby) and semi_sync(lossless, standby)["solo"] is False
        lab.wait(lambda: not is_on(writer), 5, "the old writer to wait for nobody")
    nothing_lost(client, standby)
    assert not lossless.said(writer, "event=kill")
    lossless.wait_said(standby, "event=semi-sync", "rule=source-on")
    assert not lossless.said(standby, "event=takeover-step", "rule=solo")
    wait_pair(lossless)


def test_a_standby_that_dies_silently_stops_writes_until_the_operator_speaks(lossless: Guarded) -> None:
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    with lab.client(rate=0, read_timeout_s=60) as client:
        client.wait_acks(100)
        with silent(lossless):
            lossless.wait_said(
                writer, "level=error", "event=commits", "rule=commits-wait", f"silent={standby.name}"
            )
            before = len(client.seen().acks)
            time.sleep(1.0)
            assert len(client.seen().acks) == before, "nothing is acknowledged meanwhile"
            assert (
                lab.writer() is writer
                and not lossless.was_closed(writer)
                and not lossless.dropped_vip(writer)
            )
            said = semi_sync(lossless, writer)
            assert said["waiting"] and said["commits_wait_s"] and said["source"] is True
            assert plugin(writer)[0] == 2 and "commits have waited" in plugin(writer)[1]
            do(writer, "VipguardCommitsWait", "vipguard solo", answer="y\n")
            client.wait_acks(100)
            lossless.wait_said(writer, "event=commits", "rule=commits-go-on")
            assert not is_on(writer) and semi_sync(lossless, writer)["solo"] is True
            assert plugin(writer)[0] == 1
        lossless.wait_said(writer, "event=semi-sync", "rule=replica-is-back", within_s=20)
        # the mark of before the cut counts until the standby has asked the writer
        lab.wait(lambda: is_on(writer) and semi_sync(lossless, standby)["marked"] is True, 20, "the mark")
        lossless.wait_track(standby, "1")
        client.wait_acks(100)
    assert semi_sync(lossless, writer)["solo"] is False
    nothing_lost(client, writer)
    assert not client.seen().errors, "a commit that waits is not a failed one"
    wait_nothing_lost(lab, client, standby, 10, "the standby to have caught up")


def test_commits_go_on_by_themselves_when_the_standby_comes_back(lossless: Guarded) -> None:
    writer, standby = lossless.writer, lossless.standby
    with lossless.lab.client(rate=0, read_timeout_s=60) as client:
        client.wait_acks(100)
        standby.mysqld.kill9()
        lossless.wait_said(writer, "event=commits", "rule=commits-wait")
        before = len(client.seen().acks)
        standby.mysqld.start()
        standby.mysqld.wait_ready()
        client.wait_acks(100)
        lossless.wait_said(writer, "event=commits", "rule=commits-go-on")
        lossless.wait_track(standby, "1", within_s=10)
    assert before and is_on(writer) and not client.seen().errors
    assert not lossless.said(writer, "rule=source-off-now") and not lossless.was_closed(writer)
    wait_nothing_lost(lossless.lab, client, standby, 5, "the standby to have applied what it received")


def test_a_standby_without_the_mark_does_not_take_over(lossless: Guarded) -> None:
    """Somebody switched semi-sync off where no guard could switch it on again: the standby may lack writes."""
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    with faults.stop_agent(writer):
        writer.mysqld.sql(f"SET GLOBAL {source(writer)} = 0")
        lossless.wait_said(standby, "event=verdict", "rule=semi-sync-unmarked")
        lossless.wait_track(standby, "0")
        assert plugin(standby)[0] == 2
        client = lossless.write(20)
        writer.mysqld.kill9()
        time.sleep(2.0)
        assert lab.writable() == [] and not standby.has_vip()
    writer.mysqld.start()
    wait_pair(lossless, within_s=20)  # with both there, who has everything may open
    now = lab.writer()
    assert now is not None
    nothing_lost(client, now)
    assert is_on(now)


def test_an_isolated_writer_with_a_waiting_commit_is_killed_and_nobody_saw_it(lossless: Guarded) -> None:
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    before = lossless.write_settled()
    pid = writer.mysqld.pid
    with faults.cut_off(lab, writer), Commit(writer, -5) as commit:
        lossless.wait_said(writer, "event=kill", "rule=commits-wait-superseded")
        lossless.wait_writer(standby)
        lab.wait(lambda: commit.result is not None, 5, "the application to be told")
        assert commit.result != "acknowledged" and not commit.exposed
        assert writer.mysqld.pid != pid and not lossless.said(writer, "rule=read-only-verified")
        after = lossless.write(20)
    nothing_lost(before, standby)
    nothing_lost(after, standby)
    assert -5 not in ids_on(standby)
    writer.mysqld.start()
    lossless.wait_said(writer, "event=rejoin", "rule=diverged", within_s=15)
    assert lab.writer() is standby and -5 not in ids_on(standby)


def test_a_writer_cut_off_from_its_standby_alone_acknowledges_nothing_while_the_other_writes(
    lossless: Guarded,
) -> None:
    """Both see the witness, so under "open" both are open: the documented case. Only one of them acknowledges."""
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    lossless.two_writers_ms_max = 10_000.0
    before = lossless.write_settled()
    pid = writer.mysqld.pid
    with contextlib.ExitStack() as cut:
        cut.enter_context(faults.between_nodes(lab))
        with Commit(writer, -7) as commit:
            lossless.wait_said(standby, "event=takeover-complete", within_s=10)
            standby.mysqld.sql("INSERT INTO app.t (id, node) VALUES (-8, 0)")
            time.sleep(1.0)
            assert commit.result is None and not commit.exposed and is_on(writer)
            cut.close()
            lossless.wait_said(writer, "rule=higher-epoch")
            lab.wait(lambda: commit.result is not None, 5, "the application to be told")
            assert commit.result != "acknowledged" and not commit.exposed
            assert writer.mysqld.pid != pid
    writer.mysqld.start()
    lossless.wait_writer(standby, within_s=20)
    lossless.wait_said(writer, "event=rejoin", "rule=diverged", within_s=15)
    nothing_lost(before, standby)
    assert -8 in ids_on(standby) and -7 not in ids_on(standby)


def test_an_isolated_writer_with_nothing_waiting_is_closed_and_lives(lossless: Guarded) -> None:
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    before = lossless.write_settled()
    lossless.lab.wait(lambda: plugin(writer)[0] == 0, 5, "nothing to be under way")
    pid = writer.mysqld.pid
    with faults.cut_off(lab, writer):
        lossless.wait_said(writer, "event=closed", "rule=read-only-verified")
        lossless.wait_writer(standby)
        after = lossless.write(20)
        assert writer.mysqld.pid == pid and writer.mysqld.read_only() is True
    wait_pair(lossless)
    nothing_lost(before, standby)
    nothing_lost(after, standby)
    assert lab.writer() is standby


def test_a_demotion_while_a_commit_waits_acknowledges_nothing(lossless: Guarded) -> None:
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    lossless.write_settled()
    pid = writer.mysqld.pid
    with lossless.receiver_stopped(standby):
        lossless.wait_track(standby, "0")
        with Commit(writer, -6) as commit:
            lab.wait(lambda: lossless.own(writer)["semi_sync"]["waiting"] == 1, 10, "the commit to wait")
            with faults.kill_keepalived(writer):
                lossless.wait_said(writer, "event=closing", "rule=keepalived-dead")
                lossless.wait_said(writer, "event=kill", "rule=not-closed-in-time")
                lab.wait(lambda: commit.result is not None, 5, "the application to be told")
                assert commit.result != "acknowledged" and not commit.exposed
                assert writer.mysqld.pid != pid and lab.writable() == []
    writer.mysqld.start()
    # the standby lacks nothing that was acknowledged, so either may be it; what was not may be there or not
    lab.wait(lambda: lab.writer() is not None, 20, "one writer")


def test_a_restarted_guard_leaves_the_writer_and_its_standby_as_they_are(lossless: Guarded) -> None:
    lab, writer, standby = lossless.lab, lossless.writer, lossless.standby
    with lab.client(rate=200) as client:
        client.wait_acks(20)
        with faults.kill_agent(writer):
            client.wait_acks(20)
        client.wait_acks(50)
    assert is_on(writer) and lab.writer() is writer and not lossless.was_closed(writer)
    assert not lossless.said(standby, "rule=semi-sync-unmarked") and standby.eligible() == "1"
    with faults.kill_agent(standby):
        pass
    lossless.wait_track(standby, "1", within_s=10)
    make_ready(lab)
