"""What is another node to a taker, and what does it do about that node first?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core import (
    CLOSED_FACTS,
    PEER_FACTS,
    Core,
    standby,
    taker,
)
from healthy import GTIDS, NOW_S, PEER, POLICY

from vipguard.agent.world import Taking
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening, Relation
from vipguard.model.memory import Memory
from vipguard.notify.peers import PeerClass, classify

MORE = GTIDS.union(GtidSet.parse("mariadb", "2-2-80"))


def waiting(core: Core) -> str:
    assert isinstance(core.world.phase, Taking)
    return core.world.phase.waiting


def test_a_writer_by_right_gets_the_vip_back_and_is_not_touched() -> None:
    core = standby()
    core.arp["10.73.0.100"] = True
    core.move_vip(True)
    core.go()
    assert "peer-legit" in core.rules and core.phase == "Resting" and core.track == "0"
    assert core.peer is not None and not core.peer.closed


def test_a_writer_whose_keepalived_is_just_about_to_remove_the_vip_is_asked_again() -> None:
    core = standby()
    core.arp["10.73.0.100"] = True
    core.move_vip(True)
    core.go(do.ProbePeer)
    core.do(do.ProbePeer)
    assert waiting(core) == "peer-leaving" and all(probe.after_s for probe in core.sent(do.ProbePeer))
    core.arp["10.73.0.100"] = False
    core.now += 0.03
    core.go()
    assert "peer-legit" not in core.rules and core.phase == "Writing"


def test_an_epoch_that_was_only_reserved_makes_no_writer_less_legit() -> None:
    core = standby(memory=Memory(epoch=9))
    core.arp["10.73.0.100"] = True
    core.move_vip(True)
    core.go()
    assert "peer-legit" in core.rules


def test_a_peer_that_is_open_without_a_right_is_closed_before_anything_is_opened() -> None:
    core = standby()
    core.move_vip(True)
    core.go(do.ClosePeer)
    assert waiting(core) == "close-peers"
    core.do(do.ClosePeer)
    core.go()
    assert core.phase == "Writing" and core.peer is not None and core.peer.closed


def test_what_a_closed_peer_has_is_received_before_receiving_stops() -> None:
    core = standby()
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=MORE)
    core.wait(0.2)
    core.move_vip(True)
    core.go(do.Receive)
    assert core.sent(do.Receive) == [do.Receive(1.0, MORE.minus(GTIDS))] and not core.sent(do.StopReceiving)
    core.drained = MORE
    core.go()
    assert core.phase == "Writing"


def test_a_closed_peer_of_an_older_epoch_is_not_waited_for() -> None:
    core = standby()
    assert core.facts is not None
    old, new = EpochRow(2, "db2", "boot-2"), EpochRow(3, "db2", "boot-2")
    core.facts = replace(core.facts, ledger=Ledger.of([Opening(old), Opening(new)]))
    core.peer = replace(
        PEER_FACTS, closed=True, open_lock=None, gtid=MORE, epoch=old, ledger=Ledger.of([Opening(old)])
    )
    core.wait(0.2)
    core.move_vip(True)
    core.go()
    assert core.phase == "Writing" and "receive" not in core.rules


def test_a_peer_that_comes_back_with_more_after_receiving_stopped_ends_the_takeover() -> None:
    core = taker()
    core.go(do.Look)
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=MORE)
    core.look()
    core.go()
    assert "peer-has-more" in core.rules and core.phase == "Resting" and not core.sent(do.Open)


def test_an_io_thread_that_somebody_starts_again_ends_the_takeover() -> None:
    core = taker()
    core.go(do.Look)
    core.facts = replace(CLOSED_FACTS, claim_lock=core.facts.claim_lock if core.facts else None)
    core.go()
    assert "receives-again" in core.rules and core.phase == "Resting"


def test_a_silent_peer_is_waited_for_as_long_as_it_takes_to_close_itself() -> None:
    core = standby()
    core.peer_answer = Answer.SILENT
    silent_s = core.now
    core.wait(0.2)
    core.go()
    core.move_vip(True)
    while core.phase != "Writing":
        core.go()
        core.wait(0.1)
        assert core.now < silent_s + 3.0
    took_s = core.now - silent_s
    least_s = POLICY.limits.lease_s + POLICY.limits.close_s
    assert least_s <= took_s < least_s + 0.5


def test_a_silent_peer_is_never_opened_against_when_the_policy_says_wait() -> None:
    core = standby(replace(POLICY, silent_peer="wait"))
    core.peer_answer = Answer.SILENT
    core.wait(2.0)
    core.move_vip(True)
    core.go()
    assert "silent-peer-wait" in core.rules and core.phase == "Resting" and core.track == "0"


def test_a_silent_peer_is_never_opened_against_without_a_witness() -> None:
    core = standby(replace(POLICY, witnesses=()))
    core.peer_answer = Answer.SILENT
    core.move_vip(True)
    core.wait(0.1)
    core.go()
    assert "silent-peer-no-witness" in core.rules


def test_a_silent_peer_whose_host_lives_is_never_opened_against() -> None:
    core = standby()
    core.peer_answer = Answer.SILENT
    core.move_vip(True)
    for _ in range(40):
        core.heard = {"10.73.0.12": core.now}
        core.wait(0.1)
        core.go()
        assert core.phase != "Writing"
    assert "silent-peer-alive" in core.rules


def test_a_foreign_answer_for_the_vip_holds_an_opening_against_a_silent_peer_up_for_a_bounded_time() -> None:
    core = standby()
    core.peer_answer, core.arp["10.73.0.100"] = Answer.SILENT, True
    began_s = core.now
    core.move_vip(True)
    while core.phase != "Writing":
        core.go()
        core.wait(0.1)
        assert core.now < began_s + 8.0
    assert "foreign-arp" in core.rules
    assert core.now - began_s >= POLICY.limits.arp_s_max


@pytest.mark.parametrize(
    ("answer", "found", "expected"),
    [
        (Answer.SILENT, {}, PeerClass.SILENT),
        (Answer.BLIND, {}, PeerClass.SILENT),
        (Answer.ABSENT, {}, PeerClass.REFUSED),
        (Answer.SILENT, {"refused": True}, PeerClass.REFUSED),
        (Answer.BLIND, {"refused": True}, PeerClass.REFUSED),
        (Answer.SILENT, {"down": True}, PeerClass.DOWN),
        (Answer.BLIND, {"down": True}, PeerClass.DOWN),
        (Answer.ABSENT, {"down": True, "refused": True}, PeerClass.DOWN),
    ],
)
@pytest.mark.parametrize("there", [None, False, True])
def test_a_peer_that_tells_nothing_is_classed_by_how_it_tells_nothing(
    answer: Answer, found: dict[str, bool], expected: PeerClass, there: bool | None
) -> None:
    """One answer for its address proves nothing, and no more does none."""
    assert PEER.evidence is not None
    peer, arp = replace(PEER, evidence=replace(PEER.evidence, answer=answer, facts=None)), {"10.73.0.12": there}
    assert classify(peer, since_s=0.0, relation=Relation.SAME, arp=arp, vip="10.73.0.100", **found) is expected


def test_what_a_peer_says_now_is_newer_than_any_word_of_its_end() -> None:
    assert PEER.evidence is not None and PEER.evidence.facts is not None
    closed = replace(PEER.evidence, facts=replace(PEER.evidence.facts, closed=True))
    arp, vip = {"10.73.0.100": False}, "10.73.0.100"
    for evidence, since_s, expected in (
        (closed, 0.0, PeerClass.CLOSED),
        (PEER.evidence, 0.0, PeerClass.OPEN_OTHERWISE),
        (PEER.evidence, NOW_S, PeerClass.DOWN),
        (None, 0.0, PeerClass.DOWN),
    ):
        peer = replace(PEER, evidence=evidence)
        assert classify(peer, since_s=since_s, relation=Relation.SAME, arp=arp, vip=vip, down=True) is expected


@pytest.mark.parametrize(
    ("changes", "arp", "expected"),
    [
        ({}, {"10.73.0.100": True}, PeerClass.LEGIT),
        ({}, {}, PeerClass.UNSEEN),
        ({}, {"10.73.0.100": False}, PeerClass.OPEN_OTHERWISE),
        ({"open_lock": None}, {"10.73.0.100": True}, PeerClass.OPEN_OTHERWISE),
        ({"closed": True}, {}, PeerClass.CLOSED),
        ({"other_cluster": "shop", "epoch": None}, {}, PeerClass.SILENT),
    ],
)
def test_a_peer_that_answers_is_classed_by_lock_epoch_and_vip(
    changes: dict[str, object], arp: dict[str, bool | None], expected: PeerClass
) -> None:
    assert PEER.evidence is not None and PEER.evidence.facts is not None
    facts = replace(PEER.evidence.facts, **changes)  # type: ignore[arg-type]
    peer = replace(PEER, evidence=replace(PEER.evidence, facts=facts))
    assert classify(peer, since_s=0.0, relation=Relation.SAME, arp=arp, vip="10.73.0.100") is expected


@pytest.mark.parametrize(
    ("relation", "vip", "expected"),
    [
        (Relation.AHEAD, True, PeerClass.OPEN_OTHERWISE),
        (Relation.BEHIND, True, PeerClass.LEGIT),
        (Relation.BEHIND, False, PeerClass.OPEN_OTHERWISE),
        (Relation.FORKED, True, PeerClass.LEGIT),
        (Relation.FORKED, False, PeerClass.LEGIT),
    ],
)
def test_an_open_peer_is_classed_by_how_its_history_stands_to_this_ones(
    relation: Relation, vip: bool, expected: PeerClass
) -> None:
    assert classify(PEER, since_s=0.0, relation=relation, arp={"10.73.0.100": vip}, vip="10.73.0.100") is expected


def test_what_was_seen_before_the_takeover_began_does_not_count() -> None:
    assert classify(PEER, since_s=NOW_S, relation=Relation.SAME, arp={}, vip="10.73.0.100") is PeerClass.UNSEEN


