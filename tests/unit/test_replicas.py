"""Whom does a node follow, and what does a taker receive from a replica? Each test changes one healthy value."""

from __future__ import annotations

from dataclasses import replace

import healthy
from healthy import (
    CHANNEL,
    FACTS,
    GTIDS,
    NOW_S,
    PEER,
    POLICY,
    REPLICA,
    SERVER,
    STANDBY,
    TAKER,
    with_channel,
    with_facts,
)

from vipguard.model.effect import Fetch, Point, ProbePeer, StopReceiving
from vipguard.model.evidence import Answer, EpochRow, ServerEvidence, ServerFacts
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.policy import Node
from vipguard.model.sight import PeerSight, Sight
from vipguard.notify import follow, rejoin, replicas, takeover
from vipguard.notify.proof import Proof
from vipguard.notify.record import Takeover

THIRD = Node("db3", "10.73.0.13", 160, 3)
AHEAD = GtidSet.parse("mariadb", "1-1-5,2-2-72")
REPLICA_FACTS = replace(FACTS, server_id=3, gtid=AHEAD, channels=(replace(CHANNEL, received=AHEAD),), fit_lock=None)
DRAINED = Takeover(NOW_S - 0.1, "boot-1", stopped=True, drained=GTIDS)


def on_the_old_writer(**changes: object) -> Sight:
    """A replica whose source is not the writer, and which has stopped receiving from it."""
    gone = {"source_host": "10.73.0.13", "io": "stopped", "lag_s": None, **changes}
    return with_channel(REPLICA, **gone)


def circle_of_three(**third: object) -> Sight:
    """db1 follows db3 in a circle, and db2 writes."""
    seen = PeerSight(THIRD, replace(SERVER, facts=FACTS), **third)  # type: ignore[arg-type]
    policy = replace(POLICY, nodes=(*POLICY.nodes, THIRD))
    sight = with_channel(STANDBY, source_host=THIRD.address, io="connecting", lag_s=None, io_errno=2003)
    return replace(sight, policy=policy, peers={**STANDBY.peers, "db3": seen})


def with_replica(sight: Sight, evidence: ServerEvidence | None = None) -> Sight:
    seen = evidence or ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, REPLICA_FACTS)
    return replace(sight, replicas={"db3": PeerSight(replace(THIRD, priority=0, role="replica"), seen)})


def closed_peer(sight: Sight) -> Sight:
    facts = replace(FACTS, server_id=2, claim_lock=8)
    return replace(sight, peers={"db2": replace(PEER, evidence=replace(SERVER, facts=facts))})


def seen_as(name: str) -> PeerSight:
    return PeerSight(next(node for node in POLICY.nodes if node.name == name), replace(SERVER, facts=FACTS))


def rule(sight: Sight) -> str | None:
    found = follow.another(sight)
    return found.rule if found else None


# -- whom to follow


def test_a_replica_of_the_writer_is_left_alone() -> None:
    assert rule(REPLICA) is None


def test_a_replica_whose_source_is_not_the_writer_first_stops_receiving_from_it() -> None:
    found = follow.another(with_channel(REPLICA, source_host="10.73.0.13"))
    assert found is not None and found.rule == "follow-stops" and isinstance(found.effect, StopReceiving)


def test_then_it_is_pointed_at_the_writer_that_has_everything_that_is_here() -> None:
    found = follow.another(on_the_old_writer())
    assert found is not None and found.rule == "follow-writer" and isinstance(found.effect, Point)
    assert found.effect.node == "db2"


def test_it_is_never_pointed_at_a_writer_that_lacks_what_it_has() -> None:
    found = follow.another(with_facts(on_the_old_writer(), gtid=AHEAD))
    assert found is not None and found.rule == "diverged" and found.effect is None
    assert str(found.apart) == "2-2-71..72"


def test_what_it_received_and_has_not_applied_counts_as_its_own() -> None:
    assert rule(on_the_old_writer(received=AHEAD, applied=False)) == "diverged"


def test_it_is_not_diverged_by_a_look_at_the_writer_that_is_older_than_the_look_at_itself() -> None:
    sight = with_facts(on_the_old_writer(), gtid=AHEAD)
    assert sight.server is not None
    late = replace(sight.server, asked_at_s=NOW_S - 0.02, seen_at_s=NOW_S - 0.01)
    assert rule(replace(sight, server=late)) == "follow-compare-again"


def test_it_stays_where_it_is_while_nobody_writes() -> None:
    closed = replace(PEER, evidence=replace(SERVER, facts=FACTS))
    assert rule(replace(on_the_old_writer(), peers={"db2": closed})) is None


def test_it_does_not_follow_a_writer_of_an_older_epoch_than_its_own() -> None:
    assert rule(with_facts(on_the_old_writer(), epoch=EpochRow(4, "db3", "boot-3"))) is None


def test_what_a_restart_left_unapplied_is_looked_at_before() -> None:
    untold = on_the_old_writer(sql_running=False, received=GtidSet.empty("mariadb"))
    assert rule(untold) == "join-examines"


def test_a_candidate_of_a_pair_keeps_its_source() -> None:
    assert rule(STANDBY) is None


def test_a_candidate_of_a_circle_keeps_a_source_that_lives() -> None:
    assert rule(circle_of_three(last=replace(SERVER, facts=FACTS))) is None


def test_a_candidate_off_its_place_in_the_circle_goes_where_the_writer_goes() -> None:
    """Another might follow this one: both would look well, and receive nothing."""
    sight = circle_of_three(last=replace(SERVER, facts=FACTS))
    off = replace(
        sight, policy=replace(sight.policy, node="db3"), peers={"db1": seen_as("db1"), **STANDBY.peers}
    )
    assert sight.policy.source_of(THIRD).name == "db2"
    assert rule(with_channel(off, source_host="10.73.0.11")) == "follow-stops"
    assert rule(with_channel(off, source_host="10.73.0.12")) is None


def test_a_candidate_follows_the_writer_when_its_source_stands_still_itself() -> None:
    sight = circle_of_three(last=replace(SERVER, facts=FACTS), channels=(replace(CHANNEL, io="stopped"),))
    assert rule(sight) == "follow-stops"


def test_a_candidate_follows_the_writer_when_its_source_went_apart() -> None:
    sight = circle_of_three(last=replace(SERVER, facts=FACTS))
    apart = replace(SERVER, facts=replace(FACTS, gtid=AHEAD))
    peers = {**sight.peers, "db3": replace(sight.peers["db3"], evidence=apart)}
    assert rule(replace(sight, peers=peers)) == "follow-stops"
    later = replace(apart, seen_at_s=NOW_S)  # what the writer seems to lack may be newer than the look at it
    peers = {**sight.peers, "db3": replace(sight.peers["db3"], evidence=later)}
    assert rule(replace(sight, peers=peers)) is None


def test_a_candidate_of_a_circle_follows_the_writer_once_its_source_is_gone() -> None:
    sight = circle_of_three(last=replace(SERVER, asked_at_s=NOW_S - 2, seen_at_s=NOW_S - 2))
    dead = {**sight.peers, "db3": replace(sight.peers["db3"], evidence=healthy.ABSENT)}
    assert rule(replace(sight, peers=dead)) == "follow-stops"
    stopped = with_channel(sight, source_host=THIRD.address, io="stopped", lag_s=None)
    assert rule(replace(stopped, peers=dead)) == "follow-writer"


def test_a_candidate_left_on_a_replica_is_pointed_back() -> None:
    sight = with_replica(with_channel(STANDBY, source_host=THIRD.address, io="stopped", lag_s=None))
    found = follow.another(sight)
    assert found is not None and found.rule == "follow-home" and isinstance(found.effect, Point)
    assert found.effect.node == "db2"


# -- what it starts with


def test_a_replica_starts_with_the_writer_only() -> None:
    """Without one its source may be an old writer that went apart."""
    assert rejoin.standby(on_the_old_writer(source_host="10.73.0.12")).rule == "join"
    closed = replace(PEER, evidence=replace(SERVER, facts=FACTS))
    assert rejoin.standby(replace(on_the_old_writer(), peers={"db2": closed})).rule == "join-waits"


def test_a_candidate_does_not_start_from_a_source_that_has_what_the_writer_lacks() -> None:
    sight = with_channel(circle_of_three(), source_host=THIRD.address, io="stopped", lag_s=None)
    assert rejoin.standby(sight).rule == "join"
    apart = replace(SERVER, facts=replace(FACTS, gtid=AHEAD))
    peers = {**sight.peers, "db3": replace(sight.peers["db3"], evidence=apart)}
    assert rejoin.standby(replace(sight, peers=peers)).rule == "join-waits"


# -- what the taker receives from a replica


def test_a_taker_with_all_that_the_replica_has_asks_for_nothing() -> None:
    assert replicas.fetch(replace(DRAINED, drained=AHEAD), with_replica(TAKER)) is None


def test_a_taker_receives_what_only_a_replica_has() -> None:
    due = replicas.fetch(DRAINED, with_replica(TAKER))
    assert due is not None and due.waiting == "fetch"
    assert due.effects == (Fetch(2.0, "db3", "db2", GtidSet.parse("mariadb", "2-2-71..72")),)


def test_what_the_replica_wrote_by_its_own_hand_is_not_asked_for() -> None:
    facts = replace(REPLICA_FACTS, gtid=GtidSet.parse("mariadb", "1-1-5,2-2-70,3-3-9"), channels=(CHANNEL,))
    own = ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, facts)
    assert replicas.fetch(DRAINED, with_replica(TAKER, own)) is None


def test_a_replica_of_an_older_epoch_is_not_asked() -> None:
    old, new = EpochRow(2, "db2", "boot-2"), EpochRow(3, "db2", "boot-2")
    tail = GtidSet.parse("mariadb", "1-1-5,2-2-72")
    older = replace(REPLICA_FACTS, gtid=tail, epoch=old, ledger=Ledger.of([Opening(old)]))
    seen = ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, older)
    here = with_facts(TAKER, ledger=Ledger.of([Opening(old), Opening(new)]))
    assert replicas.fetch(DRAINED, with_replica(here, seen)) is None


def test_what_a_replica_received_and_does_not_apply_counts_for_as_long_as_a_drain_may_take() -> None:
    behind = replace(REPLICA_FACTS, gtid=GTIDS)
    seen = ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, behind)
    assert replicas.fetch(DRAINED, with_replica(TAKER, seen)) is not None
    long = replace(DRAINED, began_s=NOW_S - TAKER.policy.limits.drain_s_max - 1)
    assert replicas.fetch(long, with_replica(TAKER, seen)) is None


def test_a_replica_is_looked_at_anew_unless_it_said_nothing_before() -> None:
    old = ServerEvidence(Answer.ANSWERED, NOW_S - 0.3, NOW_S - 0.29, REPLICA_FACTS)
    due = replicas.fetch(DRAINED, with_replica(TAKER, old))
    assert due is not None and due.waiting == "replicas" and due.effects == (ProbePeer(0.5, "db3", channels=True),)
    silent = replace(old, answer=Answer.SILENT, facts=None)
    assert replicas.fetch(DRAINED, with_replica(TAKER, silent)) is None
    assert replicas.looks(DRAINED, with_replica(TAKER, silent)) == []


def test_what_did_not_come_refuses_the_takeover_unless_the_operator_promotes() -> None:
    failed = replace(DRAINED, unfetched={"db3": "error 1236"})
    due = replicas.fetch(failed, with_replica(TAKER))
    assert due is not None and due.refuse and due.waiting == "replica-has-more" and "1236" in due.text
    assert replicas.fetch(failed, replace(with_replica(TAKER), promoted=True)) is None


def test_the_target_of_a_planned_move_looks_at_the_replicas_while_its_io_thread_stops() -> None:
    old = ServerEvidence(Answer.ANSWERED, NOW_S - 0.3, NOW_S - 0.29, REPLICA_FACTS)
    invited = Takeover(NOW_S - 0.1, "boot-1", remembered=True)
    due = takeover.due_before_the_vip(invited, closed_peer(with_replica(TAKER, old)))
    assert due is not None and due.waiting == "stop-receiving"
    assert {type(effect) for effect in due.effects} >= {StopReceiving, ProbePeer}


def test_that_refusal_is_the_takeovers() -> None:
    failed = replace(DRAINED, unfetched={"db3": "error 1236"}, claims={"db1": 7, "db2": 8}, remembered=True)
    arp: dict[str, bool | None] = {"10.73.0.100": False, "10.73.0.12": False}
    due = takeover.due(replace(failed, arp=arp, opener=5, reserved=9), closed_peer(with_replica(TAKER)))
    assert due.refuse and due.waiting == "replica-has-more"


def test_a_replica_with_transactions_of_its_own_is_asked_for_nothing_because_they_would_come_along() -> None:
    facts = replace(REPLICA_FACTS, gtid=GtidSet.parse("mariadb", "1-1-5,2-2-72,3-3-9"))
    sight = with_replica(TAKER, ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, facts))
    due = replicas.fetch(DRAINED, sight)
    assert due is not None and due.refuse and due.waiting == "replica-has-more" and "errant 3-3-9" in due.text
    assert replicas.fetch(DRAINED, replace(sight, promoted=True)) is None


def test_it_is_no_obstacle_where_another_replica_has_the_same() -> None:
    facts = replace(REPLICA_FACTS, gtid=GtidSet.parse("mariadb", "1-1-5,2-2-72,3-3-9"))
    sight = with_replica(TAKER, ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, facts))
    clean = ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, replace(REPLICA_FACTS, server_id=4))
    fourth = PeerSight(Node("db4", "10.73.0.14", 0, 4, "replica"), clean)
    due = replicas.fetch(DRAINED, replace(sight, replicas={**sight.replicas, "db4": fourth}))
    assert due is not None and isinstance(due.effects[0], Fetch) and due.effects[0].node == "db4"


def test_a_candidate_that_followed_the_dead_writer_beside_this_one_is_asked_too() -> None:
    ahead = PeerSight(THIRD, replace(SERVER, facts=REPLICA_FACTS))
    policy = replace(POLICY, nodes=(*POLICY.nodes, THIRD))
    dead = replace(PEER, evidence=healthy.ABSENT)
    gone = Proof(gone=frozenset({"db2"}))
    sight = replace(healthy.without_source(TAKER), policy=policy, peers={"db2": dead, "db3": ahead})
    arp: dict[str, bool | None] = {"10.73.0.100": False, "10.73.0.12": True, "10.73.0.13": True}
    taking = Takeover(
        NOW_S - 0.1, "boot-1", claims={"db1": 7, "db3": 8}, arp=arp, remembered=True, opener=5, reserved=9, proof=gone
    )
    sight = replace(sight, own_claims={"db1": 7})
    assert takeover.due(taking, sight).waiting == "stop-receiving", "nothing comes from a dead source"
    due = takeover.due(replace(taking, stopped=True, drained=GTIDS), sight)
    assert Fetch(2.0, "db3", "db3", GtidSet.parse("mariadb", "2-2-71..72")) in due.effects


def beside(facts: ServerFacts, **gone: float) -> Sight:
    """A circle of three: db2 is gone, and db3 has these facts."""
    third = PeerSight(THIRD, replace(SERVER, facts=facts))
    dead = replace(PEER, evidence=healthy.ABSENT, **gone)  # type: ignore[arg-type]
    policy = replace(POLICY, nodes=(*POLICY.nodes, THIRD))
    sight = replace(healthy.without_source(TAKER), policy=policy, peers={"db2": dead, "db3": third})
    return replace(sight, own_claims={"db1": 7})


def test_what_a_candidate_wrote_though_another_was_the_writer_is_not_asked_for_either() -> None:
    own = replace(REPLICA_FACTS, gtid=GtidSet.parse("mariadb", "1-1-5,2-2-70,3-3-9"), channels=(CHANNEL,))
    assert replicas.fetch(DRAINED, beside(own), ["db3"]) is None
    more = replace(own, gtid=GtidSet.parse("mariadb", "1-1-5,2-2-72,3-3-9"))
    due = replicas.fetch(DRAINED, beside(more), ["db3"])
    assert due is not None and due.refuse and "errant 3-3-9" in due.text, "it would come along"


def test_who_may_have_received_more_until_the_writer_was_known_to_be_gone_is_asked_once_more() -> None:
    arp: dict[str, bool | None] = {"10.73.0.100": False, "10.73.0.12": True, "10.73.0.13": True}
    taking = Takeover(
        NOW_S - 0.1, "boot-1", claims={"db1": 7, "db3": 8}, arp=arp, remembered=True, opener=5, reserved=9,
        stopped=True, hooked=True, drained=AHEAD, prepared_s=NOW_S - 0.05, looked_s=NOW_S,
        proof=Proof(gone=frozenset({"db2"})),
    )  # fmt: skip
    asked_s = SERVER.asked_at_s
    due = takeover.due(taking, beside(REPLICA_FACTS, gone_s=asked_s + 0.001))
    assert due.waiting == "look" and due.effects == (ProbePeer(0.5, "db3", channels=True),)
    assert takeover.due(taking, beside(REPLICA_FACTS, gone_s=asked_s)).waiting != "look"


def test_the_epoch_of_a_replica_is_known_too() -> None:
    newer = replace(REPLICA_FACTS, epoch=EpochRow(9, "db2", "boot-2"))
    sight = with_replica(TAKER, ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.03, newer))
    assert sight.highest_epoch == 9


def test_replicas_decide_nothing_about_who_may_begin_alone() -> None:
    closed = {"db2": replace(PEER, evidence=replace(SERVER, facts=FACTS))}
    sight = replace(TAKER, peers=closed)
    assert sight.entitled and with_replica(sight, healthy.SILENT).entitled


def test_a_source_that_does_not_answer_is_not_received_from_before_it_was_compared() -> None:
    """It may have come back with what the writer lacks; if it is gone, this node is pointed at the writer."""
    circle = circle_of_three()
    sight = replace(with_channel(circle, source_host=THIRD.address, io="stopped", lag_s=None), peers=circle.peers)
    assert rejoin.standby(sight).rule == "join"
    silent = {**sight.peers, "db3": replace(sight.peers["db3"], evidence=healthy.SILENT)}
    assert rejoin.standby(replace(sight, peers=silent)).rule == "join-waits"
