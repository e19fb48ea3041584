"""The server probe: what it makes of healthy, ailing, hung and dead servers of either flavour."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_interface

import pytest
from lawful import in_time
from scratch import Pair, Server, took_s

from vipguard.lab.wait import wait_until
from vipguard.model.evidence import Answer, Channel, Order, ServerEvidence, ServerFacts
from vipguard.model.gtid import GtidSet
from vipguard.model.maintenance import Maintenance
from vipguard.model.reader import Reader
from vipguard.probe.server import ServerProbe
from vipguard.session import Connector, Deadline, Tls, boottime_s

pytestmark = pytest.mark.lab


def probe_of(
    pair: Pair, server: Server, *, peer: bool = False, cluster: str = "scratch", **more: str
) -> ServerProbe:
    mysql = server.mysql(**more)
    connect = Connector.peer(server.address, mysql, Tls.of(mysql)) if peer else Connector.local(mysql)
    return ServerProbe(connect, replace(pair.policy, cluster=cluster))


def facts_of(evidence: ServerEvidence) -> ServerFacts:
    assert evidence.facts is not None, evidence
    return evidence.facts


def channel_of(evidence: ServerEvidence) -> Channel:
    channels = facts_of(evidence).channels
    assert channels is not None
    assert len(channels) == 1
    return channels[0]


def look(probe: ServerProbe, within_s: float = 2.0) -> ServerEvidence:
    return probe.look(within_s, boottime_s)


@pytest.mark.parametrize("peer", [False, True])
def test_a_healthy_replica_tells_everything(pair: Pair, peer: bool) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()
    evidence = look(probe_of(pair, pair.b, peer=peer))
    facts, channel = facts_of(evidence), channel_of(evidence)
    assert evidence.answer is Answer.ANSWERED
    assert 0 < evidence.seen_at_s - evidence.asked_at_s < 2
    assert facts.flavor == pair.flavor
    assert facts.closed
    assert facts.server_id == 2
    assert facts.order == (Order(domain=2, strict=True, parallel=False) if pair.flavor == "mariadb" else None)
    assert facts.version[0].isdigit()
    assert facts.datadir.startswith(str(pair.b.directory))
    assert bool(facts.uuid) is (pair.flavor == "mysql")
    assert (facts.process is None) is peer
    assert facts.epoch is facts.open_lock is facts.claim_lock is facts.other_cluster is None
    assert (channel.io, channel.sql_running, channel.applied) == ("running", True, True)
    assert channel.lag_s is not None
    assert channel.lag_s <= 2
    assert (channel.source_host, channel.source_port) == (pair.a.address, pair.a.port)
    assert channel.received is not None
    assert facts.gtid.contains(channel.received)
    assert not channel.received.is_empty


def test_writer_and_replica_have_the_same_set_once_it_is_applied(pair: Pair) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)", "INSERT INTO test.t (n) VALUES (2)")
    pair.wait_same()
    mine, theirs = (facts_of(look(probe_of(pair, server))).gtid for server in pair.servers)
    assert mine == theirs
    pair.b.replica("STOP")
    pair.a.sql("INSERT INTO test.t (n) VALUES (3)")
    mine, theirs = (facts_of(look(probe_of(pair, server))).gtid for server in pair.servers)
    assert mine.minus(theirs).count() == 1
    assert not theirs.contains(mine)


def test_its_session_is_kept_and_a_round_without_channels_says_so(pair: Pair) -> None:
    probe = probe_of(pair, pair.b)
    first = facts_of(look(probe))
    second = facts_of(probe.look(1, boottime_s, channels=False))
    assert first.connection_id == second.connection_id == probe.connection_id
    assert second.channels is None
    assert probe.fileno() >= 0
    probe.close()
    assert probe.fileno() == -1


def test_locks_and_epoch_are_seen(pair: Pair) -> None:
    holder = pair.a.session()
    policy = pair.policy
    for lock in (policy.claim_lock, policy.open_lock):
        holder.query("SELECT GET_LOCK(%s, 0)", (lock,), deadline=Deadline(1))
    pair.a.sql("INSERT INTO vipguard.epoch VALUES ('scratch', 7, 'a', 'boot', NOW(6))")
    facts = facts_of(look(probe_of(pair, pair.a)))
    assert facts.claim_lock == facts.open_lock == holder.connection_id
    assert facts.epoch is not None
    assert (facts.epoch.epoch, facts.epoch.node, facts.epoch.boot_id) == (7, "a", "boot")
    assert not facts.closed


def test_a_probe_that_signs_holds_the_lock_takes_it_again_on_a_new_session_and_gives_it_back(pair: Pair) -> None:
    """Even the guard's own close ends such a session now and then."""
    policy, signs = pair.policy, [("vipguard.agent.scratch", pair.policy.fit_lock)]
    agent = ServerProbe(pair.a.connector(), policy, lambda: signs[0])
    peer = probe_of(pair, pair.a)
    assert facts_of(look(peer)).fit_lock is None
    assert facts_of(look(agent)).fit_lock == facts_of(look(peer)).fit_lock == agent.connection_id
    first = agent.connection_id
    pair.a.sql(f"KILL {first}")
    assert facts_of(look(agent)).fit_lock == facts_of(look(peer)).fit_lock == agent.connection_id != first
    signs[0] = signs[0][:1]
    assert facts_of(look(agent)).fit_lock is facts_of(look(peer)).fit_lock is None
    signs[0] = (*signs[0], policy.fit_lock)
    assert facts_of(look(agent)).fit_lock == agent.connection_id
    agent.close()


def test_the_reader_addresses_that_an_agent_may_be_given_are_seen_by_its_locks(pair: Pair) -> None:
    readers = tuple(
        Reader(name, ip_interface(f"10.73.0.10{number}/24"), "eth0", 100 + number, ("a", "b"))
        for number, name in enumerate(("one", "two"))
    )
    policy = replace(pair.policy, readers=readers)
    signs = [(policy.read_lock("two"),)]
    agent = ServerProbe(pair.a.connector(), policy, lambda: signs[0])
    peer = ServerProbe(pair.a.connector(), policy)
    assert facts_of(look(peer)).reads == frozenset()
    assert facts_of(look(agent)).reads == facts_of(look(peer)).reads == {"two"}
    signs[0] = tuple(policy.read_lock(reader.name) for reader in readers)
    assert facts_of(look(agent)).reads == facts_of(look(peer)).reads == {"one", "two"}
    agent.close()
    wait_until(lambda: facts_of(look(peer)).reads == frozenset(), 5, lambda: "the locks to go with the session")
    peer.close()


def test_the_operators_rows_in_force_are_told_and_others_not(pair: Pair) -> None:
    soon = int(time.time()) + 3600
    pair.a.sql(
        "INSERT INTO vipguard.maintenance VALUES"
        f" ('scratch', 'a', 1700000000, {soon}, 'neue Platte (\u00e4)'), ('scratch', '*', 1700000001, NULL, ''),"
        " ('scratch', 'b', 1700000000, 1700000002, 'over'), ('other', 'c', 1700000000, NULL, 'foreign')"
    )
    found = facts_of(look(probe_of(pair, pair.a))).maintenance
    assert found == (
        Maintenance("*", 1700000001, None, ""),
        Maintenance("a", 1700000000, soon, "neue Platte (\u00e4)"),
    )
    pair.a.sql("DELETE FROM vipguard.maintenance")
    assert facts_of(look(probe_of(pair, pair.a))).maintenance == ()


def test_a_long_list_of_the_operators_rows_loses_words_of_reasons_only(pair: Pair) -> None:
    """MySQL cuts such a list at group_concat_max_len, 1024 bytes by default."""
    rows = ", ".join(f"('scratch', 'n{n}', 1700000000, NULL, REPEAT('\u00fc', 100))" for n in range(4))
    pair.a.sql(f"INSERT INTO vipguard.maintenance VALUES {rows}")
    found = facts_of(look(probe_of(pair, pair.a))).maintenance
    assert [row.node for row in found] == ["n0", "n1", "n2", "n3"]


def test_an_ordered_move_is_told_while_its_session_lasts(pair: Pair) -> None:
    one = probe_of(pair, pair.a)
    assert facts_of(look(one)).moving_to is None
    target = pair.policy.nodes[1].name
    session = pair.a.session()
    session.query("SELECT GET_LOCK(%s, 0)", (pair.policy.move_lock(target),), deadline=Deadline(1))
    assert facts_of(look(one)).moving_to == target
    session.close()
    wait_until(lambda: facts_of(look(one)).moving_to is None, 5)


def test_a_foreign_cluster_is_named_only_while_our_row_is_missing(pair: Pair) -> None:
    pair.a.sql("INSERT INTO vipguard.epoch VALUES ('other', 7, 'a', 'boot', NOW(6))")
    assert facts_of(look(probe_of(pair, pair.a))).other_cluster == "other"
    pair.a.sql("INSERT INTO vipguard.epoch VALUES ('scratch', 1, 'a', 'boot', NOW(6))")
    assert facts_of(look(probe_of(pair, pair.a))).other_cluster is None


def test_a_killed_session_is_replaced_within_the_round(pair: Pair) -> None:
    probe = probe_of(pair, pair.b)
    first = facts_of(look(probe)).connection_id
    pair.b.sql(f"KILL {first}")
    assert facts_of(look(probe)).connection_id != first


@pytest.mark.parametrize("peer", [False, True])
def test_hung_is_silent_dead_is_absent_and_back_is_answered(pair: Pair, peer: bool) -> None:
    probe = probe_of(pair, pair.b, peer=peer)
    look(probe)
    with pair.b.stopped():
        for _ in range(3):
            started = time.monotonic()
            assert look(probe, 0.1).answer is Answer.SILENT
            in_time(took_s(started), 0.6)
    assert look(probe, 5).answer is Answer.ANSWERED
    pair.b.kill()
    evidence = look(probe)
    assert evidence.answer is Answer.ABSENT, evidence
    assert evidence.facts is None
    assert "nobody listens" in evidence.reason
    pair.b.start()
    assert look(probe).answer is Answer.ANSWERED


def test_a_wrong_password_is_blind(pair: Pair) -> None:
    evidence = look(probe_of(pair, pair.b, password="wrong"))
    assert evidence.answer is Answer.BLIND
    assert "password" in evidence.reason


@pytest.mark.parametrize("damage", ["DROP TABLE vipguard.epoch", "DROP DATABASE vipguard"])
def test_a_missing_epoch_table_is_blind_and_says_what_to_run(pair: Pair, damage: str) -> None:
    probe = probe_of(pair, pair.a)
    assert look(probe).answered
    pair.a.sql(damage)
    evidence = look(probe)
    assert evidence.answer is Answer.BLIND
    assert "vipguard render accounts" in evidence.reason


def test_a_revoked_grant_is_blind_and_says_what_to_run(pair: Pair) -> None:
    pair.a.sql("REVOKE SELECT ON vipguard.* FROM 'vipguard'@'localhost'")
    evidence = look(probe_of(pair, pair.a))
    assert evidence.answer is Answer.BLIND
    assert "vipguard render accounts" in evidence.reason


def test_an_old_epoch_table_is_blind(pair: Pair) -> None:
    pair.a.sql("ALTER TABLE vipguard.epoch DROP COLUMN boot_id")
    assert look(probe_of(pair, pair.a)).answer is Answer.BLIND


def test_no_free_connection_is_blind(pair: Pair) -> None:
    pair.b.sql("SET GLOBAL max_connections=10")
    held = []
    try:
        with pytest.raises(Exception, match=r"[Tt]oo many connections"):
            while True:
                held.append(pair.b.connect())
        evidence = look(probe_of(pair, pair.b))
        assert evidence.answer is Answer.BLIND
        assert "max_connections" in evidence.reason
    finally:
        for connection in held:
            connection.close()
        wait_until(lambda: pair.b.sql("SET GLOBAL max_connections=60") == [], 10)


def test_a_round_that_the_prober_itself_was_late_for_is_blind(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_of(pair, pair.b)
    look(probe)
    with pair.b.stopped():
        ask = probe._session.ask  # type: ignore[union-attr]

        def late(*args: object) -> object:
            time.sleep(0.4)
            return ask(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(probe._session, "ask", late)
        evidence = look(probe, 0.1)
    assert evidence.answer is Answer.BLIND
    assert "late" in evidence.reason


def test_an_answer_that_lies_there_is_taken_however_late_it_is_read(pair: Pair) -> None:
    session = pair.b.session()
    deadline = Deadline(0.05)
    session._wire.deadline = deadline
    session._wire._send([b"SELECT 1"])
    time.sleep(0.2)
    assert session._wire._result_rows(b"SELECT 1") == [[b"1"]]


def stop_both(pair: Pair) -> None:
    pair.b.replica("STOP")


def stop_io(pair: Pair) -> None:
    pair.b.replica("STOP", "IO_THREAD")


def stop_sql(pair: Pair) -> None:
    pair.b.replica("STOP", "SQL_THREAD")


def kill_source(pair: Pair) -> None:
    pair.a.kill()
    wait_until(lambda: pair.b.status()["Replica_IO_Running"] == "Connecting", 10)


@pytest.mark.parametrize(
    ("ailment", "io", "sql_running"),
    [
        (stop_both, "stopped", False),
        (stop_io, "stopped", True),
        (stop_sql, "running", False),
        (kill_source, "connecting", True),
    ],
)
def test_lag_is_not_observed_unless_both_threads_run(
    pair: Pair, ailment: object, io: str, sql_running: bool
) -> None:
    ailment(pair)  # type: ignore[operator]
    channel = channel_of(look(probe_of(pair, pair.b)))
    assert (channel.io, channel.sql_running, channel.lag_s) == (io, sql_running, None)


def test_received_and_not_applied_is_told(pair: Pair) -> None:
    pair.b.replica("STOP", "SQL_THREAD")
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    probe = probe_of(pair, pair.b)
    wait_until(lambda: channel_of(look(probe)).applied is False, 10, lambda: str(look(probe)))
    pair.b.replica("START", "SQL_THREAD")
    wait_until(lambda: channel_of(look(probe)).applied is True, 10, lambda: str(look(probe)))


def test_own_transactions_that_come_back_round_the_ring_count_as_applied(pair: Pair) -> None:
    """The writer hears its own transactions from its replica and leaves them out: nothing is waiting there."""
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)", "INSERT INTO test.t (n) VALUES (2)")
    pair.wait_same()
    probe = probe_of(pair, pair.a)
    wait_until(lambda: channel_of(look(probe)).applied is True, 10, lambda: str(look(probe)))


def test_a_conflict_stops_the_sql_thread_and_its_error_is_told(pair: Pair) -> None:
    pair.b.open()
    pair.b.sql("SET sql_log_bin=0", "INSERT INTO test.t (id, n) VALUES (1, 1)")
    pair.a.sql("INSERT INTO test.t (id, n) VALUES (1, 2)")
    probe = probe_of(pair, pair.b)
    wait_until(lambda: not channel_of(look(probe)).sql_running, 10)
    channel = channel_of(look(probe))
    assert channel.sql_errno == 1062
    assert channel.sql_error
    assert channel.applied is False


def test_no_replication_is_no_channel(pair: Pair) -> None:
    pair.b.replica("STOP")
    pair.b.sql("RESET SLAVE ALL" if pair.flavor == "mariadb" else "RESET REPLICA ALL")
    assert facts_of(look(probe_of(pair, pair.b))).channels == ()


def test_replication_without_gtid_is_not_called_applied(pair: Pair) -> None:
    pair.b.replica("STOP")
    if pair.flavor == "mariadb":
        pair.b.sql("CHANGE MASTER TO MASTER_USE_GTID=no")
    else:
        pair.b.sql("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=0")
    channel = channel_of(look(probe_of(pair, pair.b)))
    assert channel.received is channel.applied is None


def test_every_channel_is_told(pair: Pair) -> None:
    place = "HOST='127.0.0.1', {}_PORT=1"
    if pair.flavor == "mariadb":
        pair.b.sql(f"CHANGE MASTER 'second' TO MASTER_{place.format('MASTER')}, MASTER_USE_GTID=slave_pos")
    else:
        pair.b.sql(f"CHANGE REPLICATION SOURCE TO SOURCE_{place.format('SOURCE')} FOR CHANNEL 'second'")
    try:
        channels = facts_of(look(probe_of(pair, pair.b))).channels
        assert channels is not None
        assert {channel.name for channel in channels} == {"", "second"}
        second = next(channel for channel in channels if channel.name)
        assert (second.io, second.sql_running, second.source_port) == ("stopped", False, 1)
    finally:
        pair.b.sql(
            "RESET SLAVE 'second' ALL"
            if pair.flavor == "mariadb"
            else "RESET REPLICA ALL FOR CHANNEL 'second'"
        )


def test_an_empty_server_has_the_empty_set(pair: Pair) -> None:
    pair.b.replica("STOP")
    pair.b.open()
    reset = ["RESET SLAVE ALL", "RESET MASTER", "SET GLOBAL gtid_slave_pos=''"]
    pair.b.sql(*(reset if pair.flavor == "mariadb" else ["RESET BINARY LOGS AND GTIDS"]))
    assert facts_of(look(probe_of(pair, pair.b))).gtid == GtidSet.empty(pair.flavor)
