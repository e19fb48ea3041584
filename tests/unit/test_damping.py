"""Flap damping and the recovery block: what counts, what parks, and that nobody is parked for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core import PEER_FACTS, PROCESS, Core, guarded_writer, standby
from healthy import FACTS, NOW_S, PEER, POLICY, SILENT, STANDBY, WRITER, WRITER_FACTS, with_facts
from hypothesis import given, settings
from hypothesis import strategies as st

from vipguard.agent.event import AddressSeen, Command, Did, Failed, ProcessExiting
from vipguard.checks import flapping, writer
from vipguard.model import effect as do
from vipguard.model.damping import Damping
from vipguard.model.evidence import Answer, EpochRow
from vipguard.model.policy import Damping as Setting
from vipguard.model.sight import Sight

TWICE = replace(POLICY, damping=Setting(losses_max=2, window_s=60.0))
PARKED = replace(STANDBY, damping=Damping(fit=False, losses=(NOW_S - 5,) * 5, until_s=NOW_S + 295))
CLOSED_PEER = replace(PEER, evidence=replace(PEER.evidence, facts=FACTS), eligible=True)


def rule(core: Core) -> str | None:
    return core.world.verdict.rule if core.world.verdict else None


def lose(core: Core, times: int = 1) -> None:
    """The SQL thread of db1 stops and is started again, and all is well for a second."""
    for _ in range(times):
        facts = core.facts
        assert facts is not None and facts.channels is not None
        core.facts = replace(facts, channels=(replace(facts.channels[0], sql_running=False, lag_s=None),))
        core.wait(0.3)
        core.facts = facts
        core.wait(1.0)
        core.go()


def test_so_many_losses_are_borne_and_one_more_parks_the_node() -> None:
    core = standby(policy=TWICE)
    lose(core, 2)
    assert rule(core) == "candidate-ready" and core.track == "1"
    lose(core)
    assert rule(core) == "damped" and core.track == "0"
    assert core.rules.count("eligibility-lost") == 0, "each loss is told by the rule of its fault"
    assert sum(note.what == "eligibility-lost" for note in core.notes) == 3
    (told,) = (note for note in core.notes if note.what == "flapping")
    assert (told.level, dict(told.numbers)["losses"], dict(told.numbers)["losses_max"]) == ("warning", 3, 2)


def test_the_park_ends_when_the_window_has_passed_since_the_last_loss() -> None:
    core = standby(policy=TWICE)
    lose(core, 3)
    core.wait(55.0)
    assert rule(core) == "damped"
    core.wait(6.0)
    core.go()
    assert rule(core) == "candidate-ready" and core.track == "1"
    lose(core, 2)
    assert rule(core) == "candidate-ready", "and it begins anew"


def test_a_node_that_was_eligible_for_want_of_a_writer_loses_nothing_when_one_appears() -> None:
    core = Core(TWICE)
    assert core.facts is not None and core.facts.channels is not None
    running = core.facts.channels[0]
    core.facts = replace(core.facts, channels=(replace(running, io="stopped", sql_running=False, lag_s=None),))
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None)
    core.step(AddressSeen(core.address()))
    core.wait(0.3)
    for flight in [f for f in core.flights if isinstance(f.effect, do.WriteTrack | do.ProbeDisk)]:
        core.do(type(flight.effect))
    core.wait(0.2)
    assert rule(core) == "candidate-ready", "nobody writes, and it has everything"
    core.peer = PEER_FACTS
    core.wait(0.2)
    assert rule(core) == "replication-broken" and core.world.damping.losses == ()


def test_losses_that_are_far_apart_park_nobody() -> None:
    core = standby(policy=TWICE)
    for _ in range(5):
        lose(core)
        core.wait(31.0)
    assert rule(core) == "candidate-ready"


def test_none_parks_where_damping_is_off() -> None:
    core = standby(policy=replace(POLICY, damping=Setting(losses_max=0)))
    lose(core, 8)
    assert rule(core) == "candidate-ready"


def test_the_operator_lifts_it() -> None:
    core = standby(policy=TWICE)
    lose(core, 3)
    core.step(Command("undamp"))
    core.wait(0.1)
    core.go()
    assert rule(core) == "candidate-ready" and "undamped-by-operator" in core.rules
    assert core.world.damping.losses == ()


def test_a_parked_node_is_a_candidate_at_once_when_the_writer_is_gone_and_nobody_else_is_fit() -> None:
    core = standby(policy=TWICE)
    lose(core, 3)
    core.peer = None
    core.wait(0.2)
    core.go()
    assert rule(core) == "candidate-ready" and core.track == "1"


def test_a_parked_node_lets_an_eligible_peer_go_first_for_a_bounded_time() -> None:
    core = standby(policy=TWICE)
    lose(core, 3)
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, fit_lock=34)
    core.wait(1.5)
    assert rule(core) == "damped"
    core.wait(1.0)
    assert rule(core) == "candidate-ready", "the peer may be parked too, and cannot tell"


def test_a_hold_off_of_a_refused_takeover_is_no_loss() -> None:
    core = standby(policy=TWICE)
    for _ in range(4):
        core.arp["10.73.0.100"] = True
        core.move_vip(True)
        core.go()
        core.move_vip(False)
        core.wait(3.0)
        core.go()
    assert "peer-legit" in core.rules
    assert rule(core) == "candidate-ready" and core.world.damping.losses == ()


def test_a_server_that_somebody_opened_by_hand_is_no_loss() -> None:
    core = standby(policy=TWICE)
    assert core.facts is not None
    core.facts = replace(core.facts, closed=False)
    core.wait(0.2)
    assert core.world.damping.losses == ()


def test_blindness_is_no_loss_and_hides_none() -> None:
    core = standby(policy=TWICE)
    core.answer = Answer.BLIND
    core.wait(0.5)
    assert core.world.damping.losses == () and core.world.damping.fit is True
    core.answer, core.facts = Answer.ANSWERED, None
    core.wait(0.2)
    assert len(core.world.damping.losses) == 1


def test_a_holders_dead_server_is_one_loss() -> None:
    core = guarded_writer(policy=TWICE)
    core.facts = None
    core.step(ProcessExiting(PROCESS))
    core.wait(0.5)
    core.go()
    core.wait(0.5)
    assert len(core.world.damping.losses) == 1


def test_a_healthy_holder_is_never_parked() -> None:
    sight = replace(WRITER, damping=PARKED.damping)
    assert writer.judge(sight, "holder").rule == "holder-healthy"


def test_the_numbers_are_in_the_verdict() -> None:
    verdict = writer.judge(PARKED, "candidate")
    assert (verdict.rule, verdict.may) == ("damped", False)
    assert dict(verdict.numbers) == {"losses": 5, "losses_max": 4, "window_s": 300.0, "left_s": 295.0}


@pytest.mark.parametrize(
    ("sight", "parked"),
    [
        (PARKED, True),
        (replace(PARKED, promoted=True), False),
        (replace(PARKED, peers={}), False),
        (replace(PARKED, peers={"db2": replace(PEER, evidence=SILENT, eligible=None)}), False),
        (replace(PARKED, peers={"db2": CLOSED_PEER}), False),
        (replace(PARKED, peers={"db2": CLOSED_PEER}, damping=replace(PARKED.damping, writer_seen_s=NOW_S - 1)), True),
        (replace(PARKED, peers={"db2": CLOSED_PEER}, damping=replace(PARKED.damping, writer_seen_s=NOW_S - 3)), False),
        (replace(PARKED, damping=replace(PARKED.damping, until_s=NOW_S - 1)), False),
    ],
)
def test_nobody_is_parked_while_no_other_node_serves(sight: Sight, parked: bool) -> None:
    assert (writer.judge(sight, "candidate").rule == "damped") is parked


# -- the recovery block


def blocked(ago_s: float | None = 10.0, **changes: Any) -> Sight:
    policy = replace(POLICY, damping=Setting(recovery_block_s=60.0))
    at_s = None if ago_s is None else NOW_S - ago_s
    return replace(STANDBY, policy=policy, damping=Damping(epoch=3, epoch_at_s=at_s), **changes)


OPEN_PEER = replace(PEER, evidence=replace(PEER.evidence, facts=WRITER_FACTS))
GONE = replace(PEER, evidence=SILENT)
MINE = with_facts(STANDBY, epoch=EpochRow(4, "db1", "boot-1")).server


@pytest.mark.parametrize(
    ("sight", "applies"),
    [
        (blocked(peers={"db2": CLOSED_PEER}), True),
        (blocked(peers={"db2": OPEN_PEER}), False),
        (blocked(peers={"db2": OPEN_PEER}, address=WRITER.address), True),
        (blocked(peers={"db2": GONE}), False),
        (blocked(peers={"db2": GONE}, address=WRITER.address), False),
        (blocked(61.0, peers={"db2": CLOSED_PEER}), False),
        (blocked(None, peers={"db2": CLOSED_PEER}), False),
        (blocked(peers={"db2": CLOSED_PEER}, server=MINE), False),
        (replace(blocked(peers={"db2": CLOSED_PEER}), policy=POLICY), False),
    ],
    ids=["closed", "writes", "writes-and-the-vip-is-here", "gone", "gone-and-the-vip-is-here", "long-ago",
         "before-this-agent", "own-epoch", "off"],
)  # fmt: skip
def test_a_second_takeover_waits_while_the_last_holder_is_there(sight: Sight, applies: bool) -> None:
    assert (flapping.recovery_block(sight) is not None) is applies
    assert (writer.unfit(sight) is not None and writer.unfit(sight)[0] == "recovery-block") is applies  # type: ignore[index]
    assert writer.unfit(replace(sight, promoted=True)) is None


def blocking(ago_s: float) -> Core:
    """db1 stands by; db2 took over `ago_s` seconds ago, and has just lost the VIP to db1 though it lives."""
    core = standby(policy=replace(POLICY, damping=Setting(recovery_block_s=60.0)))
    newer = EpochRow(4, "db2", "boot-2")
    core.peer = replace(PEER_FACTS, epoch=newer)
    core.facts = replace(core.facts, epoch=newer) if core.facts else None
    core.wait(ago_s)
    core.go()
    core.peer = replace(core.peer, closed=True, open_lock=None)
    core.wait(0.2)
    core.go()
    return core


def test_the_block_lets_the_vip_go_by_its_rule_and_ends_by_itself() -> None:
    core = blocking(5.0)
    assert rule(core) == "recovery-block" and core.track == "0"
    core.move_vip(True)
    core.go()
    assert core.phase == "Resting"
    core.move_vip(False)
    core.wait(60.0)
    core.go()
    assert rule(core) == "candidate-ready" and core.track == "1"


def test_a_holder_that_dies_within_the_block_is_followed_at_once() -> None:
    core = standby(policy=replace(POLICY, damping=Setting(recovery_block_s=60.0)))
    core.peer = replace(PEER_FACTS, epoch=EpochRow(4, "db2", "boot-2"))
    core.wait(1.0)
    core.go()
    assert rule(core) == "candidate-ready" and core.track == "1"
    core.peer, core.gone = None, frozenset({"db2"})
    core.wait(0.1)
    core.move_vip(True)
    core.go(do.Open)
    assert core.sent(do.Open)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.05, 20.0)), max_size=30), st.integers(1, 4))
def test_the_record_is_bounded_and_only_ever_parks_after_more_losses_than_allowed(
    turns: list[tuple[bool, float]], losses_max: int
) -> None:
    core = standby(policy=replace(POLICY, damping=Setting(losses_max=losses_max, window_s=30.0)))
    core.flights.clear()
    state = core.world.damping
    for broken, seconds in turns:
        facts = core.facts
        assert facts is not None and facts.channels is not None
        channel = replace(facts.channels[0], sql_running=not broken, lag_s=None if broken else 0.0)
        core.facts = replace(facts, channels=(channel,))
        core.now += seconds
        core.look()
        for flight in list(core.flights):
            core.flights.remove(flight)
            core.step(Did(flight.number, flight.effect, Failed("not here")))
        before, state = state, core.world.damping
        assert len(state.losses) <= 2 * losses_max + 1
        assert state.until_s in (None, before.until_s) or len(state.losses) > losses_max, "later losses may be fewer"
