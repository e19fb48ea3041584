"""An agent's word that its server is gone: a lock on a peer's server, which counts only while it is said again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from healthy import POLICY
from scratch import Pair, Server

from vipguard.lab.wait import wait_until
from vipguard.model.policy import Policy
from vipguard.model.silence import word_s
from vipguard.probe.gone import ask
from vipguard.probe.server import ServerProbe
from vipguard.session import Deadline, boottime_s

pytestmark = pytest.mark.lab


def policy(server: Server) -> Policy:
    return replace(POLICY, mysql=server.mysql())


def heard(server: Server) -> frozenset[str]:
    with closing(server.session()) as session:
        return ask(session, policy(server), ("db1", "db2"), Deadline(2.0))


@contextmanager
def saying(server: Server) -> Iterator[ServerProbe]:
    """The agent of db2 looks at `server`, and says with each look that its own is gone."""
    told = policy(server)
    probe = ServerProbe(server.connector(), told, lambda: (told.gone_lock("db2"),), word_s(told))
    seen = probe.look(2.0, boottime_s, channels=False)
    assert seen.facts is not None, seen
    try:
        yield probe
    finally:
        probe.close()


def test_it_is_heard_at_once_and_in_the_round_of_questions_too(pair: Pair) -> None:
    assert heard(pair.a) == frozenset()
    with saying(pair.a) as probe:
        assert heard(pair.a) == {"db2"}
        seen = probe.look(2.0, boottime_s, channels=False)
        assert seen.facts is not None and seen.facts.gone == {"db2"}
    wait_until(lambda: heard(pair.a) == frozenset(), 3, lambda: "it to end with its session")


def test_it_is_gone_soon_after_nobody_says_it_any_more(pair: Pair) -> None:
    """Its host was cut off just then: nothing tells the server that the session is over."""
    with saying(pair.a):
        wait_until(lambda: heard(pair.a) == frozenset(), 4, lambda: "the word to be too old")


def test_a_lock_of_that_name_by_anybody_else_says_nothing(pair: Pair) -> None:
    server = pair.a
    with closing(server.connect()) as other:
        cursor = other.cursor()
        cursor.execute(f"SELECT GET_LOCK('{POLICY.gone_lock('db2')}', 0)")
        assert heard(server) == frozenset(), "not of vipguard's account"
