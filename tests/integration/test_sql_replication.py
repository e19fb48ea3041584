"""Stopping, starting and waiting for replication, thread by thread."""

from __future__ import annotations

import time

import pytest
from lawful import in_time
from scratch import Pair, took_s

from vipguard.act.replication import (
    drop_half_received,
    look,
    start_applying,
    start_receiving,
    start_replication,
    stop_receiving,
    wait_applied,
    wait_received,
)
from vipguard.errors import CouldNotDo, Silent
from vipguard.lab.wait import wait_until
from vipguard.model.gtid import GtidSet
from vipguard.session import Deadline

pytestmark = pytest.mark.lab


def has(pair: Pair, which: str) -> GtidSet:
    return look(getattr(pair, which).session(), Deadline(2))[0]


def test_only_the_io_thread_stops_and_again_is_nothing_new(pair: Pair) -> None:
    session = pair.b.session()
    for _ in range(2):
        (channel,) = stop_receiving(session, Deadline(2))
        assert (channel.io, channel.sql_running) == ("stopped", True)


def test_it_stops_while_the_source_is_dead(pair: Pair) -> None:
    pair.a.kill()
    wait_until(lambda: pair.b.status()["Replica_IO_Running"] == "Connecting", 10)
    started = time.monotonic()
    (channel,) = stop_receiving(pair.b.session(), Deadline(2))
    assert channel.io == "stopped"
    in_time(took_s(started), 2)


def test_it_stops_while_the_source_hangs(pair: Pair) -> None:
    with pair.a.stopped():
        (channel,) = stop_receiving(pair.b.session(), Deadline(2))
    assert channel.io == "stopped"


def test_all_channels_stop_and_start(pair: Pair) -> None:
    if pair.flavor == "mariadb":
        pair.b.sql(
            "CHANGE MASTER 'it''s' TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='x',"
            " MASTER_USE_GTID=slave_pos",
            "START SLAVE 'it''s'",
        )
        reset = ["STOP SLAVE 'it''s'", "RESET SLAVE 'it''s' ALL"]
    else:
        place = "SOURCE_HOST='127.0.0.1', SOURCE_PORT=1, SOURCE_USER='x', SOURCE_AUTO_POSITION=1"
        pair.b.sql(
            f"CHANGE REPLICATION SOURCE TO {place} FOR CHANNEL 'second'",
            "START REPLICA FOR CHANNEL 'second'",
        )
        reset = ["STOP REPLICA FOR CHANNEL 'second'", "RESET REPLICA ALL FOR CHANNEL 'second'"]
    try:
        session = pair.b.session()
        stopped = stop_receiving(session, Deadline(2))
        assert [channel.io for channel in stopped] == ["stopped", "stopped"]
        started = start_receiving(session, Deadline(2))
        assert "stopped" not in [channel.io for channel in started]
    finally:
        pair.b.sql(*reset)


def test_mariadb_would_throw_away_what_is_not_applied_so_it_is_refused(mariadb: Pair) -> None:
    mariadb.b.replica("STOP", "SQL_THREAD")
    mariadb.a.sql("INSERT INTO test.t (n) VALUES (1)")
    session = mariadb.b.session()
    wait_until(lambda: not look(session, Deadline(2))[1][0].applied, 10)
    with pytest.raises(CouldNotDo, match="would be lost") as raised:
        stop_receiving(session, Deadline(2))
    assert raised.value.refused
    session = mariadb.b.session()
    start_applying(session, Deadline(2))
    stop_receiving(session, Deadline(2))
    wait_applied(session, Deadline(5))
    mariadb.wait_same()


def test_what_was_received_before_the_source_died_is_applied(pair: Pair) -> None:
    """The SQL thread is held back by a lock, the source dies, the IO thread stops: all 100 rows arrive all the same."""
    blocker = pair.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 100)
    session = pair.b.session()
    target = has(pair, "a")
    wait_received(session, target, Deadline(10))
    pair.a.kill()
    stop_receiving(session, Deadline(2))
    with pytest.raises(Silent, match="missing"):
        wait_applied(session, Deadline(0.3))
    blocker.close()
    assert wait_applied(pair.b.session(), Deadline(10)).contains(target)
    assert pair.b.value("(SELECT COUNT(*) FROM test.t)") == 100


def test_nothing_to_wait_for_is_done_at_once(pair: Pair) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    started = time.monotonic()
    assert wait_applied(pair.b.session(), Deadline(5)) == has(pair, "a")
    assert wait_applied(pair.a.session(), Deadline(5)) == has(pair, "a"), "own ones came back round the ring"
    in_time(took_s(started), 2)


def test_a_stopped_sql_thread_is_not_waited_for(pair: Pair) -> None:
    pair.b.replica("STOP", "SQL_THREAD")
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    session = pair.b.session()
    wait_received(session, has(pair, "a"), Deadline(5))
    with pytest.raises(CouldNotDo, match="SQL thread does not run"):
        wait_applied(session, Deadline(5))


def test_a_hung_server_is_silent(pair: Pair) -> None:
    session = pair.b.session()
    with pair.b.stopped():
        started = time.monotonic()
        with pytest.raises(Silent):
            wait_applied(session, Deadline(0.2))
        with pytest.raises(Silent):
            stop_receiving(pair.b.session(0.2), Deadline(0.2))
        in_time(took_s(started), 2)


def test_what_never_comes_is_not_waited_for_beyond_the_deadline(pair: Pair) -> None:
    more = "9-9-9" if pair.flavor == "mariadb" else "3e11fa47-71ca-11e1-9e33-c80aa9429562:1"
    with pytest.raises(Silent, match="did not come"):
        wait_received(pair.b.session(), GtidSet.parse(pair.flavor, more), Deadline(0.3))
    stop_receiving(pair.b.session(), Deadline(2))
    with pytest.raises(CouldNotDo, match="no IO thread"):
        wait_received(pair.b.session(), GtidSet.parse(pair.flavor, more), Deadline(5))


def test_both_threads_start(pair: Pair) -> None:
    pair.b.replica("STOP")
    start_replication(pair.b.session(), Deadline(5))
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    start_replication(pair.b.session(), Deadline(5))


def test_without_configuration_there_is_nothing_to_start(pair: Pair) -> None:
    pair.b.replica("STOP")
    pair.b.sql("RESET SLAVE ALL" if pair.flavor == "mariadb" else "RESET REPLICA ALL")
    assert stop_receiving(pair.b.session(), Deadline(2)) == ()
    with pytest.raises(CouldNotDo, match="not configured"):
        start_replication(pair.b.session(), Deadline(2))


def test_half_a_transaction_is_rolled_back_and_its_row_is_free(pair: Pair) -> None:
    """Else a client that touches the row after the takeover waits until its lock wait timeout."""
    pair.lose_source_in_the_middle_of_a_transaction()
    session = pair.b.session()
    with pytest.raises(CouldNotDo, match="still receives"):
        drop_half_received(session, Deadline(2))
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    wait_applied(session, Deadline(2))
    assert drop_half_received(session, Deadline(2))
    assert not drop_half_received(session, Deadline(2))
    assert pair.b.sql("SELECT v FROM test.big") == [{"v": "old"}]
    pair.b.open()
    pair.b.sql(
        "SET innodb_lock_wait_timeout=1", "SET sql_log_bin=0", "UPDATE test.big SET v='mine' WHERE id=1"
    )
    (channel,) = start_receiving(session, Deadline(2))
    assert channel.sql_running
    pair.b.kill()


def test_without_half_a_transaction_nothing_is_stopped(pair: Pair) -> None:
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    assert not drop_half_received(session, Deadline(2))
    assert look(session, Deadline(2))[1][0].sql_running


def test_mysql_wants_system_user_to_roll_half_a_transaction_back(mysql: Pair) -> None:
    mysql.b.open()
    mysql.b.sql("SET sql_log_bin=0", "REVOKE SYSTEM_USER ON *.* FROM vipguard@localhost")
    mysql.b.close()
    mysql.lose_source_in_the_middle_of_a_transaction()
    session = mysql.b.session()
    stop_receiving(session, Deadline(2))
    with pytest.raises(CouldNotDo, match="SYSTEM_USER"):
        drop_half_received(session, Deadline(2))
    mysql.b.kill()
