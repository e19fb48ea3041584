"""Semi-sync on real servers: seen by the probe, switched, marked, and closed with commits that wait."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import healthy
import pytest
from lawful import in_time
from scratch import Pair, Server
from waiting import FOR_EVER_MS, PLUGINS, Waiting, install, semi_sync, status, switch, words

from vipguard.act.semi_sync import mute, set_source, write_mark
from vipguard.act.server import close_server
from vipguard.errors import CouldNotDo, Silent
from vipguard.lab.wait import wait_until
from vipguard.model.effect import Care
from vipguard.model.evidence import Mark, ServerFacts
from vipguard.probe.server import ServerProbe
from vipguard.session import Deadline

pytestmark = pytest.mark.lab
LOSSLESS = replace(healthy.POLICY, cluster="scratch", durability="lossless")


def probe(server: Server) -> ServerProbe:
    return ServerProbe(server.connector(), LOSSLESS)


def look(server: Server, one: ServerProbe | None = None) -> ServerFacts:
    seen = (one or probe(server)).look(5.0, time.monotonic)
    assert seen.facts is not None, seen.reason
    return seen.facts


def close(server: Server, care: Care, deadline_s: float = 1.0) -> None:
    close_server(server.connector(), frozenset(), deadline_s, care)


def test_the_probe_tells_both_sides_of_semi_sync(pair: Pair) -> None:
    with semi_sync(pair):
        pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
        a, b = look(pair.a).semi_sync, look(pair.b).semi_sync
        assert a is not None and b is not None
        assert (a.source_enabled, a.source_on, a.clients, a.waiting) == (True, True, 1, 0) and a.acked >= 1
        assert (b.source_enabled, b.replica_enabled, b.replica_on) == (False, True, True)
        commit = Waiting(pair)
        a, b = look(pair.a).semi_sync, look(pair.b).semi_sync
        assert a is not None and b is not None and (a.waiting, a.acked >= 1, b.replica_on) == (1, True, False)
        commit.end()
        switch(pair.a, False)
        a = look(pair.a).semi_sync
        assert a is not None and not a.source_enabled and not a.source_on


def test_a_replica_is_muted_and_goes_on_receiving(pair: Pair) -> None:
    """The writer must not count what it says any more, at once: the IO thread begins anew."""
    with semi_sync(pair):
        pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
        pair.wait_same()
        with closing(pair.b.session()) as session:
            mute(session, Deadline(5))
        b = look(pair.b).semi_sync
        assert b is not None and (b.replica_enabled, b.replica_on) == (False, False)
        switch(pair.a, False)
        pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
        pair.wait_same()


def test_a_mysql_without_the_plugins_is_seen_and_so_is_their_coming(mysql: Pair) -> None:
    for row in mysql.a.sql(PLUGINS):
        mysql.a.sql(f"UNINSTALL PLUGIN {row['PLUGIN_NAME']}")
    with closing(probe(mysql.a)) as one:
        assert look(mysql.a, one).semi_sync is None and look(mysql.a, one).channels
        install(mysql.a)
        assert look(mysql.a, one).semi_sync is None, "this round only learned that it is there"
        assert look(mysql.a, one).semi_sync is not None


def test_without_lossless_nothing_of_it_is_asked(pair: Pair) -> None:
    facts = look(pair.a, ServerProbe(pair.a.connector(), replace(LOSSLESS, durability="async")))
    assert facts.semi_sync is None and facts.mark is None


def test_the_source_is_switched_and_the_mark_reaches_the_replica(pair: Pair) -> None:
    with semi_sync(pair), closing(pair.a.session()) as session:
        set_source(session, False, Deadline(2))
        assert status(pair.a)["source_status"] == "OFF"
        source, replica = words(pair.a)
        pair.a.sql(
            f"SET GLOBAL rpl_semi_sync_{source}_timeout=10",
            f"SET GLOBAL rpl_semi_sync_{source}_wait_no_{replica}=0",
            f"SET GLOBAL rpl_semi_sync_{source}_wait_point=AFTER_COMMIT",
        )
        set_source(session, True, Deadline(2))
        set_source(session, True, Deadline(2))
        assert pair.a.value(f"@@global.rpl_semi_sync_{source}_timeout") == FOR_EVER_MS
        assert pair.a.value(f"@@global.rpl_semi_sync_{source}_wait_no_{replica}") == 1
        assert pair.a.value(f"@@global.rpl_semi_sync_{source}_wait_point") == "AFTER_SYNC"
        mark = Mark(7, 3, on=True)
        write_mark(session, "scratch", mark, Deadline(2))
        assert look(pair.a).mark == mark
        wait_until(lambda: look(pair.b).mark == mark, 5)
        write_mark(session, "scratch", Mark(7, 4, on=False), Deadline(2))
        assert look(pair.a).mark == Mark(7, 4, on=False)


def test_a_mark_that_no_replica_takes_is_given_up_in_time(pair: Pair) -> None:
    with semi_sync(pair), closing(pair.a.session()) as session:
        commit = Waiting(pair)
        with pytest.raises(Silent):
            write_mark(session, "scratch", Mark(1, 1, on=True), Deadline(0.5))
        commit.end()


def test_a_strict_close_of_a_server_with_a_waiting_commit_fails_at_once_and_touches_nobody(
    pair: Pair,
) -> None:
    with semi_sync(pair):
        commit = Waiting(pair)
        started = time.monotonic()
        with pytest.raises(CouldNotDo, match="wait for a replica"):
            close(pair.a, Care.STRICT, 2.0)
        in_time(time.monotonic() - started, 0.5)
        time.sleep(0.2)
        assert commit.acknowledged is None and commit.waits and not commit.exposed
        commit.end()


def test_a_sparing_close_ends_what_else_blocks_and_leaves_the_waiting_commit_alone(pair: Pair) -> None:
    with semi_sync(pair):
        commit = Waiting(pair)
        locker = pair.a.connect(user="app", password="app")
        with pytest.raises((CouldNotDo, Silent)):
            close(pair.a, Care.SPARE)
        time.sleep(0.2)
        assert commit.acknowledged is None and commit.waits and not commit.exposed
        assert not locker_lives(pair.a, locker.thread_id())
        assert look(pair.a).closed is False, "a SET that was given up must not look like a closed server"
        commit.end()
        assert commit.acknowledged is True


def locker_lives(server: Server, number: int) -> bool:
    return any(row["Id"] == number for row in server.sql("SHOW PROCESSLIST"))


@pytest.mark.parametrize("care", [Care.SPARE, Care.STRICT])
def test_a_close_with_nothing_waiting_is_a_close_like_any_other(pair: Pair, care: Care) -> None:
    with semi_sync(pair):
        pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
        client = pair.a.connect()
        close(pair.a, care)
        assert look(pair.a).closed and not locker_lives(pair.a, client.thread_id())
        pair.a.open()


def test_a_sparing_close_comes_through_when_the_replica_answers(pair: Pair) -> None:
    """As at a handover under load."""
    with semi_sync(pair):
        commit = Waiting(pair)
        pair.b.replica("START", "IO_THREAD")
        close(pair.a, Care.SPARE, 3.0)
        commit.thread.join(5)
        assert commit.acknowledged is True and look(pair.a).closed
        pair.a.open()
        commit.end()
