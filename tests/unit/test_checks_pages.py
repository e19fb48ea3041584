"""The manual's pages say everything that the code can say, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from vipguard.checks import CHECKS, reader, writer
from vipguard.cli.check import NAMES
from vipguard.notify import follow, handback, refused, rejoin, relay, replicas, semi_sync, silent, takeover

DOCS = Path(__file__).resolve().parents[2] / "docs"
RULES = (DOCS / "rules.md").read_text()


def _section(title: str) -> set[str]:
    """The rules that the tables below a heading begin their rows with."""
    body = re.split(r"^#+ ", RULES.split(f" {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`[^|]+) \|", body, flags=re.MULTILINE)
    return {rule for row in rows for rule in re.findall(r"`([^`]+)`", row)}


def _said_by(module: object, *callees: str) -> set[str]:
    """The rules that a module's code gives as first argument to one of `callees`."""
    found = set()
    for call in ast.walk(ast.parse(Path(str(getattr(module, "__file__", ""))).read_text())):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in callees
            and call.args
        ):
            first = call.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_every_rule_of_the_verdict_is_in_the_manual_and_no_other() -> None:
    titles = {
        "candidate": "A candidate: the VIP is elsewhere",
        "taking": "Taking over: the VIP is here, the server still closed",
        "holder": "The holder: this node is the writer",
    }
    for standing, table in writer.TABLES.items():
        assert _section(titles[standing]) == {rule for rule, _ in table}


def test_every_rule_of_a_reader_address_is_in_the_manual_and_no_other() -> None:
    assert _section("May this node serve a reader address?") == {rule for rule, _ in reader.TABLE}


def test_every_reason_to_close_is_in_the_manual_and_no_other() -> None:
    assert _section("Why an open server is closed") == {rule for rule, _ in handback.ROWS}


def test_every_step_and_refusal_of_a_takeover_is_in_the_manual_and_no_other() -> None:
    said = [_said_by(module, "Due", "refuse") for module in (takeover, refused, silent, semi_sync, replicas)]
    assert _section("The steps of a takeover") == set().union(*said)


def test_every_rule_of_rejoining_is_in_the_manual_and_no_other() -> None:
    assert _section("Rejoining") == set().union(*(_said_by(module, "Join") for module in (rejoin, relay, follow)))


@pytest.mark.parametrize("name", sorted({*CHECKS, *NAMES}))
def test_every_check_has_a_section_of_its_own(name: str) -> None:
    assert f"\n### `{name}`\n" in (DOCS / "checks.md").read_text()


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_rule_of_a_check_is_told_in_its_section(name: str) -> None:
    """A rule is a string of words with hyphens that a check's module gives to a finding."""
    text = (DOCS / "checks.md").read_text()
    section = text.split(f"\n### `{name}`\n", 1)[1].split("\n### ", 1)[0]
    source = (DOCS.parent / "vipguard/checks" / f"{name}.py").read_text()
    rules = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', source))
    assert rules - set(re.findall(r"`([a-z-]+)`", section)) == set()
