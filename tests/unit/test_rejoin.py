"""Which node may follow which, after a return, at a boot, and when histories forked?"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from core import PEER_FACTS, Core, guarded_writer, standby, taker, writer
from healthy import BLIND, CHANNEL, FACTS, GTIDS, PEER, STANDBY, WRITER, with_facts, with_peer

from vipguard.agent.event import AddressSeen
from vipguard.checks import stopped
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, Channel, EpochRow, ProcessId
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.sight import Sight
from vipguard.notify import rejoin

STOPPED = replace(CHANNEL, io="stopped", sql_running=False, lag_s=None)
IO_STOPPED = replace(CHANNEL, io="stopped", lag_s=None)
LESS = GtidSet.parse("mariadb", "1-1-5,2-2-60")
MORE = GtidSet.parse("mariadb", "1-1-5,2-2-90")
FORKED = GtidSet.parse("mariadb", "1-1-9,2-2-60")


def returned(gtid: GtidSet = GTIDS, channel: Channel = STOPPED, **changes: object) -> Sight:
    """db1 is back, closed, its replication stopped; its peers as in STANDBY."""
    sight = with_facts(STANDBY, gtid=gtid, channels=(channel,), **changes)
    assert sight.server is not None and PEER.evidence is not None
    return replace(sight, server=replace(sight.server, asked_at_s=990.0, seen_at_s=990.0))


def test_a_node_whose_history_the_writer_has_joins() -> None:
    join = rejoin.standby(returned(LESS))
    assert join.rule == "join" and isinstance(join.effect, do.StartReplication)


def test_a_node_with_more_than_the_writer_stays_apart_and_names_it() -> None:
    join = rejoin.standby(returned(FORKED))
    assert join.rule == "diverged" and join.effect is None
    assert join.apart is not None and str(join.apart) == "1-1-6..9"


def test_what_the_writer_seems_to_lack_may_be_newer_than_the_look_at_it() -> None:
    sight = returned(MORE)
    assert sight.server is not None
    assert rejoin.standby(replace(sight, server=replace(sight.server, seen_at_s=sight.now_s))).rule == (
        "join-compare-again"
    )


def test_a_node_of_which_replication_runs_is_left_alone() -> None:
    assert rejoin.standby(STANDBY).rule == "joined"


def test_a_node_without_replication_is_said_to_have_none() -> None:
    assert rejoin.standby(with_facts(STANDBY, channels=())).rule == "join-not-configured"


def test_without_a_writer_and_with_a_peer_unseen_nobody_joins() -> None:
    sight = replace(returned(LESS, IO_STOPPED), peers={"db2": replace(PEER, evidence=BLIND)})
    assert rejoin.standby(sight).rule == "join-waits"


def test_without_a_writer_a_contained_node_joins_the_fullest_closed_one() -> None:
    join = rejoin.standby(with_peer(returned(LESS), closed=True, open_lock=None))
    assert join.rule == "join"


def test_without_a_writer_the_fullest_node_waits_for_the_vip() -> None:
    join = rejoin.standby(with_peer(returned(MORE), closed=True, open_lock=None))
    assert join.rule == "join-waits"


def test_an_older_epoch_never_decides_what_a_newer_one_lacks() -> None:
    row = EpochRow(1, "db2", "boot-2")
    join = rejoin.standby(with_peer(returned(FORKED), closed=True, open_lock=None, epoch=row))
    assert join.rule == "join-waits"


def test_a_writer_of_an_older_epoch_is_not_followed() -> None:
    old, new = EpochRow(1, "db2", "boot-2"), EpochRow(3, "db2", "boot-2")
    here = with_facts(returned(LESS), epoch=new, ledger=Ledger.of([Opening(old), Opening(new)]))
    join = rejoin.standby(with_peer(here, epoch=old, ledger=Ledger.of([Opening(old)])))
    assert join.effect is None


def test_a_writer_listens_to_a_standby_that_has_nothing_more() -> None:
    sight = with_facts(WRITER, channels=(IO_STOPPED,), gtid=MORE)
    join = rejoin.writer(with_peer(sight, closed=True, open_lock=None, gtid=LESS))
    assert join.rule == "listen" and isinstance(join.effect, do.StartReceiving)


def test_a_writer_never_listens_to_a_standby_with_transactions_of_its_own() -> None:
    sight = with_facts(WRITER, channels=(IO_STOPPED,), gtid=LESS)
    assert sight.server is not None
    sight = replace(sight, server=replace(sight.server, asked_at_s=sight.now_s, seen_at_s=sight.now_s))
    join = rejoin.writer(with_peer(sight, closed=True, open_lock=None, gtid=FORKED))
    assert join.rule == "peer-diverged" and join.effect is None and join.apart is not None


def test_a_writer_listens_to_nobody_that_is_open() -> None:
    sight = with_facts(WRITER, channels=(IO_STOPPED,))
    assert rejoin.writer(with_peer(sight, closed=False)).rule == "listen-waits"


# -- in the core


def restarted(core: Core, gtid: GtidSet = GTIDS) -> Core:
    """db1's server came back as another process, closed, with its replication stopped."""
    from vipguard.model.evidence import ProcessId

    assert core.facts is not None
    core.facts = None
    core.look()
    core.facts = replace(
        FACTS, process=ProcessId(5000, 7), channels=(STOPPED,), gtid=gtid, epoch=EpochRow(3, "db2", "boot-2")
    )
    return core


def test_a_server_that_restarted_is_joined_by_itself() -> None:
    core = restarted(standby())
    core.wait(0.3)
    core.go(do.StartReplication)
    assert core.sent(do.StartReplication)
    core.go()
    core.wait(0.3)
    assert core.world.join_due is False and core.world.diverged is None


def test_a_server_that_forked_is_parked_and_its_transactions_are_named() -> None:
    core = restarted(standby(), FORKED)
    core.wait(0.5)
    core.go()
    assert core.world.diverged is not None and "1-1-6..9" in core.world.diverged
    assert not core.sent(do.StartReplication) and core.track == "0"


def test_an_operators_stop_of_replication_stays() -> None:
    core = standby()
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(IO_STOPPED,))
    core.wait(1.0)
    core.go()
    assert not core.sent(do.StartReplication) and core.track == "0"


def test_a_writer_hears_its_standby_again_when_that_is_back() -> None:
    core = writer()
    assert core.facts is not None
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=core.facts.gtid, epoch=core.facts.epoch)
    core.wait(0.2)
    assert core.sent(do.StartReceiving)


def test_the_next_agent_starts_what_a_takeover_of_this_boot_stopped() -> None:
    core = guarded_writer()
    assert core.facts is not None
    memory = replace(core.world.memory, stopped="boot-1")
    again = Core(memory=memory)
    again.facts = replace(core.facts, channels=(IO_STOPPED,), open_lock=None)
    again.vip, again.track, again.peer = True, "1", core.peer
    from vipguard.agent.event import AddressSeen, TrackSeen

    again.step(TrackSeen("1"))
    again.step(AddressSeen(again.address()))
    again.wait(0.5)
    again.go(do.StartReceiving)
    assert again.sent(do.StartReceiving)


# -- starts that do not stay, and stops by a hand


FATAL = replace(IO_STOPPED, io_errno=1236, io_error="Could not find first log file name in binary log index file")
IN_VAIN = "error connecting to master 'r@10.73.0.12:3306' - retry-time: 1  maximum-retries: 20  message: Can't connect"
GAVE_UP = replace(IO_STOPPED, io_errno=2003, io_error=IN_VAIN)
SEARCHING = replace(CHANNEL, io="connecting", lag_s=None, io_errno=2003, io_error=IN_VAIN)


def stands(core: Core, channel: Channel) -> None:
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(channel,))


def starts(core: Core, for_s: float, channel: Channel | None = None, then: Channel = FATAL) -> list[float]:
    """When replication is started within `for_s` seconds, counted from now; each start ends as `then`."""
    if channel is not None:
        stands(core, channel)
    began_s, found = core.now, []
    while core.now < began_s + for_s:
        core.wait(0.1)
        for kind in (do.StartReplication, do.StartReceiving):
            if core.sent(kind):
                found.append(round(core.now - began_s, 1))
                core.do(kind)
                stands(core, then)
        if core.sent(do.Remember):
            core.do(do.Remember)
    return found


def test_a_start_that_fails_is_tried_again_with_a_growing_pause_and_told_once() -> None:
    core = standby()
    found = starts(core, 300.0, FATAL)
    assert found[0] <= 0.2
    gaps = [round(b - a, 1) for a, b in pairwise(found)]
    assert gaps == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0], abs=0.15)
    assert core.rules.count("start-fails") == 1 and core.rules.count("started") <= 1


def test_a_writer_that_listens_in_vain_does_no_other() -> None:
    core = writer()
    assert core.facts is not None
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=core.facts.gtid, epoch=core.facts.epoch)
    assert len(starts(core, 31.0)) == 5
    assert core.rules.count("start-fails") == 1 and core.phase == "Writing"


def test_a_failed_applier_is_not_started_in_a_loop_either() -> None:
    core = returned_core()
    failed = replace(CHANNEL, sql_running=False, lag_s=None, sql_errno=1062, sql_error="Duplicate entry")
    assert len(starts(core, 31.0, then=failed)) == 5


def returned_core() -> Core:
    """db1's server was restarted with its replication stopped, under an agent that lives."""
    core = standby()
    assert core.facts is not None
    core.facts = replace(core.facts, process=ProcessId(4343, 500), channels=(STOPPED,))
    return core


def test_another_source_ends_the_pause() -> None:
    core = standby()
    assert len(starts(core, 40.0, FATAL)) == 6
    other = replace(FATAL, source_host="10.73.0.13")
    assert starts(core, 0.5, other, then=other) != []


def test_a_source_that_was_started_anew_ends_the_pause() -> None:
    core = standby()
    assert len(starts(core, 40.0, FATAL)) == 6
    assert core.peer is not None
    core.peer = replace(core.peer, connection_id=3)
    assert starts(core, 0.5) != []


def test_a_source_that_comes_back_ends_the_pause() -> None:
    core = standby()
    assert len(starts(core, 40.0, FATAL)) == 6
    peer, core.peer = core.peer, None
    core.wait(0.3)
    core.peer = peer
    assert starts(core, 0.5) != []


def test_an_operators_start_ends_the_pause() -> None:
    core = standby()
    assert len(starts(core, 40.0, FATAL)) == 6
    stands(core, CHANNEL)
    core.wait(0.3)
    assert len(starts(core, 3.5, FATAL)) == 3


def test_a_node_whose_starts_fail_is_no_candidate_until_it_has_run_for_a_while() -> None:
    core = standby()
    starts(core, 3.5, FATAL)
    stands(core, CHANNEL)
    core.wait(0.5)
    assert core.world.verdict is not None and core.world.verdict.rule == "replication-broken"
    assert "1236" in core.world.verdict.text
    core.wait(2.0)
    assert core.world.verdict.rule == "candidate-ready"
    core.wait(40.0)
    assert core.rules.count("start-stays") == 1


def test_an_io_thread_that_gave_up_is_started_when_its_source_is_back() -> None:
    core = standby()
    peer, core.peer = core.peer, None
    core.go()
    stands(core, SEARCHING)
    core.wait(25.0)
    assert starts(core, 5.0, GAVE_UP) == []
    assert core.world.verdict is not None and core.world.verdict.rule != "replication-broken"
    core.peer = peer
    assert starts(core, 0.5, then=CHANNEL) != []


def test_a_stop_while_it_looked_for_its_source_is_no_giving_up() -> None:
    core = standby()
    peer, core.peer = core.peer, None
    core.go()
    stands(core, SEARCHING)
    core.wait(3.0)
    assert starts(core, 5.0, GAVE_UP) == [] and "stopped-by-hand" in core.rules
    core.peer = peer
    assert starts(core, 5.0) == []


def test_mysql_tells_which_attempt_it_was() -> None:
    text = "Error connecting to source 'r@db2:3306'. This was attempt {}/10, with a delay of 1 seconds between them."
    for attempt, hand in ((3, True), (10, False)):
        channel = replace(GAVE_UP, io_error=text.format(attempt))
        assert stopped.by_hand(channel, None) is hand


def after_restart(core: Core) -> Core:
    """Another agent on the same node, with what the one before it kept."""
    core.wait(0.3)
    core.go(do.StartReplication, do.StartReceiving)
    other = Core(memory=core.world.memory)
    other.facts, other.peer = core.facts, core.peer
    other.step(AddressSeen(other.address()))
    return other


@pytest.mark.parametrize("channel", [STOPPED, IO_STOPPED, replace(CHANNEL, sql_running=False, lag_s=None)])
@pytest.mark.parametrize("agents", [0, 1, 3])
def test_an_operators_stop_stays_over_restarts_of_the_agent(channel: Channel, agents: int) -> None:
    core = standby()
    stands(core, channel)
    for _ in range(agents):
        core = after_restart(core)
    assert starts(core, 3.0) == []
    own = core.world.sight(core.now)
    assert own.stopped_by_hand and core.world.verdict is not None and "START SLAVE;" in core.world.verdict.text
    assert core.world.verdict.rule == "replication-broken"


def test_an_operators_stop_stays_though_nobody_saw_it() -> None:
    core = standby()
    other = Core(memory=core.world.memory)
    other.facts, other.peer = replace(core.facts or FACTS, channels=(STOPPED,)), core.peer
    other.step(AddressSeen(other.address()))
    assert starts(other, 3.0) == [] and other.rules.count("stopped-by-hand") == 1


def test_a_stop_that_was_seen_while_it_looked_for_its_source_stays_over_a_restart() -> None:
    core = standby()
    peer, core.peer = core.peer, None
    core.go()
    stands(core, SEARCHING)
    core.wait(3.0)
    stands(core, GAVE_UP)
    core = after_restart(core)
    core.peer = peer
    assert starts(core, 3.0) == []


def test_a_server_that_was_booted_while_no_agent_lived_joins() -> None:
    core = standby()
    other = Core(memory=core.world.memory)
    other.facts = replace(core.facts or FACTS, process=ProcessId(4343, 500), channels=(STOPPED,))
    other.step(AddressSeen(other.address()))
    assert starts(other, 1.0, then=CHANNEL) != []


def test_a_stopped_server_that_was_booted_since_joins_though_it_was_stopped_by_a_hand_before() -> None:
    core = standby()
    stands(core, STOPPED)
    core.wait(0.3)
    core.go(do.StartReplication)
    core.facts = replace(core.facts or FACTS, process=ProcessId(4343, 500))
    assert starts(core, 1.0, then=CHANNEL) != []


def test_a_server_joins_after_a_reboot_of_its_host() -> None:
    core = standby()
    other = Core(memory=core.world.memory, boot_id="boot-9")
    other.facts = replace(core.facts or FACTS, channels=(STOPPED,))
    other.step(AddressSeen(other.address()))
    assert starts(other, 1.0, then=CHANNEL) != []


def test_a_memory_of_an_older_version_starts_what_stands() -> None:
    other = Core()
    stands(other, STOPPED)
    other.step(AddressSeen(other.address()))
    assert starts(other, 1.0, then=CHANNEL) != []


def test_a_fresh_copy_made_without_an_agent_is_no_stop_by_a_hand() -> None:
    core = standby()
    other = Core(memory=core.world.memory)
    copied = replace(STOPPED, received=GtidSet.empty("mariadb"))
    other.facts = replace(core.facts or FACTS, channels=(copied,))
    other.step(AddressSeen(other.address()))
    other.wait(1.0)
    assert "join-examines" in other.rules and "stopped-by-hand" not in other.rules


def test_what_vipguard_stopped_itself_is_no_stop_by_a_hand() -> None:
    core = writer()
    core.wait(3.0)
    assert "stopped-by-hand" not in core.rules


def test_a_stop_that_outlives_its_takeover_is_no_hands_either() -> None:
    core = taker()
    core.go(do.StopReceiving)
    late = core.take(do.StopReceiving)
    core.move_vip(False)
    assert core.phase == "Resting"
    core.go()
    core.wait(0.5)
    core.go()
    stands(core, IO_STOPPED)
    core.report(late, None)
    core.wait(0.5)
    assert "stopped-by-hand" not in core.rules and core.world.sight(core.now).io_stopped_by_us


@pytest.mark.parametrize(("mine", "rule"), [("1-1-5,2-2-74", None), ("1-1-6,2-2-74", "listen-stops")])
def test_what_an_open_source_wrote_since_it_was_looked_at_is_no_reason_to_stop(mine: str, rule: str | None) -> None:
    """It opened after this node, and its guard died before its opening stood in its ledger."""
    own = EpochRow(3, "db1", "boot-1")
    sight = with_peer(with_facts(STANDBY, gtid=GtidSet.parse("mariadb", mine), epoch=own), epoch=own, open_lock=None)
    found = rejoin.unheard(replace(sight, was_writer=True))
    assert (found.rule if found is not None else None) == rule


def test_nothing_is_stopped_while_a_memory_that_says_of_no_stop_is_on_its_way() -> None:
    """It would be taken for a hand's, and would stay."""
    core = writer()
    assert core.facts is not None
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=core.facts.gtid, epoch=core.facts.epoch)
    core.wait(0.3)
    core.go(do.StartReceiving)
    core.do(do.StartReceiving)
    late = core.take(do.Remember)
    assert core.world.sight(core.now).io_stopped_by_us
    core.peer_answer = Answer.SILENT
    core.wait(1.0)
    assert "listen-stops" in core.rules and not core.sent(do.StopReceiving)
    core.report(late, None)
    core.wait(0.1)
    core.go(do.StopReceiving)
    assert core.sent(do.StopReceiving) and core.world.sight(core.now).io_stopped_by_us
    core.go()
    core.wait(1.0)
    assert "stopped-by-hand" not in core.rules


def test_a_writers_applier_that_a_hand_stopped_stays_so() -> None:
    core = writer()
    core.wait(0.3)
    assert core.facts is not None
    stands(core, replace(IO_STOPPED, sql_running=False))
    core.wait(0.3)
    core.go()
    assert "stopped-by-hand" in core.rules
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=core.facts.gtid, epoch=core.facts.epoch)
    assert starts(core, 3.0) == []
    stands(core, IO_STOPPED)
    assert starts(core, 1.0) != [], "what the hand stopped runs again, and the other thread stands by vipguard's order"


def test_what_a_hand_started_again_is_started_by_vipguard_too() -> None:
    core = standby()
    stands(core, STOPPED)
    core.wait(0.3)
    core.go(do.StartReplication)
    stands(core, CHANNEL)
    core.wait(0.3)
    assert not core.world.sight(core.now).stopped_by_hand
    assert starts(core, 1.0, FATAL) != []


@pytest.mark.parametrize("stop", [STOPPED, IO_STOPPED])
def test_what_a_hand_started_and_failed_at_once_is_tried_again(stop: Channel) -> None:
    """So soon that no look saw it run."""
    core = standby()
    stands(core, stop)
    core.wait(0.3)
    core.go(do.StartReplication)
    assert core.world.sight(core.now).stopped_by_hand
    assert len(starts(core, 8.0, FATAL)) == 4 and not core.world.sight(core.now).stopped_by_hand
