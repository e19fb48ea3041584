"""Opening a server, the claim, and killing a server for good."""

from __future__ import annotations

import os
import subprocess
import time

import pymysql
import pytest
from lawful import in_time
from scratch import Pair, took_s

from vipguard.act.peer import holds_claim, release_claim, take_claim
from vipguard.act.server import Opener, is_exiting, kill_server
from vipguard.errors import CouldNotDo, Silent
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import EpochRow, ProcessId
from vipguard.model.ledger import Opening
from vipguard.session import Deadline

pytestmark = pytest.mark.lab
ROW = EpochRow(epoch=3, node="b", boot_id="boot")


def test_it_opens_holds_the_lock_and_writes_its_epoch(pair: Pair) -> None:
    opener = Opener.prepare(pair.b.connector(), "open", Deadline(2))
    assert pair.b.value("IS_USED_LOCK('open')") == opener.connection_id
    assert pair.b.closed
    opener.open(Deadline(2))
    assert not pair.b.closed
    assert not pair.b.value("@@global.read_only")
    opener.write_epoch("scratch", Opening(ROW), Deadline(2))
    fresh = "ABS(TIMESTAMPDIFF(SECOND, opened_at, UTC_TIMESTAMP())) < 5 AS fresh"
    query = f"SELECT epoch, node, boot_id, {fresh} FROM vipguard.epoch"
    expected = [{"epoch": 3, "node": "b", "boot_id": "boot", "fresh": 1}]
    assert pair.b.sql(query) == expected
    wait_until(lambda: pair.a.sql(query) == expected, 10)
    opener.write_epoch("scratch", Opening(EpochRow(4, "b", "boot")), Deadline(2))
    assert pair.b.value("(SELECT GROUP_CONCAT(epoch) FROM vipguard.epoch)") == "4"
    assert opener.fileno() >= 0
    opener.close()
    wait_until(lambda: pair.b.value("IS_USED_LOCK('open')") is None, 5)
    assert not pair.b.closed


def test_mariadb_goes_over_to_the_clusters_domain_before_it_opens_and_nobody_goes_on_in_the_old_one(
    mariadb: Pair,
) -> None:
    b = mariadb.b
    reader = b.connect()
    guard = b.session()
    opener = Opener.prepare(b.connector(), "open", Deadline(2), domain=0)
    try:
        opener.open(Deadline(2))
        opener.write_epoch("scratch", Opening(ROW), Deadline(2))
        with pytest.raises(pymysql.MySQLError):
            reader.cursor().execute("INSERT INTO test.t (n) VALUES (1)")
        assert guard.ask(("SELECT 1",), Deadline(2))[0][0][0] == b"1"
        b.sql("INSERT INTO test.t (n) VALUES (2)")
        position = str(b.value("@@global.gtid_binlog_pos"))
        assert "0-2-2" in position and "2-2-" not in position
        opener.close()
        b.close()
        reader = b.connect()
        Opener.prepare(b.connector(), "open", Deadline(2), domain=0).close()
        assert reader.cursor().execute("SELECT 1") == 1  # nothing was changed, so nobody was cut off
    finally:
        guard.close()
        b.sql("SET GLOBAL gtid_domain_id = 2")


def test_where_the_account_may_not_change_the_domain_it_opens_all_the_same(mariadb: Pair) -> None:
    b = mariadb.b
    b.sql("SET sql_log_bin = 0", "REVOKE REPLICATION MASTER ADMIN ON *.* FROM vipguard@localhost")
    opener = Opener.prepare(b.connector(), "open", Deadline(2), domain=0)
    opener.open(Deadline(2))
    assert not b.closed and b.value("@@global.gtid_domain_id") == 2
    opener.close()


def test_only_one_session_is_prepared_to_open(pair: Pair) -> None:
    first = Opener.prepare(pair.b.connector(), "open", Deadline(2))
    with pytest.raises(CouldNotDo, match=f"session {first.connection_id} holds") as raised:
        Opener.prepare(pair.b.connector(), "open", Deadline(2))
    assert raised.value.refused


def test_it_is_never_sent_twice(pair: Pair) -> None:
    opener = Opener.prepare(pair.b.connector(), "open", Deadline(2))
    opener.open(Deadline(2))
    pair.b.close()
    with pytest.raises(CouldNotDo, match="before"):
        opener.open(Deadline(2))
    assert pair.b.closed


def test_a_server_that_comes_to_it_too_late_stays_closed(pair: Pair) -> None:
    """It hangs, we give up, and when it goes on it finds our statement: that opens nothing."""
    opener = Opener.prepare(pair.b.connector(), "open", Deadline(2))
    with pair.b.stopped(), pytest.raises(Silent):
        opener.open(Deadline(0.1))
    wait_until(lambda: pair.b.value("IS_USED_LOCK('open')") is None, 5)
    assert pair.b.closed


def test_a_server_without_its_epoch_table_refuses_the_row(pair: Pair) -> None:
    opener = Opener.prepare(pair.b.connector(), "open", Deadline(2))
    opener.open(Deadline(2))
    pair.b.sql("SET sql_log_bin=0", "DROP TABLE vipguard.epoch")
    with pytest.raises(CouldNotDo, match="render accounts"):
        opener.write_epoch("scratch", Opening(ROW), Deadline(2))


@pytest.mark.parametrize("way", ["session", "peer_session"])
def test_one_claim_at_a_time_and_none_without_its_session(pair: Pair, way: str) -> None:
    first, second = getattr(pair.b, way)(), getattr(pair.b, way)()
    deadline = Deadline(10)
    assert take_claim(first, "claim", deadline)
    assert take_claim(first, "claim", deadline), "its holder has it"
    assert holds_claim(first, "claim", deadline)
    assert not take_claim(second, "claim", deadline)
    assert not holds_claim(second, "claim", deadline)
    assert not release_claim(second, "claim", deadline)
    assert release_claim(first, "claim", deadline), "once, however often it was taken"
    assert take_claim(second, "claim", deadline)
    second.close()
    third = getattr(pair.b, way)()
    wait_until(lambda: take_claim(third, "claim", deadline), 5)


def test_a_claim_on_a_lost_session_cannot_be_told(pair: Pair) -> None:
    session = pair.b.session()
    take_claim(session, "claim", Deadline(2))
    pair.b.sql(f"KILL {session.connection_id}")
    with pytest.raises(CouldNotDo):
        holds_claim(session, "claim", Deadline(2))


@pytest.mark.parametrize("hung", [False, True])
def test_a_killed_server_is_seen_dying_at_once(pair: Pair, hung: bool) -> None:
    process = pair.b.session().server_process()
    assert process is not None
    assert not is_exiting(process)
    if hung:
        with pair.b.stopped():
            started = time.monotonic()
            assert kill_server(process, 5)
    else:
        started = time.monotonic()
        assert kill_server(process, 5)
    in_time(took_s(started), 5)
    assert is_exiting(process)
    pair.b.kill()
    assert is_exiting(process)
    assert kill_server(process, 1), "a dead one is dead"


def test_another_process_of_the_same_number_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert kill_server(ProcessId(child.pid, 12345), 1)
            assert is_exiting(ProcessId(child.pid, 12345))
            assert child.poll() is None
            assert os.path.exists(f"/proc/{child.pid}")
        finally:
            child.kill()
