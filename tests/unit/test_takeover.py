"""What does a node do that has just got the VIP, in which order, and when does it give up?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core import (
    CLOSED_FACTS,
    OPENER,
    PEER_CLAIM,
    PEER_FACTS,
    Core,
    bereft,
    guarded_writer,
    standby,
    taker,
    writer,
)
from healthy import FACTS, GTIDS, NOW_S, PEER, POLICY, TAKER

from vipguard.agent.event import AddressSeen, Claimed, Failed, Prepared, Tick
from vipguard.agent.world import Closing, Taking, Writing
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow
from vipguard.model.gtid import GtidSet
from vipguard.model.memory import Memory
from vipguard.notify.peers import PeerClass, classify
from vipguard.notify.takeover import Takeover, due

MORE = GTIDS.union(GtidSet.parse("mariadb", "2-2-80"))


def waiting(core: Core) -> str:
    assert isinstance(core.world.phase, Taking)
    return core.world.phase.waiting


# -- the order


def test_the_steps_come_in_their_order() -> None:
    core = taker()
    core.go()
    steps = [note.rule for note in core.notes if note.what == "takeover-step"]
    assert steps == ["claim", "stop-receiving", "drain", "look", "open"]
    assert core.phase == "Writing"


def test_the_own_server_is_claimed_first_and_arp_is_asked_beside_it() -> None:
    core = taker()
    assert core.sent(do.Claim) == [do.Claim(0.5, "db1")]
    assert {effect.addresses for effect in core.sent(do.AskArp) if isinstance(effect, do.AskArp)} == {
        ("10.73.0.100",),
        ("10.73.0.12",),
    }


def test_nodes_are_claimed_in_the_order_of_their_names() -> None:
    core = standby()
    core.peer = replace(PEER_FACTS, open_lock=None)
    core.move_vip(True)
    core.do(do.Claim)
    assert core.sent(do.Claim) == [do.Claim(0.5, "db2")]


def test_the_epoch_is_on_disk_before_the_io_thread_is_stopped() -> None:
    core = taker()
    core.go(do.Remember)
    assert not core.sent(do.StopReceiving)
    (remember,) = core.sent(do.Remember)
    assert isinstance(remember, do.Remember)
    assert remember.memory.epoch == 4 and remember.memory.stopped == "boot-1"
    core.do(do.Remember)
    assert core.sent(do.StopReceiving)


def test_the_last_look_is_newer_than_the_session_that_opens() -> None:
    core = taker()
    core.go(do.Look)
    assert isinstance(core.world.phase, Taking)
    prepared_s = core.world.phase.takeover.prepared_s
    core.do(do.Look)
    assert isinstance(core.world.phase, Taking)
    looked_s = core.world.phase.takeover.looked_s
    assert looked_s is not None and looked_s >= prepared_s


def test_opening_is_sent_once_over_the_prepared_session_with_the_next_epoch() -> None:
    core = taker()
    core.go(do.Open)
    core.look()
    (opening,) = core.sent(do.Open)
    assert isinstance(opening, do.Open)
    assert (opening.opener, opening.row) == (OPENER, EpochRow(4, "db1", "boot-1"))


def test_an_opening_has_no_effect_after_the_lease() -> None:
    core = taker()
    core.go(do.Open)
    (opening,) = core.sent(do.Open)
    assert isinstance(opening, do.Open)
    assert opening.until_s == core.world.sight(core.now).lease_ends_s <= core.now + POLICY.limits.lease_s


def test_a_completed_takeover_is_announced_remembered_and_its_claims_are_given_back() -> None:
    core = taker()
    core.go(do.Open)
    core.do(do.Open)
    assert core.phase == "Writing" and core.sent(do.Announce)
    (remember,) = core.sent(do.Remember)
    assert isinstance(remember, do.Remember) and remember.memory.completed is not None
    assert remember.memory.completed.epoch == 4
    assert core.sent(do.Release) == [do.Release(0.5, "db1")]
    core.go()
    assert core.world.claims == {}


def test_a_completion_that_could_not_be_remembered_is_remembered_later() -> None:
    core = taker()
    core.go(do.Open)
    core.do(do.Open)
    core.fail(do.Remember, "no space left", refused=True)
    core.wait(1.0)
    core.go()
    assert core.world.memory.completed is not None and core.world.memory.completed.epoch == 4


# -- its peers


def test_a_writer_by_right_gets_the_vip_back_and_is_not_touched() -> None:
    core = standby()
    core.arp["10.73.0.100"] = True
    core.move_vip(True)
    core.go()
    assert "peer-legit" in core.rules and core.phase == "Resting" and core.track == "0"
    assert core.peer is not None and not core.peer.closed


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
    assert core.sent(do.Receive) == [do.Receive(1.0, MORE)] and not core.sent(do.StopReceiving)
    core.drained = MORE
    core.go()
    assert core.phase == "Writing"


def test_a_closed_peer_of_an_older_epoch_is_not_waited_for() -> None:
    core = standby()
    old = EpochRow(1, "db2", "boot-2")
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=MORE, epoch=old)
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
    ("answer", "arp", "expected"),
    [
        (Answer.SILENT, {}, PeerClass.SILENT),
        (Answer.BLIND, {}, PeerClass.SILENT),
        (Answer.ABSENT, {}, PeerClass.UNSEEN),
        (Answer.ABSENT, {"10.73.0.12": True}, PeerClass.DOWN),
        (Answer.ABSENT, {"10.73.0.12": False}, PeerClass.SILENT),
        (Answer.ABSENT, {"10.73.0.12": None}, PeerClass.DOWN),
    ],
)
def test_a_peer_that_tells_nothing_is_classed_by_how_it_tells_nothing(
    answer: Answer, arp: dict[str, bool | None], expected: PeerClass
) -> None:
    assert PEER.evidence is not None
    peer = replace(PEER, evidence=replace(PEER.evidence, answer=answer, facts=None))
    assert classify(peer, since_s=0.0, known_epoch=3, arp=arp, vip="10.73.0.100") is expected


@pytest.mark.parametrize(
    ("changes", "arp", "expected"),
    [
        ({}, {"10.73.0.100": True}, PeerClass.LEGIT),
        ({}, {}, PeerClass.UNSEEN),
        ({}, {"10.73.0.100": False}, PeerClass.OPEN_OTHERWISE),
        ({"open_lock": None}, {"10.73.0.100": True}, PeerClass.OPEN_OTHERWISE),
        ({"epoch": EpochRow(2, "db2", "b")}, {"10.73.0.100": True}, PeerClass.OPEN_OTHERWISE),
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
    assert classify(peer, since_s=0.0, known_epoch=3, arp=arp, vip="10.73.0.100") is expected


def test_what_was_seen_before_the_takeover_began_does_not_count() -> None:
    assert classify(PEER, since_s=NOW_S, known_epoch=3, arp={}, vip="10.73.0.100") is PeerClass.UNSEEN


# -- giving up


def test_a_denied_claim_ends_it_and_whatever_was_claimed_is_given_back() -> None:
    core = standby()
    core.peer = replace(PEER_FACTS, open_lock=None)
    core.move_vip(True)
    core.do(do.Claim)
    core.report(core.take(do.Claim), Claimed(None, core.peers_server(claim_lock=77)))
    assert "claim-denied" in core.rules and core.phase == "Resting"
    assert do.Release(0.5, "db1") in core.sent(do.Release) and core.sent(do.DropOpener)
    core.go()
    assert core.track == "0" and core.world.claims == {}


def test_a_claim_that_never_reported_is_given_back() -> None:
    core = taker()
    core.take(do.Claim)
    core.wait(1.0)
    assert core.phase == "Resting" and core.sent(do.Release) == [do.Release(0.5, "db1")]


def test_a_claim_that_came_through_after_its_takeover_is_given_back() -> None:
    core = taker()
    claim = core.take(do.Claim)
    core.move_vip(False)
    core.report(claim, Claimed(PEER_CLAIM, core.server(claim_lock=PEER_CLAIM)))
    assert core.sent(do.Release) == [do.Release(0.5, "db1")]


def test_a_claim_that_was_lost_ends_it() -> None:
    core = taker()
    core.go(do.Look)
    assert core.facts is not None
    core.facts = replace(core.facts, claim_lock=None)
    core.go()
    assert "claim-lost" in core.rules and core.phase == "Resting"


def test_a_vip_that_left_ends_it_without_a_hold_off() -> None:
    core = taker()
    core.go(do.Look)
    core.move_vip(False)
    assert core.phase == "Resting" and core.world.hold_off is None and core.sent(do.DropOpener)


def test_an_opening_under_way_is_closed_at_once_when_the_vip_leaves() -> None:
    core = taker()
    core.go(do.Open)
    core.move_vip(False)
    assert core.phase == "Closing" and core.sent(do.CloseServer) and core.sent(do.DropOpener)


def test_an_opening_under_way_is_closed_at_once_when_nobody_answers_any_more() -> None:
    core = taker()
    core.go(do.Open)
    core.pings, core.peer_answer = False, Answer.SILENT
    core.wait(0.7)
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "isolated"


def test_an_opening_that_comes_through_too_late_is_closed() -> None:
    core = taker()
    core.go(do.Open)
    opening = core.take(do.Open)
    core.move_vip(False)
    core.go()
    assert core.phase == "Resting" and core.facts is not None
    core.facts = replace(core.facts, closed=False)
    core.report(opening, None)
    assert "stale-open" in core.rules and core.sent(do.CloseServer)


def test_an_opening_of_an_earlier_takeover_completes_no_later_one() -> None:
    core = taker()
    core.go(do.Open)
    opening = core.take(do.Open)
    core.now += 0.01
    core.move_vip(False)
    core.go()
    core.now += 0.01
    core.move_vip(True)
    core.look()
    assert core.phase == "Taking"
    core.report(opening, None)
    assert core.phase == "Closing" and "stale-open" in core.rules


def test_a_memory_written_for_another_reason_reserves_no_epoch() -> None:
    core = bereft()
    core.now += 0.4
    core.wait(6.0)
    keeping = core.take(do.Remember)
    core.now += 0.01
    core.move_vip(True)
    core.report(keeping, None)
    core.go(do.Remember)
    (remember,) = core.sent(do.Remember)
    assert isinstance(remember, do.Remember) and remember.memory.epoch == 4


def test_an_opening_that_failed_may_have_happened_and_is_closed() -> None:
    core = taker()
    core.go(do.Open)
    core.fail(do.Open, "no answer")
    assert core.phase == "Closing" and "open-may-have-happened" in core.rules


def test_an_opening_that_never_reported_may_have_happened_and_is_closed() -> None:
    core = taker()
    core.go(do.Open)
    core.take(do.Open)
    core.wait(1.5)
    core.go()
    assert "open-may-have-happened" in core.rules and core.facts is not None and core.facts.closed


def test_a_pause_ends_it() -> None:
    core = taker()
    core.go(do.Look)
    core.now += 3.0
    core.step(Tick(3.0))
    assert core.phase == "Resting" and "paused" in core.rules


def test_no_silence_from_before_a_pause_counts() -> None:
    core = standby()
    core.peer_answer = Answer.SILENT
    core.wait(0.3)
    core.now += 30.0
    core.step(Tick(30.0))
    core.move_vip(True)
    core.go()
    assert waiting(core) == "silent-peer"
    core.wait(POLICY.limits.lease_s)
    core.go()
    assert waiting(core) == "silent-peer"


def test_a_server_that_goes_away_ends_it() -> None:
    core = taker()
    core.go(do.Look)
    core.facts = None
    core.look()
    assert core.phase == "Resting" and "server-absent" in core.rules


def test_a_server_that_becomes_writable_by_another_hand_is_closed() -> None:
    core = taker()
    core.go(do.Drain)
    assert core.facts is not None
    core.facts = replace(core.facts, closed=False)
    core.look()
    assert isinstance(core.world.phase, Closing) and "opened-by-another-hand" in core.rules


def test_a_step_that_takes_longer_than_it_may_ends_it() -> None:
    core = taker()
    core.go(do.Drain)
    for _ in range(40):
        if core.sent(do.Drain):
            core.fail(do.Drain, "not yet")
        core.wait(1.0)
        if core.phase == "Resting":
            break
    assert "drain-timeout" in core.rules


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (do.StopReceiving, "stop-receiving-failed"),
        (do.PrepareOpen, "prepare-open-failed"),
        (do.Remember, "remember-failed"),
        (do.Claim, "claim-failed"),
    ],
)
def test_a_failed_step_ends_it_by_a_rule_of_its_own(kind: type[do.Effect], rule: str) -> None:
    core = taker()
    core.go(kind)
    core.fail(kind, "it failed", refused=True)
    assert rule in core.rules and core.phase == "Resting"


def test_an_io_thread_that_may_have_been_stopped_is_started_again_later() -> None:
    core = taker()
    core.go(do.StopReceiving)
    core.fail(do.StopReceiving, "no answer")
    assert core.world.join_due


def test_another_epoch_that_came_meanwhile_ends_it() -> None:
    core = taker()
    core.go(do.Look)
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, epoch=EpochRow(4, "db2", "boot-2"))
    core.look()
    core.go()
    assert "epoch-overtaken" in core.rules and core.phase == "Resting"


def test_the_hold_off_differs_from_node_to_node() -> None:
    ends = []
    for node in ("db1", "db2"):
        core = Core(replace(POLICY, node=node))
        core.world = replace(core.world, server=core.server(), address=core.address())
        core.step(AddressSeen(core.address()))
        from vipguard.agent.draft import Draft
        from vipguard.agent.outcome import hold_off

        draft = Draft(core.world, core.now)
        hold_off(draft, "claim-denied", "both want it")
        assert draft.world.hold_off is not None
        ends.append(draft.world.hold_off.until_s - core.now)
    assert len(set(ends)) == 2


def test_after_the_hold_off_it_tries_again() -> None:
    core = taker()
    core.fail(do.Claim, "no answer")
    core.go()
    assert core.track == "0"
    core.move_vip(False)
    core.wait(1.2)
    core.go()
    assert core.track == "1"
    core.move_vip(True)
    core.go()
    assert core.phase == "Writing"


# -- before it begins


def test_a_claimed_node_leaves_the_vip_to_the_taker() -> None:
    core = bereft()
    assert core.facts is not None
    core.facts = replace(core.facts, claim_lock=555)
    core.look()
    core.move_vip(True)
    core.go()
    assert "claimed" in core.rules and core.phase == "Resting" and core.track == "0"


def test_a_node_that_lags_too_far_behind_does_not_begin() -> None:
    core = standby()
    channel = replace(FACTS.channels[0], lag_s=60.0) if FACTS.channels else None
    assert core.facts is not None and channel is not None
    core.facts = replace(core.facts, channels=(channel,))
    core.look()
    core.move_vip(True)
    core.go()
    assert "lag-exceeded" in core.rules and core.phase == "Resting"


def test_a_writer_that_closed_itself_with_nobody_open_since_may_open_again() -> None:
    core = writer()
    core.move_vip(False)
    core.go()
    core.wait(0.2)
    core.move_vip(True)
    core.go()
    assert isinstance(core.world.phase, Writing) and core.world.phase.epoch == 5


def test_a_writer_that_a_peer_replaced_may_not_open_by_its_own_word() -> None:
    core = guarded_writer()
    core.move_vip(False)
    core.go()
    core.peer = replace(PEER_FACTS, epoch=EpochRow(8, "db2", "boot-2"), gtid=GtidSet.parse("mariadb", "2-2-99"))
    core.wait(0.2)
    core.go()
    core.peer_answer = Answer.SILENT
    core.move_vip(True)
    core.go()
    assert core.phase == "Resting" and core.track == "0"


# -- the plan alone


def test_the_plan_is_the_same_however_often_it_is_asked() -> None:
    takeover = Takeover(NOW_S, "boot-1")
    assert due(takeover, TAKER) == due(takeover, TAKER)


def test_a_failed_plan_refuses_by_its_own_rule() -> None:
    step = due(Takeover(NOW_S, "boot-1", failed=("claim-denied", "two want it")), TAKER)
    assert step.refuse and step.waiting == "claim-denied"


def test_an_old_result_of_a_given_up_flight_changes_nothing() -> None:
    core = taker()
    flight = core.take(do.Claim)
    core.wait(1.0)
    core.go()
    before = core.world
    core.report(flight, Claimed(99, core.server(claim_lock=99)))
    assert core.world.claims == before.claims and core.phase == "Resting"


def test_a_session_prepared_for_nothing_is_ended() -> None:
    core = taker()
    core.go(do.PrepareOpen)
    prepare = core.take(do.PrepareOpen)
    core.move_vip(False)
    core.go()
    core.report(prepare, Prepared(OPENER, core.now))
    assert core.sent(do.DropOpener)


def test_a_failed_release_is_said_and_ends_nothing() -> None:
    core = taker()
    core.go(do.Release)
    core.report(core.take(do.Release), Failed("no answer"))
    assert core.phase == "Writing"
