"""Whose history goes on from whose, and what does that decide? Epochs alone decide nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import core
import healthy
import pytest
from core import OPENER, PEER_FACTS, PROBER, Core
from healthy import GTIDS, NOW_S, STANDBY, WRITER, last_seen, with_facts, with_peer, without_source
from hypothesis import given
from hypothesis import strategies as st

from vipguard.agent.world import Closing, Writing
from vipguard.checks import lag, writer
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow, ServerEvidence
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import History, Ledger, Opening, Relation, relate
from vipguard.model.memory import Completed
from vipguard.model.policy import Fence
from vipguard.model.sight import PeerSight, Sight
from vipguard.notify.handback import Standing, why_close
from vipguard.notify.loss import account
from vipguard.notify.takeover import Takeover, due
from vipguard.session import ledger as words

FIRST, SECOND = EpochRow(2, "db2", "boot-2"), EpochRow(3, "db1", "boot-1")
ASIDE, LATER = EpochRow(7, "db2", "boot-2"), EpochRow(8, "db1", "boot-1")
ASKED = {"10.73.0.100": False, "10.73.0.12": True}
MORE, OTHER = GtidSet.parse("mariadb", "1-1-9,2-2-70"), GtidSet.parse("mariadb", "1-1-5,2-2-90")


def book(*rows: EpochRow, over: tuple[EpochRow, ...] = ()) -> Ledger:
    """A ledger of these openings, the last of which overrules `over`."""
    last = len(rows) - 1
    return Ledger.of(Opening(row, float(row.epoch), frozenset(over if i == last else ())) for i, row in enumerate(rows))


def history(gtid: GtidSet, *rows: EpochRow, over: tuple[EpochRow, ...] = ()) -> History:
    return History(gtid, rows[-1] if rows else None, book(*rows, over=over))


def unlisted(gtid: GtidSet, row: EpochRow | None) -> History:
    return History(gtid, row, None)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (history(MORE, FIRST), history(OTHER, FIRST), Relation.SAME),
        (history(OTHER, FIRST, SECOND), history(MORE, FIRST), Relation.AHEAD),
        (history(MORE, FIRST, SECOND), history(OTHER, FIRST, ASIDE), Relation.FORKED),
        (history(MORE, FIRST, SECOND, LATER, over=(ASIDE,)), history(OTHER, FIRST, ASIDE), Relation.AHEAD),
        (unlisted(MORE, FIRST), unlisted(OTHER, FIRST), Relation.SAME),
        (unlisted(MORE, SECOND), unlisted(GTIDS, FIRST), Relation.AHEAD),
        (unlisted(MORE, SECOND), unlisted(OTHER, ASIDE), Relation.FORKED),
        (history(MORE, SECOND), unlisted(GTIDS, FIRST), Relation.AHEAD),
        (history(GTIDS, SECOND, over=(ASIDE,)), unlisted(OTHER, ASIDE), Relation.AHEAD),
        (unlisted(GTIDS, SECOND), unlisted(GTIDS, FIRST), Relation.AHEAD),
        (unlisted(GTIDS, None), unlisted(GTIDS, None), Relation.SAME),
    ],
)
def test_two_histories_stand_to_each_other(one: History, other: History, expected: Relation) -> None:
    turned = {Relation.AHEAD: Relation.BEHIND}
    assert relate(one, other) is expected
    assert relate(other, one) is turned.get(expected, expected)


def test_sets_of_two_flavours_are_apart() -> None:
    mysql = GtidSet.parse("mysql", "11111111-1111-1111-1111-111111111111:1-5")
    assert relate(unlisted(GTIDS, FIRST), unlisted(mysql, SECOND)) is Relation.FORKED


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2)), max_size=12))
def test_of_any_openings_one_after_the_other_never_do_both_supersede(steps: list[tuple[int, bool, int]]) -> None:
    """Each step: a node opens with a higher epoch, having what another has or not, and knowing what a third shows."""
    ledgers: dict[int, tuple[Opening, ...]] = dict.fromkeys(range(4), ())
    for epoch, (node, copies, other) in enumerate(steps, 1):
        if copies:
            ledgers[node] = ledgers[other]
        held = {one.row for one in ledgers[node]}
        known = frozenset(one.row for one in ledgers[other] if one.row not in held)
        ledgers[node] = (*ledgers[node], Opening(EpochRow(epoch, f"db{node}", "b"), 0.0, known))
    books = {n: History(GTIDS, rows[-1].row if rows else None, Ledger.of(rows)) for n, rows in ledgers.items()}
    turned = {Relation.AHEAD: Relation.BEHIND, Relation.BEHIND: Relation.AHEAD}
    for one, other in product(books.values(), repeat=2):
        if one.row is not None and other.row is not None:
            assert relate(other, one) is turned.get(relate(one, other), relate(one, other))


def test_an_opening_is_read_as_it_was_written() -> None:
    opening = Opening(LATER, 0.0, frozenset({FIRST, ASIDE}))
    text = words.write(lambda value: f"'{value}'", "orders", opening, True)[2]
    told = text.rpartition("UTC_TIMESTAMP(6), '")[2].partition("'")[0]
    row = [b"8", b"db1", b"boot-1", b"1500000", told.encode()]
    assert words.read_rows([row]) == Ledger.of([replace(opening, at_s=1.5)])


def test_what_cannot_be_read_of_a_row_overrules_nothing() -> None:
    row = [b"8", b"db1", b"boot-1", None, b"x:db2:b 7 7:: :9 18446744073709551615:db2:b"]
    (opening,) = words.read_rows([row]).openings
    assert opening.overrules == frozenset({EpochRow(18446744073709551615, "db2", "b")})


# -- an open writer


def open_with(*rows: EpochRow, gtid: GtidSet = GTIDS, over: tuple[EpochRow, ...] = ()) -> Sight:
    return with_facts(WRITER, gtid=gtid, epoch=rows[-1], ledger=book(*rows, over=over))


def seeing(sight: Sight, *rows: EpochRow, closed: bool = True, gtid: GtidSet = GTIDS) -> Sight:
    lock = None if closed else 9
    return with_peer(sight, closed=closed, open_lock=lock, epoch=rows[-1], ledger=book(*rows), gtid=gtid, channels=())


def test_a_dead_nodes_higher_epoch_closes_no_writer() -> None:
    sight = seeing(open_with(FIRST, SECOND, gtid=MORE), FIRST, ASIDE, gtid=OTHER)
    assert why_close(Standing(3), sight) is None


def test_a_writer_closes_for_an_open_node_that_goes_on_from_its_own_opening() -> None:
    sight = seeing(open_with(FIRST, SECOND, gtid=MORE), FIRST, SECOND, ASIDE, closed=False, gtid=OTHER)
    why = why_close(Standing(3), sight)
    assert why is not None and why[0] == "higher-epoch"


def test_a_writer_with_nothing_alone_closes_for_a_closed_node_that_goes_on_from_its_opening() -> None:
    after = (FIRST, SECOND, ASIDE)
    why = why_close(Standing(3), seeing(open_with(FIRST, SECOND), *after, gtid=OTHER))
    assert why is not None and why[0] == "higher-epoch"
    assert why_close(Standing(3), seeing(open_with(FIRST, SECOND, gtid=MORE), *after, gtid=OTHER)) is None


def test_a_writer_closes_for_one_that_goes_on_from_it_and_only_lost_the_vip_a_moment_ago() -> None:
    sight = seeing(open_with(FIRST, SECOND, gtid=MORE), FIRST, SECOND, ASIDE, gtid=OTHER)
    facts = sight.peers["db2"].facts
    assert facts is not None and why_close(Standing(3), sight) is None
    fit = with_peer(sight, **{**{name: getattr(facts, name) for name in facts.__dataclass_fields__}, "fit_lock": 12})
    why = why_close(Standing(3), fit)
    assert why is not None and why[0] == "higher-epoch"


@pytest.mark.parametrize(("priority", "closes"), [(160, False), (240, True)])
def test_of_two_open_nodes_that_went_apart_the_one_stays_that_keepalived_prefers(priority: int, closes: bool) -> None:
    sight = seeing(open_with(FIRST, SECOND, gtid=MORE), FIRST, ASIDE, closed=False, gtid=OTHER)
    policy = sight.policy
    other = replace(policy.nodes[1], priority=priority)
    peer = replace(sight.peers["db2"], node=other)
    sight = replace(sight, policy=replace(policy, nodes=(policy.nodes[0], other)), peers={"db2": peer})
    assert (why_close(Standing(3), sight) is not None) is closes


def guarded() -> Core:
    """db1 writes with a ledger; db2 is closed."""
    agent = core.guarded_writer()
    assert isinstance(agent.world.phase, Writing) and agent.facts is not None
    row = EpochRow(agent.world.phase.epoch, "db1", "boot-1")
    agent.facts = replace(agent.facts, epoch=row, ledger=book(FIRST, row), gtid=MORE)
    agent.peer = replace(agent.peer or PEER_FACTS, epoch=row, ledger=book(FIRST, row), gtid=MORE, fit_lock=PROBER)
    agent.wait(0.3)
    agent.go()
    return agent


def test_a_writer_raises_its_epoch_over_a_peer_that_went_apart_and_names_it() -> None:
    agent = guarded()
    assert isinstance(agent.world.phase, Writing)
    agent.peer = replace(agent.peer or PEER_FACTS, epoch=ASIDE, ledger=book(FIRST, ASIDE), gtid=OTHER)
    agent.wait(0.2)
    (effect,) = agent.sent(do.WriteOpening)
    assert isinstance(effect, do.WriteOpening) and effect.opener == OPENER
    assert effect.opening.row == EpochRow(8, "db1", "boot-1") and ASIDE in effect.opening.overrules
    agent.do(do.WriteOpening)
    assert isinstance(agent.world.phase, Writing) and agent.world.phase.epoch == 8 and "overruled" in agent.rules
    for _ in range(300):
        agent.wait(0.1)
        agent.go()
    assert agent.phase == "Writing" and agent.rules.count("overruled") == 1
    assert agent.world.memory.completed == Completed(8, "boot-1", core.PROCESS)


def test_a_writer_writes_no_row_while_another_node_is_open_too() -> None:
    agent = guarded()
    agent.peer = replace(
        agent.peer or PEER_FACTS, epoch=ASIDE, ledger=book(FIRST, ASIDE), gtid=OTHER, closed=False, open_lock=9
    )
    agent.wait(1.0)
    assert agent.phase == "Writing" and not agent.sent(do.WriteOpening)


def test_an_errant_standby_is_put_on_record_once_a_minute_at_most() -> None:
    agent = guarded()
    for number in range(75, 95):
        errant = GtidSet.parse("mariadb", f"1-1-9,2-2-{number}")
        agent.peer = replace(agent.peer or PEER_FACTS, gtid=errant)
        agent.wait(0.3)
        agent.go()
    assert agent.phase == "Writing" and agent.rules.count("overruled") == 1


def test_an_agent_adopts_an_epoch_that_the_one_before_it_raised() -> None:
    agent = guarded()
    memory, facts, row = agent.world.memory, agent.facts, EpochRow(9, "db1", "boot-1")
    assert facts is not None
    anew = Core(memory=memory)
    anew.facts = replace(facts, epoch=row, ledger=book(FIRST, row))
    anew.peer, anew.vip, anew.track = agent.peer, True, "1"
    anew.move_vip(True)
    anew.wait(0.3)
    assert isinstance(anew.world.phase, Writing) and anew.world.phase.epoch == 9


# -- nobody is open


def closed_with(*rows: EpochRow, gtid: GtidSet = GTIDS, over: tuple[EpochRow, ...] = ()) -> Sight:
    found = without_source(with_facts(STANDBY, gtid=gtid, epoch=rows[-1], ledger=book(*rows, over=over)))
    return replace(found, errant=None, good_lag=None)


def judged(sight: Sight) -> str:
    return writer.judge(sight, "candidate").rule


def test_after_a_power_cut_who_supersedes_all_is_entitled_and_nobody_where_they_went_apart() -> None:
    ahead = seeing(closed_with(FIRST, SECOND, gtid=MORE), FIRST, gtid=OTHER)
    assert ahead.entitled and judged(ahead) == "candidate-ready"
    behind = seeing(closed_with(FIRST, gtid=OTHER), FIRST, SECOND, gtid=MORE)
    assert not behind.entitled
    apart = seeing(closed_with(FIRST, SECOND, gtid=MORE), FIRST, ASIDE, gtid=OTHER)
    assert not apart.entitled and judged(apart) == "forked"
    text = writer.judge(apart, "candidate").text
    assert "db1 alone has" in text and "db2 alone has" in text and "promote --force" in text and "UTC" in text


def test_a_node_left_diverged_for_days_blocks_no_opening_of_the_writer_that_reboots() -> None:
    again = seeing(closed_with(FIRST, SECOND, LATER, gtid=MORE, over=(ASIDE,)), FIRST, ASIDE, gtid=OTHER)
    assert again.entitled and judged(again) == "candidate-ready"


def test_what_a_standby_wrote_by_itself_keeps_the_writer_from_nothing() -> None:
    reboots = seeing(closed_with(FIRST, SECOND, gtid=MORE), FIRST, SECOND, gtid=OTHER)
    assert reboots.entitled


def test_a_node_that_is_out_for_sure_needs_not_answer() -> None:
    sight = closed_with(FIRST, SECOND)
    out = replace(sight.peers["db2"], evidence=healthy.SILENT, fenced_s=NOW_S - 0.1, alive_s=NOW_S - 60)
    assert replace(sight, peers={"db2": out}).entitled


def test_a_taker_that_lacks_nothing_of_an_older_opening_asks_for_no_tail_of_it() -> None:
    sight = seeing(closed_with(FIRST, SECOND, gtid=MORE), FIRST, gtid=OTHER)
    left = sight.lacks(sight.peers["db2"])
    assert left is not None and left.is_empty


def test_what_a_late_peer_received_of_an_opening_is_asked_for_though_its_rows_are_older() -> None:
    channel = replace(healthy.CHANNEL, received=GtidSet.parse("mariadb", "1-1-9,2-2-75"))
    sight = with_peer(
        closed_with(FIRST, SECOND, gtid=MORE), closed=True, open_lock=None, epoch=FIRST, ledger=book(FIRST),
        gtid=GTIDS, channels=(channel,),
    )  # fmt: skip
    assert str(sight.lacks(sight.peers["db2"])) == "2-2-71..75"


def test_a_taker_of_two_histories_that_went_apart_refuses_unless_the_operator_chose() -> None:
    takeover = Takeover(NOW_S - 1, "boot-1", claims={"db1": 1, "db2": 2}, arp=ASKED)
    apart = seeing(closed_with(FIRST, SECOND, gtid=MORE), FIRST, ASIDE, gtid=OTHER)
    refused = due(takeover, apart)
    assert refused.refuse and refused.waiting == "forked"
    assert not due(takeover, replace(apart, promoted=True)).refuse


def test_a_diverged_node_closes_no_writer_that_goes_on_from_its_opening() -> None:
    takeover = Takeover(NOW_S - 1, "boot-1", claims={"db1": 1, "db2": 2}, arp=ASKED)
    sight = seeing(closed_with(FIRST, SECOND, gtid=MORE), FIRST, SECOND, ASIDE, closed=False, gtid=OTHER)
    refused = due(takeover, sight)
    assert refused.refuse and refused.waiting == "diverged"


# -- what may be lost


def seen_last(sight: Sight) -> Sight:
    return replace(sight, peers={name: replace(peer, last=peer.evidence) for name, peer in sight.peers.items()})


def test_nothing_is_lost_only_where_every_candidate_is_seen_closed_and_contained() -> None:
    there = seen_last(seeing(closed_with(FIRST, SECOND), FIRST))
    assert account(GTIDS, there).rule == "lost-none"
    more = account(GTIDS, seen_last(seeing(closed_with(FIRST, SECOND), FIRST, gtid=OTHER)))
    assert (more.rule, str(more.lacking)) == ("lost-these", "2-2-71..90")
    away = replace(there.peers["db2"], evidence=healthy.SILENT, last=there.peers["db2"].evidence)
    unknown = account(GTIDS, replace(there, peers={"db2": away}))
    assert unknown.rule == "lost-unknown" and unknown.unseen_s is not None


def test_a_lone_writer_that_opens_again_lost_nothing_to_a_node_that_was_down_all_the_time() -> None:
    sight = seeing(closed_with(FIRST, SECOND), FIRST)
    away = replace(sight.peers["db2"], evidence=healthy.ABSENT, last=sight.peers["db2"].evidence, gone_s=NOW_S - 60)
    alone = last_seen(replace(sight, peers={"db2": away}), 0.0, NOW_S - 2, gone_s=NOW_S - 60)
    assert account(GTIDS, alone, reopens=True).rule == "lost-none"
    assert account(GTIDS, alone).rule == "lost-unknown"


# -- time in which the writer was not seen


def unseen(sight: Sight) -> float:
    return round(lag.unseen_s(sight), 3)


def absent(peer: PeerSight, answer: Answer, **changes: object) -> PeerSight:
    seen = ServerEvidence(answer, NOW_S - 0.1, NOW_S)
    return replace(peer, evidence=seen, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "peer", "silent_peer", "expected"),
    [
        ("gone from the beginning", absent(healthy.PEER, Answer.ABSENT, gone_s=NOW_S - 59.9), "open", 0.1),
        ("refused, and nothing proves it", absent(healthy.PEER, Answer.ABSENT, gone_s=None), "open", 60.0),
        ("blind", absent(healthy.PEER, Answer.BLIND), "open", 60.0),
        ("silent since", absent(healthy.PEER, Answer.SILENT, alive_s=NOW_S - 59.9), "open", 1.05),
        ("silent, and gives signs of life", absent(healthy.PEER, Answer.SILENT, alive_s=NOW_S), "open", 60.0),
        ("silent, by no time opened against", absent(healthy.PEER, Answer.SILENT, alive_s=NOW_S - 59.9), "wait", 60.0),
        ("fenced since", absent(healthy.PEER, Answer.SILENT, alive_s=NOW_S - 60, fenced_s=NOW_S - 50), "wait", 10.0),
    ],
)  # fmt: skip
def test_how_long_somebody_may_have_written(what: str, peer: PeerSight, silent_peer: str, expected: float) -> None:
    policy = replace(healthy.POLICY, silent_peer=silent_peer)  # type: ignore[arg-type]
    sight = replace(without_source(STANDBY), policy=policy, peers={"db2": peer})
    sight = replace(sight, good_lag=replace(sight.good_lag, at_s=NOW_S - 60))  # type: ignore[type-var]
    assert unseen(sight) == pytest.approx(expected, abs=0.01), what


def test_where_nobody_is_trusted_to_close_itself_silence_ends_nothing() -> None:
    silent = absent(healthy.PEER, Answer.SILENT, alive_s=NOW_S - 59.9)
    policy = replace(healthy.POLICY, fence=Fence(command="power-off", required=True))
    sight = replace(without_source(STANDBY), policy=policy, peers={"db2": silent})
    assert unseen(replace(sight, good_lag=replace(sight.good_lag, at_s=NOW_S - 60))) == 60.0  # type: ignore[type-var]


def test_a_pause_or_an_isolation_counts_whole() -> None:
    peer = absent(healthy.PEER, Answer.SILENT, alive_s=NOW_S - 60)
    sight = replace(without_source(STANDBY), peers={"db2": peer}, watching_since_s=NOW_S - 1)
    sight = replace(sight, good_lag=replace(sight.good_lag, at_s=NOW_S - 60))  # type: ignore[type-var]
    assert unseen(sight) > 59


def test_a_closed_writers_final_set_that_is_here_ends_it() -> None:
    sight = replace(without_source(STANDBY), watching_since_s=NOW_S - 1)
    sight = with_peer(sight, closed=True, open_lock=None)
    sight = replace(sight, good_lag=replace(sight.good_lag, at_s=NOW_S - 60))  # type: ignore[type-var]
    assert unseen(sight) == 0.0
    more = with_peer(sight, closed=True, open_lock=None, gtid=OTHER, channels=())
    assert unseen(replace(more, good_lag=sight.good_lag)) == 60.0


def test_a_standby_that_was_a_week_behind_has_not_caught_up_within_a_stall_of_seconds() -> None:
    behind = replace(healthy.CHANNEL, lag_s=604_800.0)
    assert healthy.PEER.evidence is not None and healthy.PEER.evidence.facts is not None
    facts = replace(healthy.PEER.evidence.facts, closed=True, channels=(behind,))
    last = replace(healthy.PEER.evidence, facts=facts)
    peer = absent(replace(healthy.PEER, last=last, channels=(behind,)), Answer.BLIND)
    sight = replace(without_source(STANDBY), peers={"db2": peer})
    sight = replace(sight, good_lag=replace(sight.good_lag, at_s=NOW_S - 12))  # type: ignore[type-var]
    assert unseen(sight) == 0.0


def test_a_live_look_at_the_writer_that_is_old_is_not_live() -> None:
    sight = replace(without_source(STANDBY), behind=healthy_behind())
    assert lag.measure(sight).rule == "lag-heartbeat"
    old = replace(sight, now_s=NOW_S + 30, good_lag=replace(sight.good_lag, at_s=NOW_S))  # type: ignore[type-var]
    assert (lag.measure(old).rule, lag.measure(old).lag_s) == ("lag-last-good", 30.0)


def healthy_behind():  # type: ignore[no-untyped-def]
    from vipguard.model.heartbeat import Behind

    return Behind(0.0, "db2")


def test_a_filtered_standby_is_named() -> None:
    agent = core.standby()
    assert agent.facts is not None and agent.peer is not None
    agent.facts = replace(agent.facts, epoch=FIRST, ledger=book(FIRST))
    agent.peer = replace(agent.peer, epoch=SECOND, ledger=book(FIRST, SECOND))
    agent.wait(0.5)
    assert agent.world.verdict is not None and agent.world.verdict.rule == "filtered"


def test_a_writer_that_closed_itself_and_saw_nobody_for_long_does_not_open_again_by_itself() -> None:
    agent = core.guarded_writer()
    agent.peer_answer = Answer.SILENT
    agent.pings = False
    agent.wait(1.0)
    agent.go()
    assert not isinstance(agent.world.phase, Writing | Closing)
    agent.wait(30.0)
    agent.pings = True
    for _ in range(40):
        agent.wait(0.1)
        agent.go()
    assert agent.phase == "Resting" and "lag-exceeded" in agent.rules


def test_a_standby_whose_rows_lack_an_older_opening_of_the_writers_is_named_too() -> None:
    agent = core.standby()
    assert agent.facts is not None and agent.peer is not None
    agent.facts = replace(agent.facts, epoch=LATER, ledger=book(FIRST, LATER))
    agent.peer = replace(agent.peer, epoch=LATER, ledger=book(FIRST, SECOND, LATER))
    agent.wait(0.5)
    assert agent.world.verdict is not None and agent.world.verdict.rule == "filtered"


def test_a_standby_that_lost_what_it_wrote_itself_is_no_candidate() -> None:
    """Put back to an older state: replication brings it no transactions of its own."""
    agent = core.standby()
    assert agent.facts is not None and agent.peer is not None
    own = agent.facts.server_id
    rows = {"epoch": SECOND, "ledger": book(FIRST, SECOND)}
    agent.peer = replace(agent.peer, gtid=GtidSet.parse("mariadb", f"0-{own}-60,0-9-90"), **rows)  # type: ignore[arg-type]
    agent.facts = replace(agent.facts, gtid=GtidSet.parse("mariadb", f"0-{own}-40,0-9-90"), **rows)  # type: ignore[arg-type]
    agent.wait(0.5)
    assert agent.world.verdict is not None and agent.world.verdict.rule == "filtered"
    agent.facts = replace(agent.facts, gtid=agent.peer.gtid)
    agent.wait(0.5)
    assert agent.world.verdict.rule != "filtered"
