"""What does the core do with a server whose process is not known, and with one of the other flavour?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from core import CLOSED_FACTS, PEER_FACTS, Core, bereft, guarded_writer, standby, taker, writer
from healthy import CHANNEL, FACTS

from vipguard.agent.event import AddressSeen, Command
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, ProcessId, ServerFacts
from vipguard.model.gtid import GtidSet


def test_a_node_whose_process_is_unknown_is_no_candidate_and_begins_no_takeover() -> None:
    core = standby()
    core.facts = replace(core.facts or FACTS, process=None)
    core.wait(0.2)
    assert core.world.verdict is not None and core.world.verdict.rule == "process-unknown"
    core.move_vip(True)
    core.go()
    core.wait(1.0)
    core.go()
    assert core.world.verdict.rule == "takeover-process-unknown" and core.track == "0"
    assert core.phase == "Resting" and core.facts is not None and core.facts.closed


def test_a_process_that_becomes_unknown_in_the_middle_of_a_takeover_asserts_nothing() -> None:
    core = taker()
    core.go(do.Open)
    flight = core.take(do.Open)
    assert isinstance(flight.effect, do.Open)
    core.facts = replace(core.facts or FACTS, closed=False, open_lock=34, epoch=flight.effect.row, process=None)
    core.look()
    core.report(flight, None)
    core.wait(0.3)
    assert core.phase in ("Writing", "Closing", "Resting")


def test_the_operator_may_promote_a_node_whose_process_is_unknown() -> None:
    core = bereft()
    core.facts = replace(core.facts or FACTS, process=None)
    core.step(Command("promote"))
    core.wait(0.2)
    core.go()
    core.move_vip(True)
    core.go()
    core.wait(0.2)
    core.go()
    assert core.phase == "Writing" and core.world.memory.completed is not None
    assert core.world.memory.completed.process is None


def test_a_writer_whose_process_is_unknown_to_the_next_agent_is_adopted() -> None:
    before = guarded_writer()
    core = Core(memory=before.world.memory)
    core.facts, core.peer = replace(before.facts or FACTS, process=None), before.peer
    core.vip, core.track = True, "1"
    core.step(AddressSeen(core.address()))
    core.wait(0.5)
    core.go()
    assert core.phase == "Writing" and "takeover-completed-before" in core.rules and "process-unknown" in core.rules


def test_a_hung_writer_whose_process_is_unknown_is_not_killed_and_keeps_the_vip() -> None:
    core = guarded_writer()
    core.facts = replace(core.facts or FACTS, process=None)
    core.wait(0.3)
    core.answer = Answer.SILENT
    core.wait(5.0)
    assert not core.sent(do.KillServer) and core.track == "1"
    assert core.world.verdict is not None and core.world.verdict.rule == "holder-hung-alone"
    assert "not known" in core.world.verdict.text


def test_a_server_of_which_the_process_is_unknown_is_closed_and_not_taken_for_dead() -> None:
    """The process that was known may have ended, and the one that answers be another."""
    core = guarded_writer()
    core.facts = replace(core.facts or FACTS, process=None)
    core.wait(0.2)
    core.move_vip(False)
    for _ in range(10):
        if core.sent(do.CloseServer):
            core.fail(do.CloseServer, "it hangs")
        core.wait(0.1)
    assert not core.sent(do.KillServer) and core.phase == "Closing"


def of_the_other_flavor(facts: ServerFacts) -> ServerFacts:
    gtid = GtidSet.parse("mysql", "11111111-1111-1111-1111-111111111111:1-5")
    return replace(facts, flavor="mysql", version="9.7.0", gtid=gtid, channels=(replace(CHANNEL, received=gtid),))


@pytest.mark.parametrize("make", [standby, bereft, taker, writer, guarded_writer])
def test_a_peer_of_the_other_flavour_crashes_nothing_and_is_named(make: Callable[[], Core]) -> None:
    core = make()
    core.peer = of_the_other_flavor(core.peer or PEER_FACTS)
    core.wait(2.0)
    core.go()
    core.wait(2.0)
    peer = core.world.peers["db2"]
    assert "mysql 9.7.0" in peer.other_flavor and peer.evidence is not None and "other-flavor" in peer.evidence.reason
    assert peer.eligible is not True


def test_a_standby_beside_a_writer_of_the_other_flavour_is_no_candidate_by_that_name() -> None:
    core = standby()
    core.peer = of_the_other_flavor(PEER_FACTS)
    core.wait(1.0)
    assert core.world.verdict is not None and core.world.verdict.rule == "other-flavor"
    core.move_vip(True)
    for _ in range(8):
        core.go()
        core.wait(0.5)
    assert core.facts is not None and core.facts.closed


def test_an_own_server_that_is_of_the_other_flavour_after_a_restart_crashes_nothing() -> None:
    core = guarded_writer()
    core.facts, core.vip = None, False
    core.wait(1.0)
    core.go()
    core.facts = replace(of_the_other_flavor(CLOSED_FACTS), process=ProcessId(5151, 900))
    for _ in range(5):
        core.wait(0.5)
        core.go()
    assert "other-flavor" in (core.world.peers["db2"].evidence or core.peers_server()).reason
