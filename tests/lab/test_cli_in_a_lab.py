"""check, status and doctor on a guarded pair: healthy, its source dead, its agent dead, its keepalived changed."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import pytest
import shown
from guarded import Guarded
from shown import exporters, metrics
from stand_in import REPOSITORY

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
        if name == "reader":
            assert (code, out) == (3, "READER UNKNOWN - the configuration has no reader address for this node\n")
        else:
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


def _says(node: Node, beginning: str) -> bool:
    """The check, with the right to the processors that the wrapper takes for it."""
    argv = [*node.vipguard_argv, "check", "writer", "--for-keepalived"]
    said = node.run(["/usr/bin/nice", "-n", "-10", *argv], check=False).stdout
    assert said.startswith(beginning), said
    return True


def test_for_keepalived_both_nodes_are_well_without_their_agents(guarded: Guarded) -> None:
    with faults.kill_agent(guarded.writer), faults.kill_agent(guarded.standby):
        for node, said in ((guarded.writer, "0 holder-healthy "), (guarded.standby, "0 candidate-ready ")):
            # it looks for half a second, which a busy machine may let pass: again then, as keepalived does
            guarded.lab.wait(partial(_says, node, said), 30, f"{node.name} to be well without its agent")


def test_status_without_an_agent_says_so_and_shows_the_pair(guarded: Guarded) -> None:
    with faults.kill_agent(guarded.standby):
        done = guarded.standby.vipguard("status", check=False)
    assert done.returncode == 5
    assert "THE AGENT IS SILENT" in done.stdout
    assert "the agent of this node is silent" in done.stderr


def _has_seen(guarded: Guarded, node: Node) -> bool:
    status = guarded.status(node)
    own = status["nodes"][0]
    lag_seen = own["lag_rule"] in ("lag-heartbeat", "lag-seen")
    return status["agent"] == "answers" and lag_seen and own["errant"] is not None


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


# the grammar of the Monitoring Plugins guidelines: 'label'=value[UOM];[warn];[crit];[min];[max]
_PERF = re.compile(r"(?:'(?:[^'=]|'')+'|[^\s'=]+)=(?:U|-?[0-9.]+)(?:s|ms|us|%|[KMGT]?B|c)?(?:;[-0-9.:~@]*){0,4}")


def _monitored() -> list[list[str]]:
    """The checks as docs/icinga.md has them run, for Icinga and for NRPE."""
    text = (REPOSITORY / "docs" / "icinga.md").read_text()
    services = text.split("for (name => ranges in {")[1].split("})")[0]
    nrpe = [line.split()[3:] for line in re.findall(r"/usr/bin/sudo /usr/bin/vipguard check .+", text)]
    icinga = []
    for name, ranges in re.findall(r'^    "(\w+)"\s*= \{(.*?)\}', services, re.MULTILINE):
        said = re.findall(r'(\w+) = "([^"]+)"', ranges)
        icinga.append([name, *(word for key, value in said for word in (f"--{key}", value))])
    assert len(nrpe) >= 6 and len(icinga) == 9
    return [*icinga, *(words for words in nrpe if words not in icinga)]


def test_the_services_of_the_manual_are_fine_on_a_healthy_pair(guarded: Guarded) -> None:
    for node in (guarded.writer, guarded.standby):
        guarded.lab.wait(lambda node=node: ask(node, "check", "errant")[0] == 0, 10, "the sets to be compared")
        for words in _monitored():
            code, out = ask(node, "check", *words)
            line, bar, perf = out.rstrip("\n").partition(" | ")
            assert code == 0 and "\n" not in line, f"{words}: {out}"
            assert not bar or all(_PERF.fullmatch(one) for one in perf.split()), f"{words}: {perf}"


def test_the_plugin_of_the_manual_tells_one_writer_from_none(guarded: Guarded) -> None:
    node = guarded.standby
    script = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs" / "icinga.md").read_text(), re.DOTALL)[0]
    script = script.replace("/usr/bin/vipguard", " ".join(node.vipguard_argv))
    done = node.run(["sh", "-c", script], check=False)
    assert (done.returncode, done.stdout) == (0, "OK: one writer\n")
    with faults.kill_keepalived(node), faults.kill_mysqld(guarded.writer):
        argv = ["sh", "-c", script]
        guarded.lab.wait(lambda: node.run(argv, check=False).returncode == 2, 10, "no writer to be seen")


def test_the_metrics_follow_a_takeover(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    guarded.lab.wait(lambda: metrics(standby).get(("eligible", "candidate-ready")) == 1, 10, "the standby to be well")
    before, there = metrics(standby), metrics(writer)
    assert (there["role", "writer"], there["writable", ""], there["vip_present", ""]) == (1, 1, 1)
    assert before["role", "standby"] == before["eligible", "candidate-ready"] == before["peer_up", writer.name] == 1
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
        guarded.lab.wait(lambda: metrics(standby).get(("role", "writer")) == 1, 5, "the metrics to say it")
        after = metrics(standby)
        assert after["takeover_seconds_count", ""] == before["takeover_seconds_count", ""] + 1
        assert after["takeover_step_seconds_count", "open"] >= 1 and after["epoch", ""] == before["epoch", ""] + 1
        sent = before["garp_sent_total", ""]  # counted when the last of them is out, half a second later
        guarded.lab.wait(lambda: metrics(standby)["garp_sent_total", ""] > sent, 5, "the announcements to be counted")
        assert metrics(writer)["server_up", ""] == 0
    with faults.kill_agent(standby):
        assert metrics(standby) == {("agent_up", ""): 0}


def test_the_status_page_of_either_node_says_who_writes_before_and_after_a_move(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    page = partial(shown.page, lab)

    def say(words: str) -> bool:
        return all(f'<span id="sentence">{words}</span>' in page(node) for node in lab.nodes.values())

    with exporters(lab):
        lab.wait(lambda: say(f"{writer.name} writes."), 15, "both pages to name the writer")
        assert f"<li>VIP {lab.spec.vip}" in page(standby)
        for words in (
            f"{standby.name} may take over.",
            f"{writer.name} replicates to {standby.name}: 0 s behind, running/running",
        ):
            for node in lab.nodes.values():
                lab.wait(lambda node=node, words=words: words in page(node), 10, f"the page of {node.name}: {words}")
        code, out = ask(standby, "switchover", "--to", standby.name)
        assert code == 0, out
        lab.wait(lambda: say(f"{standby.name} writes."), 10, "both pages to name the new writer")
        moved = f"planned move from {writer.name} to {standby.name}, epoch "
        lab.wait(lambda: moved in page(standby), 15, "the page to tell of the move")
        ready = f"{writer.name} may take over."
        lab.wait(lambda: ready in page(standby), 15, f"the page to say that {ready}")
        away = f"planned move from {writer.name} to {standby.name}"
        lab.wait(lambda: away in page(writer), 5, "the old writer's page to tell of the move")
        with faults.kill_agent(standby):
            silent = f"The agent of {standby.name} is silent"
            lab.wait(lambda: silent in page(standby), 5, f"the page to say: {silent}")
            assert moved not in page(standby)
        # the agent that was started again tells the stories of its journal
        lab.wait(lambda: moved in page(standby), 15, "the page to say that the agent is silent")
