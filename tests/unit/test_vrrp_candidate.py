"""Is a node a candidate with this keepalived? By its process, its notify lines and its FIFO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core import PROBER, Core, bereft, standby
from healthy import CHANNEL, NOW_S, POLICY, STANDBY, WRITER

from vipguard.agent.event import AddressSeen
from vipguard.checks import move, writer
from vipguard.model import effect as do
from vipguard.model.evidence import KeepalivedEvidence
from vipguard.model.sight import Sight
from vipguard.model.verdict import Eligibility

WELL = KeepalivedEvidence(alive=True, state="BACKUP", state_at_s=NOW_S - 60, started_s=NOW_S - 100, writer=True)


def with_keepalived(**changes: Any) -> Sight:
    one_s = changes.pop("one_s", NOW_S - 60)
    changed_s = changes.pop("changed_s", None)
    seen = replace(WELL, **changes)
    return replace(STANDBY, keepalived=seen, track_one_since_s=one_s, track_changed_s=changed_s)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "candidate-ready"),
        ({"alive": False}, "keepalived-dead"),
        ({"alive": None, "writer": False}, "keepalived-not-seen"),
        ({"stands": True}, "keepalived-stands-still"),
        ({"started_s": NOW_S - 4.9}, "keepalived-starting"),
        ({"started_s": NOW_S - 5.1}, "candidate-ready"),
        ({"unheld_since_s": NOW_S - 0.5, "writer": False}, "candidate-ready"),
        ({"unheld_since_s": NOW_S - 1.5, "writer": False}, "keepalived-foreign"),
        ({"state": None, "state_at_s": None}, "keepalived-unheard"),
        ({"state": None, "state_at_s": None, "changed_s": NOW_S - 0.5}, "keepalived-unheard"),
        ({"state": None, "state_at_s": None, "changed_s": NOW_S - 1.5}, "keepalived-foreign"),
        ({"state": None, "state_at_s": None, "changed_s": NOW_S - 1.5, "started_s": NOW_S - 1}, "keepalived-starting"),
        ({"state": "MASTER", "state_at_s": NOW_S - 0.5}, "candidate-ready"),
        ({"state": "MASTER", "state_at_s": NOW_S - 1.5}, "keepalived-foreign"),
        ({"state": "FAULT", "one_s": None}, "candidate-ready"),
        ({"state": "FAULT", "one_s": NOW_S - 0.5}, "candidate-ready"),
        ({"state": "FAULT", "one_s": NOW_S - 1.5}, "keepalived-fault"),
        ({"state": "FAULT", "state_at_s": NOW_S - 0.5}, "candidate-ready"),
        ({"state": "STOP", "state_at_s": NOW_S - 1.5}, "keepalived-fault"),
    ],
)
def test_a_candidate_is_one_only_with_a_keepalived_that_would_take_the_vip(changes: dict[str, Any], rule: str) -> None:
    sight = with_keepalived(**changes)
    found = writer.judge(sight, "candidate")
    assert found.rule == rule
    assert writer.fit(sight) is (rule == "candidate-ready")
    assert (found.eligibility is Eligibility.ELIGIBLE) is (rule == "candidate-ready")


@pytest.mark.parametrize("rule", sorted(writer.OF_KEEPALIVED))
def test_what_only_keepalived_can_change_leaves_the_track_file_alone(rule: str) -> None:
    rows = dict(writer.CANDIDATE)
    assert rule in rows and rule not in {name for table in (writer.TAKING, writer.HOLDER) for name, _ in table}
    sight = with_keepalived(state="FAULT", stands=True, writer=False, unheld_since_s=NOW_S - 9)
    assert not writer.judge(sight, "candidate").may and writer.for_track(sight, "candidate").may


def test_nothing_of_that_takes_the_vip_from_a_holder() -> None:
    for seen in (KeepalivedEvidence(), replace(WELL, state="FAULT"), replace(WELL, unheld_since_s=NOW_S - 60)):
        sight = replace(WRITER, keepalived=replace(seen, advert_left_s=NOW_S - 0.05, looked_at_s=NOW_S))
        assert writer.judge(sight, "holder").rule == "holder-healthy"


def say(core: Core, seconds: float, **changes: Any) -> None:
    """keepalived looks so for some time."""
    until_s = core.now + seconds
    while core.now < until_s:
        core.now += 0.1
        well = {"state": "BACKUP", "state_at_s": core.now - 60, "started_s": core.now - 100, "writer": True}
        core.vrrp = {**well, **changes}
        core.look()
        if core.sent(do.WriteTrack):
            core.do(do.WriteTrack)


def test_a_keepalived_in_fault_for_another_reason_lets_the_fit_lock_go_and_not_the_track_file() -> None:
    core = standby()
    say(core, 3.0)
    assert core.track == "1" and core.facts is not None and core.facts.fit_lock == PROBER
    say(core, 3.0, state="FAULT")
    assert core.world.verdict is not None and core.world.verdict.rule == "keepalived-fault"
    assert core.track == "1" and core.facts.fit_lock is None
    say(core, 1.0)
    assert core.world.verdict.rule == "candidate-ready" and core.facts.fit_lock == PROBER


def test_a_keepalived_that_says_nothing_is_made_to_speak_by_the_track_file_now_and_then() -> None:
    core = standby()
    say(core, 1.0)
    written: list[str] = []
    until_s = core.now + 65.0
    while core.now < until_s:
        before = core.track
        say(core, 0.1, state=None)
        if core.track != before:
            written.append(str(core.track))
    assert written == ["0", "1", "0", "1", "0", "1"] or written == ["0", "1", "0", "1"]
    assert core.world.verdict is not None and core.world.verdict.rule == "keepalived-foreign"


def test_a_healthy_standby_is_a_candidate_within_a_second_of_its_agents_restart() -> None:
    core = Core(POLICY)
    core.track = "1"
    began_s = core.now
    while core.now < began_s + 1.0:
        core.now += 0.1
        state = None if core.track == "1" and core.world.track_changed_s is None else "FAULT"
        state = "BACKUP" if core.track == "1" and core.world.track_changed_s is not None else state
        core.vrrp = {"state": state, "state_at_s": core.now, "started_s": 1.0, "writer": True}
        core.look()
        core.step(AddressSeen(core.address()))
        if core.sent(do.WriteTrack):
            core.do(do.WriteTrack)
    assert core.world.verdict is not None and core.world.verdict.rule == "candidate-ready" and core.track == "1"


def test_a_planned_move_is_refused_where_the_target_does_not_say_that_it_would_take_over() -> None:
    theirs = replace(WRITER.peers["db2"], channels=(CHANNEL,))
    well = replace(WRITER, peers={"db2": theirs})
    assert all(line.fine for line in move.examine("db1", "db2", well, well))
    assert theirs.evidence is not None and theirs.evidence.facts is not None
    evidence = replace(theirs.evidence, facts=replace(theirs.evidence.facts, fit_lock=None))
    sight = replace(WRITER, peers={"db2": replace(theirs, evidence=evidence)})
    lines = [line for line in move.examine("db1", "db2", sight, sight) if not line.fine]
    assert [line.rule for line in lines] == ["not-fit"] and "keepalived" in lines[0].text


def test_a_target_whose_keepalived_is_in_fault_does_not_take_an_order_up() -> None:
    core = standby()
    say(core, 3.0, state="FAULT")
    assert core.peer is not None
    core.peer = replace(core.peer, moving_to="db1")
    say(core, 3.0, state="FAULT")
    assert core.phase == "Resting" and not core.sent(do.Claim)


def test_adverts_that_never_leave_keep_a_node_out_for_ever_longer() -> None:
    core = bereft()
    core.advert_s = -1000.0
    for _ in range(600):
        if core.track == "1" and not core.vip:
            core.move_vip(True)
        elif core.track == "0" and core.vip:
            core.move_vip(False)
        core.go()
        core.wait(0.1)
        core.go()
    outs = [dict(note.numbers)["back_off_s"] for note in core.notes if note.what == "refused"]
    parked = core.world.hold_off
    assert parked is not None and parked.rule == "adverts-timeout" and core.world.mute >= 3
    assert outs == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
