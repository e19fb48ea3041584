"""The operator's word: a node out of the election, a paused cluster, and what is kept of it."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import replace

import click
import core
import pytest
from core import CLOSED_FACTS, Core
from healthy import POLICY

from vipguard.act import maintenance as act
from vipguard.agent.event import AddressSeen, Command, ProcessExiting
from vipguard.agent.world import begin
from vipguard.cli import main, moving
from vipguard.cli import maintenance as cli
from vipguard.cli.app import App
from vipguard.cli.maintenance import Duration
from vipguard.cli.moving import Moved
from vipguard.model import effect as do
from vipguard.model.evidence import Answer
from vipguard.model.maintenance import Maintenance
from vipguard.model.memory import Memory
from vipguard.model.policy import Policy
from vipguard.render.status_text import maintenance_line

OUT = (Maintenance("db1", 1_700_000_000, None, "new disk"),)
PEER_OUT = (Maintenance("db2", 1_700_000_000, None, "new disk"),)
PAUSED = (Maintenance("*", 1_700_000_000, 1_700_003_600, ""),)


def told(one: Core, rows: tuple[Maintenance, ...]) -> Core:
    """Both servers have the rows."""
    assert one.facts is not None
    one.facts = replace(one.facts, maintenance=rows)
    one.peer = replace(one.peer, maintenance=rows) if one.peer is not None else None
    one.wait(0.2)
    one.go()
    return one


# -- a node in maintenance


def test_a_node_in_maintenance_is_no_candidate_and_one_again_when_it_ends() -> None:
    one = told(core.standby(), OUT)
    assert one.track == "0" and one.rules[-1] != "candidate-ready"
    assert "maintenance" in one.rules
    told(one, ())
    assert one.track == "1"


def test_a_node_in_maintenance_that_gets_the_vip_all_the_same_gives_it_away() -> None:
    one = told(core.bereft(), OUT)
    one.move_vip(True)
    one.go()
    assert one.phase == "Resting" and one.track == "0" and not one.sent(do.Claim)


def test_maintenance_that_comes_in_the_middle_of_a_takeover_ends_it_before_the_opening() -> None:
    one = core.taker()
    one.go(do.Open)
    flight = one.take(do.Open)
    assert one.facts is not None
    one.facts = replace(one.facts, maintenance=OUT)
    one.wait(0.2)
    assert "maintenance" in one.rules and one.phase == "Closing", "the opening may come through"
    one.report(flight, None)
    one.go()
    assert one.phase == "Resting" and one.facts.closed


def test_the_operator_may_promote_a_node_in_maintenance() -> None:
    one = told(core.bereft(), OUT)
    one.step(Command("promote"))
    one.move_vip(True)
    one.go()
    assert one.phase == "Writing"


def test_a_peer_in_maintenance_is_not_known_eligible() -> None:
    one = core.guarded_writer()
    assert one.world.peers["db2"].eligible is True
    told(one, PEER_OUT)
    one.wait(1.2)
    assert one.world.peers["db2"].eligible is False


# -- a paused cluster


def test_in_a_paused_cluster_a_dead_writer_keeps_the_vip_and_no_standby_is_a_candidate() -> None:
    one = told(core.guarded_writer(), PAUSED)
    one.facts = None
    one.step(ProcessExiting(core.PROCESS))
    one.wait(0.3)
    one.go()
    assert one.vip and one.track == "1" and "takeover-paused" in one.rules
    other = told(core.standby(), PAUSED)
    assert other.track == "0" and "cluster-paused" in other.rules


def test_in_a_paused_cluster_a_server_that_comes_back_stays_closed_until_the_pause_ends() -> None:
    one = told(core.guarded_writer(), PAUSED)
    kept = one.facts
    assert kept is not None
    one.facts = None
    one.step(ProcessExiting(core.PROCESS))
    one.wait(0.3)
    one.go()
    one.facts = replace(kept, closed=True, open_lock=None)
    one.wait(1.0)
    one.go()
    assert one.phase == "Resting" and one.track == "1"
    told(one, ())
    one.wait(0.5)
    one.go()
    assert one.phase == "Writing"


def test_where_nobody_writes_the_operator_lifts_it_on_the_node_that_is_to_open() -> None:
    for rows in (PAUSED, OUT):
        one = told(core.bereft(), rows)
        one.step(Command("lift"))
        one.move_vip(True)
        one.go()
        assert one.phase == "Writing" and "lifted-by-operator" in one.rules
        told(one, (replace(rows[0], since_s=1_700_009_999),))
        assert one.world.sight(one.now).maintenance, "a new word counts"


def test_in_a_paused_cluster_an_isolated_writer_closes_all_the_same() -> None:
    one = told(core.guarded_writer(), PAUSED)
    one.pings, one.peer_answer = False, Answer.SILENT
    for _ in range(15):
        one.wait(0.1)
        one.go()
    assert one.facts is not None and one.facts.closed and one.track == "0"


def test_in_a_paused_cluster_a_hung_server_is_not_killed() -> None:
    one = told(core.guarded_writer(), PAUSED)
    one.answer = Answer.SILENT
    one.wait(6.0)
    assert not one.sent(do.KillServer) and one.track == "1"


# -- what is kept


def test_it_is_kept_over_a_restart_until_the_server_says_otherwise() -> None:
    one = core.standby()
    assert one.facts is not None
    one.facts = replace(one.facts, maintenance=OUT)
    one.wait(0.3)
    kept = [effect.memory for effect in one.sent(do.Remember) if isinstance(effect, do.Remember)]
    assert kept and kept[-1].maintenance == OUT
    again = Core(memory=kept[-1])
    again.answer = Answer.BLIND
    again.step(AddressSeen(again.address()))
    again.wait(0.3)
    assert again.world.sight(again.now).in_maintenance == OUT[0]
    again.answer = Answer.ANSWERED
    again.facts = CLOSED_FACTS
    again.wait(0.2)
    assert again.world.sight(again.now).in_maintenance is None


def test_why_a_node_is_apart_is_kept_over_a_restart_until_a_comparison_finds_otherwise() -> None:
    one = core.standby(memory=Memory(diverged="this node has 3 transactions that db2 lacks: 1-1-5..7"))
    assert one.track == "1", "it was compared, and nothing is apart any more"
    assert one.world.diverged is None and one.world.memory.diverged is None
    blind = Core(memory=Memory(diverged="this node has 3 transactions that db2 lacks: 1-1-5..7"))
    blind.peer_answer = Answer.SILENT
    blind.step(AddressSeen(blind.address()))
    blind.facts = replace(CLOSED_FACTS, channels=(replace(core.CHANNEL, io="stopped", sql_running=False, lag_s=None),))
    blind.wait(2.0)
    blind.go()
    parked = blind.world.sight(blind.now).parked
    assert parked is not None and parked[0] == "diverged" and blind.track == "0"


def test_a_memory_of_before_says_nothing_of_either() -> None:
    world = begin(core.POLICY, "boot-1", 1000.0, Memory())
    assert world.maintenance == () and world.diverged is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1h30m", 5400)]
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "0s", "2h!", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        Duration().convert(text, None, None)


def test_a_row_is_told_as_a_sentence() -> None:
    row = {"node": "db2", "since_s": 0, "until_s": None, "reason": "new disk"}
    assert maintenance_line(row).startswith("db2 IS IN MAINTENANCE since ")
    assert maintenance_line(row).endswith(", until it is ended: new disk")
    assert "THE CLUSTER IS PAUSED since" in maintenance_line({**row, "node": "*", "until_s": 60, "reason": ""})


# -- the writer is moved away first


@pytest.mark.parametrize(
    ("argv", "terminal", "typed", "moved", "code", "said"),
    [
        ([], False, "", None, 2, "`vipguard switchover` moves it away first, or --switchover here; nothing was done"),
        ([], True, "\n", None, 2, "db1 stays the writer: nothing was done"),
        ([], True, "n\n", None, 2, "db1 stays the writer: nothing was done"),
        ([], True, "", None, 130, ""),
        ([], True, "y\n", Moved(2, "replication"), 2, "db1 was not moved away (replication), so it is not in"),
        (["--switchover"], False, "", Moved(1, "called-off"), 1, "db1 was not moved away (called-off)"),
        (["--switchover"], True, "", Moved(3, "interrupted"), 3, "db1 was not moved away (interrupted)"),
        ([], True, "y\n", Moved(0, "moved"), 0, ""),
        (["--switchover"], False, "", Moved(0, "moved"), 0, ""),
    ],
)
def test_the_writers_maintenance_begins_only_after_it_was_moved_away(
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    terminal: bool,
    typed: str,
    moved: Moved | None,
    code: int,
    said: str,
) -> None:
    """No answer at all, Ctrl-C or the end of the input, is a no."""
    begun, writers, moves = [], ["db1"], []

    def move_writer(policy: Policy, to: str | None) -> Moved:
        assert moved is not None
        moves.append(to)
        writers[0] = "db1" if moved.code else "db2"
        return moved

    monkeypatch.setattr(App, "policy", lambda _: POLICY)
    monkeypatch.setattr(cli, "_writer", lambda _: next(node for node in POLICY.nodes if node.name == writers[0]))
    monkeypatch.setattr(cli, "_wait_heard", lambda *_: None)
    monkeypatch.setattr(moving, "move_writer", move_writer)
    monkeypatch.setattr(act, "begin", lambda policy, writer, row, deadline: begun.append((writer.name, row.node)))
    monkeypatch.setattr(sys, "stdin", Typed(typed, terminal))
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert main.run(["--config", "/nonexistent", "maintenance", "on", *argv]) == code
    assert begun == ([("db2", "db1")] if code == 0 else []) and len(moves) == (moved is not None)
    assert said in errors.getvalue(), errors.getvalue()


class Typed(io.StringIO):
    def __init__(self, text: str, terminal: bool) -> None:
        super().__init__(text)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal
