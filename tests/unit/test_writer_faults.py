"""What does the core do when the writer or its peer is unfit, and each knows only of itself?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core import Core, guarded_writer, standby, writer

from vipguard.agent.event import AddressSeen, Tick
from vipguard.agent.world import Closing
from vipguard.model import effect as do
from vipguard.model.evidence import DiskEvidence
from vipguard.model.verdict import Eligibility

TOTAL = 90_000_000_000
LOW, NOTHING_LEFT = 50_000_000, 0


def with_disk(core: Core, free_bytes: int) -> None:
    core.world = replace(core.world, disk=DiskEvidence(core.now, free_bytes, TOTAL, True))


def probed_fit(core: Core) -> bool:
    """Does the next look at the own server take, or keep, the lock that says that this node would take over?"""
    core.now += 0.1
    core.step(Tick(0.1))
    effect = core.take(do.ProbeServer).effect
    assert isinstance(effect, do.ProbeServer)
    return effect.fit


# -- what its own agent alone knows


def test_a_candidate_that_could_take_over_says_so_by_a_lock_and_an_unfit_one_does_not() -> None:
    core = standby()
    assert probed_fit(core)
    core = standby()
    with_disk(core, LOW)
    assert not probed_fit(core)


def test_a_writer_does_not_say_that_it_would_take_over() -> None:
    assert not probed_fit(guarded_writer())


def test_a_one_shot_beside_a_silent_agent_says_nothing_of_the_kind() -> None:
    core = standby()
    core.world = replace(core.world, may_open=False)
    assert not probed_fit(core)


def test_a_writer_whose_disk_is_low_closes_only_for_a_peer_whose_agent_says_that_it_would_take_over() -> None:
    core = guarded_writer()
    with_disk(core, LOW)
    core.step(AddressSeen(core.address()))
    assert core.phase == "Closing" and "holder-disk-unfit" in core.rules
    core = guarded_writer()
    assert core.peer is not None
    core.peer = replace(core.peer, fit_lock=None)
    core.look()
    with_disk(core, LOW)
    core.step(AddressSeen(core.address()))
    assert core.phase == "Writing" and "holder-disk-unfit-alone" in core.rules


def test_a_peers_word_counts_in_the_very_round_that_tells_it() -> None:
    """Its replication is asked for each second only; what it said last counts until then."""
    core = guarded_writer()
    assert core.peer is not None
    for lock in (None, 34):
        core.peer = replace(core.peer, fit_lock=lock)
        core.look()
        assert core.world.peers["db2"].eligible is (lock is not None)


# -- no room at all


@pytest.mark.parametrize("free_bytes", [NOTHING_LEFT, 500_000])
def test_a_server_whose_disk_has_no_byte_left_is_killed_and_not_closed(free_bytes: int) -> None:
    """On MariaDB a close ends the write that waits for room: a torn event in the binary log, and a GTID that is in
    gtid_binlog_pos and in no log. No standby can receive it; after a kill the restart undoes it."""
    core = guarded_writer()
    core.step(Tick(0.1))
    with_disk(core, free_bytes)
    core.step(AddressSeen(core.address()))
    assert isinstance(core.world.phase, Closing)
    assert core.sent(do.KillServer) and not core.sent(do.CloseServer)
    assert "no-room-to-close" in core.rules


def test_no_planned_move_begins_where_a_close_would_tear_the_log() -> None:
    core = guarded_writer()
    assert core.facts is not None and core.peer is not None
    core.peer = replace(core.peer, fit_lock=None)
    core.look()
    core.facts = replace(core.facts, moving_to="db2", claim_lock=77)
    with_disk(core, NOTHING_LEFT)
    core.step(Tick(0.1))
    core.do(do.ProbeServer)
    assert core.phase == "Writing" and not core.sent(do.CloseServer)


# -- it is said, once


def test_a_writer_that_is_unfit_and_kept_is_a_warning() -> None:
    core = writer()
    with_disk(core, 1_000)
    core.step(Tick(0.1))
    told = [n for n in core.notes if (n.what, n.rule) == ("verdict", "holder-disk-unfit-alone")]
    assert [note.level for note in told] == ["warning"]


def test_a_candidates_verdict_is_no_alert() -> None:
    core = standby()
    with_disk(core, LOW)
    core.step(Tick(0.1))
    assert core.world.verdict is not None and core.world.verdict.eligibility is Eligibility.INELIGIBLE
    assert {n.level for n in core.notes if n.what == "verdict"} == {"info"}


def test_a_close_that_fails_again_and_again_is_said_once_and_tried_at_a_pace() -> None:
    """With all connections taken, the administrators' too, a close fails within a millisecond."""
    core = guarded_writer()
    core.move_vip(False)
    tries = 0
    for _ in range(150):
        if core.sent(do.CloseServer):
            core.fail(do.CloseServer, "1040: Too many connections", refused=True)
            tries += 1
        core.now += 0.001
        core.step(AddressSeen(core.address()))
    assert core.rules.count("close-server") == 1 and tries == 8
    core.now += 0.1
    core.step(AddressSeen(core.address()))
    assert core.sent(do.KillServer), "the pause does not put the kill off"


# -- a standby that is MASTER because it hears no advert


def send_away(core: Core) -> float:
    """The VIP comes, the writer has it too: for how long this node leaves it alone."""
    core.arp["10.73.0.100"] = True
    core.go()
    core.move_vip(True)
    core.go(do.WriteTrack)
    assert core.phase == "Resting" and core.world.hold_off is not None
    assert core.world.hold_off.rule == "peer-legit"
    return core.world.hold_off.until_s - core.now


def leave(core: Core) -> None:
    """The VIP goes, and the claims after it."""
    core.go()
    core.move_vip(False)
    core.wait(0.4)
    core.go()


def test_who_is_sent_away_by_the_writer_leaves_the_vip_alone_for_longer_each_time() -> None:
    core = standby()
    waits = []
    for _ in range(8):
        waits.append(round(send_away(core), 1))
        leave(core)
        core.wait(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_who_was_sent_away_is_a_candidate_as_soon_as_the_writer_is_gone() -> None:
    core = standby()
    for _ in range(5):
        wait_s = send_away(core)
        leave(core)
        core.wait(wait_s)
    send_away(core)
    leave(core)
    core.look()
    assert core.world.verdict is not None and core.world.verdict.rule == "parked"
    assert probed_fit(core), "it stands back for that writer only"
    core.peer = None
    core.wait(0.2)
    assert core.world.verdict.rule == "candidate-ready" and core.world.hold_off is None
    assert core.world.sent_away == 0


def test_who_is_sent_away_keeps_its_claim_until_its_vip_has_left_and_the_writer_saw_it() -> None:
    core = standby()
    send_away(core)
    core.go()
    assert core.world.claims.keys() == {"db1", "db2"}
    core.move_vip(False)
    core.wait(0.2)
    core.go()
    assert core.world.claims.keys() == {"db1", "db2"}
    core.wait(0.3)
    core.go()
    assert not core.world.claims


def test_a_writer_announces_the_vip_when_another_nodes_claim_on_it_ends() -> None:
    core = guarded_writer()
    assert core.facts is not None
    core.facts = replace(core.facts, claim_lock=77)
    core.wait(0.3)
    assert not core.sent(do.Announce)
    core.facts = replace(core.facts, claim_lock=None)
    core.wait(0.3)
    assert core.sent(do.Announce) and core.rules.count("claim-ended") == 1
