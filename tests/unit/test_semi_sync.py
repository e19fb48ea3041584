"""Lossless, rule by rule: the mark, solo, who waits for whom, and what becomes of commits that wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import core
import healthy
import pytest
from core import PEER_FACTS, PROCESS, Core
from healthy import CHANNEL, NOW_S, STANDBY, WRITER, with_channel, with_facts, without_source

from vipguard.agent.event import AddressSeen, Command
from vipguard.checks import semi_sync as check
from vipguard.checks import writer
from vipguard.model import effect as do
from vipguard.model.effect import Care
from vipguard.model.evidence import Answer, EpochRow, Mark, ProcessId, SemiSync, ServerFacts
from vipguard.model.finding import Outcome
from vipguard.model.gtid import GtidSet
from vipguard.model.maintenance import Maintenance
from vipguard.model.memory import Memory
from vipguard.model.policy import Policy
from vipguard.model.sight import PeerSight, Receiving, Sight
from vipguard.notify import semi_sync
from vipguard.notify.loss import account
from vipguard.notify.peers import PeerClass

LOSSLESS = replace(healthy.POLICY, durability="lossless")
OFF = SemiSync(
    source_enabled=False,
    source_on=False,
    clients=1,
    waiting=0,
    acked=5,
    replica_enabled=True,
    replica_on=True,
)
ON = replace(OFF, source_enabled=True, source_on=True)
MARK = Mark(3, 1, on=True)
MORE = healthy.GTIDS.union(GtidSet.parse("mariadb", "2-2-99"))
NO_MEMORY = Memory()


class Pair(Core):
    """db1's agent under lossless; db2 waits for it, and its mark is here."""

    def __init__(self, policy: Policy = LOSSLESS, memory: Memory = NO_MEMORY) -> None:
        super().__init__(policy, memory)
        assert self.facts is not None and self.peer is not None
        self.facts = replace(self.facts, semi_sync=OFF, mark=MARK)
        self.peer = replace(self.peer, semi_sync=ON, mark=MARK)
        self.order: list[str] = []

    def _result(self, effect: do.Effect) -> object:
        match effect:
            case do.SetSource() if self.facts is not None and self.facts.semi_sync is not None:
                self.order.append("on" if effect.on else "off")
                semi = replace(self.facts.semi_sync, source_enabled=effect.on, source_on=effect.on)
                self.facts = replace(self.facts, semi_sync=semi)
            case do.WriteMark() if self.facts is not None:
                self.order.append(f"mark {'on' if effect.mark.on else 'off'}")
                self.facts = replace(self.facts, mark=effect.mark)
            case do.Remember():
                if effect.memory.solo != self.world.memory.solo:
                    self.order.append("solo" if effect.memory.solo else "not solo")
            case do.Open():
                self.order.append("open")
        return super()._result(effect)

    def semi(self, **changes: Any) -> None:
        assert self.facts is not None and self.facts.semi_sync is not None
        self.facts = replace(self.facts, semi_sync=replace(self.facts.semi_sync, **changes))

    def settle(self, seconds: float = 0.5) -> None:
        for _ in range(int(seconds * 10)):
            self.wait(0.1)
            self.go()

    def standby_is_back(self) -> None:
        assert self.facts is not None
        follows = replace(CHANNEL, source_host="10.73.0.11", received=self.facts.gtid)
        self.peer_answer = Answer.ANSWERED
        self.peer = replace(
            PEER_FACTS, closed=True, open_lock=None, gtid=self.facts.gtid, epoch=self.facts.epoch,
            channels=(follows,), semi_sync=OFF, mark=self.facts.mark,
        )  # fmt: skip


def standby(memory: Memory = NO_MEMORY) -> Pair:
    pair = Pair(memory=memory)
    pair.step(AddressSeen(pair.address()))
    pair.settle()
    return pair


def alone() -> Pair:
    """db1 took over from a killed db2."""
    pair = standby()
    pair.peer = None
    pair.settle(0.2)
    pair.move_vip(True)
    pair.settle(1.0)
    return pair


def both() -> Pair:
    """db1 writes, and db2 follows."""
    pair = alone()
    pair.standby_is_back()
    pair.settle()
    pair.order.clear()
    return pair


# -- the mark


def marked(pair: Pair) -> bool:
    return pair.world.sight(pair.now).marked


def test_a_standby_that_has_all_that_the_waiting_writer_had_and_its_mark_is_marked() -> None:
    pair = standby()
    assert marked(pair) and pair.track == "1"


def without_own_row(pair: Pair) -> None:
    assert pair.facts is not None
    pair.facts = replace(pair.facts, mark=Mark(2, 9, on=True))


def without_the_writers_row(pair: Pair) -> None:
    assert pair.peer is not None
    pair.peer = replace(pair.peer, mark=None)


def with_a_writer_that_waits_for_nobody(pair: Pair) -> None:
    assert pair.peer is not None
    pair.peer = replace(pair.peer, semi_sync=OFF)


def with_a_mark_that_says_off(pair: Pair) -> None:
    assert pair.peer is not None
    pair.peer = replace(pair.peer, mark=replace(MARK, on=False))


def with_more_on_the_writer(pair: Pair) -> None:
    assert pair.peer is not None
    pair.peer = replace(pair.peer, gtid=MORE)


def without_acknowledging(pair: Pair) -> None:
    pair.semi(replica_on=False)


def following_another(pair: Pair) -> None:
    assert pair.facts is not None
    pair.facts = replace(pair.facts, channels=(replace(CHANNEL, source_host="10.73.0.99"),))


UNMARKED = [
    without_own_row, without_the_writers_row, with_a_writer_that_waits_for_nobody, with_a_mark_that_says_off,
    with_more_on_the_writer, without_acknowledging, following_another,
]  # fmt: skip


@pytest.mark.parametrize("change", UNMARKED)
def test_a_standby_is_not_marked(change: Callable[[Pair], None]) -> None:
    pair = Pair()
    change(pair)
    pair.step(AddressSeen(pair.address()))
    pair.settle()
    assert not marked(pair) and pair.track == "0"
    assert pair.world.verdict is not None and pair.world.verdict.rule == "semi-sync-unmarked"


def test_what_is_received_and_not_applied_yet_counts_but_not_for_the_marks_own_row() -> None:
    pair = Pair()
    with_more_on_the_writer(pair)
    assert pair.facts is not None
    pair.facts = replace(pair.facts, channels=(replace(CHANNEL, received=MORE),))
    pair.step(AddressSeen(pair.address()))
    pair.settle()
    assert marked(pair)


def lose_source(pair: Pair) -> None:
    assert pair.facts is not None
    gone = replace(CHANNEL, io="connecting", lag_s=None, io_errno=2003)
    pair.facts = replace(pair.facts, channels=(gone,))


def test_a_mark_outlives_the_session_in_which_it_came() -> None:
    pair = standby()
    lose_source(pair)
    pair.peer = None
    pair.settle()
    assert marked(pair) and pair.track == "1"


def test_a_new_session_needs_the_mark_anew() -> None:
    """The writer may have been alone meanwhile."""
    pair = standby()
    lose_source(pair)
    pair.settle(0.2)
    assert pair.facts is not None
    pair.facts = replace(pair.facts, channels=(CHANNEL,))
    with_more_on_the_writer(pair)
    pair.settle(0.2)
    assert not marked(pair)
    pair.facts = replace(pair.facts, gtid=MORE)
    pair.settle(0.3)
    assert marked(pair)


def test_a_restarted_server_needs_the_mark_anew() -> None:
    pair = standby()
    lose_source(pair)
    assert pair.facts is not None
    pair.facts = replace(pair.facts, process=ProcessId(PROCESS.pid + 1, 7))
    pair.settle(0.2)
    assert not marked(pair)


def test_a_session_that_nobody_watched_for_long_needs_the_mark_anew() -> None:
    pair = standby()
    with_a_writer_that_waits_for_nobody(pair)
    pair.peer_answer = Answer.SILENT
    pair.now += 6.0
    pair.settle(0.2)
    assert not marked(pair)


def test_a_writer_that_was_seen_waiting_for_nobody_makes_the_mark_void() -> None:
    pair = standby()
    with_a_writer_that_waits_for_nobody(pair)
    pair.settle(0.2)
    assert not marked(pair) and pair.track == "0"


def test_another_epoch_needs_another_mark() -> None:
    pair = standby()
    assert pair.peer is not None and pair.facts is not None
    pair.peer = replace(pair.peer, epoch=EpochRow(4, "db2", "boot-2"))
    pair.settle(0.2)
    assert not marked(pair)
    pair.peer = replace(pair.peer, mark=Mark(4, 2, on=True))
    pair.facts = replace(pair.facts, epoch=EpochRow(4, "db2", "boot-2"), mark=Mark(4, 2, on=True))
    pair.settle(0.3)
    assert marked(pair)


def test_a_writer_that_does_not_answer_changes_nothing() -> None:
    pair = standby()
    pair.peer_answer = Answer.SILENT
    pair.settle(0.3)
    assert marked(pair)


# -- the verdict


def lossless(sight: Sight) -> Sight:
    return replace(sight, policy=LOSSLESS)


OF_A_REPLICA = replace(healthy.REPLICA.policy, durability="lossless")
MUTE = replace(OFF, replica_enabled=False, replica_on=False)
MARKED = replace(
    lossless(with_facts(STANDBY, semi_sync=OFF, mark=MARK)),
    receiving=Receiving(None, 0.0, NOW_S, marked=True),
)


def test_a_marked_standby_without_its_source_is_eligible_and_an_unmarked_one_is_not() -> None:
    assert writer.judge(without_source(MARKED), "candidate").rule == "candidate-ready"
    unmarked = replace(without_source(MARKED), receiving=Receiving(None, 0.0, NOW_S))
    assert writer.judge(unmarked, "candidate").rule == "semi-sync-unmarked"
    assert writer.unfit(unmarked) is not None
    assert writer.judge(replace(unmarked, promoted=True), "candidate").may, "the operator may"


def test_who_has_the_whole_history_needs_no_mark() -> None:
    closed = replace(STANDBY.peers["db2"], evidence=replace(healthy.SERVER, facts=healthy.FACTS))
    sight = replace(MARKED, receiving=None, peers={"db2": closed})
    assert sight.entitled and writer.judge(sight, "candidate").may


def test_commits_that_wait_take_no_vip_away() -> None:
    waiting = lossless(with_facts(WRITER, semi_sync=replace(ON, waiting=7)))
    assert writer.judge(replace(waiting, commits_wait_since_s=NOW_S - 900), "holder").rule == "holder-healthy"


def test_a_peer_that_acknowledges_nothing_is_not_fit_from_afar() -> None:
    assert writer.fit_from_afar(MARKED)
    assert not writer.fit_from_afar(with_facts(MARKED, semi_sync=replace(OFF, replica_on=False)))
    assert not writer.fit_from_afar(with_facts(MARKED, semi_sync=None))


# -- the check

HOLDING = lossless(with_facts(WRITER, semi_sync=ON))
ALONE = replace(with_facts(HOLDING, semi_sync=OFF), memory=Memory(solo=True))
ON_ITS_WAY = replace(MARKED, receiving=Receiving(None, 0.0, NOW_S, wanted=MORE))
OK, WARNING, CRITICAL, UNKNOWN = Outcome.OK, Outcome.WARNING, Outcome.CRITICAL, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("sight", "outcome", "rule"),
    [
        (STANDBY, OK, "durability-async"),
        (replace(lossless(STANDBY), server=healthy.SILENT), UNKNOWN, "semi-sync-not-seen"),
        (lossless(STANDBY), CRITICAL, "semi-sync-missing"),
        (HOLDING, OK, "source-on"),
        (with_facts(HOLDING, semi_sync=replace(ON, clients=0)), CRITICAL, "no-replica"),
        (with_facts(HOLDING, semi_sync=replace(ON, source_on=False)), CRITICAL, "source-fell-back"),
        (with_facts(HOLDING, semi_sync=OFF), CRITICAL, "source-off"),
        (ALONE, WARNING, "solo"),
        (with_facts(HOLDING, semi_sync=replace(ON, waiting=2)), WARNING, "commits-under-way"),
        (
            replace(with_facts(HOLDING, semi_sync=replace(ON, waiting=2)), commits_wait_since_s=NOW_S - 0.2),
            OK,
            "source-on",
        ),
        (
            replace(with_facts(HOLDING, semi_sync=replace(ON, waiting=2)), commits_wait_since_s=NOW_S - 2),
            CRITICAL,
            "commits-wait",
        ),
        (MARKED, OK, "marked"),
        (ON_ITS_WAY, WARNING, "mark-on-its-way"),
        (replace(MARKED, receiving=None), CRITICAL, "unmarked"),
        (replace(MARKED, receiving=Receiving(None, 0.0, NOW_S)), CRITICAL, "unmarked"),
        (with_facts(MARKED, semi_sync=replace(OFF, replica_enabled=False)), CRITICAL, "replica-off"),
        (replace(with_facts(MARKED, semi_sync=OFF), policy=OF_A_REPLICA), CRITICAL, "replica-acknowledges"),
        (replace(with_facts(MARKED, semi_sync=MUTE), policy=OF_A_REPLICA), OK, "replica-mute"),
    ],
)
def test_the_check_says(sight: Sight, outcome: Outcome, rule: str) -> None:
    found = check.check(sight)
    assert (found.check, found.outcome, found.rule) == ("semi_sync", outcome, rule) and found.text


# -- the taker


def test_a_taker_without_a_standby_records_that_it_is_alone_before_it_opens() -> None:
    pair = alone()
    assert pair.phase == "Writing" and pair.world.memory.solo
    assert pair.order.index("solo") < pair.order.index("open") and "on" not in pair.order


def test_a_taker_whose_source_is_on_switches_it_off_only_when_solo_is_on_the_disk() -> None:
    pair = standby()
    pair.peer = None
    pair.settle(0.2)
    pair.move_vip(True)
    pair.semi(source_enabled=True, source_on=True)
    pair.settle(1.0)
    assert pair.phase == "Writing" and pair.order.index("solo") < pair.order.index("off") < pair.order.index(
        "open"
    )


def test_a_taker_whose_old_writer_is_closed_and_follows_waits_for_it_from_the_first_write_on() -> None:
    pair = standby()
    pair.standby_is_back()
    pair.settle(0.2)
    pair.move_vip(True)
    pair.settle()
    assert pair.phase == "Writing" and not pair.world.memory.solo
    assert pair.order.index("on") < pair.order.index("open") < pair.order.index("mark on")


def test_a_server_without_semi_sync_does_not_open() -> None:
    pair = standby()
    assert pair.facts is not None
    pair.facts = replace(pair.facts, semi_sync=None)
    pair.peer = None
    pair.wait(0.1)
    pair.move_vip(True)
    pair.settle()
    assert pair.phase != "Writing" and "open" not in pair.order


def test_a_takeover_that_was_given_up_leaves_no_solo_behind() -> None:
    pair = standby()
    pair.peer, pair.gone = None, frozenset({"db2"})
    pair.settle(0.2)
    pair.move_vip(True)
    pair.go(do.Open)
    assert pair.world.memory.solo
    pair.take(do.Open)
    pair.move_vip(False)
    pair.settle()
    assert pair.phase == "Resting" and not pair.world.memory.solo


def test_solo_is_wiped_from_a_node_that_was_not_the_last_to_write() -> None:
    pair = standby(Memory(epoch=2, solo=True))
    assert not pair.world.memory.solo


def test_the_last_writer_without_its_standby_is_not_fit_just_for_having_been_it() -> None:
    """Another may have taken over and written alone since."""
    pair = both()
    pair.move_vip(False)
    pair.settle()
    assert pair.phase == "Resting"
    pair.peer_answer = Answer.SILENT
    pair.settle(0.2)
    pair.move_vip(True)
    pair.settle(2.0)
    assert pair.phase == "Resting" and pair.order.count("open") == 0


SETTLED = replace(HOLDING, server=with_facts(STANDBY, semi_sync=OFF).server)
ACKNOWLEDGING = PeerSight(
    healthy.POLICY.peers[0],
    replace(healthy.SERVER, facts=replace(healthy.FACTS, semi_sync=OFF)),
    channels=(replace(CHANNEL, source_host="10.73.0.11"),),
)


def peer(**changes: Any) -> PeerSight:
    assert ACKNOWLEDGING.evidence is not None and ACKNOWLEDGING.evidence.facts is not None
    facts: ServerFacts = replace(ACKNOWLEDGING.evidence.facts, **changes)
    return replace(ACKNOWLEDGING, evidence=replace(ACKNOWLEDGING.evidence, facts=facts))


OF_A_REPLICA_AND_LOSSLESS = replace(OF_A_REPLICA, durability="lossless")


def test_a_replica_that_acknowledges_is_muted_and_a_crash_meanwhile_leaves_it_no_operators_stop() -> None:
    pair = Pair(OF_A_REPLICA_AND_LOSSLESS)
    pair.step(AddressSeen(pair.address()))
    pair.wait(0.3)
    pair.go(do.Mute)
    assert pair.sent(do.Mute) and pair.world.memory.stopped == "boot-1" and pair.world.join_due
    pair.fail(do.Mute)  # its IO thread may stand
    assert pair.facts is not None
    pair.facts = replace(pair.facts, semi_sync=MUTE, channels=(replace(CHANNEL, io="stopped", lag_s=None),))
    pair.wait(0.3)
    pair.go(do.StartReplication)
    assert pair.sent(do.StartReplication)


def test_a_replica_that_acknowledges_is_not_started_before_it_is_muted() -> None:
    pair = Pair(OF_A_REPLICA_AND_LOSSLESS)
    assert pair.facts is not None
    stopped = replace(CHANNEL, io="stopped", sql_running=False, lag_s=None)
    acknowledging = replace(OFF, replica_enabled=True, replica_on=False)
    pair.facts = replace(pair.facts, semi_sync=acknowledging, channels=(stopped,))
    pair.step(AddressSeen(pair.address()))
    pair.wait(0.3)
    pair.go(do.Mute, do.StartReplication)
    assert pair.sent(do.Mute) and not pair.sent(do.StartReplication)


def test_a_standby_is_there_only_by_its_own_words() -> None:
    def there(one: PeerSight, own: SemiSync = OFF) -> bool:
        sight = replace(SETTLED, peers={"db2": one})
        return semi_sync.replica(with_facts(sight, semi_sync=own)) is not None

    assert there(ACKNOWLEDGING)
    assert not there(ACKNOWLEDGING, replace(OFF, clients=0))
    assert not there(peer(closed=False)) and not there(peer(semi_sync=replace(OFF, replica_on=False)))
    assert not there(peer(semi_sync=None))
    assert not there(replace(ACKNOWLEDGING, channels=None))
    assert not there(replace(ACKNOWLEDGING, channels=(CHANNEL,))), "it follows another node"
    stopped = replace(CHANNEL, source_host="10.73.0.11", io="stopped")
    assert not there(replace(ACKNOWLEDGING, channels=(stopped,)))
    assert not there(replace(ACKNOWLEDGING, evidence=healthy.SILENT))


def test_a_standby_far_behind_is_not_there_yet_because_every_commit_would_wait_for_it() -> None:
    far = GtidSet.parse("mariadb", f"1-1-5,2-2-{70 + semi_sync.NEAR + 1}")
    sight = replace(SETTLED, peers={"db2": ACKNOWLEDGING})
    assert semi_sync.replica(with_facts(sight, gtid=far)) is None


def test_only_a_closed_peer_makes_a_taker_wait_for_it() -> None:
    sight = replace(SETTLED, peers={"db2": ACKNOWLEDGING})
    step = semi_sync.settle(sight, {"db2": PeerClass.CLOSED})
    assert step is not None and step.effects == (do.SetSource(semi_sync.SET_S, True),)
    step = semi_sync.settle(sight, {"db2": PeerClass.SILENT})
    assert step is not None and isinstance(step.effects[0], do.Remember) and step.effects[0].memory.solo


# -- the sitting writer


def test_when_the_standby_is_back_solo_ends_on_the_disk_then_it_is_waited_for_then_the_mark_is_written() -> (
    None
):
    pair = alone()
    pair.order.clear()
    pair.standby_is_back()
    pair.settle()
    assert pair.order == ["not solo", "on", "mark on"]


def test_a_standby_that_does_not_follow_yet_ends_nothing() -> None:
    pair = alone()
    pair.order.clear()
    pair.standby_is_back()
    assert pair.peer is not None
    pair.peer = replace(pair.peer, channels=(replace(CHANNEL, source_host="10.73.0.11", io="connecting"),))
    pair.settle()
    assert pair.order == [] and pair.world.memory.solo


@pytest.mark.parametrize("answer", [Answer.SILENT, Answer.ABSENT, Answer.BLIND])
def test_silence_and_refusal_of_the_standby_never_switch_waiting_off(answer: Answer) -> None:
    pair = both()
    pair.peer_answer = answer
    pair.peer = None if answer is Answer.ABSENT else pair.peer
    pair.semi(clients=0, waiting=3)
    pair.settle(20.0)
    assert pair.phase == "Writing" and pair.order == [] and pair.vip


@pytest.mark.parametrize("told_writer", [True, False])
@pytest.mark.parametrize("told_standby", [True, False])
def test_a_standby_that_both_servers_know_in_maintenance_is_positively_out(
    told_writer: bool, told_standby: bool
) -> None:
    """One that has not heard of it may take over; one whose maintenance has ended may soon."""
    pair, out = both(), (Maintenance("db2", 1_700_000_000, None, ""),)
    assert pair.facts is not None and pair.peer is not None
    pair.facts = replace(pair.facts, maintenance=out if told_writer else ())
    pair.peer = replace(pair.peer, maintenance=out if told_standby else ())
    pair.settle()
    assert pair.order == [], "while it follows, it is waited for"
    pair.peer = None
    pair.settle()
    gone = told_writer and told_standby
    assert pair.order == (["solo", "off", "mark off"] if gone else [])
    assert ("every-standby-is-out" in pair.rules) is gone
    pair.standby_is_back()
    pair.settle()
    assert pair.order[3:] == (["not solo", "on", "mark on"] if gone else [])


def test_a_fenced_standby_is_positively_out_until_it_gives_a_sign_of_life() -> None:
    pair = both()
    pair.peer_answer, pair.pings = Answer.SILENT, True
    pair.settle(1.0)
    assert pair.order == []
    name, seen = next(iter(pair.world.peers.items()))
    pair.world = replace(pair.world, peers={name: replace(seen, fenced_s=pair.now + 0.01)})
    pair.settle()
    assert pair.order == ["solo", "off", "mark off"]


def test_a_node_in_maintenance_needs_the_mark_anew() -> None:
    pair = standby()
    assert marked(pair) and pair.facts is not None
    pair.facts = replace(pair.facts, maintenance=(Maintenance("db1", 1_700_000_000, None, ""),))
    pair.settle(0.2)
    assert not marked(pair)
    pair.facts = replace(pair.facts, maintenance=())
    pair.peer = None
    pair.settle()
    assert not marked(pair) and pair.track == "0"


def test_commits_that_wait_are_alerted_once_and_their_end_is_told() -> None:
    pair = both()
    pair.peer_answer = Answer.SILENT
    pair.semi(waiting=3)
    pair.settle(5.0)
    assert pair.rules.count("commits-wait") == 1
    note = next(note for note in pair.notes if note.rule == "commits-wait")
    assert note.level == "error" and dict(note.numbers)["silent"] == "db2"
    pair.semi(waiting=0, acked=9)
    pair.settle(0.3)
    assert pair.rules.count("commits-go-on") == 1


def test_a_busy_writer_whose_commits_are_acknowledged_is_not_alerted() -> None:
    pair = both()
    for acked in range(100, 130):
        pair.semi(waiting=4, acked=acked)
        pair.settle(0.1)
    assert "commits-wait" not in pair.rules


def test_the_operators_word_is_on_the_disk_before_anything_goes_on_unreplicated() -> None:
    pair = both()
    pair.peer_answer = Answer.SILENT
    pair.settle(4.0)
    pair.step(Command("solo"))
    pair.go()
    pair.settle()
    assert pair.order == ["solo", "off", "mark off"]


def test_the_operators_word_waits_until_the_standby_has_been_gone_for_three_seconds() -> None:
    pair = both()
    pair.peer_answer = Answer.SILENT
    pair.settle(1.0)
    pair.step(Command("solo"))
    pair.settle(1.5)
    assert pair.order == []
    pair.settle(2.0)
    assert pair.order == ["solo", "off", "mark off"]


def test_the_operators_word_is_the_writers() -> None:
    """On another node it would say that this one has everything."""
    pair = standby()
    pair.step(Command("solo"))
    pair.settle(4.0)
    assert "solo-is-the-writers" in pair.rules and not pair.world.memory.solo


def test_a_word_that_had_not_counted_yet_ends_with_the_reign() -> None:
    pair = both()
    pair.peer_answer = Answer.SILENT
    pair.settle(1.0)
    pair.step(Command("solo"))
    pair.move_vip(False)
    pair.settle(5.0)
    assert pair.phase == "Resting" and not pair.world.memory.solo


def test_a_standby_that_is_back_after_the_operators_word_is_waited_for_again() -> None:
    pair = both()
    pair.peer_answer = Answer.SILENT
    pair.settle(4.0)
    pair.step(Command("solo"))
    pair.settle()
    pair.order.clear()
    pair.standby_is_back()
    pair.settle()
    assert pair.order == ["not solo", "on", "mark on"]


def test_the_operators_word_said_while_a_standby_acknowledges_is_spent() -> None:
    pair = both()
    pair.step(Command("solo"))
    pair.settle(1.0)
    assert not pair.world.memory.solo
    pair.order.clear()
    pair.peer_answer = Answer.SILENT
    pair.settle(1.0)
    assert pair.order == [], "a standby that goes later stops the writes again"


def test_what_another_hand_switched_off_is_switched_on_again_whoever_is_there() -> None:
    pair = both()
    pair.peer_answer = Answer.SILENT
    pair.semi(source_enabled=False, source_on=False)
    pair.settle(0.3)
    assert pair.order == ["on"]


def test_a_claimed_writer_switches_nothing_off() -> None:
    """Somebody is taking over: it may have the newer word already."""
    pair = both()
    assert pair.facts is not None
    pair.peer_answer = Answer.SILENT
    pair.settle(0.3)
    pair.facts = replace(pair.facts, claim_lock=99)
    pair.settle(4.0)
    pair.step(Command("solo"))
    pair.settle()
    assert "off" not in pair.order


# -- closing


def test_an_isolated_writer_with_waiting_commits_is_killed_and_nothing_else_is_tried() -> None:
    pair = both()
    pair.semi(waiting=2)
    pair.settle(0.2)
    pair.pings, pair.peer_answer = False, Answer.SILENT
    pair.wait(0.8)
    assert pair.sent(do.KillServer) and not pair.sent(do.CloseServer)
    assert "commits-wait-superseded" in pair.rules


def test_a_superseded_writer_with_waiting_commits_is_killed() -> None:
    pair = both()
    pair.semi(waiting=1)
    pair.settle(0.2)
    assert pair.peer is not None
    pair.peer = replace(pair.peer, closed=False, open_lock=9, epoch=EpochRow(99, "db2", "boot-2"))
    pair.wait(0.2)
    assert pair.sent(do.KillServer) and not pair.sent(do.CloseServer)


def test_an_isolated_writer_with_nothing_waiting_is_closed_with_nobody_ended_first() -> None:
    pair = both()
    pair.pings, pair.peer_answer = False, Answer.SILENT
    pair.wait(0.8)
    sent = pair.sent(do.CloseServer)
    assert isinstance(sent[0], do.CloseServer) and sent[0].care is Care.STRICT


def test_a_strict_close_that_found_a_commit_waiting_is_followed_by_the_kill_at_once() -> None:
    pair = both()
    pair.pings, pair.peer_answer = False, Answer.SILENT
    pair.wait(0.7)
    pair.fail(do.CloseServer, "commits wait for a replica")
    assert pair.sent(do.KillServer)


def test_a_handback_spares_commits_that_wait_and_kills_only_past_its_time() -> None:
    pair = both()
    pair.semi(waiting=1)
    pair.settle(0.2)
    pair.move_vip(False)
    sent = pair.sent(do.CloseServer)
    assert isinstance(sent[0], do.CloseServer) and sent[0].care is Care.SPARE
    while pair.sent(do.CloseServer):
        assert not pair.sent(do.KillServer)
        pair.fail(do.CloseServer)
        pair.wait(0.1)
    assert pair.sent(do.KillServer)


def test_a_solo_writer_is_closed_as_any_other() -> None:
    pair = alone()
    pair.move_vip(False)
    sent = pair.sent(do.CloseServer)
    assert isinstance(sent[0], do.CloseServer) and sent[0].care is Care.NONE


def test_async_closes_as_ever_and_asks_for_none_of_it() -> None:
    one = core.guarded_writer()
    one.move_vip(False)
    sent = one.sent(do.CloseServer)
    assert isinstance(sent[0], do.CloseServer) and sent[0].care is Care.NONE
    assert not one.sent(do.SetSource) and not one.world.memory.solo


def test_a_closed_node_that_is_claimed_switches_nothing_off_before_the_claim_ends() -> None:
    """MySQL's SET may block every question to the server for a second, which the taker would wait for."""
    pair = standby()
    assert pair.facts is not None
    pair.semi(source_enabled=True, source_on=True)
    pair.facts = replace(pair.facts, claim_lock=77)
    pair.settle()
    assert "off" not in pair.order
    pair.facts = replace(pair.facts, claim_lock=None)
    pair.settle()
    assert "off" in pair.order


def test_a_closed_node_waits_for_nobody() -> None:
    pair = both()
    pair.move_vip(False)
    pair.settle()
    assert pair.phase == "Resting" and pair.order == ["off"]


# -- what is lost


def test_a_marked_taker_says_that_nothing_acknowledged_is_lost() -> None:
    old = PeerSight(
        healthy.POLICY.peers[0], healthy.ABSENT, last=replace(healthy.PEER.evidence, facts=PEER_FACTS)
    )
    sight = replace(MARKED, peers={"db2": old})
    assert account(healthy.GTIDS, sight).rule == "lost-no-acknowledged"
    assert account(healthy.GTIDS, replace(sight, receiving=None)).rule == "lost-unknown"
    assert account(healthy.GTIDS, replace(sight, policy=healthy.POLICY)).rule == "lost-unknown"


def test_who_had_not_seen_the_writer_for_long_does_not_know_what_was_acknowledged_without_it() -> None:
    """The operator may have let it go on alone (`solo`); but not once it was down."""
    assert healthy.PEER.evidence is not None
    seen = replace(healthy.PEER.evidence, facts=PEER_FACTS)
    old = PeerSight(healthy.POLICY.peers[0], healthy.ABSENT, last=replace(seen, asked_at_s=NOW_S - 2.6))
    assert account(healthy.GTIDS, replace(MARKED, peers={"db2": old})).rule == "lost-unknown"
    down = replace(old, gone_s=NOW_S - 2.5)
    assert account(healthy.GTIDS, replace(MARKED, peers={"db2": down})).rule == "lost-no-acknowledged"
    before = replace(old, gone_s=NOW_S - 9.0)
    assert account(healthy.GTIDS, replace(MARKED, peers={"db2": before})).rule == "lost-unknown"


def test_a_channel_is_what_makes_a_session() -> None:
    assert with_channel(MARKED, io="stopped").marked, (
        "an operator's STOP ends the session, not what it brought"
    )
