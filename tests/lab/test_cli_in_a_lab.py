"""check, status and doctor on a guarded pair: healthy, its source dead, its agent dead, its keepalived changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from guarded import Guarded

from vipguard.cli.check import NAMES
from vipguard.lab import Node, faults
from vipguard.lab.node import KEEPALIVED_FILE


def ask(node: Node, *command: str) -> tuple[int, str]:
    done = node.vipguard(*command, check=False)
    return done.returncode, done.stdout


def findings(node: Node) -> dict[str, dict[str, Any]]:
    """The doctor's findings by rule."""
    answer = json.loads(ask(node, "doctor", "--json")[1])
    return {finding["rule"]: finding for finding in answer["findings"]}


def test_doctor_finds_nothing_on_either_node_of_a_healthy_pair(guarded: Guarded) -> None:
    for node in guarded.lab.nodes.values():
        code, out = ask(node, "doctor")
        assert (code, out.startswith("nothing found")) == (0, True), out


@pytest.mark.parametrize("name", NAMES)
def test_every_check_is_ok_on_both_nodes_of_a_healthy_pair(guarded: Guarded, name: str) -> None:
    for node in (guarded.writer, guarded.standby):
        code, out = ask(node, "check", name)
        assert code == 0, out


def test_status_shows_the_same_writer_from_both_nodes(guarded: Guarded) -> None:
    for node in guarded.lab.nodes.values():
        status = guarded.status(node)
        assert status["writers"] == [guarded.writer.name]
        assert ask(node, "status")[0] == 0
        by_name = {seen["node"]: seen for seen in status["nodes"]}
        assert by_name[guarded.standby.name]["lag_s"] is not None


def test_nobody_is_promoted_and_nothing_is_decided_beside_a_writer_by_right(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    done = standby.vipguard("promote", "--force", "--yes", check=False)
    assert done.returncode == 2 and f"switchover --to {standby.name}" in done.stderr, done.stderr
    assert f"{writer.name} is the writer" in ask(writer, "rejoin")[1]
    assert guarded.lab.writer() is writer


def test_for_keepalived_both_nodes_are_well_without_their_agents(guarded: Guarded) -> None:
    with faults.kill_agent(guarded.writer), faults.kill_agent(guarded.standby):
        assert ask(guarded.writer, "check", "writer", "--for-keepalived")[1].startswith("0 holder-healthy ")
        assert ask(guarded.standby, "check", "writer", "--for-keepalived")[1].startswith("0 candidate-ready ")


def test_status_without_an_agent_says_so_and_shows_the_pair(guarded: Guarded) -> None:
    with faults.kill_agent(guarded.standby):
        done = guarded.standby.vipguard("status", check=False)
    assert done.returncode == 5
    assert "THE AGENT IS SILENT" in done.stdout
    assert "the agent of this node is silent" in done.stderr


def _has_seen(guarded: Guarded, node: Node) -> bool:
    status = guarded.status(node)
    own = status["nodes"][0]
    return status["agent"] == "answers" and own["lag_rule"] == "lag-seen" and own["errant"] is not None


def test_the_agent_remembers_the_lag_and_the_comparison_of_a_dead_source(guarded: Guarded) -> None:
    """The standby cannot take over (its keepalived is stopped), so its source stays dead."""
    lab, standby = guarded.lab, guarded.standby
    lab.wait(lambda: _has_seen(guarded, standby), 10, "the agent to see lag and sets while all live")
    with faults.kill_keepalived(guarded.standby), faults.kill_mysqld(guarded.writer):
        guarded.lab.wait(
            lambda: ask(guarded.standby, "check", "replication")[0] == 1, 10, "the standby to lose its source"
        )
        for name, rule in (("lag", "lag-last-good"), ("errant", "nothing-errant")):
            code, out = ask(guarded.standby, "check", name, "--json")
            answer = json.loads(out)
            assert (code, answer["rule"], answer["seen_by"]) == (0, rule, "agent"), out
        assert ask(guarded.standby, "status")[0] == 3


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("weight 0 reverse", "weight 10", "track-file-weight"),
        ("nopreempt", "# preempts", "preempts"),
        ("10.73.0.100/24", "10.73.0.99/24", "vip-missing"),
        ("interval 2", "interval 4", "conf-differs"),
    ],
)
def test_doctor_finds_a_trap_in_the_installed_configuration(
    guarded: Guarded, good: str, bad: str, rule: str
) -> None:
    node = guarded.standby
    before = node.read(KEEPALIVED_FILE)
    node.write(KEEPALIVED_FILE, before.replace(good, bad))
    try:
        assert rule in findings(node)
    finally:
        node.write(KEEPALIVED_FILE, before)


def test_doctor_finds_an_agent_that_does_not_run(guarded: Guarded) -> None:
    with faults.kill_agent(guarded.standby):
        found = findings(guarded.standby)
    assert found["agent-silent"]["severity"] == "warning"
