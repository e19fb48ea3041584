"""`vipguard doctor` on a guarded pair: it finds nothing on a healthy one, and what its link and its hosts lack."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any

from guarded import Guarded

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE, KEEPALIVED_FILE

DROP = "table inet doctor { chain in { type filter hook input priority 0; ip protocol 112 drop; }; }"
HOOK = "/etc/vipguard/hooks.d/on-alert/10-mail"


def findings(node: Node, *more: str) -> dict[str, dict[str, Any]]:
    """By rule."""
    answer = json.loads(node.vipguard("doctor", "--json", *more, check=False).stdout)
    return {finding["rule"]: finding for finding in answer["findings"]}


@contextlib.contextmanager
def nftables(node: Node, made: str, undone: str) -> Iterator[None]:
    node.run(["nft", "-f", "-"], input=made)
    try:
        yield
    finally:
        node.run(["nft", "-f", "-"], input=undone)


@contextlib.contextmanager
def changed(node: Node, path: str, text: str, mode: int) -> Iterator[None]:
    before = node.read(path)
    node.write(path, text, mode)
    try:
        yield
    finally:
        node.write(path, before)


def test_doctor_finds_nothing_on_a_healthy_pair_and_what_link_and_hosts_lack(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    for node in (writer, standby):
        done = node.vipguard("doctor", "--all", check=False)
        assert (done.returncode, done.stdout.startswith("nothing found")) == (0, True), done.stdout
        assert "itself run: vipguard doctor" in done.stdout
    lab.wait(lambda: findings(standby) == {}, 5, "agents that see each other")

    # adverts, while the standby's keepalived cannot take the VIP for want of them
    with faults.kill_keepalived(standby):
        with faults.one_way(lab, writer, standby, traffic="vrrp"):
            assert findings(standby)["adverts-unheard"]["severity"] == "error"
        with nftables(standby, DROP, "delete table inet doctor"):
            found = findings(standby)
            assert "adverts-filtered" in found and "adverts-unheard" not in found, found
    with faults.one_way(lab, standby, writer, traffic="arp"):
        found = findings(writer)
        assert found["arp-filtered"]["node"] == standby.name
        assert "adverts-unheard" not in found

    # the rule that refuses connections, flushed by somebody's firewall
    rules = standby.run(["nft", "list", "ruleset"]).stdout
    with nftables(standby, "flush ruleset", rules):
        assert "refusal-missing" in findings(standby)

    # files that others can write, and a hook that will not be run
    text = standby.read(KEEPALIVED_FILE)
    standby.run(["install", "-D", "-m", "0666", "/dev/null", HOOK])
    try:
        with changed(standby, KEEPALIVED_FILE, text, 0o666):
            found = findings(standby)
        assert found["conf-open"]["severity"] == "error"
        assert "hook-refused" in found, found
        with changed(standby, KEEPALIVED_FILE, text, 0o755):
            assert "conf-executable" in findings(standby)
    finally:
        standby.run(["rm", "-r", "/etc/vipguard/hooks.d"])


def test_doctor_finds_agents_that_go_by_other_files(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    text = standby.read(CONFIG_FILE)
    other = text.replace("lag_s_max = 10.0", "lag_s_max = 99.0")
    assert other != text
    with guarded.configured(standby, other):
        assert "limits" in findings(standby)["configuration-not-taken-up"]["seen"]
        assert "configuration-differs" not in findings(writer), "its agent goes by the old one still"
        standby.agent.signal(signal.SIGHUP)
        lab.wait(lambda: "configuration-differs" in findings(writer), 5, "the writer's doctor to see it")
        found = findings(standby)
        assert found["configuration-differs"]["node"] == writer.name
        assert "configuration-not-taken-up" not in found
    lab.wait(lambda: findings(writer) == {}, 5, "the old file to be taken up")
    with faults.kill_agent(standby):
        assert findings(writer)["agent-not-seen"]["node"] == standby.name
