"""What does a node do that has just got the VIP, and in which order?"""

from __future__ import annotations

from dataclasses import replace

from core import (
    OPENER,
    PEER_FACTS,
    Core,
    bereft,
    guarded_writer,
    standby,
    taker,
    writer,
)
from healthy import BEATLESS, FACTS, GTIDS, NOW_S, POLICY, TAKER

from vipguard.agent.event import Claimed, Failed, Prepared
from vipguard.agent.world import Flight, Taking, Writing
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow
from vipguard.model.gtid import GtidSet
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


def test_nothing_opens_while_what_was_meant_for_a_closed_server_is_on_its_way_to_keepalived() -> None:
    core = taker()
    core.go(do.Look)
    late = Flight(999, do.WriteTrack(1.0, "0"), core.now, core.now + 1.0)
    core.world = replace(core.world, flights={**core.world.flights, late.effect.key: late})
    core.do(do.Look)
    assert waiting(core) == "open" and not core.sent(do.Open)
    core.report(late, None)
    core.look()
    assert core.sent(do.Open)


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
    core = standby(BEATLESS)
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


def test_what_may_be_lost_is_of_the_writer_before_also_where_the_own_row_was_seen_first() -> None:
    """A look that comes between the opening and its report shows this node's row as the newest one."""
    core = taker()
    core.go(do.Open)
    opening = core.take(do.Open)
    result = core._result(opening.effect)
    core.wait(0.1)
    core.report(opening, result)
    assert core.phase == "Writing"
    (said,) = [note for note in core.notes if note.what == "may-be-lost"]
    assert said.rule == "lost-unknown" and "db2 was last seen" in str(dict(said.numbers)["text"])
