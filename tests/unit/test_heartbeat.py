"""The heartbeat, rule by rule: what lag it tells, what rests on it, and when the writer beats at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import core
import healthy
import pytest
from core import PEER_FACTS, Core
from healthy import CHANNEL, STANDBY, last_seen, with_channel, without_source
from hypothesis import given
from hypothesis import strategies as st

from vipguard.agent import heartbeat as deciding
from vipguard.checks import lag, move, writer
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, DiskEvidence, SemiSync, ServerFacts
from vipguard.model.gtid import GtidSet
from vipguard.model.heartbeat import Beats, Behind, Row, lag_s
from vipguard.model.policy import Node, Policy
from vipguard.model.sight import Sight
from vipguard.model.verdict import Eligibility
from vipguard.session import heartbeat as words

S = 1_000_000
EVERY_S = 0.5
AHEAD = GtidSet.parse("mariadb", "1-1-5,2-2-80")  # of db2; db1 has up to 2-2-70
WRITERS = Beats(100 * S, (Row(2, 100 * S, 10 * S),))


def rows(*found: Row, clock_s: int = 5000) -> Beats:
    return Beats(clock_s * S, found)


@pytest.mark.parametrize(
    ("what", "writers", "replicas", "expected"),
    [
        ("the same row", WRITERS, rows(Row(2, 100 * S, 10 * S)), 0.0),
        ("seven seconds of beats are missing", WRITERS, rows(Row(2, 93 * S, 10 * S)), 7.0),
        ("the replica was asked a little later", WRITERS, rows(Row(2, 101 * S, 10 * S)), 0.0),
        ("the row is of a series of yesterday", WRITERS, rows(Row(2, -90000 * S, -99000 * S)), 90.0),
        ("it never had a row", WRITERS, rows(), 90.0),
        ("it has only another writer's", WRITERS, rows(Row(1, 100 * S, 10 * S)), 90.0),
        ("a newer series, or the writer's clock set back", WRITERS, rows(Row(2, 200 * S, 190 * S)), None),
        ("the writer's row is old by its own clock", replace(WRITERS, clock_us=103 * S), rows(), None),
        (
            "the writer beat a moment ago",
            replace(WRITERS, clock_us=102 * S),
            rows(Row(2, 100 * S, 10 * S)),
            0.0,
        ),
        ("the writer never beat", rows(), rows(), None),
        ("the writer has no table", None, rows(), None),
        ("the replica has no table", WRITERS, None, None),
    ],
)
def test_the_lag_is_what_of_the_writers_beats_is_missing(
    what: str, writers: Beats | None, replicas: Beats | None, expected: float | None
) -> None:
    assert lag_s(2, writers, replicas, EVERY_S) == expected


@given(st.integers(10 * S, 100 * S), st.integers(10 * S, 100 * S), st.integers(-(10**12), 10**12))
def test_more_beats_never_make_more_lag_whatever_the_replicas_clock_says(
    one: int, other: int, clock: int
) -> None:
    fewer, more = (
        lag_s(2, WRITERS, Beats(clock, (Row(2, beat_us, 10 * S),)), EVERY_S)
        for beat_us in sorted((one, other))
    )
    assert fewer is not None
    assert more is not None
    assert 90.0 >= fewer >= more >= 0.0


def test_rows_are_read_as_they_come_and_a_cut_off_one_is_left_out() -> None:
    text = b"1:1700000000000000:1600000000000000 2:1700000000500000:1600000000500000"
    expected = (Row(1, 1700000000000000, 1600000000000000), Row(2, 1700000000500000, 1600000000500000))
    assert words.read(b"17", text) == Beats(17, expected)
    for end in range(len(text) // 2 + 1, len(text)):
        assert words.read(b"17", text[:end]) == Beats(17, expected[:1])
    assert words.read(b"17", None) == Beats(17)
    assert words.read(None, None) is None


# -- what rests on it

BEHIND = Behind(3.0, "db2")


@pytest.mark.parametrize(
    ("what", "sight", "rule", "expected"),
    [
        ("it beats Seconds_Behind", replace(STANDBY, behind=BEHIND), "lag-heartbeat", 3.0),
        ("also a NULL", replace(with_channel(STANDBY, lag_s=None), behind=BEHIND), "lag-heartbeat", 3.0),
        ("also with the source gone", replace(without_source(STANDBY), behind=BEHIND), "lag-heartbeat", 3.0),
        ("nothing known", with_channel(STANDBY, lag_s=4.0), "lag-seen", 4.0),
        (
            "the writer was gone before the IO thread knew",
            last_seen(replace(STANDBY, behind=replace(BEHIND, live=False)), 3.0, 900.0, 902.5),
            "lag-last-good",
            5.5,
        ),
        (
            "no channel",
            replace(healthy.with_facts(STANDBY, channels=()), behind=BEHIND),
            "lag-not-seen",
            None,
        ),
    ],
)
def test_what_the_lag_is(what: str, sight: Sight, rule: str, expected: float | None) -> None:
    found = lag.measure(sight)
    assert (found.rule, found.lag_s) == (rule, expected)


def test_eligibility_rests_on_it_and_not_on_seconds_behind() -> None:
    near = with_channel(replace(STANDBY, behind=Behind(0.0, "db2")), lag_s=1000.0)
    assert writer.judge(near, "candidate").eligibility is Eligibility.ELIGIBLE
    far = replace(STANDBY, behind=Behind(10.5, "db2"))
    assert writer.judge(far, "candidate").rule == "lag-exceeded"


def test_a_limit_below_what_it_can_tell_makes_nobody_flap() -> None:
    tight = replace(healthy.POLICY, limits=replace(healthy.POLICY.limits, lag_s_max=0.0))
    for lag_now, rule in ((0.6, "candidate-ready"), (1.5, "lag-exceeded")):
        sight = replace(STANDBY, policy=tight, behind=Behind(lag_now, "db2"))
        assert writer.judge(sight, "candidate").rule == rule
        assert (lag.check(sight).outcome.name == "OK") is (rule == "candidate-ready")
    seen = replace(with_channel(STANDBY, lag_s=0.6), policy=tight)
    assert writer.judge(seen, "candidate").rule == "lag-exceeded"


def test_a_planned_move_asks_it_too() -> None:
    far, near = (replace(healthy.FACTS, beats=rows(Row(2, at * S, 10 * S))) for at in (93, 100))
    stuck, writer = replace(CHANNEL, lag_s=50.0), replace(PEER_FACTS, gtid=AHEAD)
    assert not move._lag("db1", (CHANNEL,), far, writer, WRITERS, EVERY_S).fine
    assert move._lag("db1", (stuck,), near, writer, WRITERS, EVERY_S).fine
    assert not move._lag("db1", (stuck,), near, writer, WRITERS, 0.0).fine, "off: by Seconds_Behind"
    assert move._lag("db1", (stuck,), far, PEER_FACTS, WRITERS, EVERY_S).fine, "it has everything"


# -- a standby's agent


def beaten(facts: ServerFacts, at_s: float, since_s: float = 900.0) -> ServerFacts:
    """db2's row on this server, and the clock of that moment."""
    row = Row(PEER_FACTS.server_id, round(at_s * S), round(since_s * S))
    return replace(facts, beats=Beats(round((at_s + 0.1) * S), (row,)))


def follower(behind_s: float) -> Core:
    """db1 follows db2, which writes and beats; db1 has what that wrote `behind_s` ago."""
    agent = core.standby()
    assert agent.facts is not None
    assert agent.peer is not None
    agent.peer = beaten(replace(agent.peer, gtid=AHEAD), 1000.0)
    agent.facts = beaten(agent.facts, 1000.0 - behind_s)
    agent.wait(0.3)
    return agent


def measured(agent: Core) -> tuple[str, float | None]:
    found = lag.measure(agent.world.sight(agent.now))
    return found.rule, found.lag_s


def test_the_standby_sees_its_lag_behind_the_writer() -> None:
    agent = follower(4.0)
    assert measured(agent) == ("lag-heartbeat", 4.0)
    assert agent.world.good_lag is not None
    assert agent.world.good_lag.lag_s == 4.0
    far = follower(12.0)
    assert far.world.verdict is not None
    assert far.world.verdict.rule == "lag-exceeded"


def test_who_has_all_that_the_writer_had_is_not_behind_an_idle_one_that_beat_long_ago() -> None:
    agent = follower(4.0)
    agent.peer = replace(agent.peer, gtid=healthy.GTIDS, beats=Beats(9000 * S))  # type: ignore[type-var]
    agent.wait(0.3)
    assert measured(agent) == ("lag-heartbeat", 0.0)


def test_a_writer_that_is_read_after_this_node_makes_no_lag() -> None:
    """Both have every beat: one comes between the two looks of each round."""
    agent = follower(0.0)
    for number in range(20):
        at_s = 1000.0 + number * EVERY_S
        agent.facts = beaten(agent.facts, at_s)  # type: ignore[arg-type]
        agent.peer = beaten(agent.peer, at_s + EVERY_S)  # type: ignore[arg-type]
        agent.wait(0.1)
        assert measured(agent) == ("lag-heartbeat", 0.0)


@pytest.mark.parametrize("answer", [Answer.SILENT, Answer.ABSENT, Answer.BLIND])
def test_when_the_writer_is_gone_the_last_lag_counts_though_the_io_thread_knows_nothing_yet(
    answer: Answer,
) -> None:
    agent = follower(4.0)
    agent.peer_answer = answer
    agent.wait(0.5)
    rule, lag_now = measured(agent)
    assert rule == "lag-last-good"
    assert lag_now is not None
    assert 4.0 <= lag_now < 4.3


def test_when_the_writer_stops_beating_the_server_is_asked_again() -> None:
    agent = follower(4.0)
    assert agent.peer is not None
    assert agent.peer.beats is not None
    agent.peer = replace(agent.peer, beats=replace(agent.peer.beats, clock_us=1003 * S))
    agent.wait(0.3)
    assert measured(agent) == ("lag-seen", 0.0)
    assert agent.world.good_lag is not None
    assert agent.world.good_lag.lag_s == 0.0


def test_when_the_writer_is_closed_the_server_is_asked_again() -> None:
    agent = follower(4.0)
    assert agent.peer is not None
    agent.peer = replace(agent.peer, closed=True, open_lock=None)
    agent.wait(0.3)
    assert measured(agent) == ("lag-seen", 0.0)


# -- when the writer beats


def beating(policy: Policy = healthy.POLICY) -> Core:
    """db1 writes and db2 follows; a beat was sent just now."""
    agent = core.guarded_writer(policy)
    assert agent.facts is not None
    assert agent.peer is not None
    agent.facts = replace(agent.facts, beats=Beats(0))
    agent.peer = replace(agent.peer, channels=(replace(CHANNEL, source_host="10.73.0.11"),))
    agent.wait(1.2)
    while agent.sent(do.Beat):
        agent.do(do.Beat)
    while policy.limits.heartbeat_s and not beats_in(agent, 0.1):
        pass
    return agent


def write(agent: Core, *, standby: bool = True) -> None:
    """A client writes, and `standby` has it at once."""
    assert agent.facts is not None
    assert agent.peer is not None
    number = agent.facts.gtid.parts[0][2][-1][1] + 1
    agent.facts = replace(agent.facts, gtid=GtidSet.parse("mariadb", f"1-1-{number},2-2-70"))
    if standby:
        agent.peer = replace(agent.peer, gtid=agent.facts.gtid)


def half_a_second_of_writes(agent: Core) -> None:
    for _ in range(5):
        write(agent)
        agent.wait(0.1)


def beats_in(agent: Core, seconds: float, *, writes: bool = True) -> int:
    """How many are sent, each done at once, while a client writes."""
    count, until_s = 0, agent.now + seconds
    while agent.now < until_s - 1e-9:
        if writes and agent.peer is not None:
            write(agent)
        agent.wait(0.1)
        while agent.sent(do.Beat):
            agent.do(do.Beat)
            count += 1
    return count


def test_an_idle_writer_beats_once_more_and_then_has_nothing_to_tell() -> None:
    agent = beating()
    assert beats_in(agent, 2.0, writes=False) <= 1
    assert beats_in(agent, 5.0, writes=False) == 0
    write(agent)
    assert beats_in(agent, 5.0, writes=False) == 1


def test_an_idle_writer_beats_on_while_the_standby_lacks_something() -> None:
    agent = beating()
    beats_in(agent, 2.0, writes=False)
    write(agent, standby=False)
    assert beats_in(agent, 5.0, writes=False) == 10
    agent.peer = replace(agent.peer, gtid=agent.facts.gtid)  # type: ignore[type-var,union-attr]
    beats_in(agent, 1.0, writes=False)
    assert beats_in(agent, 5.0, writes=False) == 0


def test_a_writer_with_a_standby_beats_at_its_interval() -> None:
    agent = beating()
    half_a_second_of_writes(agent)
    (sent,) = agent.sent(do.Beat)
    assert isinstance(sent, do.Beat)
    assert sent.opener == core.OPENER
    assert sent.until_s <= agent.now + deciding.NEWS_S
    agent.do(do.Beat)
    assert beats_in(agent, 5.0) == 10


def test_a_beat_that_fails_is_said_by_nobody_and_the_next_is_due() -> None:
    agent = beating()
    half_a_second_of_writes(agent)
    agent.fail(do.Beat)
    assert not [note for note in agent.notes if note.level != "debug" and "effect-failed" in note.rule]
    assert beats_in(agent, 0.6) == 1
    assert agent.phase == "Writing"


def _peers(**changes: Any) -> Callable[[Core], None]:
    def change(agent: Core) -> None:
        agent.peer = replace(agent.peer, **changes)  # type: ignore[type-var]

    return change


def _own(**changes: Any) -> Callable[[Core], None]:
    def change(agent: Core) -> None:
        agent.facts = replace(agent.facts, **changes)  # type: ignore[type-var]

    return change


def _peer_channel(**changes: Any) -> Callable[[Core], None]:
    return _peers(channels=(replace(CHANNEL, **{"source_host": "10.73.0.11", **changes}),))


def _silent(agent: Core) -> None:
    agent.peer_answer = Answer.SILENT


def _down(agent: Core) -> None:
    agent.peer = None


def _full(agent: Core) -> None:
    agent.world = replace(
        agent.world, disk=DiskEvidence(agent.now, 1000, 10**9, True), disk_asked_s=agent.now + 60
    )


@pytest.mark.parametrize(
    "change",
    [
        _silent,
        _down,
        _full,
        _peer_channel(io="connecting"),
        _peer_channel(io="stopped"),
        _peer_channel(source_host="10.73.0.13"),
        _peers(channels=()),
        _own(beats=None),
        _own(claim_lock=77),
    ],
)
def test_without_good_news_there_is_no_beat(change: Callable[[Core], None]) -> None:
    agent = beating()
    change(agent)
    agent.wait(1.1)  # until its replication was asked for
    while agent.sent(do.Beat):
        agent.take(do.Beat)
    assert beats_in(agent, 3.0) == 0


def test_off_is_off() -> None:
    off = replace(healthy.POLICY, limits=replace(healthy.POLICY.limits, heartbeat_s=0.0))
    assert beats_in(beating(off), 3.0) == 0


def test_only_an_answer_brings_a_beat_and_an_old_one_does_not() -> None:
    agent = beating()
    for _ in range(10):
        agent.now += 0.1
        agent.step(core.Tick(0.1))
        assert not agent.sent(do.Beat), "the tick alone"
        evidence = agent.peers_server()
        if agent.sent(do.ProbePeer):
            flight = agent.take(do.ProbePeer)
            agent.now += 0.05
            agent.report(flight, evidence)
        agent.go(do.Beat)
    assert not agent.sent(do.Beat), "an answer of 50 ms before"


THIRD = replace(
    healthy.POLICY,
    nodes=(*healthy.POLICY.nodes, Node("db3", "10.73.0.13", 160, 3)),
)


def third(agent: Core, answer: Answer, age_s: float = 0.0) -> None:
    """Whatever is asked of db3 from now on is answered so."""
    seen = replace(agent.peers_server(), answer=answer)
    if answer is not Answer.ANSWERED:
        seen = replace(seen, facts=None)
    at_s = agent.now - age_s
    peer = replace(agent.world.peers["db3"], evidence=replace(seen, asked_at_s=at_s, seen_at_s=at_s))
    agent.world = replace(agent.world, peers={**agent.world.peers, "db3": peer})


@pytest.mark.parametrize(
    ("answer", "age_s", "seen"),
    [
        (Answer.ANSWERED, 0.0, True),
        (Answer.ABSENT, 0.0, False),
        (Answer.ANSWERED, 0.2, False),
        (Answer.SILENT, 0.0, False),
        (Answer.BLIND, 0.0, False),
    ],
)
@pytest.mark.parametrize("gone", [False, True], ids=["", "gone-by-its-agent"])
def test_a_candidate_that_is_out_of_sight_may_be_about_to_write(
    answer: Answer, age_s: float, seen: bool, gone: bool
) -> None:
    """A refusal is one, too, unless its own agent says here that its server is gone."""
    agent = beating()
    server = agent.world.server
    assert server is not None and server.facts is not None
    said = frozenset({"db3"}) if gone else frozenset[str]()
    agent.world = replace(agent.world, server=replace(server, facts=replace(server.facts, gone=said)))
    agent.world = replace(agent.world, policy=THIRD)
    agent.world = replace(
        agent.world,
        peers={**agent.world.peers, "db3": core.begin(THIRD, "", 0.0, core.NOTHING_KEPT).peers["db3"]},
    )
    third(agent, answer, age_s)
    draft = deciding.Draft(agent.world, agent.now)
    assert deciding._all_seen(draft) is (seen or gone)


ON = SemiSync(
    source_enabled=True, source_on=True, clients=1, waiting=0, acked=5, replica_enabled=False, replica_on=False,
)  # fmt: skip
REPLICA = replace(ON, source_enabled=False, source_on=False, clients=0, replica_enabled=True, replica_on=True)


@pytest.mark.parametrize(
    ("what", "own", "theirs", "beats"),
    [
        ("a standby acknowledges", ON, REPLICA, True),
        ("nobody is there", replace(ON, clients=0), REPLICA, False),
        ("a commit waits", replace(ON, waiting=1), REPLICA, False),
        ("it fell back", replace(ON, source_on=False), REPLICA, False),
        ("the one that answers does not acknowledge", ON, replace(REPLICA, replica_on=False), False),
        ("alone by the operator's word", replace(ON, source_enabled=False, source_on=False), REPLICA, True),
        ("the server has no semi-sync", None, REPLICA, False),
    ],
)
def test_under_lossless_no_beat_waits(what: str, own: SemiSync | None, theirs: SemiSync, beats: bool) -> None:
    agent = beating()
    lossless = replace(healthy.POLICY, durability="lossless")
    _own(semi_sync=own)(agent)
    _peers(semi_sync=theirs)(agent)
    agent.wait(1.1)
    world = replace(agent.world, policy=lossless)
    draft = deciding.Draft(world, agent.now)
    peer = world.peers["db2"]
    assert (deciding._receives(draft, peer) and deciding._at_ease(draft, core.OPENER)) is beats


def test_a_closed_node_never_beats() -> None:
    agent = core.standby()
    assert agent.facts is not None
    agent.facts = replace(agent.facts, beats=Beats(0))
    assert beats_in(agent, 3.0) == 0
