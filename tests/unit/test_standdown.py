"""The word that a node's server stays closed: an order, or somebody's own SET; over restarts, and until its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import core
import pytest
from core import PEER_FACTS, PROCESS, Core
from healthy import POLICY, STANDBY, WRITER

from vipguard.agent.event import AddressSeen, Command, StoodDownSeen, TrackSeen
from vipguard.checks import writer
from vipguard.errors import CouldNotDo
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, EpochRow, ProcessId
from vipguard.model.memory import Memory
from vipguard.model.standdown import HAND, StoodDown
from vipguard.notify.handback import Standing, why_close
from vipguard.state import standdown as state

ORDER = StoodDown(1_700_000_000, "root", "two writers")
BY_HAND = StoodDown(1_700_000_000, HAND, "read_only was set")


def settle(node: Core, seconds: float = 3.0) -> None:
    for _ in range(round(seconds / 0.2)):
        node.wait(0.2)
        node.go()


def alone() -> Core:
    """db1 writes, and db2 is not to be seen, as in a cut between the nodes alone."""
    node = core.guarded_writer()
    node.peer, node.peer_answer = None, Answer.SILENT
    settle(node, 0.4)
    assert node.phase == "Writing"
    return node


def ordered(node: Core, word: StoodDown | None = ORDER) -> Core:
    node.step(StoodDownSeen(word))
    settle(node)
    return node


def close_by_hand(node: Core, **changes: object) -> Core:
    """`SET GLOBAL read_only = 1` on the server of the node, which has been the writer for some time."""
    settle(node, 2.4)
    assert node.facts is not None and node.phase == "Writing"
    node.facts = replace(node.facts, **{"closed": True, **changes})
    settle(node)
    return node


# -- the order


def test_a_writer_that_is_stood_down_is_closed_its_clients_ended_and_gives_the_vip_up() -> None:
    node = ordered(alone())
    assert node.facts is not None and node.facts.closed and node.phase == "Resting" and node.track == "0"
    closing = next(note for note in node.notes if note.what == "closing")
    assert closing.rule == "stood-down" and "two writers" in str(dict(closing.numbers)["text"])
    assert node.rules.count("stood-down") >= 1 and "read-only-verified" in node.rules


def test_it_stays_closed_with_the_vip_left_here_and_nobody_else_to_write() -> None:
    """keepalived keeps the VIP: it is MASTER on both sides of a cut, or its configuration tracks nothing."""
    node = ordered(alone())
    settle(node, 60.0)
    assert node.facts is not None and node.facts.closed and node.phase == "Resting" and node.vip
    assert not node.sent(do.Claim) and node.world.verdict is not None
    assert node.world.verdict.rule == "takeover-stood-down"


def test_no_promotion_undoes_it() -> None:
    node = ordered(alone())
    node.step(Command("promote"))
    settle(node)
    assert node.facts is not None and node.facts.closed and node.phase == "Resting"


@pytest.mark.parametrize("vip", [True, False], ids=["with-the-vip", "without-it"])
def test_a_new_agent_after_a_restart_of_it_or_of_the_host_honours_it(vip: bool) -> None:
    before = ordered(alone())
    node = Core(memory=before.world.memory, boot_id="boot-9")
    node.facts = replace(before.facts, process=ProcessId(7, 7)) if before.facts else None
    node.peer, node.peer_answer, node.vip = None, Answer.SILENT, vip
    node.step(TrackSeen("0"))
    node.step(StoodDownSeen(ORDER))
    node.step(AddressSeen(node.address()))
    settle(node, 30.0)
    assert node.phase == "Resting" and node.facts is not None and node.facts.closed and node.track == "0"


def test_an_agent_that_finds_its_open_server_stood_down_closes_it() -> None:
    """The order was given while no agent ran, and whoever gave it could not close the server."""
    before = alone()
    node = Core(memory=before.world.memory)
    node.facts, node.peer, node.peer_answer, node.vip, node.track = before.facts, None, Answer.SILENT, True, "1"
    node.step(TrackSeen("1"))
    node.step(StoodDownSeen(ORDER))
    node.step(AddressSeen(node.address()))
    settle(node, 3.0)
    assert node.facts is not None and node.facts.closed and node.phase == "Resting" and node.track == "0"


def test_its_end_lets_the_node_take_over_again_by_the_rules() -> None:
    node = ordered(alone())
    ordered(node, None)
    settle(node, 5.0)
    assert node.phase == "Writing" and "stand-down-ended" in node.rules


def test_a_takeover_that_is_under_way_is_given_up() -> None:
    node = core.taker()
    node.go(do.Drain)
    node.step(StoodDownSeen(ORDER))
    settle(node)
    assert node.phase == "Resting" and node.facts is not None and node.facts.closed
    assert "stood-down" in node.rules and not any(note.rule == "taken-over" for note in node.notes)


def test_a_standby_that_is_stood_down_is_no_candidate_and_its_peers_can_see_that() -> None:
    node = ordered(core.standby())
    assert node.track == "0" and node.world.verdict is not None and node.world.verdict.rule == "stood-down"
    assert node.facts is not None and node.facts.fit_lock is None


def test_a_server_that_cannot_be_closed_is_killed_whatever_it_says() -> None:
    """An order is no observation: blindness and a hang do not stand against it."""
    node = alone()
    node.answer = Answer.BLIND
    node.step(StoodDownSeen(ORDER))
    for _ in range(20):
        node.wait(0.1)
        while node.sent(do.CloseServer):
            node.fail(do.CloseServer)
        node.go(do.CloseServer)
    assert any(note.what == "kill" and note.rule == "not-closed-in-time" for note in node.notes)


def test_a_word_that_cannot_be_read_lets_nobody_open_and_closes_no_writer() -> None:
    unreadable = StoodDown(0, "", readable=False)
    node = ordered(alone(), unreadable)
    assert node.phase == "Writing" and "stand-down-unreadable" in node.rules
    assert ordered(core.standby(), unreadable).track == "0"
    assert why_close(Standing(3), replace(WRITER, stood_down=unreadable)) is None


def test_under_lossless_what_waits_is_neither_acknowledged_nor_shown() -> None:
    """Another node may be the writer already: that is what the order is given for."""
    from vipguard.notify import semi_sync

    for rule in ("stood-down", "holder-stood-down", "closed-by-another-hand"):
        assert rule in semi_sync.SUPERSEDED


def test_the_maintenance_of_the_verdict_tells_by_whom_and_since_when() -> None:
    told = writer.judge(replace(STANDBY, stood_down=ORDER), "candidate")
    assert told.rule == "stood-down" and "root: two writers" in told.text and "standdown --end" in told.text
    assert dict(told.numbers) == {"since_s": 1_700_000_000}


# -- somebody's own SET


def test_a_writer_that_somebody_closes_stays_closed_and_says_so_as_an_error() -> None:
    node = close_by_hand(alone())
    settle(node, 60.0)
    assert node.facts is not None and node.facts.closed and node.phase == "Resting" and node.track == "0"
    said = [note for note in node.notes if note.rule == "closed-by-another-hand"]
    assert any(note.level == "error" for note in said), "an alert: nobody writes"
    assert node.world.stood_down is not None and node.world.stood_down.by_hand and not node.world.word_due
    assert node.world.memory.epoch == 4, "no second takeover"


def test_its_clients_are_ended_as_in_any_close() -> None:
    assert "read-only-verified" in close_by_hand(alone()).rules


def test_read_only_alone_on_mysql_closes_the_writer_wholly() -> None:
    """Everybody but an administrator is refused: a writer that is called healthy, and nobody writes."""
    node = alone()
    settle(node, 2.4)
    assert node.facts is not None
    node.facts = replace(node.facts, half_closed=True)
    settle(node)
    assert node.facts.closed and node.phase == "Resting" and node.world.stood_down is not None


def test_it_is_a_standby_like_any_other_as_soon_as_another_node_writes() -> None:
    """In a healthy pair a SET on the writer is a failover: the other node takes over, and nobody has to be called."""
    node = close_by_hand(core.guarded_writer())
    assert node.world.stood_down is not None
    node.move_vip(False)
    node.peer = replace(PEER_FACTS, gtid=node.facts.gtid if node.facts else PEER_FACTS.gtid,
                        epoch=EpochRow(5, "db2", "boot-2"))  # fmt: skip
    node.peer_answer = Answer.ANSWERED
    settle(node, 10.0)
    assert node.world.stood_down is None and "another-node-writes" in node.rules and not node.world.word_due
    assert node.track == "1", node.world.verdict


def test_the_same_hand_takes_it_back_by_opening_the_server() -> None:
    node = close_by_hand(alone())
    assert node.facts is not None
    node.facts = replace(node.facts, closed=False)
    settle(node, 0.2)
    assert "opened-by-another-hand" in node.rules and "not-taken-over" in node.rules, "law 1: closed first"
    settle(node, 5.0)
    assert node.phase == "Writing"


def test_an_order_is_not_taken_back_by_a_set() -> None:
    node = ordered(alone())
    assert node.facts is not None
    node.facts = replace(node.facts, closed=False)
    settle(node, 5.0)
    assert node.facts.closed and node.world.stood_down == ORDER and node.phase == "Resting"


def test_another_process_is_a_restart_and_no_hand() -> None:
    node = close_by_hand(alone(), process=replace(PROCESS, pid=4343))
    assert node.world.stood_down is None


def test_a_peer_that_takes_over_closes_by_right_and_is_no_hand() -> None:
    """It has the claim while it does, or, faster than one look, it writes by then."""
    claimed = close_by_hand(core.guarded_writer(), claim_lock=77)
    assert claimed.world.stood_down is None
    fast = core.guarded_writer()
    settle(fast, 2.4)
    assert fast.facts is not None
    fast.facts = replace(fast.facts, closed=True)
    fast.peer = replace(PEER_FACTS, epoch=EpochRow(5, "db2", "boot-2"), gtid=fast.facts.gtid)
    settle(fast)
    assert fast.world.stood_down is None and "higher-epoch" in fast.rules


def test_a_close_of_its_own_that_comes_through_late_is_no_hand() -> None:
    """A planned move that went back, its last statement on the way: the server is closed within a moment."""
    node = alone()
    node.world = replace(node.world, phase=replace(node.world.phase, since_s=node.now))  # type: ignore[type-var]
    assert node.facts is not None
    node.facts = replace(node.facts, closed=True)
    settle(node, 0.2)
    assert node.world.stood_down is None


def test_the_agents_own_word_is_written_until_it_is_on_the_disk() -> None:
    node = alone()
    settle(node, 2.4)
    assert node.facts is not None
    node.facts = replace(node.facts, closed=True)
    for _ in range(12):
        node.wait(0.1)
        node.go(do.KeepWord)
        if node.sent(do.KeepWord):
            break
    node.fail(do.KeepWord, "no space left on device")
    node.step(StoodDownSeen(None))
    assert node.world.word_due and node.world.stood_down is not None, "what the file lacks is not its end"
    assert "stand-down-unwritable" in node.rules
    settle(node)
    assert not node.world.word_due
    node.step(StoodDownSeen(BY_HAND))
    assert node.world.stood_down == BY_HAND
    node.step(Command("stand-up"))
    assert node.world.stood_down is None


def test_a_memory_of_an_older_agent_is_read_as_it_was() -> None:
    assert Memory().epoch == 0 and POLICY.paths.stood_down == "/var/lib/vipguard/stood-down"


# -- the file


def test_the_word_is_there_until_it_is_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "state" / "stood-down")
    assert state.look(path) is None
    state.put(path, ORDER)
    assert state.look(path) == ORDER and not list((tmp_path / "state").glob("*.*"))
    state.put(path, BY_HAND, over=False)
    assert state.look(path) == ORDER, "an order is not overwritten by what the agent found"
    state.put(path, replace(ORDER, reason="again"))
    assert str(state.look(path)) == "root: again"
    state.remove(path)
    state.remove(path)
    assert state.look(path) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"since_s": "long ago", "by": 1}'])
def test_what_cannot_be_understood_counts_as_a_word(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "stood-down").write_bytes(data)
    found = state.look(str(tmp_path / "stood-down"))
    assert found is not None and not found.readable


def test_a_word_that_cannot_be_written_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(CouldNotDo, match="stood-down"):
        state.put(str(tmp_path / "state" / "stood-down"), ORDER)
