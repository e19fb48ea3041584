"""Giving a server another source, and fetching from a replica: nothing that was received is lost on the way."""

from __future__ import annotations

import pytest
from scratch import Pair

from vipguard.act.replication import look, start_receiving, start_replication, stop_receiving, wait_applied
from vipguard.act.source import fetch, point_at, set_aside
from vipguard.errors import CouldNotDo, Silent
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import Channel
from vipguard.model.gtid import GtidSet
from vipguard.session import Deadline

pytestmark = pytest.mark.lab

HOME, OTHER = "127.0.0.1", "127.1"  # two spellings of one server, to replication two sources


def channel_of(pair: Pair) -> Channel:
    (channel,) = look(pair.b.session(), Deadline(2))[1]
    return channel


def rows(pair: Pair) -> int:
    return int(pair.b.value("(SELECT COUNT(*) FROM test.t)"))


def test_it_follows_another_address_with_the_account_that_it_had(pair: Pair) -> None:
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    point_at(session, OTHER, pair.a.port, Deadline(5))
    channel = channel_of(pair)
    assert (channel.source_host, channel.io, channel.sql_running) == (OTHER, "stopped", True)
    assert channel.received is not None, "by GTID still"
    start_receiving(session, Deadline(2))
    wait_until(lambda: rows(pair) == 1, 10, lambda: str(pair.b.status()))


def test_a_server_that_still_receives_is_left_alone(pair: Pair) -> None:
    with pytest.raises(CouldNotDo, match="its IO thread runs"):
        point_at(pair.b.session(), OTHER, pair.a.port, Deadline(5))
    assert channel_of(pair).source_host == HOME


def test_a_stopped_applier_stays_stopped(pair: Pair) -> None:
    pair.b.replica("STOP")
    point_at(pair.b.session(), OTHER, pair.a.port, Deadline(5))
    channel = channel_of(pair)
    assert (channel.source_host, channel.sql_running) == (OTHER, False)


def test_what_was_received_is_applied_first_or_nothing_is_changed(pair: Pair) -> None:
    blocker = pair.b.connect()
    blocker.cursor().execute("LOCK TABLES test.t READ")
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    wait_until(lambda: channel_of(pair).applied is False, 10, lambda: str(pair.b.status()))
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    with pytest.raises(Silent):
        point_at(session, OTHER, pair.a.port, Deadline(0.5))
    assert channel_of(pair).source_host == HOME
    blocker.close()
    point_at(pair.b.session(), OTHER, pair.a.port, Deadline(10))
    assert channel_of(pair).source_host == OTHER and rows(pair) == 1


def test_what_another_has_is_fetched_and_the_old_source_is_followed_again(pair: Pair) -> None:
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 20)
    target = look(pair.a.session(), Deadline(2))[0].minus(look(session, Deadline(2))[0])
    assert not target.is_empty
    have = fetch(session, OTHER, HOME, pair.a.port, target, Deadline(10))
    assert have.contains(target) and rows(pair) == 20
    channel = channel_of(pair)
    assert (channel.source_host, channel.io, channel.sql_running) == (HOME, "stopped", True)


def test_a_fetch_that_was_broken_off_goes_on(pair: Pair) -> None:
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    target = look(pair.a.session(), Deadline(2))[0].minus(look(session, Deadline(2))[0])
    with pair.a.stopped(), pytest.raises(Silent):
        fetch(session, OTHER, HOME, pair.a.port, target, Deadline(1))
    assert fetch(pair.b.session(), OTHER, HOME, pair.a.port, target, Deadline(20)).contains(target)
    assert channel_of(pair).source_host == HOME


def test_what_the_other_does_not_send_is_refused_by_name(pair: Pair) -> None:
    session = pair.b.session()
    stop_receiving(session, Deadline(2))
    have = look(session, Deadline(2))[0]
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    target = look(pair.a.session(), Deadline(2))[0].minus(have)
    hosts = [row["Host"] for row in pair.a.sql("SELECT Host FROM mysql.user WHERE User = 'vipguard_repl'")]
    changed = [f"ALTER USER vipguard_repl@'{host}' ACCOUNT LOCK" for host in hosts]
    pair.a.sql("SET sql_log_bin = 0", *changed)
    try:
        with pytest.raises((CouldNotDo, Silent), match="receive"):
            fetch(session, OTHER, HOME, pair.a.port, target, Deadline(3))
    finally:
        pair.a.sql("SET sql_log_bin = 0", *(text.replace("LOCK", "UNLOCK") for text in changed))
    assert fetch(pair.b.session(), OTHER, HOME, pair.a.port, target, Deadline(20)).contains(target)


def received_and_unapplied(pair: Pair) -> GtidSet:
    """What a wrote, and b received with its SQL thread stopped."""
    pair.b.replica("STOP", "SQL_THREAD")
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    wait_until(lambda: channel_of(pair).applied is False, 10, lambda: str(pair.b.status()))
    own, (channel,) = look(pair.b.session(), Deadline(2))
    assert channel.received is not None
    return channel.received.minus(own)


def test_what_is_set_aside_is_received_again_only_from_the_source(pair: Pair) -> None:
    left = received_and_unapplied(pair)
    assert set_aside(pair.b.session(), left, Deadline(5))
    channel = channel_of(pair)
    assert (channel.io, channel.sql_running, channel.applied) == ("stopped", False, True)
    assert stop_receiving(pair.b.session(), Deadline(2)) and rows(pair) == 0
    wait_applied(pair.b.session(), Deadline(2))
    start_replication(pair.b.session(), Deadline(5))
    wait_until(lambda: rows(pair) == 1, 10, lambda: str(pair.b.status()))


def test_nothing_else_is_set_aside(pair: Pair) -> None:
    left = received_and_unapplied(pair)
    pair.a.sql("INSERT INTO test.t (n) VALUES (2)")
    wait_until(lambda: (channel_of(pair).received or left).minus(left).count() > 0, 10, lambda: str(pair.b.status()))
    before = channel_of(pair)
    assert not set_aside(pair.b.session(), left, Deadline(5))
    assert channel_of(pair).received == before.received
