"""What does each event change in what the agent knows, and when does it look again?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from core import CLOSED_FACTS, PEER_FACTS, Core, guarded_writer, standby, taker
from healthy import BEATLESS, CHANNEL, POLICY

from vipguard.agent.event import Heard, Reconfigured, Tick
from vipguard.agent.fold import fold, see_address, see_peer, see_server
from vipguard.agent.world import begin, wake_s
from vipguard.checks import lag
from vipguard.model.evidence import AddressEvidence, Answer, EpochRow, ServerEvidence
from vipguard.model.gtid import GtidSet
from vipguard.model.memory import KeptLag, Memory

WITNESS, PEER_ADDRESS = "10.73.0.1", "10.73.0.12"


def fresh(memory: Memory | None = None) -> Core:
    return Core(memory=memory or Memory())


def test_silence_is_timed_from_the_first_round_that_found_it() -> None:
    world = fresh().world
    for asked_s in (10.0, 10.5, 11.0):
        world = see_server(world, ServerEvidence(Answer.SILENT, asked_s, asked_s + 0.5))
    assert world.silent_since_s == 10.0


def test_any_answer_ends_a_silence() -> None:
    world = see_server(fresh().world, ServerEvidence(Answer.SILENT, 10.0, 10.5))
    world = see_server(world, ServerEvidence(Answer.ABSENT, 11.0, 11.0))
    assert world.silent_since_s is None


def test_blindness_begins_no_silence_and_ends_one() -> None:
    world = see_server(fresh().world, ServerEvidence(Answer.BLIND, 9.0, 9.5))
    assert world.silent_since_s is None
    world = see_server(world, ServerEvidence(Answer.SILENT, 10.0, 10.5))
    world = see_server(world, ServerEvidence(Answer.BLIND, 11.0, 11.0))
    assert world.silent_since_s is None and not world.sight(20.0).hung


def test_an_address_seen_earlier_does_not_replace_one_seen_later() -> None:
    world = see_address(fresh().world, AddressEvidence(10.0, True, True))
    assert see_address(world, AddressEvidence(9.0, False, True)).address == AddressEvidence(10.0, True, True)


def test_a_pause_makes_every_silence_begin_anew() -> None:
    world = see_server(fresh().world, ServerEvidence(Answer.SILENT, 10.0, 10.5))
    world = fold(world, Tick(3.0), 50.0)
    assert world.silent_since_s is None and world.watching_s == 50.0
    assert not world.sight(50.0).isolated and not world.sight(50.0).hung


def test_a_tick_in_time_keeps_them() -> None:
    world = see_server(fresh().world, ServerEvidence(Answer.SILENT, 10.0, 10.5))
    assert fold(world, Tick(0.1), 10.6).silent_since_s == 10.0


@pytest.mark.parametrize(
    ("answer", "alive"),
    [(Answer.ANSWERED, True), (Answer.ABSENT, True), (Answer.SILENT, False), (Answer.BLIND, False)],
)
def test_an_answer_and_a_refusal_are_signs_of_a_peers_life_and_a_refusal_is_none_of_contact(
    answer: Answer, alive: bool
) -> None:
    """Whoever refuses, a firewall on this host too, it only makes a taker wait; it keeps no writer open."""
    facts = PEER_FACTS if answer is Answer.ANSWERED else None
    world = see_peer(fresh().world, "db2", ServerEvidence(answer, 10.0, 10.1, facts))
    assert (world.peers["db2"].alive_s == 10.1) is alive
    assert (world.outside_s == 10.0) is (answer is Answer.ANSWERED)


def test_a_lease_counts_from_when_the_ping_was_sent_and_life_from_when_it_was_answered() -> None:
    world = fold(fresh().world, Heard({PEER_ADDRESS: (20.0, 19.0)}, {}), 20.1)
    assert world.outside_s == 19.0 and world.peers["db2"].alive_s == 20.0


def test_an_advert_of_a_peer_is_a_sign_of_its_life_alone() -> None:
    world = fold(fresh().world, Heard({}, {PEER_ADDRESS: 20.0}), 20.1)
    assert world.peers["db2"].alive_s == 20.0 and world.outside_s is None


def test_a_witness_counts_for_the_lease_alone() -> None:
    world = fold(fresh().world, Heard({WITNESS: (20.0, 19.9)}, {}), 20.1)
    assert world.witnesses[WITNESS] == 19.9 and world.outside_s == 19.9
    assert world.peers["db2"].alive_s is None


def test_a_peer_that_stopped_answering_is_no_longer_known_eligible() -> None:
    core = guarded_writer()
    assert core.world.sight(core.now).peer_eligible
    core.peer = None
    core.look()
    assert not core.world.sight(core.now).peer_eligible


def test_the_last_good_lag_outlives_the_source() -> None:
    core = standby(BEATLESS)
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(replace(CHANNEL, lag_s=2.0),))
    core.look()
    core.facts = replace(core.facts, channels=(replace(CHANNEL, io="connecting", lag_s=None),))
    core.peer = None
    core.wait(1.0)
    good = core.world.good_lag
    assert good is not None and good.lag_s == 2.0
    assert lag.last_good(core.world.sight(core.now)).lag_s == pytest.approx(2.0, abs=0.2)


def test_a_source_that_is_seen_and_not_received_makes_the_lag_grow() -> None:
    core = standby(BEATLESS)
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(replace(CHANNEL, io="connecting", lag_s=None),))
    core.wait(12.0)
    core.go()
    assert core.world.verdict is not None and core.world.verdict.rule == "lag-exceeded"


def test_a_kept_lag_of_this_boot_has_aged_since() -> None:
    world = begin(POLICY, "boot-1", 1000.0, Memory(lag=KeptLag("boot-1", 1.0, 997.0)))
    assert lag.last_good(world.sight(1000.0)).lag_s == 4.0


def test_a_kept_lag_of_another_boot_says_nothing() -> None:
    assert begin(POLICY, "boot-2", 1000.0, Memory(lag=KeptLag("boot-1", 1.0, 997.0))).good_lag is None


def test_a_new_configuration_keeps_what_is_known_of_peers_that_stay() -> None:
    core = standby()
    policy = replace(POLICY, witnesses=("10.73.0.2",))
    world = fold(core.world, Reconfigured(policy), core.now)
    assert world.peers["db2"].evidence == core.world.peers["db2"].evidence
    assert world.witnesses == {"10.73.0.2": None}


def test_a_node_with_nothing_more_than_the_writer_has_nothing_errant() -> None:
    core = standby()
    assert core.world.errant is not None and core.world.errant.is_empty


def test_a_write_of_its_own_is_errant_though_the_numbers_after_it_are_the_writers() -> None:
    """As a strict mode that was off for a while leaves it: the writer never heard of it."""
    core = standby()
    assert core.facts is not None and core.peer is not None
    core.facts = replace(core.facts, gtid=GtidSet.parse("mariadb", "0-1-51,0-2-72"))
    core.peer = replace(core.peer, gtid=GtidSet.parse("mariadb", "0-2-73"))
    core.look()
    core.look()
    assert str(core.world.errant) == "0-1-51..51"


@pytest.mark.parametrize(
    ("newest", "seen_beside_the_writer", "expected"),
    [
        (EpochRow(3, "db2", "boot-2"), True, "1-1-6..7"),
        (EpochRow(4, "db1", "boot-1"), True, ""),
        (EpochRow(3, "db2", "boot-2"), False, ""),
    ],
    ids=["while the other was the writer", "while it was the writer itself", "when nobody knows"],
)
def test_a_write_of_its_own_stays_errant_when_the_writer_is_closed(
    newest: EpochRow, seen_beside_the_writer: bool, expected: str
) -> None:
    """The other has nothing that is not here: still it never took that write for one. Where no agent saw it beside the
    writer, it may be of an opening whose row did not come to be written."""
    core = standby() if seen_beside_the_writer else fresh()
    assert core.facts is not None and core.peer is not None
    core.facts = replace(core.facts, gtid=GtidSet.parse("mariadb", "1-1-7,2-2-70"), epoch=newest)
    if seen_beside_the_writer:
        core.look()
        core.look()
    core.peer = replace(core.peer, closed=True, open_lock=None, epoch=newest)
    core.look()
    core.look()
    assert str(core.world.errant) == expected


def test_a_writer_looks_again_when_its_lease_ends() -> None:
    core = guarded_writer()
    core.now += 0.45
    assert wake_s(core.world, core.now) == pytest.approx(core.world.sight(core.now).lease_ends_s)


def test_a_taker_looks_again_when_its_lease_ends() -> None:
    core = taker()
    core.now += 0.40
    assert wake_s(core.world, core.now) <= core.world.sight(core.now).lease_ends_s


def test_every_world_looks_again_within_a_tick() -> None:
    for core in (fresh(), standby(), taker(), guarded_writer()):
        assert core.now < wake_s(core.world, core.now) <= core.now + POLICY.limits.probe_s


def test_a_claim_of_ones_own_is_not_anothers() -> None:
    core = standby()
    core.world = replace(core.world, claims={"db1": 31})
    core.facts = replace(CLOSED_FACTS, claim_lock=31)
    core.look()
    assert not core.world.sight(core.now).claimed_by_other
