"""When is an open server closed, by which rule, and what happens until it is?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from core import PEER_FACTS, PROCESS, Core, guarded_writer, writer
from healthy import GTIDS, POLICY, WRITER, cut_off, hung

from vipguard.agent.event import AddressSeen, ProcessExiting, Reconfigured, StoodDownSeen, Tick
from vipguard.agent.world import Closing, Writing
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, DiskEvidence, EpochRow
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.policy import Fence
from vipguard.model.standdown import StoodDown
from vipguard.notify.handback import ROWS, Standing, why_close


def test_the_names_of_the_reasons_are_unique() -> None:
    names = [rule for rule, _ in ROWS]
    assert len(names) == len(set(names))


def test_a_healthy_writer_has_no_reason_to_close() -> None:
    assert why_close(Standing(3), WRITER) is None


def test_what_was_not_seen_closes_no_writer() -> None:
    blind = replace(WRITER, server=None, address=None, peers={}, disk=None, errant=None, witnesses={})
    unseen = replace(blind.keepalived, alive=None, advert_left_s=None, looked_at_s=None)
    assert why_close(Standing(3), replace(blind, keepalived=unseen)) is None


def _vip_leaves(core: Core) -> None:
    core.move_vip(False)


def _keepalived_dies(core: Core) -> None:
    core.alive = False
    core.see()


def _adverts_stop(core: Core) -> None:
    core.advert_s = core.now
    core.wait(0.4)


def _nobody_answers(core: Core) -> None:
    core.pings, core.peer_answer = False, Answer.SILENT
    core.wait(0.7)


def _a_higher_epoch_is_seen(core: Core) -> None:
    core.peer = replace(PEER_FACTS, epoch=EpochRow(9, "db2", "boot-2"))
    core.look()


def _the_epoch_is_anothers(core: Core) -> None:
    assert isinstance(core.world.phase, Writing) and core.facts is not None
    row = EpochRow(core.world.phase.epoch, "db2", "boot-2")
    core.facts = replace(core.facts, epoch=row)
    core.peer = replace(PEER_FACTS, epoch=row)
    core.look()


def _a_preferred_one_is_open_too(core: Core) -> None:
    """db2's history went apart from this one's, and keepalived would leave it MASTER."""
    assert isinstance(core.world.phase, Writing) and core.facts is not None
    mine = EpochRow(core.world.phase.epoch, "db1", "boot-1")
    theirs = EpochRow(core.world.phase.epoch, "db2", "boot-2")
    core.facts = replace(core.facts, epoch=mine, ledger=Ledger.of([Opening(mine)]))
    core.peer = replace(PEER_FACTS, epoch=theirs, ledger=Ledger.of([Opening(theirs)]))
    nodes = (core.world.policy.me, replace(core.world.policy.peers[0], priority=240))
    core.step(Reconfigured(replace(core.world.policy, nodes=nodes)))
    core.look()
    core.look()


def _the_host_stood_still(core: Core) -> None:
    core.now += 2.0
    core.step(Tick(2.0))


REASONS: dict[str, Callable[[Core], None]] = {
    "stood-down": lambda core: core.step(StoodDownSeen(StoodDown(1_700_000_000, "root"))),
    "paused": _the_host_stood_still,
    "vip-gone": _vip_leaves,
    "keepalived-dead": _keepalived_dies,
    "adverts-stopped": _adverts_stop,
    "higher-epoch": _a_higher_epoch_is_seen,
    "epoch-of-another": _the_epoch_is_anothers,
    "fork-not-preferred": _a_preferred_one_is_open_too,
    "isolated": _nobody_answers,
}


def test_every_reason_has_its_scenario() -> None:
    assert {rule for rule, _ in ROWS} == {*REASONS, "not-taken-over"}


@pytest.mark.parametrize("rule", REASONS)
def test_a_writer_closes_first_and_lets_the_vip_go_after(rule: str) -> None:
    core = guarded_writer()
    REASONS[rule](core)
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == rule
    assert core.sent(do.CloseServer) and not core.sent(do.WriteTrack) and core.track == "1"
    core.do(do.CloseServer)
    assert core.facts is not None and core.facts.closed and "read-only-verified" in core.rules
    assert core.phase != "Writing"


def test_a_server_that_nobody_took_over_with_is_closed() -> None:
    core = guarded_writer()
    core.move_vip(False)
    core.go()
    assert core.facts is not None
    core.facts = replace(core.facts, closed=False)
    core.look()
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "not-taken-over"


def test_a_pause_closes_before_it_asks_anything() -> None:
    core = guarded_writer()
    core.now += 2.0
    before = len(core.flights)
    core.step(Tick(2.0))
    assert isinstance(core.flights[before].effect, do.CloseServer)


def test_a_pause_shorter_than_the_lease_closes_nothing() -> None:
    core = guarded_writer()
    core.now += 0.4
    core.look(0.4)
    assert core.phase == "Writing"


def test_what_could_not_be_closed_in_time_is_killed() -> None:
    core = guarded_writer()
    core.move_vip(False)
    core.now += POLICY.limits.close_s
    core.fail(do.CloseServer, "somebody holds a lock")
    assert core.sent(do.KillServer) and "not-closed-in-time" in core.rules
    core.do(do.KillServer)
    assert core.phase == "Resting"


def test_a_kill_that_is_not_confirmed_is_tried_again_and_the_vip_stays() -> None:
    core = guarded_writer()
    _keepalived_dies(core)
    core.now += POLICY.limits.close_s
    core.fail(do.CloseServer)
    core.fail(do.KillServer)
    core.answer = Answer.SILENT
    core.wait(0.3)
    assert core.sent(do.KillServer) and core.phase == "Closing" and core.track == "1"


def test_a_close_that_never_reports_counts_as_failed() -> None:
    core = guarded_writer()
    core.move_vip(False)
    core.take(do.CloseServer)
    core.answer = Answer.SILENT
    core.wait(POLICY.limits.close_s + 0.5)
    assert core.sent(do.KillServer)


def test_a_server_seen_closed_while_an_opening_is_under_way_is_closed_all_the_same() -> None:
    core = guarded_writer()
    core.move_vip(False)
    core.go()
    core.move_vip(True)
    core.go(do.Open)
    core.move_vip(False)
    core.fail(do.CloseServer, "no answer")
    core.look()
    assert core.phase == "Closing"


def test_a_hung_server_is_killed_when_a_peer_could_take_over() -> None:
    core = guarded_writer()
    core.answer = Answer.SILENT
    core.wait(POLICY.limits.hang_s + 0.2)
    assert core.sent(do.KillServer) and core.track == "1"
    core.do(do.KillServer)
    assert core.phase == "Resting"
    core.do(do.ResetClients)
    core.do(do.WriteTrack)
    assert core.track == "0"


def test_a_hung_server_keeps_the_vip_when_nobody_could_take_over() -> None:
    core = writer()
    core.answer = Answer.SILENT
    core.wait(POLICY.limits.hang_s + 1.0)
    assert core.phase == "Writing" and not core.sent(do.KillServer) and core.track == "1"


def test_a_hung_server_that_may_not_be_killed_keeps_the_vip() -> None:
    policy = replace(POLICY, fence=Fence(kill_hung=False))
    core = guarded_writer(policy)
    core.answer = Answer.SILENT
    core.wait(POLICY.limits.hang_s + 1.0)
    core.go()
    assert core.phase == "Writing" and core.track == "1"
    assert why_close(Standing(3), replace(hung(WRITER), policy=policy)) is None


def test_a_full_disk_closes_the_writer_before_the_vip_goes_to_a_peer_that_is_fit() -> None:
    core = guarded_writer()
    core.step(Tick(0.1))
    core.world = replace(core.world, disk=DiskEvidence(core.now, 1_000, 90_000_000_000, True))
    core.step(AddressSeen(core.address()))
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "holder-disk-unfit"
    assert not core.sent(do.WriteTrack)
    core.go()
    assert core.track == "0" and core.world.hold_off is not None


def test_a_full_disk_takes_no_vip_from_a_writer_that_nobody_could_replace() -> None:
    core = writer()
    core.world = replace(core.world, disk=DiskEvidence(core.now, 1_000, 90_000_000_000, True))
    core.step(Tick(0.1))
    assert core.phase == "Writing"


def test_a_writer_that_lost_its_server_gives_the_vip_up() -> None:
    core = guarded_writer()
    core.facts = None
    core.step(ProcessExiting(PROCESS))
    assert core.phase == "Resting" and core.sent(do.WriteTrack) == [do.WriteTrack(1.0, "0")]


def test_a_writer_whose_server_refuses_connections_and_lives_on_keeps_the_vip_until_its_process_ends() -> None:
    """It shuts down, or lost its socket: it may still commit, and a peer that gets the VIP would open."""
    core = guarded_writer()
    core.facts = None
    core.look()
    assert core.phase == "Writing" and core.track == "1" and "holder-server-leaving" in core.rules
    core.step(ProcessExiting(PROCESS))
    assert core.phase == "Resting" and do.WriteTrack(1.0, "0") in core.sent(do.WriteTrack)


def test_a_server_that_goes_on_refusing_and_living_is_killed_as_a_hung_one() -> None:
    core = guarded_writer()
    core.facts = None
    core.wait(core.world.policy.limits.hang_s + 0.5)
    assert core.sent(do.KillServer) == [do.KillServer(1.0, PROCESS)]


def test_a_close_of_a_server_that_refuses_connections_and_lives_on_ends_in_a_kill() -> None:
    core = guarded_writer()
    core.facts = None
    core.move_vip(False)
    for _ in range(4):
        if core.sent(do.CloseServer):
            core.fail(do.CloseServer, "nobody listens", refused=True)
        core.wait(0.1)
    assert core.sent(do.KillServer) == [do.KillServer(1.0, PROCESS)]


@pytest.mark.parametrize("answer", [Answer.BLIND, Answer.SILENT])
def test_a_writer_that_cannot_look_stays_as_it_is(answer: Answer) -> None:
    core = guarded_writer()
    core.answer = answer
    core.wait(1.0)
    core.go()
    assert core.phase == "Writing" and core.track == "1"


def test_the_vip_of_a_dead_keepalived_is_removed_after_the_server_is_closed() -> None:
    core = guarded_writer()
    _keepalived_dies(core)
    assert not core.sent(do.RemoveVip)
    core.do(do.CloseServer)
    assert core.sent(do.RemoveVip)


def test_the_vip_of_a_living_keepalived_is_never_removed_for_an_earlier_rule() -> None:
    core = guarded_writer()
    _adverts_stop(core)
    core.go()
    core.advert_s = None
    core.wait(3.0)
    core.go()
    core.move_vip(True)
    core.fail(do.Claim, "no answer")
    core.look()
    assert core.world.hold_off is not None and not core.sent(do.RemoveVip)


def test_an_isolated_node_may_not_hold_the_vip_and_knows_why() -> None:
    assert why_close(Standing(3), cut_off(WRITER)) == ("isolated", "no witness and no peer answered for 0.5 s")


def test_a_writer_without_its_open_lock_takes_it_again() -> None:
    core = guarded_writer()
    assert core.facts is not None
    core.facts = replace(core.facts, open_lock=None)
    core.look()
    assert core.sent(do.PrepareOpen) == [do.PrepareOpen(0.5, adopt=True)] and core.phase == "Writing"


def test_a_writer_whose_open_lock_another_session_took_closes() -> None:
    core = guarded_writer()
    assert core.facts is not None
    core.facts = replace(core.facts, open_lock=777)
    core.look()
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "open-lock-taken"


def test_a_writer_found_closed_rests_and_may_take_over_again() -> None:
    core = guarded_writer()
    assert core.facts is not None
    core.facts = replace(core.facts, closed=True, open_lock=None)
    core.look()
    assert "closed-by-another-hand" in core.rules and core.phase in ("Resting", "Taking")


def test_a_final_set_is_reported_with_the_close() -> None:
    core = guarded_writer()
    assert core.facts is not None
    more = GTIDS.union(GtidSet.parse("mariadb", "1-1-9"))
    core.facts = replace(core.facts, gtid=more)
    core.move_vip(False)
    core.go()
    note = next(n for n in core.notes if n.rule == "read-only-verified")
    assert dict(note.numbers)["gtid"] == str(more)
