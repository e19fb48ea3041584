"""A standby takes over only with all it received applied; one that cannot, or lags, or is blind, is no candidate."""

from __future__ import annotations

import signal
import time

from guarded import Guarded, ids_on, nobody_beats
from lawful import nothing_lost, wait_nothing_lost

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE


def lag_column(node: Node) -> object:
    row = node.mysqld.replication()[0]
    return row.get("Seconds_Behind_Master", row.get("Seconds_Behind_Source"))


def received_all(guarded: Guarded) -> bool:
    """Has the standby's IO thread received what the writer wrote? By the writer's position in its own log."""
    mysql = guarded.lab.spec.flavor == "mysql"
    writer = guarded.writer.mysqld
    ahead = writer.sql("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")[0]
    row = guarded.standby.mysqld.replication()[0]
    word = "Source" if mysql else "Master"
    return (row[f"{word}_Log_File"], row[f"Read_{word}_Log_Pos"]) == (ahead["File"], ahead["Position"])


def test_a_standby_with_its_applier_stopped_never_opens_until_everything_is_applied(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.applier_stopped(standby):
        guarded.wait_track(standby, "0")
        guarded.wait_said(standby, "event=verdict", "rule=replication-broken", "threads=sql-thread-stopped")
        client = guarded.write(30)
        lab.wait(lambda: received_all(guarded), 5, "the standby to have received it")
        writer.mysqld.kill9()
        time.sleep(1.5)
        assert lab.writable() == [] and not standby.has_vip(), "half the history is no place to write"
        assert standby.vipguard("status", "--json", check=False).returncode == 3
    guarded.wait_writer(standby, within_s=15)
    nothing_lost(client, standby)


def test_a_lag_over_the_limit_makes_the_standby_ineligible_until_it_caught_up(guarded: Guarded) -> None:
    standby = guarded.standby
    shorter = standby.read(CONFIG_FILE).replace("lag_s_max = 10.0", "lag_s_max = 1.5")
    with guarded.configured(standby, shorter):
        standby.agent.signal(signal.SIGHUP)
        with guarded.locked(standby):
            client = guarded.write(10)
            guarded.wait_said(standby, "event=verdict", "rule=lag-exceeded", "lag_s_max=1.5", within_s=10)
            guarded.wait_track(standby, "0")
            assert guarded.own(standby)["lag_s"] > 1
        guarded.wait_track(standby, "1", within_s=10)
    wait_nothing_lost(guarded.lab, client, standby, 5, "the standby to have all")


def test_a_lag_of_null_never_reads_as_zero(guarded: Guarded) -> None:
    lab, standby = guarded.lab, guarded.standby
    with nobody_beats(lab), guarded.applier_stopped(standby):
        lab.wait(lambda: lag_column(standby) is None, 5, "NULL")
        guarded.wait_track(standby, "0")
        own = guarded.own(standby)
        assert own["lag_s"] is None and own["eligibility"] != "eligible"
    guarded.wait_track(standby, "1", within_s=10)


def test_a_dead_source_does_not_make_its_standby_ineligible(guarded: Guarded) -> None:
    """Seconds_Behind is NULL then too; what counts is the last good lag."""
    writer, standby = guarded.writer, guarded.standby
    guarded.write_settled()
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
    assert not guarded.said(standby, "event=verdict", "rule=lag-")
    assert not guarded.said(standby, "event=verdict", "rule=replication-broken")


def test_a_backlog_is_applied_before_the_first_client_writes(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.locked(standby):
        backlog = guarded.write(200)
        lab.wait(lambda: received_all(guarded), 5, "the standby to have received it")
        assert len(backlog.lost(standby)) >= 200, "nothing of it is applied yet"
        with lab.client(rate=0) as client:
            writer.mysqld.kill9()
            guarded.wait_said(standby, "event=takeover-step", "rule=drain")
            time.sleep(0.5)
            assert lab.writable() == [] and standby.has_vip()
            standby_ids = len(ids_on(standby))
    with lab.client(rate=0) as client:
        guarded.wait_writer(standby)
        client.wait_acks(10)
    nothing_lost(backlog, standby)
    assert len(ids_on(standby)) > standby_ids + 200
    first_own = min(number for _, number in client.seen().acks)
    order = [row["id"] for row in standby.mysqld.sql("SELECT id FROM app.t ORDER BY id")]
    assert all(number in order for _, number in backlog.seen().acks) and first_own in order


def test_a_backlog_that_cannot_be_applied_in_time_refuses_and_opens_only_afterwards(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.locked(standby):
        backlog = guarded.write(20)
        lab.wait(lambda: received_all(guarded), 5, "the standby to have received it")
        writer.mysqld.kill9()
        guarded.wait_said(standby, "event=takeover-abandoned", "rule=drain", within_s=8)
        assert lab.writable() == []
        lab.wait(lambda: not standby.has_vip(), 5, "the VIP to be given back")
    guarded.wait_writer(standby, within_s=15)
    nothing_lost(backlog, standby)


def test_an_operator_who_stopped_receiving_is_obeyed(guarded: Guarded) -> None:
    """A stopped IO thread is the operator's; the agent does not start it, and the node is no candidate."""
    standby = guarded.standby
    with guarded.receiver_stopped(standby):
        guarded.wait_said(standby, "event=verdict", "threads=io-thread-stopped")
        guarded.wait_track(standby, "0")
        time.sleep(0.5)
        assert (standby.mysqld.replication_threads() or ("",))[0] == "No"
    guarded.wait_track(standby, "1", within_s=10)


def test_a_standby_with_a_transaction_of_its_own_is_errant_and_named(guarded: Guarded) -> None:
    """The writer must not listen to it then: in a circle it would have the stray transaction a moment later."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    settled = guarded.write_and_rest()
    guarded.two_writers_ms_max = 500.0
    with guarded.receiver_stopped(writer):
        standby.mysqld.sql(
            f"SET GLOBAL {standby.mysqld.closing} = 0",
            "SET GLOBAL read_only = 0",
            "INSERT INTO app.t (id, node) VALUES (-9, 0)",
            f"SET GLOBAL {standby.mysqld.closing} = 1",
        )
        guarded.wait_said(writer, "event=history", "rule=overruled", f"node={standby.name}")
        if lab.spec.flavor == "mysql":
            guarded.wait_said(standby, "event=verdict", "rule=errant-transactions", "errant=1")
        else:  # that word of the writer's is the row at which replication stops here, which may be told first
            guarded.wait_said(standby, "event=verdict", "rule=replication-broken", "1950")
        guarded.wait_track(standby, "0")
        errant = str(guarded.own(standby)["errant"])
        stray = f"0-{standby.mysqld.value('@@server_id')}-" if lab.spec.flavor == "mariadb" else ":"
        assert stray in errant and "," not in errant, errant
        assert lab.writer() is writer and -9 not in ids_on(writer)
        nothing_lost(settled, writer)
        if lab.spec.flavor == "mysql":  # a writer listens to nobody who lacks its last word
            lab.wait(lambda: len({node["epoch"] for node in guarded.status(writer)["nodes"]}) == 1, 5, "it to be there")
    if lab.spec.flavor == "mysql":
        lab.wait(lambda: -9 in ids_on(writer), 10, "what the operator let through")
        guarded.wait_track(standby, "1", within_s=10)
    else:  # in one domain the two have gone apart, and only a fresh copy brings them together
        standby.vipguard("rejoin", "--discard", "--yes", timeout_s=90)
        lab.wait_healthy()
        assert -9 not in ids_on(writer) and -9 not in ids_on(standby)
