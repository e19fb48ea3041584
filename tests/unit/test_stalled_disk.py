"""What does the core do when a disk stands: reads answer, and no commit comes back?"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from core import OPENER, PROBER, Core, bereft, guarded_writer, standby
from healthy import NOW_S, POLICY, STANDBY, WRITER, stalled_disk, with_facts

from vipguard.agent import heartbeat
from vipguard.agent.draft import Draft
from vipguard.agent.event import AddressSeen, Tick
from vipguard.checks import stall, writer
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, SemiSync
from vipguard.model.heartbeat import Beats
from vipguard.model.sight import Sight
from vipguard.model.verdict import Eligibility

HANG_S = POLICY.limits.hang_s
LOSSLESS = replace(POLICY, durability="lossless")
NO_KILL = replace(POLICY, fence=replace(POLICY.fence, kill_hung=False))
WAITING = SemiSync(
    source_enabled=True, source_on=True, clients=1, waiting=1, acked=7, replica_enabled=False, replica_on=False
)


def stalls(core: Core) -> None:
    core.stalled_s = core.now


def go_on(core: Core, seconds: float) -> None:
    """Time passes, and what is due is left lying but for the looks."""
    core.wait(seconds)


# -- the writer's


def test_a_writer_whose_disk_stands_is_killed_when_a_peer_is_fit_and_never_merely_closed() -> None:
    core = guarded_writer()
    stalls(core)
    go_on(core, HANG_S - 0.3)
    assert not core.sent(do.KillServer) and core.phase == "Writing"
    go_on(core, 0.6)
    assert core.sent(do.KillServer) and not core.sent(do.CloseServer)
    assert ("kill", "disk-stalled") in [(note.what, note.rule) for note in core.notes]
    core.go(do.ProbeServer)
    assert core.phase == "Resting" and "holder-server-absent" in core.rules
    assert core.track == "0"


def test_an_idle_writer_whose_disk_stands_is_killed_without_a_commit_that_hangs() -> None:
    """Nothing of the server's is asked for it, so one that nobody writes to shows it just as well."""
    core = guarded_writer()
    assert core.facts is not None
    before = core.facts.gtid
    stalls(core)
    go_on(core, HANG_S + 0.3)
    assert core.sent(do.KillServer) and core.facts.gtid == before


def test_a_writer_whose_disk_stands_is_killed_also_when_its_guard_is_blind() -> None:
    core = guarded_writer()
    stalls(core)
    core.answer = Answer.BLIND
    go_on(core, HANG_S + 0.4)
    assert core.sent(do.KillServer)


@pytest.mark.parametrize("peer", ["gone", "unfit", "silent"])
def test_a_writer_whose_disk_stands_keeps_the_vip_with_an_alert_while_no_peer_is_fit(peer: str) -> None:
    core = guarded_writer()
    assert core.peer is not None
    if peer == "gone":
        core.peer = None
    elif peer == "unfit":
        core.peer = replace(core.peer, fit_lock=None)
    else:
        core.peer_answer = Answer.SILENT
    stalls(core)
    go_on(core, HANG_S * 3)
    assert not core.sent(do.KillServer) and not core.sent(do.CloseServer) and core.phase == "Writing"
    told = [note for note in core.notes if note.rule == "holder-disk-stalled-alone"]
    assert [note.level for note in told] == ["warning"] and core.track == "1"


def test_as_soon_as_a_peer_is_fit_the_writer_that_stood_alone_is_killed() -> None:
    core = guarded_writer()
    assert core.peer is not None
    core.peer = replace(core.peer, fit_lock=None)
    stalls(core)
    go_on(core, HANG_S * 2)
    assert not core.sent(do.KillServer)
    core.peer = replace(core.peer, fit_lock=PROBER)
    go_on(core, 1.2)
    assert core.sent(do.KillServer)


def test_a_disk_that_goes_on_in_time_kills_nobody() -> None:
    core = guarded_writer()
    for _ in range(4):
        stalls(core)
        go_on(core, HANG_S - 0.3)
        core.stalled_s = None
        go_on(core, 0.5)
    assert not core.sent(do.KillServer) and core.phase == "Writing" and "holder-disk-stalled" not in core.rules


def test_a_look_that_does_not_come_back_proves_no_standstill() -> None:
    """What is timed is what was seen: from the last look on nobody knows."""
    core = guarded_writer()
    core.stalled_s = core.now - 1.0
    go_on(core, 1.0)
    core.stalled_s = None
    core.step(AddressSeen(core.address()))
    sight = replace(core.world.sight(core.now + 60.0), watching_since_s=0.0)
    assert not stall.stalled(sight)


def test_what_passed_while_the_host_stood_still_is_no_standstill_of_the_disk() -> None:
    sight = replace(WRITER, disk=stalled_disk(12.0), process_lives=True, watching_since_s=NOW_S - 0.2)
    assert writer.judge(sight, "holder").rule == "holder-healthy"


@pytest.mark.parametrize(
    ("what", "sight"),
    [
        ("its device completes others", replace(WRITER, disk=stalled_disk(60.0, still_s=0.4))),
        ("fence.kill_hung is off", replace(WRITER, policy=NO_KILL)),
        ("commits wait for an acknowledgement", replace(WRITER, policy=LOSSLESS, commits_wait_since_s=NOW_S - 2)),
        ("its process is not known", replace(WRITER, process_lives=False)),
    ],
)  # fmt: skip
def test_no_writer_is_killed_for_its_disk_when(what: str, sight: Sight) -> None:
    sight = replace(sight, process_lives=what != "its process is not known")
    if sight.disk is None or sight.disk.waits_since_s is None:
        sight = replace(sight, disk=stalled_disk(60.0))
    verdict = writer.judge(sight, "holder")
    assert verdict.eligibility is Eligibility.UNDETERMINED and verdict.may, what
    assert verdict.rule in ("holder-disk-stalled-alone", "holder-disk-slow")


def test_where_the_device_cannot_be_asked_it_takes_longer_to_believe_it() -> None:
    for waits_s, rule in ((HANG_S + 0.1, "holder-disk-slow"), (3 * HANG_S + 0.1, "holder-disk-stalled")):
        sight = replace(WRITER, disk=stalled_disk(waits_s, counted=False), process_lives=True)
        assert writer.judge(sight, "holder").rule == rule


def test_a_standbys_stalled_disk_under_lossless_kills_nobody() -> None:
    """The writer's commits wait for it; its own writes come back."""
    sight = with_facts(replace(WRITER, policy=LOSSLESS, process_lives=True), semi_sync=WAITING)
    sight = replace(sight, commits_wait_since_s=NOW_S - 60.0)
    assert writer.judge(sight, "holder").rule == "holder-healthy"


def test_a_close_of_a_server_on_a_standing_disk_is_a_kill_at_once() -> None:
    core = guarded_writer()
    assert core.peer is not None
    core.peer = replace(core.peer, fit_lock=None)
    stalls(core)
    go_on(core, HANG_S + 0.5)
    assert core.phase == "Writing"
    core.move_vip(False)
    assert core.phase == "Closing" and core.sent(do.KillServer) and not core.sent(do.CloseServer)
    assert ("kill", "disk-stalled") in [(note.what, note.rule) for note in core.notes]


def test_a_writer_on_a_disk_that_may_stand_writes_no_heartbeat() -> None:
    core = guarded_writer()
    core.facts = replace(core.facts, beats=Beats(0, ())) if core.facts else None
    go_on(core, 0.2)
    assert heartbeat._at_ease(Draft(core.world, core.now), OPENER)
    stalls(core)
    go_on(core, 0.6)
    assert not heartbeat._at_ease(Draft(core.world, core.now), OPENER)


# -- the standby's


def test_a_standby_says_that_it_is_unfit_before_a_writer_on_the_same_storage_is_killed() -> None:
    core = standby()
    stalls(core)
    go_on(core, HANG_S / 2 - 0.3)
    assert core.world.verdict is not None and core.world.verdict.rule == "candidate-ready"
    go_on(core, 0.5)
    assert core.world.verdict.rule == "disk-stalled" and not writer.fit(core.world.sight(core.now))
    core.go()
    assert core.track == "0"
    core.stalled_s = None
    go_on(core, 0.3)
    core.go()
    assert core.world.verdict.rule == "candidate-ready" and core.track == "1"


def test_a_slow_disk_is_still_a_candidates() -> None:
    assert writer.judge(replace(STANDBY, disk=stalled_disk(60.0, still_s=0.4)), "candidate").may


def test_a_takeover_does_not_begin_on_a_standing_disk() -> None:
    found = writer.unfit(replace(STANDBY, disk=stalled_disk(1.6)))
    assert found is not None and found[0] == "disk-stalled"
    core = bereft()
    stalls(core)
    go_on(core, HANG_S / 2 + 0.4)
    core.move_vip(True)
    assert core.phase == "Resting" and core.world.hold_off is not None and core.world.hold_off.rule == "disk-stalled"


def test_a_look_at_the_disk_that_does_not_come_back_makes_no_candidate() -> None:
    core = standby()
    core.world = replace(core.world, disk_asked_s=None)
    core.now += 0.1
    core.step(Tick(0.1))
    core.fail(do.ProbeDisk, "no report within its deadline")
    assert core.world.verdict is not None and core.world.verdict.rule == "disk-unfit"
    assert core.world.verdict.eligibility is Eligibility.UNDETERMINED


def test_the_disk_is_looked_at_often_enough_for_that() -> None:
    core = standby()
    times: list[float] = []
    for _ in range(40):
        core.now += 0.1
        asked_s = core.world.disk_asked_s
        core.look()
        if core.world.disk_asked_s != asked_s and core.world.disk_asked_s is not None:
            times.append(core.world.disk_asked_s)
    apart = [b - a for a, b in pairwise(times)]
    assert len(times) >= 3 and max(apart) <= HANG_S / 4 + 0.1
