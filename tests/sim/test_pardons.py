"""Is everything that the laws forgive said in docs/guarantees.md, one to one?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sim.liveness import WAITS_FOR_A_PERSON
from sim.pardons import PARDONS, Pardons

DOCS = Path(__file__).parents[2] / "docs"
SECTION = "## Where the laws give way"
SAID = re.compile(r"^- `([a-z-]+)`: (.+)$", re.M)


def section() -> str:
    page = (DOCS / "guarantees.md").read_text()
    assert page.count(SECTION) == 1
    return page.split(SECTION)[1].split("\n## ")[0]


def test_each_pardon_stands_in_the_guarantees_and_nothing_else_does() -> None:
    forgiven = section().split("When all faults are over")[0]
    assert [name for name, _ in SAID.findall(forgiven)] == list(PARDONS)


def test_each_is_one_sentence() -> None:
    for name, text in SAID.findall(section()):
        assert re.search(r"[.!?] [A-Z]", text) is None, name
        assert text.endswith("."), name
        assert text[0].islower() or text[0] == "`", name


def test_what_waits_for_a_person_stands_there_and_in_the_rules() -> None:
    waiting = section().split("When all faults are over")[1]
    assert [name for name, _ in SAID.findall(waiting)] == list(WAITS_FOR_A_PERSON)
    rules = (DOCS / "rules.md").read_text()
    assert all(f"`{name}`" in rules for name in WAITS_FOR_A_PERSON)


def test_a_pardon_without_a_sentence_cannot_be_given() -> None:
    with pytest.raises(ValueError, match="no pardon is called 'whatever'"):
        Pardons().give("whatever")
