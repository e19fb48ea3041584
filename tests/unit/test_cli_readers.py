"""What do status, check and doctor say of reader addresses?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import healthy
import pytest
from healthy import READER

from vipguard.agent.report import snapshot
from vipguard.agent.world import Writing, begin
from vipguard.checks import reader as check
from vipguard.cli import reading
from vipguard.doctor import conf
from vipguard.doctor import readers as doctor
from vipguard.model.evidence import AddressEvidence
from vipguard.model.finding import Outcome
from vipguard.model.memory import Memory
from vipguard.model.policy import Policy, Replication
from vipguard.model.reading import Giving, ReaderEvidence, ReaderState
from vipguard.render import shipped
from vipguard.render.keepalived import keepalived_conf
from vipguard.render.reader_text import reader_lines

POLICY = replace(
    healthy.POLICY, file="/etc/vipguard/vipguard.toml", replication=Replication(password="x"), readers=(READER,)
)
HERE, ELSEWHERE = (AddressEvidence(healthy.NOW_S, here, True) for here in (True, False))


def told(seen: ReaderEvidence, *, writer: bool = False, giving: Giving | None = None) -> dict[str, Any]:
    """The agent's status of db1, the writer or its standby, after `seen`."""
    sight = healthy.WRITER if writer else healthy.STANDBY
    verdict = check.judge(check.Reading(sight, READER, seen.here, writer))
    world = begin(POLICY, "boot-1", healthy.NOW_S - 100, Memory())
    world = replace(world, server=sight.server, keepalived=sight.keepalived, peers=sight.peers, good_lag=sight.good_lag)
    if writer:
        world = replace(world, phase=Writing(3, 9, healthy.NOW_S - 90))
    state = ReaderState(seen, verdict, asked="1", well_s=healthy.NOW_S - 1, giving=giving)
    world = replace(world, readers={"reader1": state})
    return json.loads(json.dumps(snapshot(world, healthy.NOW_S, "1", [])))["readers"][0]  # type: ignore[no-any-return]


PEER_HAS_IT = ReaderEvidence(ELSEWHERE, heard={"10.73.0.12": (healthy.NOW_S - 0.1, 190)}, track="1")
NOBODY_HAS_IT = ReaderEvidence(ELSEWHERE, track="1")


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (told(ReaderEvidence(HERE, track="1")), "HERE; eligible (reader-ready)"),
        (told(PEER_HAS_IT), "on db2, belongs on db1; eligible (reader-ready): this node can serve the address, to be"),
        (told(PEER_HAS_IT, writer=True), "on db2; eligible (reader-by-the-writer)"),
        (told(NOBODY_HAS_IT), "NOWHERE; eligible"),
        (told(ReaderEvidence(track=None)), "not seen from here; eligible"),
        (told(ReaderEvidence(HERE, track="0"), writer=True, giving=Giving("db2", 1.0)), "HERE, being given to db2"),
    ],
)
def test_the_status_has_a_line_for_each(reader: dict[str, Any], words: str) -> None:
    assert f"reader reader1 10.73.0.101/24: {words}" in "".join(reader_lines({"readers": [reader]}))


@pytest.mark.parametrize(
    ("reader", "outcome", "rule"),
    [
        (told(ReaderEvidence(HERE, track="1")), Outcome.OK, "reader-ready"),
        (told(PEER_HAS_IT), Outcome.OK, "reader-ready"),
        (told(NOBODY_HAS_IT), Outcome.CRITICAL, "reader-nowhere"),
        ({**told(PEER_HAS_IT), "eligibility": "ineligible", "rule": "reader-lag-exceeded"}, Outcome.WARNING,
         "reader-lag-exceeded"),
        ({**told(PEER_HAS_IT), "eligibility": "undetermined", "rule": "reader-server-blind"}, Outcome.UNKNOWN,
         "reader-server-blind"),
    ],
)  # fmt: skip
def test_check_reader_is_critical_only_where_nobody_has_it(
    reader: dict[str, Any], outcome: Outcome, rule: str
) -> None:
    found = reading.finding([reader], None)
    assert (found.outcome, found.rule) == (outcome, rule)
    worse = reading.finding([told(PEER_HAS_IT), {**reader, "name": "other"}], None)
    assert (worse.outcome, worse.rule) == (outcome, rule)
    assert reading.finding([reader, told(PEER_HAS_IT)], "nobody").outcome is Outcome.UNKNOWN


def rendered(policy: Policy) -> str:
    template = (shipped.directory() / shipped.TEMPLATE).read_text()
    return keepalived_conf(policy, template, check="/usr/libexec/vipguard/check", hook="/usr/libexec/vipguard/hook")


def trapped(change: Callable[[str], str], policy: Policy = POLICY) -> list[str]:
    return [found.rule for found in doctor.judge(policy, conf.parse(change(rendered(policy))))]


def in_reader(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        head, mark, tail = text.partition("vrrp_instance reader1")
        assert old in tail
        return head + mark + tail.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda text: text, []),
        (lambda text: text.replace("vrrp_instance reader1", "vrrp_instance other"), ["reader-instance-missing"]),
        (lambda text: text[: text.index("# The reader addresses")], ["reader-instance-missing"]),
        (in_reader("priority 200", "priority 100"), ["reader-instance-differs"]),
        (in_reader("10.73.0.101", "10.73.0.111"), ["reader-instance-differs"]),
        (in_reader("    nopreempt\n", ""), ["reader-preempts"]),
        (in_reader("        vipguard_read_reader1\n", ""), ["reader-untracked"]),
        (in_reader("vipguard_read_reader1\n", "vipguard_read_reader1 weight 10\n"), ["reader-untracked"]),
    ],
)
def test_doctor_finds_an_instance_that_is_not_what_it_should_be(change: Callable[[str], str], rule: list[str]) -> None:
    assert trapped(change) == rule
    assert trapped(lambda text: "", replace(POLICY, readers=())) == []


def test_one_look_says_what_it_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vipguard.probe import procnet

    monkeypatch.setattr(procnet, "look", lambda *_: HERE)
    seen = reading.one_look(POLICY, healthy.STANDBY)
    assert reading.finding(seen, None).rule == "reader-ready"
    status = {"readers": [told(ReaderEvidence())]}
    reading.look(POLICY, status["readers"])
    assert "HERE" in reader_lines(status)[0]
