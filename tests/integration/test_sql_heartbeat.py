"""The heartbeat on real servers: what it writes, what a replica makes of it, and that it writes nothing when closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from lawful import in_time
from scratch import Pair, Server, took_s

from vipguard.act.heartbeat import Beater
from vipguard.act.server import Opener, close_server
from vipguard.errors import CouldNotDo, VipguardError
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import ServerFacts
from vipguard.model.heartbeat import lag_s
from vipguard.probe.server import ServerProbe
from vipguard.session import Deadline, boottime_s

pytestmark = pytest.mark.lab
EVERY_S = 0.5


@dataclass
class Beating:
    """a is open by right: `opener` holds its open lock."""

    pair: Pair
    opener: Opener
    beater: Beater

    def beat(self, within_s: float = 1.0, deadline_s: float = 2.0) -> None:
        self.beater.beat(self.pair.policy, self.opener.connection_id, within_s, Deadline(deadline_s))

    def beat_in_vain(self) -> None:
        """A close has ended its session, and MySQL refuses the statement on a closed server; MariaDB looks at it."""
        with suppress(VipguardError):
            self.beat()

    @property
    def rows(self) -> int:
        return int(self.pair.a.sql("SELECT COUNT(*) AS n FROM vipguard.heartbeat")[0]["n"])


@pytest.fixture
def beating(pair: Pair) -> Iterator[Beating]:
    opener = Opener.prepare(pair.a.connector(), pair.policy.open_lock, Deadline(2))
    yield Beating(pair, opener, Beater(pair.a.connector()))


def close(server: Server, deadline_s: float = 0.2) -> None:
    close_server(server.connector(), frozenset(), deadline_s)


def gtid(server: Server) -> str:
    name = "@@global.gtid_executed" if server.flavor == "mysql" else "@@global.gtid_binlog_pos"
    return str(server.value(name))


def facts(pair: Pair, server: Server) -> ServerFacts:
    probe = ServerProbe(server.connector(), pair.policy)
    try:
        seen = probe.look(5.0, boottime_s)
        assert seen.facts is not None, seen.reason
        return seen.facts
    finally:
        probe.close()


def lag(pair: Pair) -> float | None:
    writer = facts(pair, pair.a)
    return lag_s(writer.server_id, writer.beats, facts(pair, pair.b).beats, EVERY_S)


def test_each_beat_is_one_transaction_that_the_replica_gets(beating: Beating) -> None:
    pair = beating.pair
    assert facts(pair, pair.a).beats is not None
    assert lag(pair) is None, "nobody has beaten yet"
    beating.beat()
    first = facts(pair, pair.a)
    assert first.beats is not None
    (row,) = first.beats.rows
    assert (row.server_id, row.since_us) == (first.server_id, row.beat_us)
    assert abs(row.beat_us / 1e6 - time.time()) < 5
    assert 0 <= first.beats.clock_us - row.beat_us < 5e6
    wait_until(lambda: lag(pair) == 0.0, 5)
    before = first.gtid
    beating.beat()
    second = facts(pair, pair.a)
    assert second.gtid.minus(before).count() == 1
    assert second.beats is not None
    assert second.beats.rows[0].beat_us > row.beat_us
    assert second.beats.rows[0].since_us == row.since_us


def test_a_stopped_applier_is_as_far_behind_as_the_writer_has_beaten_since(beating: Beating) -> None:
    pair = beating.pair
    beating.beat()
    wait_until(lambda: lag(pair) == 0.0, 5)
    pair.b.replica("STOP", "SQL_THREAD")
    for _ in range(4):
        time.sleep(0.2)
        beating.beat()
    measured = lag(pair)
    assert measured is not None
    assert 0.8 <= measured < 5
    pair.b.replica("START", "SQL_THREAD")
    wait_until(lambda: lag(pair) == 0.0, 10)


def test_a_writer_that_begins_anew_begins_a_new_series(beating: Beating) -> None:
    """What a replica has of an old one says nothing of now; that it has nothing of the new one does."""
    pair = beating.pair
    beating.beat()
    long_ago = "UPDATE vipguard.heartbeat SET beat_at = beat_at - INTERVAL 1 DAY, since_at = since_at - INTERVAL 1 DAY"
    pair.a.sql(long_ago)
    assert lag(pair) is None, "a beat of yesterday is none"
    beats = "SELECT beat_at FROM vipguard.heartbeat"
    wait_until(lambda: pair.b.sql(beats) == pair.a.sql(beats), 5)
    pair.b.replica("STOP", "SQL_THREAD")
    beating.beat()
    assert lag(pair) == 0.0
    time.sleep(0.3)
    beating.beat()
    assert 0.3 <= (lag(pair) or 0.0) < 5
    pair.b.replica("START", "SQL_THREAD")
    wait_until(lambda: lag(pair) == 0.0, 10)


def test_a_beat_after_the_close_writes_nothing(beating: Beating) -> None:
    pair = beating.pair
    beating.beat()
    close(pair.a)
    final = gtid(pair.a)
    beating.beat_in_vain()
    beating.beat_in_vain()
    assert gtid(pair.a) == final
    beating.opener = Opener.prepare(pair.a.connector(), pair.policy.open_lock, Deadline(2))
    beating.beat_in_vain()
    assert gtid(pair.a) == final, "with the lock held, the closed server alone forbids it"


def test_a_beat_without_the_lock_or_too_late_writes_nothing(beating: Beating) -> None:
    pair = beating.pair
    final = gtid(pair.a)
    beating.beat(within_s=-0.001)
    beating.opener.close()
    wait_until(lambda: pair.a.value(f"IS_USED_LOCK('{pair.policy.open_lock}')") is None, 5)
    beating.beat()
    other = pair.a.session()
    other.ask((f"SELECT GET_LOCK('{pair.policy.open_lock}', 0)",), Deadline(2))
    beating.beat()
    assert gtid(pair.a) == final
    assert beating.rows == 0


def test_a_beat_that_hangs_ends_with_the_close_and_holds_it_up_no_longer(beating: Beating) -> None:
    pair = beating.pair
    beating.beat()
    locker = pair.a.connect()
    cursor = locker.cursor()
    cursor.execute("BEGIN")
    cursor.execute("SELECT * FROM vipguard.heartbeat FOR UPDATE")
    failed: list[Exception] = []

    def beat() -> None:
        try:
            beating.beat(within_s=0.5)
        except VipguardError as exc:
            failed.append(exc)

    thread = threading.Thread(target=beat)
    thread.start()
    wait_until(lambda: "INSERT INTO vipguard.heartbeat" in str(pair.a.sql("SHOW FULL PROCESSLIST")), 2)
    began_s = time.monotonic()
    close(pair.a)
    in_time(took_s(began_s), 0.25)
    thread.join(3)
    assert len(failed) == 1
    locker.close()
    final = gtid(pair.a)
    time.sleep(0.1)
    assert gtid(pair.a) == final


def test_no_beat_comes_through_after_a_close_however_they_meet(beating: Beating) -> None:
    pair, stop, sent = beating.pair, threading.Event(), 0

    def beat() -> None:
        nonlocal sent
        while not stop.is_set():
            beating.beat_in_vain()
            sent += 1

    threads = [threading.Thread(target=beat)]
    threads[0].start()
    try:
        for _ in range(15):
            before = sent
            wait_until(lambda: sent > before + 2, 5)  # noqa: B023
            close(pair.a)
            final = gtid(pair.a)
            before = sent
            wait_until(lambda: sent > before + 2, 5)  # noqa: B023
            assert gtid(pair.a) == final
            pair.a.open()
            beating.opener = Opener.prepare(pair.a.connector(), pair.policy.open_lock, Deadline(2))
    finally:
        stop.set()
        threads[0].join(5)


def test_a_server_without_the_table_is_seen_all_the_same(beating: Beating) -> None:
    """As after an upgrade, until the accounts' text was run again."""
    pair = beating.pair
    table = pair.a.sql("SHOW CREATE TABLE vipguard.heartbeat")[0]["Create Table"]
    pair.a.sql("SET sql_log_bin=0", "DROP TABLE vipguard.heartbeat")
    probe = ServerProbe(pair.a.connector(), pair.policy)
    seen = probe.look(5.0, boottime_s).facts
    assert seen is not None
    assert seen.beats is None
    pair.a.sql("SET sql_log_bin=0", "USE vipguard", table)
    seen = probe.look(5.0, boottime_s).facts
    assert seen is not None
    assert seen.beats is not None
    probe.close()


def test_where_the_row_would_not_reach_a_replica_none_is_written(beating: Beating) -> None:
    pair = beating.pair
    before = pair.a.value("@@global.binlog_format")
    pair.a.replica("STOP", "SQL_THREAD")  # MySQL changes it only then
    pair.a.sql("SET GLOBAL binlog_format = 'STATEMENT'")
    try:
        with pytest.raises(CouldNotDo, match="STATEMENT") as raised:
            beating.beat()
        assert raised.value.refused
        assert beating.rows == 0
    finally:
        pair.a.sql(f"SET GLOBAL binlog_format = '{before}'")
