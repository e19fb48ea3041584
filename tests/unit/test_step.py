"""What does the core do at its start, on each tick, with late reports, and with the track file?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from core import CLOSED_FACTS, PEER_FACTS, PROCESS, Core, guarded_writer, standby, writer
from healthy import CHANNEL, GTIDS, POLICY, REPLICA

from vipguard.agent.event import AddressSeen, KeepalivedSeen, ProcessExiting, Tick, TrackSeen
from vipguard.agent.world import Closing, Writing
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow, KeepalivedEvidence, ProcessId
from vipguard.model.memory import Completed, KeptClean, KeptLag, Memory

OPEN_FACTS = replace(CLOSED_FACTS, closed=False, open_lock=5, epoch=EpochRow(3, "db1", "boot-1"))
DONE = Memory(3, Completed(3, "boot-1", PROCESS), open=True)


def starting(memory: Memory = DONE, vip: bool = True) -> Core:
    """An agent that has just begun on a node with an open server; db2 is its closed standby."""
    core = Core(memory=memory)
    core.facts, core.vip, core.track = OPEN_FACTS, vip, "1"
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None)
    core.step(TrackSeen(core.track))
    core.step(AddressSeen(core.address()))
    return core


# -- the start


def test_nothing_is_decided_before_server_addresses_and_peers_were_seen() -> None:
    core = starting()
    core.see()
    core.step(Tick(0.1))
    assert core.phase == "Starting" and not core.sent(do.WriteTrack) and not core.sent(do.CloseServer)
    core.do(do.ProbeServer)
    assert core.phase == "Starting"
    core.do(do.ProbePeer)
    assert core.phase == "Writing"


def test_a_peer_that_says_nothing_holds_the_start_up_for_a_bounded_time() -> None:
    core = starting()
    began_s = core.now
    while core.phase == "Starting":
        core.now += 0.1
        core.see()
        core.step(Tick(0.1))
        core.do(do.ProbeServer)
        assert core.now < began_s + 2 * POLICY.limits.deadline_s + 0.3
    assert core.phase == "Writing"


def test_an_open_server_is_adopted_when_the_memory_says_who_opened_it() -> None:
    core = starting()
    core.look()
    assert isinstance(core.world.phase, Writing) and core.world.phase.epoch == 3
    core.look()
    assert core.sent(do.PrepareOpen) == [do.PrepareOpen(0.5, adopt=True)]
    assert not core.sent(do.WriteTrack) and core.track == "1"


def test_a_writer_that_the_configuration_makes_a_replica_is_closed() -> None:
    """The others count it no more as one that may write."""
    core = starting()
    core.world = replace(core.world, policy=REPLICA.policy)
    core.look()
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "not-taken-over"


@pytest.mark.parametrize(
    "memory",
    [
        Memory(3),
        Memory(3, Completed(3, "another-boot", PROCESS)),
        Memory(3, Completed(3, "boot-1", ProcessId(1, 1))),
    ],
    ids=["never-completed", "of-another-boot", "of-another-process"],
)
def test_an_open_server_that_no_memory_speaks_for_is_closed(memory: Memory) -> None:
    core = starting(memory)
    core.look()
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "not-taken-over"


@pytest.mark.parametrize(
    ("memory", "again"),
    [
        (Memory(4, stopped="boot-1", open=True), True),
        (Memory(4, stopped="boot-0", open=True), False),
        (Memory(4, stopped="boot-1"), False),
    ],
    ids=["its own takeover", "of another boot", "of another hand"],
)
def test_who_closes_what_its_own_takeover_left_open_takes_over_anew(memory: Memory, again: bool) -> None:
    """Nobody else shall open meanwhile: what clients wrote is in no other node's history."""
    core = starting(memory)
    core.peer = None
    core.look()
    assert isinstance(core.world.phase, Closing)
    while core.sent(do.CloseServer):
        core.do(do.CloseServer)
    core.facts = replace(CLOSED_FACTS, gtid=core.facts.gtid) if core.facts is not None else None
    core.wait(0.3)
    assert (core.world.hold_off is None, core.phase == "Taking") == (again, again), core.rules
    written = [effect.value for effect in core.sent(do.WriteTrack)]  # type: ignore[attr-defined]
    assert written == ([] if again else ["0"]), "the VIP stays"


def _of_another(core: Core) -> None:
    core.facts = replace(OPEN_FACTS, epoch=EpochRow(3, "db2", "boot-1"))


def _of_another_boot(core: Core) -> None:
    core.facts = replace(OPEN_FACTS, epoch=EpochRow(3, "db1", "boot-0"))


def _of_nobody(core: Core) -> None:
    core.facts = replace(OPEN_FACTS, epoch=None)


def _a_peer_is_open(core: Core) -> None:
    core.peer = replace(PEER_FACTS, closed=False, open_lock=None)


def _a_peer_is_newer(core: Core) -> None:
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, epoch=EpochRow(4, "db2", "boot-2"))


def _the_vip_is_elsewhere(core: Core) -> None:
    core.move_vip(False)


def test_an_open_server_whose_memory_is_lost_is_adopted_by_its_own_row() -> None:
    """Another `paths.state`, a torn file: the row names this node and this boot, and nobody has opened since."""
    core = starting(Memory())
    core.look()
    assert isinstance(core.world.phase, Writing) and core.world.phase.epoch == 3 and core.track == "1"
    assert "epoch-row-of-this-boot" in core.rules
    core.facts = replace(OPEN_FACTS, open_lock=None)
    for _ in range(3):
        core.wait(0.1)
        core.go()
    assert core.world.memory.completed == DONE.completed and core.world.memory.open, "remembered from here on"


@pytest.mark.parametrize(
    "change",
    [_of_another, _of_another_boot, _of_nobody, _a_peer_is_open, _a_peer_is_newer, _the_vip_is_elsewhere],
)
def test_a_row_speaks_for_no_other_node_or_boot_and_not_beside_another_writer(change: Callable[[Core], None]) -> None:
    core = starting(Memory())
    change(core)
    core.look()
    assert isinstance(core.world.phase, Closing) and core.phase != "Writing"


def test_a_server_that_this_agent_was_never_answered_by_is_not_killed_for_a_refusal() -> None:
    """`mysql.socket` may be wrong in its configuration, and the server as well as ever."""
    core = starting()
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, fit_lock=9)
    core.facts = None
    core.wait(3 * core.world.policy.limits.hang_s)
    core.go()
    assert core.phase == "Writing" and core.track == "1" and "hung-server" not in core.rules
    assert core.world.verdict is not None and core.world.verdict.rule == "holder-server-leaving"


def test_an_open_server_without_the_vip_is_closed_at_the_start() -> None:
    core = starting(vip=False)
    core.look()
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "not-taken-over"


def test_an_open_server_that_a_peer_outdid_is_closed_at_the_start() -> None:
    core = starting()
    core.peer = replace(PEER_FACTS, epoch=EpochRow(4, "db2", "boot-2"))
    core.look()
    assert isinstance(core.world.phase, Closing) and core.world.phase.rule == "higher-epoch"


def test_an_agent_that_starts_blind_on_a_holder_takes_nothing() -> None:
    """Its own completed takeover of this boot says whose server that is; what it does not know it leaves alone."""
    core = starting()
    core.answer = Answer.BLIND
    core.wait(3.0)
    assert core.phase == "Writing" and core.track == "1" and not core.sent(do.WriteTrack)


def test_an_agent_that_starts_while_its_server_hangs_knows_by_its_memory_whom_to_kill() -> None:
    core = starting()
    core.answer = Answer.SILENT
    core.wait(core.world.policy.limits.hang_s + 1.0)
    assert core.phase == "Writing" and core.world.process == PROCESS


def test_an_agent_that_starts_without_the_vip_writes_0_first() -> None:
    core = starting(vip=False)
    assert core.sent(do.WriteTrack) == [do.WriteTrack(1.0, "0")]


def test_a_one_shot_that_may_not_open_only_closes() -> None:
    core = standby()
    core.world = replace(core.world, may_open=False)
    core.peer = None
    core.look()
    core.move_vip(True)
    core.wait(0.3)
    core.go()
    assert core.phase == "Resting"


def test_a_refusal_at_the_start_is_not_believed_of_a_process_that_may_live() -> None:
    core = starting()
    core.facts = None
    core.look()
    assert core.phase == "Writing" and core.track == "1" and not core.sent(do.WriteTrack)
    core.step(ProcessExiting(PROCESS))
    assert core.phase == "Resting" and core.sent(do.WriteTrack) == [do.WriteTrack(1.0, "0")]


def woken(track: str = "1") -> Core:
    """A one-shot, or an agent, that has just begun on a closed standby whose dead writer's VIP is here already."""
    good, clean = KeptLag("boot-1", 0.0, 998.0), KeptClean("boot-1", str(GTIDS.written_by(1, "")))
    core = Core(memory=Memory(3, lag=good, clean=clean))
    core.facts = replace(CLOSED_FACTS, channels=(replace(CHANNEL, io="connecting", lag_s=None),))
    core.peer, core.vip, core.track = None, True, track
    core.step(TrackSeen(core.track))
    core.step(AddressSeen(core.address()))
    return core


def test_a_takeover_that_an_agent_finds_at_its_start_is_not_refused_for_a_disk_that_is_not_looked_at_yet() -> None:
    core = woken()
    for _ in range(4):
        core.now += 0.1
        core.see()
        core.step(Tick(0.1))
        core.do(do.ProbeServer)
        core.do(do.ProbePeer)
    assert core.phase == "Starting" and core.sent(do.ProbeDisk)
    core.do(do.ProbeDisk)
    core.wait(0.2)
    assert core.phase == "Taking" and "disk-unfit" not in core.rules and not core.sent(do.WriteTrack)


def test_a_disk_that_nobody_can_look_at_is_waited_for_in_bounds() -> None:
    core = woken()
    began_s = core.now
    while "disk-unfit" not in core.rules:
        core.now += 0.1
        core.see()
        core.step(Tick(0.1))
        core.do(do.ProbeServer)
        core.do(do.ProbePeer)
        assert core.now < began_s + 2 * POLICY.limits.deadline_s + 0.5
    assert core.sent(do.WriteTrack) == [do.WriteTrack(1.0, "0")]


# -- what is kept for the next agent


def test_a_lag_that_is_gone_is_kept_at_once() -> None:
    core = standby()
    far = replace(core.world.memory, lag=KeptLag("boot-1", 24.0, core.now - 0.1))
    core.world = replace(core.world, memory=far)
    core.wait(0.2)
    core.go()
    kept = core.world.memory.lag
    assert kept is not None and kept.lag_s < 1.0


# -- the track file


def test_a_candidate_that_is_seen_eligible_says_1_and_a_blind_one_0() -> None:
    core = standby()
    assert core.track == "1"
    core.answer = Answer.BLIND
    core.look()
    core.go()
    assert core.track == "0"


def test_a_track_file_that_somebody_else_wrote_is_written_again() -> None:
    core = standby()
    core.track = "banana"
    core.look()
    core.go()
    assert core.track == "1"


def test_a_track_file_that_cannot_be_written_is_tried_again_and_said_once() -> None:
    core = standby()
    core.answer = Answer.BLIND
    for _ in range(3):
        core.look()
        core.fail(do.WriteTrack, "no space left")
    assert core.rules.count("track-file-unwritable") == 1
    core.look()
    assert core.sent(do.WriteTrack)


def test_an_open_node_never_says_0() -> None:
    core = guarded_writer()
    core.alive = False
    core.see()
    core.step(Tick(0.1))
    core.fail(do.CloseServer)
    core.look()
    assert not core.sent(do.WriteTrack) and core.track == "1"


def test_clients_are_reset_before_the_vip_is_let_go() -> None:
    core = guarded_writer()
    core.step(ProcessExiting(PROCESS))
    kinds = [type(flight.effect) for flight in core.flights]
    assert kinds.index(do.ResetClients) < kinds.index(do.WriteTrack)


# -- flights


def test_two_effects_of_one_key_are_never_under_way_at_once() -> None:
    core = standby()
    for _ in range(5):
        core.step(Tick(0.1))
    assert len(core.sent(do.ProbeServer)) == 1 and len(core.sent(do.ProbePeer)) == 1


def test_a_probe_that_never_reports_is_sent_again_after_its_deadline() -> None:
    core = standby()
    core.step(Tick(0.1))
    core.take(do.ProbeServer)
    core.now += 1.0
    core.step(Tick(0.1))
    assert core.sent(do.ProbeServer) and "worker-late" in core.rules


def test_a_report_after_its_flight_was_given_up_changes_nothing() -> None:
    core = standby()
    core.step(Tick(0.1))
    late = core.take(do.ProbeServer)
    core.now += 1.0
    core.step(Tick(0.1))
    before = core.world
    core.report(late, core.server(closed=False))
    assert core.world.server == before.server


def test_an_older_answer_never_replaces_a_newer_one() -> None:
    core = standby()
    old = core.server(closed=False)
    core.now += 0.1
    core.look()
    core.step(Tick(0.1))
    core.report(core.take(do.ProbeServer), old)
    assert core.world.server is not None and core.world.server.facts is not None
    assert core.world.server.facts.closed


def test_what_was_asked_of_a_process_that_is_gone_does_not_count() -> None:
    core = writer()
    core.step(Tick(0.1))
    probe = core.take(do.ProbeServer)
    answer = core.server()
    core.now += 0.01
    core.step(ProcessExiting(PROCESS))
    core.report(probe, answer)
    assert core.world.server is not None and core.world.server.answer is Answer.ABSENT


def test_the_end_of_another_process_is_nobodys_business() -> None:
    core = writer()
    core.step(ProcessExiting(ProcessId(1, 1)))
    assert core.phase == "Writing"


def test_the_step_is_a_function_of_its_arguments() -> None:
    one, other = writer(), writer()
    assert one.world == other.world and one.rules == other.rules


def test_a_standing_fact_is_said_once() -> None:
    core = standby()
    before = len(core.notes)
    core.wait(3.0)
    core.go()
    assert [note for note in core.notes[before:] if note.level != "debug"] == []


def test_each_verdict_is_noted_with_its_rule_and_numbers_when_it_changes() -> None:
    core = standby()
    core.answer = Answer.BLIND
    core.wait(0.5)
    verdicts = [note for note in core.notes if note.what == "verdict"]
    assert verdicts[-1].rule == "server-blind" and sum(n.rule == "server-blind" for n in verdicts) == 1


def test_a_keepalived_that_was_never_seen_is_not_dead() -> None:
    core = guarded_writer()
    core.step(KeepalivedSeen(KeepalivedEvidence(alive=None)))
    assert core.phase == "Writing"


@pytest.mark.parametrize("answer", [Answer.BLIND, Answer.SILENT])
def test_an_agent_that_starts_blind_without_the_vip_closes_what_its_memory_calls_open(answer: Answer) -> None:
    """The VIP left while no agent was there, and nothing can be asked: past close_s that process is killed."""
    core = starting(vip=False)
    core.answer = answer
    core.wait(1.5)
    assert core.phase == "Closing" and core.sent(do.CloseServer)
    core.fail(do.CloseServer, "access denied", refused=True)
    core.wait(0.3)
    assert core.sent(do.KillServer) == [do.KillServer(1.0, PROCESS)]


def test_an_agent_that_starts_blind_where_the_server_was_seen_closed_leaves_it_alone() -> None:
    core = starting(memory=replace(DONE, open=False), vip=False)
    core.answer = Answer.BLIND
    core.wait(3.0)
    assert core.phase == "Resting" and not core.sent(do.CloseServer) and not core.sent(do.KillServer)
