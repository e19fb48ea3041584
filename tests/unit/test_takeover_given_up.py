"""When is a takeover given up, by which rule, and what is undone then?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core import (
    PEER_CLAIM,
    PEER_FACTS,
    Core,
    standby,
    taker,
)
from healthy import BEATLESS, GTIDS, POLICY

from vipguard.agent.event import AddressSeen, Claimed, Tick
from vipguard.agent.world import Closing, Flight, Taking
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow
from vipguard.model.gtid import GtidSet

MORE = GTIDS.union(GtidSet.parse("mariadb", "2-2-80"))


def waiting(core: Core) -> str:
    assert isinstance(core.world.phase, Taking)
    return core.world.phase.waiting


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


def test_an_opening_that_has_just_come_through_is_closed_when_it_must_be_given_up_at_once() -> None:
    """The last look at the server is older than the opening."""
    core = taker()
    core.go(do.Open)
    opening = core.take(do.Open)
    core.now += 0.8  # nobody has answered for longer than the lease
    core.report(opening, None)
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "isolated"


def test_what_failed_beside_an_opening_that_came_through_does_not_end_it() -> None:
    """As a claim on a silent node does, whose deadline passes in that moment."""
    core = taker()
    core.go(do.Open)
    phase = core.world.phase
    assert isinstance(phase, Taking)
    failed = replace(phase.takeover, failed=("claim-failed", "no report within its deadline"))
    core.world = replace(core.world, phase=replace(phase, takeover=failed))
    core.do(do.Open)
    assert core.phase == "Writing"


def test_nothing_is_opened_while_something_may_still_be_fetched() -> None:
    """The replica may fall silent meanwhile, and its transactions are not waited for any more."""
    core = taker()
    core.go(do.Look)
    effect = do.Fetch(2.0, "db3", "db2", MORE)
    flight = Flight(999, effect, core.now, core.now + 2.3)
    core.world = replace(core.world, flights={**core.world.flights, effect.key: flight})
    core.go(do.Open)
    assert not core.sent(do.Open)
    core.report(flight, GTIDS)
    core.go(do.Open)
    assert core.sent(do.Open)


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
    core = standby(BEATLESS)
    core.wait(6.0)
    keeping = core.take(do.Remember)
    core.peer, core.gone = None, frozenset({"db2"})
    core.wait(0.1)
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


def test_a_pause_in_the_middle_of_the_opening_is_told_as_a_pause() -> None:
    """Not as a worker that was late: nobody was there to hear it, and commits that wait on a node that stood still are
    ended with more care."""
    core = taker()
    core.go(do.Open)
    core.now += 3.0
    core.step(Tick(3.0))
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "paused"
    assert "worker-late" not in core.rules and "open-may-have-happened" not in core.rules
    core.do(do.Open)
    core.wait(0.2)
    core.go()
    assert core.facts is not None and core.facts.closed


def test_no_silence_from_before_a_pause_counts() -> None:
    core = standby()
    core.peer_answer = Answer.SILENT
    core.wait(0.3)
    core.now += 5.0
    core.step(Tick(5.0))
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
        from vipguard.agent.phases import hold_off

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


