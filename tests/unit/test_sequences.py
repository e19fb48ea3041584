"""Sequences by hand, of faults that mix: refusals with silence, a third that answers, words that are old, errors that
change, a process that becomes unknown."""

from __future__ import annotations

from dataclasses import replace

import core
import pytest
from core import PROCESS, Core, passes, standby
from healthy import CHANNEL, POLICY

from vipguard.agent.event import AddressSeen, StoodDownSeen
from vipguard.agent.last_word import is_gone
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, Channel, ProcessId
from vipguard.model.policy import Fence, Policy
from vipguard.model.standdown import StoodDown

VIP, PEER = "10.73.0.100", "10.73.0.12"
WAIT = replace(POLICY, silent_peer="wait")
FENCED = replace(WAIT, fence=Fence(command="/bin/false", required=True))
BAD = replace(CHANNEL, io="stopped", io_errno=1236, io_error="Got fatal error 1236", lag_s=None)


def starts(node: Core, seconds: float, runs_s: float = 0.0, other: Channel = BAD) -> list[float]:
    """When replication was started, whose IO thread ends each time after `runs_s` by one of two errors."""
    began_s, runs_until_s, found = node.now, 0.0, []
    while node.now < began_s + seconds:
        bad = BAD if int(node.now) % 2 else other
        assert node.facts is not None
        node.facts = replace(node.facts, channels=(CHANNEL if node.now < runs_until_s else bad,))
        node.now += 0.1
        node.look()
        if node.sent(do.StartReceiving) or node.sent(do.StartReplication):
            node.do(do.StartReceiving if node.sent(do.StartReceiving) else do.StartReplication)
            found.append(node.now)
            runs_until_s = node.now + runs_s
    return found


def test_an_old_word_says_nothing_against_a_peer_that_answers_and_writes() -> None:
    node = standby()
    node.gone, node.arp = frozenset({"db2"}), {PEER: True, VIP: True}
    node.move_vip(True)
    passes(node, 3.0)
    assert node.phase == "Resting" and "peer-legit" in node.rules


@pytest.mark.parametrize("policy", [POLICY, WAIT, FENCED])
def test_a_peer_that_refuses_and_is_silent_by_turns_is_never_opened_against(policy: Policy) -> None:
    node = standby(policy)
    node.peer, node.arp = None, {PEER: None, VIP: None}
    node.wait(0.2)
    node.move_vip(True)
    for number in range(20):
        node.peer_answer = Answer.SILENT if number % 2 else Answer.ANSWERED
        passes(node, 0.25)
        assert node.phase != "Writing"


def test_a_third_that_answers_for_the_peers_address_proves_nothing_while_somebody_has_the_vip_now_and_then() -> None:
    node = standby(WAIT)
    node.peer = None
    node.wait(0.1)
    node.move_vip(True)
    for number in range(60):
        node.arp = {PEER: True, VIP: number % 4 == 3}
        passes(node, 0.06)
        assert node.phase != "Writing"


def test_the_word_counts_where_a_fence_is_required_and_the_host_without_the_vip_does_not() -> None:
    for gone, phase in ((frozenset({"db2"}), "Writing"), (frozenset[str](), "Resting")):
        node = standby(FENCED)
        node.peer, node.gone, node.arp = None, gone, {PEER: True, VIP: False}
        node.wait(0.1)
        node.move_vip(True)
        passes(node, 4.0)
        assert node.phase == phase


@pytest.mark.parametrize("runs_s", [0.0, 3.0])
def test_an_io_error_that_changes_or_comes_late_is_tried_again_ever_more_seldom_and_told_once(runs_s: float) -> None:
    node = standby()
    found = starts(node, 60.0, runs_s, replace(BAD, io_errno=1593, io_error="another one"))
    assert 3 <= len(found) <= 7 and found[-1] - found[-2] > 10.0
    assert node.rules.count("start-fails") == 1


def test_a_process_that_becomes_unknown_is_neither_killed_nor_said_to_be_gone() -> None:
    node = core.guarded_writer()
    assert node.facts is not None
    node.facts = replace(node.facts, process=None)
    node.wait(1.0)
    node.answer = Answer.SILENT
    node.wait(6.0)
    assert node.phase == "Writing" and not node.sent(do.KillServer)
    node.facts, node.answer = None, Answer.ANSWERED
    node.wait(1.0)
    assert not is_gone(node.world)


def test_another_process_that_is_open_is_closed_by_the_next_agent() -> None:
    before = core.guarded_writer()
    assert before.facts is not None and before.facts.process == PROCESS
    node = Core(memory=before.world.memory)
    node.facts = replace(before.facts, process=ProcessId(1, 1), open_lock=None)
    node.peer, node.vip, node.track = before.peer, True, "1"
    node.step(AddressSeen(node.address()))
    node.wait(0.3)
    node.go(do.Claim)
    assert node.facts is not None and node.facts.closed


def test_a_target_that_is_stood_down_in_the_middle_of_a_move_leaves_it() -> None:
    node = standby()
    assert node.peer is not None
    node.peer = replace(node.peer, moving_to="db1")
    node.wait(0.5)
    assert node.phase == "Invited"
    node.step(StoodDownSeen(StoodDown(1, "root", "two writers")))
    passes(node, 0.4)
    assert node.phase == "Resting" and not node.sent(do.Open)
