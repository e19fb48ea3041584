"""What a replica received and had not applied is brought in after a restart, whatever it was interrupted by."""

from __future__ import annotations

import pytest
from scratch import Pair

from vipguard.act.replication import look, start_receiving, start_replication, wait_received
from vipguard.act.rescue import examine, rescue, restore_gtid
from vipguard.errors import CouldNotDo, Silent
from vipguard.lab.wait import wait_until
from vipguard.model.gtid import GtidSet
from vipguard.session import Deadline

pytestmark = pytest.mark.lab
_held: list[object] = []  # a session that is forgotten gives its lock back


def rows(pair: Pair) -> int:
    found: int = pair.b.value("(SELECT COUNT(*) FROM test.t)")
    return found


def has(pair: Pair, which: str) -> GtidSet:
    return look(getattr(pair, which).session(), Deadline(2))[0]


def receive(pair: Pair, count: int = 100, applied: int = 40) -> GtidSet:
    """b applied `applied` rows and received `count` more, its SQL thread running and held up by a lock."""
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * applied)
    pair.wait_same()
    blocker = pair.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    _held[:] = [blocker]
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * count)
    target, session = has(pair, "a"), pair.b.session()

    def received() -> bool:
        own, channels = look(session, Deadline(2))
        return all(own.union(channel.received or own).contains(target) for channel in channels)

    wait_until(received, 10, lambda: f"{pair.b.status()}")
    return target


def restart(pair: Pair) -> None:
    """b's server dies and comes back with its replication stopped."""
    pair.b.kill()
    pair.b.start()
    pair.b.close()


def test_what_was_received_before_a_restart_is_found_and_applied_to_the_last_one(pair: Pair) -> None:
    target = receive(pair)
    pair.a.kill()
    restart(pair)
    session = pair.b.session()
    assert rows(pair) == 40 and examine(session, Deadline(5)).count() >= 99
    assert rescue(session, Deadline(20)).contains(target)
    assert rows(pair) == 140
    assert examine(session, Deadline(5)).is_empty
    assert pair.b.status().get("Using_Gtid", "Slave_Pos") == "Slave_Pos"
    assert rescue(session, Deadline(5)).contains(target), "once more is nothing new"


def test_where_nothing_is_left_nothing_is_changed(pair: Pair) -> None:
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 20)
    pair.wait_same()
    restart(pair)
    session = pair.b.session()
    assert examine(session, Deadline(5)).is_empty
    assert rescue(session, Deadline(5)) == has(pair, "a")
    start_replication(session, Deadline(5))
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()


def test_after_the_rescue_it_follows_its_returned_source(pair: Pair) -> None:
    receive(pair)
    pair.a.kill()
    restart(pair)
    rescue(pair.b.session(), Deadline(20))
    pair.a.start()
    pair.a.open()
    start_replication(pair.b.session(), Deadline(5))
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    assert rows(pair) == 141


def test_a_torn_last_transaction_is_left_out_and_holds_no_lock(mariadb: Pair) -> None:
    mariadb.lose_source_in_the_middle_of_a_transaction()
    mariadb.a.kill()
    restart(mariadb)
    session = mariadb.b.session()
    assert examine(session, Deadline(5)).is_empty
    assert mariadb.b.sql("SELECT v FROM test.big") == [{"v": "old"}]
    rescue(session, Deadline(5))
    mariadb.b.open()
    mariadb.b.sql(
        "SET innodb_lock_wait_timeout=1", "SET sql_log_bin=0", "UPDATE test.big SET v='mine' WHERE id=1"
    )


def test_whole_transactions_before_a_torn_one_are_applied(mariadb: Pair) -> None:
    receive(mariadb, count=30, applied=5)
    mariadb.a.sql("INSERT INTO test.t (n) SELECT 7 FROM test.t")
    target = has(mariadb, "a")
    wait_until(lambda: mariadb.b.status()["Gtid_IO_Pos"] == mariadb.a.value("@@global.gtid_binlog_pos"), 10)
    mariadb.a.kill()
    mariadb.b.kill()
    found = sorted((mariadb.b.directory / "data").glob("*relay-bin.0*"))[-1]
    found.write_bytes(found.read_bytes()[:-20])  # as a power cut leaves a file
    mariadb.b.start()
    mariadb.b.close()
    session = mariadb.b.session()
    assert examine(session, Deadline(5)).count() == 30
    assert not rescue(session, Deadline(20)).contains(target)
    assert rows(mariadb) == 35
    assert examine(session, Deadline(5)).is_empty


@pytest.mark.parametrize("step", ["changed", "started", "applied"])
def test_a_rescue_that_dies_with_its_server_at_any_step_goes_on_afterwards(mariadb: Pair, step: str) -> None:
    target = receive(mariadb)
    mariadb.a.kill()
    restart(mariadb)
    blocker = mariadb.b.connect()
    if step != "applied":
        blocker.cursor().execute("LOCK TABLES test.t READ")
    session = mariadb.b.session()
    if step == "changed":
        file = mariadb.b.status()["Relay_Log_File"]
        mariadb.b.sql(f"CHANGE MASTER TO MASTER_USE_GTID=no, RELAY_LOG_FILE='{file}', RELAY_LOG_POS=4")
    elif step == "started":
        with pytest.raises(Silent, match="not all of it"):
            rescue(session, Deadline(1))
    else:
        rescue(session, Deadline(20))
        mariadb.b.sql("STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID=no")
    assert mariadb.b.status()["Using_Gtid"] == "No"
    blocker.close()
    restart(mariadb)
    assert mariadb.b.status()["Using_Gtid"] == "No", "the server remembers it, so it can be noticed"
    assert rescue(mariadb.b.session(), Deadline(20)).contains(target)
    assert rows(mariadb) == 140 and mariadb.b.status()["Using_Gtid"] == "Slave_Pos"


def test_a_rescue_that_ran_into_its_deadline_goes_on_with_the_next(pair: Pair) -> None:
    target = receive(pair)
    pair.a.kill()
    restart(pair)
    blocker = pair.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    for _ in range(2):
        with pytest.raises(Silent):
            rescue(pair.b.session(), Deadline(0.5))
    blocker.close()
    assert rescue(pair.b.session(), Deadline(20)).contains(target)
    assert rows(pair) == 140


def test_a_transaction_that_cannot_be_applied_is_named_and_the_rescue_refused(mariadb: Pair) -> None:
    receive(mariadb, count=10, applied=1)
    mariadb.a.kill()
    restart(mariadb)
    mariadb.b.open()
    mariadb.b.sql("SET sql_log_bin=0", "INSERT INTO test.t (id, n) SELECT MAX(id) + 2, 0 FROM test.t")
    mariadb.b.close()
    with pytest.raises(CouldNotDo, match=r"1-1-\d+.*could not be applied: 1062") as raised:
        rescue(mariadb.b.session(), Deadline(5))
    assert raised.value.refused
    session = mariadb.b.session()
    assert examine(session, Deadline(5)).count() == 10
    assert restore_gtid(session, Deadline(5)) and not restore_gtid(session, Deadline(5))
    assert mariadb.b.status()["Using_Gtid"] == "Slave_Pos"


def test_a_running_replication_is_left_running(pair: Pair) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    assert rescue(pair.b.session(), Deadline(5)) == has(pair, "a")
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()


def test_a_stopped_sql_thread_beside_a_running_io_thread_is_started(pair: Pair) -> None:
    pair.b.replica("STOP", "SQL_THREAD")
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 20)
    target, session = has(pair, "a"), pair.b.session()
    wait_until(lambda: look(session, Deadline(2))[1][0].applied is False, 10)
    wait_received(session, target, Deadline(10))
    pair.a.kill()
    assert rescue(pair.b.session(), Deadline(10)).contains(target)
    assert rows(pair) == 20


def test_a_relay_log_that_is_gone_is_told(mariadb: Pair) -> None:
    restart(mariadb)
    for file in (mariadb.b.directory / "data").glob("*relay-bin.0*"):
        file.unlink()
    with pytest.raises(CouldNotDo, match="can't be read") as raised:
        examine(mariadb.b.session(), Deadline(5))
    assert raised.value.refused


def test_what_several_sources_sent_out_of_order_is_applied_piece_by_piece(mariadb: Pair) -> None:
    """Transactions of two domains, one domain applied already, as appliers side by side leave them."""
    mariadb.b.replica("STOP", "SQL_THREAD")
    for domain in (1, 7, 1, 7, 1):
        mariadb.a.sql(f"SET gtid_domain_id={domain}", "INSERT INTO test.t (n) VALUES (1)")
    target = has(mariadb, "a")
    wait_until(lambda: set(mariadb.b.status()["Gtid_IO_Pos"].split(",")) >= {"7-1-2"}, 10)
    wait_until(lambda: not look(mariadb.b.session(), Deadline(2))[1][0].applied, 10)
    mariadb.a.kill()
    restart(mariadb)
    mariadb.b.open()
    for number in (1, 2):  # as if domain 7 had been applied
        mariadb.b.sql(
            "SET gtid_domain_id=7", "SET server_id=1", f"SET gtid_seq_no={number}", "INSERT INTO test.t (id, n)"
            f" VALUES ({number * 4 + 1000}, 0)",
        )  # fmt: skip
    mariadb.b.close()
    session = mariadb.b.session()
    assert examine(session, Deadline(5)).count() == 3
    assert rescue(session, Deadline(20)).contains(target)
    assert rows(mariadb) == 5


def test_a_channel_with_a_name_is_rescued_too(mariadb: Pair) -> None:
    mariadb.b.sql("STOP SLAVE", "RESET SLAVE ALL")
    point = (
        f"CHANGE MASTER 'it''s' TO MASTER_HOST='{mariadb.a.address}', MASTER_PORT={mariadb.a.port},"
        " MASTER_USER='vipguard_repl', MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos"
    )
    mariadb.b.sql(point, "START SLAVE 'it''s'")
    try:
        target = receive(mariadb, count=10, applied=3)
        mariadb.a.kill()
        restart(mariadb)
        assert rescue(mariadb.b.session(), Deadline(20)).contains(target)
        assert rows(mariadb) == 13
    finally:
        mariadb.b.sql("STOP SLAVE 'it''s'", "RESET SLAVE 'it''s' ALL")


def test_receiving_never_starts_without_gtid(mariadb: Pair) -> None:
    """An IO thread that follows by position would fetch anew what is here."""
    receive(mariadb, count=10, applied=1)
    restart(mariadb)
    file = mariadb.b.status()["Relay_Log_File"]
    mariadb.b.sql(f"CHANGE MASTER TO MASTER_USE_GTID=no, RELAY_LOG_FILE='{file}', RELAY_LOG_POS=4")
    session = mariadb.b.session()
    restore_gtid(session, Deadline(5))
    (channel,) = start_receiving(session, Deadline(5))
    assert channel.sql_running and mariadb.b.status()["Using_Gtid"] == "Slave_Pos"
    mariadb.wait_same()
