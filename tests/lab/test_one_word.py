"""One thing has one word: what a decision is called in the log is what metric, page and command line call it."""

from __future__ import annotations

import json
import re

from guarded import Guarded
from shown import exporters, metrics, page

from vipguard.lab import Lab, Node, faults


def verdicts(lab: Lab, node: Node) -> dict[str, str]:
    """The rule of the node's verdict, by where it was read."""
    logged = re.findall(r"event=verdict log=agent rule=(\S+)", node.agent.log_text())
    written = [json.loads(line) for line in node.vipguard("events", "--json", "--rule", "verdict").stdout.splitlines()]
    told = json.loads(node.vipguard("status", "--json", check=False).stdout)["nodes"][0]["rule"]
    table = node.vipguard("status", check=False).stdout
    checked = json.loads(node.vipguard("check", "writer", "--json", check=False).stdout)
    shown = page(lab, node)
    return {
        "log": logged[-1],
        "journal": written[-1]["rule"],
        "status --json": told,
        "status": told if told in table else f"not {told}",
        "check writer": checked["rule"],
        "metrics": next((rule for name, rule in metrics(node) if name == "eligible"), "none"),
        "page": told if told in shown else f"not {told}",
    }


def agree(guarded: Guarded, node: Node, rule: str) -> None:
    found: dict[str, str] = {}

    def same() -> bool:
        found.update(verdicts(guarded.lab, node))
        return set(found.values()) == {rule}

    guarded.lab.wait(same, 15, lambda: f"{rule} to be said everywhere on {node.name}: {found}")


def test_a_verdict_has_one_word_wherever_it_is_read(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with exporters(lab):
        agree(guarded, writer, "holder-healthy")
        agree(guarded, standby, "candidate-ready")
        with guarded.applier_stopped(standby):
            agree(guarded, standby, "replication-broken")
        standby.vipguard("maintenance", "on", "--for", "5m", "--reason", "words")
        try:
            agree(guarded, standby, "maintenance")
        finally:
            standby.vipguard("maintenance", "off")
        agree(guarded, standby, "candidate-ready")
        with faults.kill_mysqld(writer):
            guarded.wait_writer(standby)
            agree(guarded, writer, "server-absent")


def test_a_takeovers_steps_have_one_word_each_wherever_they_are_read(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = metrics(standby)
    with exporters(lab), faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
        guarded.wait_said(standby, "event=may-be-lost")
        logged = re.findall(r"event=takeover-step log=agent rule=(\S+)", guarded.log(standby))
        assert {"claim", "stop-receiving", "open"} <= set(logged)

        lines = standby.vipguard("events", "--stories", "--json", "--rule", "takeover-complete", "-n", "1").stdout
        story = json.loads(lines.splitlines()[-1])
        assert [step["rule"] for step in story["steps"] if step["what"] == "takeover-step"] == logged
        counted = {
            label
            for (name, label), value in metrics(standby).items()
            if name == "takeover_step_seconds_count" and value > before.get((name, label), 0)
        }
        assert counted == set(logged)
        lab.wait(lambda: all(f"{step}: " in page(lab, standby) for step in logged), 10, "the page to tell the steps")

        lost = re.findall(r"event=may-be-lost log=agent rule=(\S+)", guarded.log(standby))[-1]
        assert story["lost_rule"] == lost and f"({lost})" in page(lab, standby)
        if guarded.said(standby, "level=warning", "event=may-be-lost"):
            assert ("alerts_total", "may-be-lost,warning") in metrics(standby)
